"""`npzfs.mount`."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import npzfs
import numpy as np
import pytest
from conftest import has_ended, mounts, server_of, wait_until
from npzfs import _program, _server


def test_a_block_has_the_members_as_files_and_leaves_nothing(archive, place):
    with npzfs.mount(archive) as path:
        assert isinstance(path, Path)
        assert mounts(place) == [str(path)]
        assert sorted(os.listdir(path)) == ["d", "one.npy", "x.npy"]
        x = np.load(path / "x.npy", mmap_mode="r")
        assert isinstance(x, np.memmap) and x.shape == (3, 4) and x.sum() == 66
    # At once, even though the array is still mapped.
    assert mounts(place) == [] and not path.exists()
    assert x.sum() == 66


def test_a_block_that_raises_unmounts(archive, place):
    with pytest.raises(ZeroDivisionError), npzfs.mount(archive):
        assert len(mounts(place)) == 1
        raise ZeroDivisionError
    assert mounts(place) == []


def test_an_array_reads_new_pages_after_the_unmount(place):
    values = np.random.default_rng(1).random(1 << 21)
    np.savez(place / "a.npz", x=values)
    with npzfs.mount(place / "a.npz") as path:
        server = server_of(path)
        x = np.load(path / "x.npy", mmap_mode="r")
        inside = np.load(path / "x.npy", mmap_mode="r")[1:3]
    os.remove(place / "a.npz")
    assert np.array_equal(x, values)
    del x
    assert np.array_equal(inside, values[1:3])
    os.kill(server, 0)
    del inside
    gc.collect()
    wait_until("the server ends", lambda: has_ended(server))


def test_at_is_created_and_removed_or_found_and_kept(archive, place, monkeypatch):
    with npzfs.mount(archive, at=place / "made") as path:
        assert path == place / "made" and mounts(place) == [str(path)]
    assert not (place / "made").exists()

    (place / "found").mkdir()
    monkeypatch.chdir(place)
    with npzfs.mount("a.npz", at="found") as path:
        assert path == place / "found" and mounts(place) == [str(path)]
    assert os.listdir(place / "found") == [] and mounts(place) == []


def test_several_archives_and_folders_share_a_mount(archive, place):
    (place / "folder").mkdir()
    shutil.copy(archive, place / "folder" / "b.npz")
    with npzfs.mount(archive, place / "folder") as path:
        assert sorted(os.listdir(path)) == ["a.npz", "folder"]
        assert np.load(path / "folder" / "b.npz" / "x.npy", mmap_mode="r").sum() == 66
    with npzfs.mount(place / "folder", strip_suffix=True) as path:
        assert os.listdir(path) == ["b"]


@pytest.mark.parametrize("name", ["-x.npz", "--help", "größe, a b.npz", os.fsdecode(b"\xff\n.npz")])
def test_archives_may_have_odd_names(archive, place, monkeypatch, name):
    shutil.copy(archive, place / name)
    monkeypatch.chdir(place)
    with npzfs.mount(name) as path:
        assert (path / "x.npy").exists()


def test_the_same_archive_is_mounted_once(archive, place, monkeypatch):
    monkeypatch.chdir(place)
    first = npzfs.mount(archive)
    with npzfs.mount("a.npz") as path, npzfs.mount(str(archive)) as same:
        assert path == same == first.path
        first.close()
        first.close()
        assert first.closed
        assert mounts(place) == [str(path)]
    assert mounts(place) == []
    with npzfs.mount(archive) as path, npzfs.mount(archive, umask=0o077) as other:
        assert path != other
        assert stat.S_IMODE((path / "x.npy").stat().st_mode) == 0o444
        assert stat.S_IMODE((other / "x.npy").stat().st_mode) == 0o400


def test_an_archive_that_was_replaced_is_mounted_anew(archive, place):
    with npzfs.mount(archive) as old:
        np.savez(place / "new.npz", y=np.ones(3))
        os.replace(place / "new.npz", archive)
        with npzfs.mount(archive) as new:
            assert os.listdir(new) == ["y.npy"]
        assert np.load(old / "x.npy", mmap_mode="r").sum() == 66


@pytest.mark.parametrize("lazily", [False, True])
def test_an_unmounted_archive_is_mounted_again(archive, place, lazily):
    with npzfs.mount(archive) as old:
        used = open(old / "x.npy") if lazily else None
        command = [_program.find(), "umount", *["--lazy"] * lazily, old]
        subprocess.run(command, check=True)
        with npzfs.mount(archive) as new:
            assert new != old and (new / "x.npy").exists()
        if used:
            used.close()
        with npzfs.mount(archive, at=place / "at"):
            pass


@pytest.mark.parametrize("at", [None, "at"])
def test_a_killed_server_is_cleaned_up(archive, place, at):
    with npzfs.mount(archive, at=at and place / at) as path:
        server = server_of(path)
        os.kill(server, signal.SIGKILL)
        # Its connection to the kernel and its socket are closed one after the other.
        wait_until("the server ends", lambda: has_ended(server))
        assert _server._is_dead(path)
        with npzfs.mount(archive) as other:
            assert (other / "x.npy").exists()
    assert mounts(place) == []


def test_a_mount_ends_with_the_last_reference_to_it(archive, place):
    mount = npzfs.mount(archive)
    assert mounts(place) == [str(mount.path)]
    assert repr(mount) == f"<npzfs.Mount at '{mount.path}'>"
    mount = npzfs.mount(archive, threads=1)
    gc.collect()
    assert mounts(place) == [str(mount.path)]
    del mount
    gc.collect()
    assert mounts(place) == []


def test_a_mount_that_is_closed_cannot_be_entered(archive):
    mount = npzfs.mount(archive)
    with mount:
        pass
    with pytest.raises(ValueError, match=r"^<npzfs.Mount at '.*', closed>$"):
        mount.__enter__()


def test_a_timeout_for_all_sockets_does_no_harm(archive):
    socket.setdefaulttimeout(0.01)
    try:
        with npzfs.mount(archive) as path, npzfs.mount(archive) as same:
            assert path == same and (path / "x.npy").exists()
    finally:
        socket.setdefaulttimeout(None)


def test_a_process_that_ignores_its_children_mounts_too(archive, place):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with npzfs.mount(archive) as path:
            assert (path / "x.npy").exists()
        with pytest.raises(npzfs.Error):
            npzfs.mount(place / "missing.npz")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_the_options_are_those_of_the_program():
    said = subprocess.run([_program.find(), "mount", "--help"], stdout=subprocess.PIPE, text=True)
    options = {
        option.replace("-", "_")
        for option in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", said.stdout, re.MULTILINE)
    }
    # The package does not need these.
    options -= {"color", "foreground", "help", "until_eof"}
    assert set(npzfs.Options.__annotations__) == options | {"o"}


def test_every_kind_of_option_reaches_the_program(archive, place):
    options: npzfs.Options = {
        "cache_dir": place,
        "inflate_limit": "1M",
        "passthrough_min": 4096,
        "deflated": "refuse",
        "verbose": 2,
        "log": place / "log",
        "quiet": False,
        "o": "noatime,threads=2",
    }
    with npzfs.mount(archive, **options) as path:
        assert os.statvfs(path).f_flag & os.ST_NOATIME
        assert (path / "x.npy").exists()
    assert " DEBUG " in (place / "log").read_text()
