"""Archives, and a place for mounts that may not outlive a test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List

import numpy as np
import pytest
from npzfs import _program

# The limit for any wait. It is long, since other work may slow a test down a lot.
TIMEOUT_S = 120
# The signals that a caller of the tests may ignore, as nohup and a shell's background job do.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory, with one for temporary files. At the end nothing may be mounted below it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    yield tmp_path
    try:
        wait_until("all servers end", lambda: not servers(tmp_path))
        assert mounts(tmp_path) == []
        assert [*temporary.glob("npzfs-*")] == []
    finally:
        for mount_point in mounts(tmp_path):
            subprocess.run([_program.find(), "umount", "--lazy", mount_point])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of an array, an array without elements in a directory, and a scalar."""
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(12.0).reshape(3, 4), "d/none": np.zeros((0, 3)), "one": np.int32(7)}
    np.savez(path, **arrays)
    return path


def mounts(below: Path) -> List[str]:
    """The mount points below a directory, from the kernel's mount table."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in table if line.split()[4].startswith(f"{below}/")]


def servers(below: Path) -> List[int]:
    """The processes of npzfs whose command lines name a path below a directory."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"mount" in words and any(word.startswith(os.fsencode(below)) for word in words):
                found.append(int(directory.name))
    return found


def has_ended(pid: int) -> bool:
    """Whether a process has closed all its files: the last of its threads has exited."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return not os.path.exists(f"/proc/{pid}")
    return all(stat.rpartition(") ")[2][0] in "ZX" for stat in stats)


def wait_until(event: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"does not happen: {event}"
        time.sleep(0.005)


def default_signals() -> None:
    """Reset the actions of signals, in a child that is to get one."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, preexec_fn=default_signals
    )


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program in an interpreter of its own, and wait until it has printed a line."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=default_signals
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def server_of(path: Path) -> int:
    """The process ID of the server of a mount."""
    stats = json.loads(os.getxattr(path, "user.npzfs.stats"))
    return int(stats["pid"])
