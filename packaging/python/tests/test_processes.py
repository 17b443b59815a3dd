"""Mounts of programs with threads and children, and of programs that end in any way."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback

import npzfs
import numpy as np
import pytest
from conftest import TIMEOUT_S, default_signals, mounts, python, servers, start, wait_until

MOUNT = """
import os, signal, sys, threading, time
import npzfs
archive, action = sys.argv[1:]
"""


def in_child(work):
    """Call a function in a forked process, which then exits as Python programs do."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            # Run the exit handlers, but do not return to pytest.
            import atexit

            atexit._run_exitfuncs()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0


def total(archive):
    with npzfs.mount(archive) as path:
        return str(path), float(np.load(path / "x.npy", mmap_mode="r").sum())


def total_of(arrays):
    return float(arrays["x"].sum())


def test_threads_share_a_mount_until_the_last_one_leaves(archive, place):
    barrier = threading.Barrier(16)
    seen = []

    def work():
        for _ in range(10):
            barrier.wait()
            with npzfs.mount(archive) as path:
                seen.append(len(mounts(place)))
                assert np.load(path / "x.npy", mmap_mode="r").sum() == 66

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work) for _ in range(16)]:
            done.result(TIMEOUT_S)
    assert len(seen) == 160 and set(seen) == {1}
    assert mounts(place) == []


def test_threads_mount_different_archives_at_once(archive, place):
    copies = [place / f"{number}.npz" for number in range(8)]
    for copy in copies:
        copy.write_bytes(archive.read_bytes())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(total, copies))
    assert len({path for path, _ in results}) == 8 and {sum for _, sum in results} == {66.0}


def test_a_child_that_ends_does_not_unmount(archive, place):
    with npzfs.mount(archive) as path, npzfs.load(archive) as arrays:

        def work():
            assert np.load(path / "x.npy", mmap_mode="r").sum() == 66
            assert arrays["x"].sum() == 66
            arrays.close()

        for _ in range(3):
            in_child(work)
            assert mounts(place) == [str(path)]
        assert arrays["x"].sum() == 66
    assert mounts(place) == []


def test_a_child_that_leaves_the_block_does_not_unmount(archive, place):
    def work(fail):
        try:
            # Leave the block that the parent has entered.
            stack.__exit__(fail and ValueError, None, None)
        finally:
            gc.collect()

    stack = npzfs.mount(archive)
    with stack as path:
        in_child(lambda: work(False))
        in_child(lambda: work(True))
        assert (path / "x.npy").exists()
    assert mounts(place) == []


def test_a_child_has_a_mount_of_its_own(archive, place):
    with npzfs.mount(archive) as path:

        def work():
            with npzfs.mount(archive) as own:
                assert own != path
                assert len(mounts(place)) == 2
            assert mounts(place) == [str(path)]
            npzfs.mount(archive)
            kept.append(npzfs.mount(archive, threads=1))

        kept = []
        in_child(work)
        wait_until("the child's mounts are gone", lambda: mounts(place) == [str(path)])


def test_the_parent_ends_the_mount_though_a_child_lives(archive, place):
    reader, writer = os.pipe()
    with npzfs.mount(archive) as path:
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(os.path.exists(path))
    assert mounts(place) == []
    os.close(reader)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_mount_the_same_archive_at_once(archive, place, method):
    context = multiprocessing.get_context(method)
    with npzfs.mount(archive) as path:
        with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as pool:
            results = list(pool.map(total, [archive] * 12))
        assert {sum for _, sum in results} == {66.0}
        assert str(path) not in {other for other, _ in results}
        assert mounts(place) == [str(path)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_mapping_is_handed_to_processes(archive, method):
    context = multiprocessing.get_context(method)
    with npzfs.load(archive) as arrays:
        with context.Pool(2) as pool:
            assert pool.map(total_of, [arrays] * 4) == [66.0] * 4
        assert arrays["x"].sum() == 66


def test_processes_are_forked_while_threads_mount(archive, place):
    stop = threading.Event()

    def mount_and_unmount():
        while not stop.is_set():
            assert total(archive)[1] == 66

    threads = [threading.Thread(target=mount_and_unmount) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            in_child(lambda: total(archive))
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert mounts(place) == []


ENDINGS = {
    "return": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("1 / 0", 1),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "exec": ("os.execlp('true', 'true')", 0),
    "in a thread": ("threading.Thread(target=os._exit, args=(5,)).start(); time.sleep(99)", 5),
}


@pytest.mark.parametrize("held", ["block", "mount", "load"])
@pytest.mark.parametrize("action, status", ENDINGS.values(), ids=ENDINGS)
def test_an_interpreter_leaves_nothing_however_it_ends(archive, place, held, action, status):
    if held == "block":
        body = "with npzfs.mount(archive) as path:\n    x = open(path / 'x.npy')\n    exec(action)"
    else:
        body = f"kept = npzfs.{held}(archive)\nexec(action)"
    ended = python(MOUNT + body, archive, action)
    assert ended.returncode == status, ended.stderr
    assert "npzfs" not in ended.stderr.replace("npzfs.mount(archive) as", "")
    wait_until("the mount is gone", lambda: mounts(place) == [])


def test_a_killed_interpreter_leaves_nothing_despite_a_child(archive, place):
    body = "with npzfs.mount(archive):\n    print(os.fork(), flush=True)\n    time.sleep(999)\n"
    process = start(MOUNT + body, archive, "")
    assert len(mounts(place)) == 1
    (child,) = (int(pid) for pid in children(process.pid) if "npzfs" not in command(pid))
    try:
        process.kill()
        process.wait()
        wait_until("the mount is gone", lambda: mounts(place) == [])
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def command(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read()


def test_an_interpreter_killed_while_mounting_leaves_nothing(archive, place):
    program = MOUNT + "while True:\n    print('', flush=True)\n    npzfs.mount(archive).close()\n"
    for number in range(8):
        process = start(program, archive, "")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(number * 0.002)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    wait_until("all mounts are gone", lambda: mounts(place) == [] and servers(place) == [])


def interrupted(process):
    """Interrupt a process group until it has ended; returns its error output.

    Python prints and ignores an interrupt that it raises in a callback of its own.
    """
    for _ in range(TIMEOUT_S):
        os.killpg(process.pid, signal.SIGINT)
        try:
            return process.communicate(timeout=1)[1]
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    return process.communicate()[1]


def test_an_interrupt_from_the_keyboard_leaves_nothing(archive, place):
    program = MOUNT + "while True:\n    print('', flush=True)\n    npzfs.mount(archive).close()\n"
    for number in range(8):
        command = [sys.executable, "-c", program, archive, ""]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=default_signals,
        )
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(number * 0.002)
        stderr = interrupted(process).decode()
        assert process.returncode == -signal.SIGINT, stderr
        assert "\nKeyboardInterrupt" in stderr, stderr
    wait_until("all mounts are gone", lambda: mounts(place) == [] and servers(place) == [])


def test_a_remaining_server_is_no_child_of_the_process(archive):
    x = npzfs.load(archive)["x"]
    gc.collect()
    # The server still runs, since the array is mapped.
    assert [pid for pid in children(os.getpid()) if "npzfs" in command(pid)] == []
    assert x.sum() == 66
