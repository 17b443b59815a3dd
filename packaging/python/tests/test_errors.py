"""Failures raise exceptions with the messages of the program."""

from __future__ import annotations

import errno
import os
import pickle
import re
import stat
import zipfile
from pathlib import Path

import npzfs
import numpy as np
import pytest
from conftest import mounts
from npzfs import _errors

MANUAL = Path(__file__).parents[3] / "man" / "npzfs.1"
CALLS = [npzfs.mount, npzfs.load, npzfs.list]
every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)


def assert_raises(kind, status, message, call, *arguments, **options):
    with pytest.raises(kind) as raised:
        call(*arguments, **options)
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.message) == (status, message)
    assert str(raised.value) == message
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), again.status, str(again)) == (kind, status, message)
    return raised.value


@every_call
def test_a_missing_archive_raises_not_found(place, call):
    path = place / "a.npz"
    message = f"{path}: cannot be opened: No such file or directory"
    error = assert_raises(npzfs.NotFound, 20, message, call, path)
    assert isinstance(error, FileNotFoundError) and isinstance(error, npzfs.CannotOpen)
    assert error.errno == errno.ENOENT


@every_call
def test_a_file_that_is_no_archive_raises_not_an_archive(place, call):
    path = place / "a.npz"
    path.write_bytes(b"text")
    error = assert_raises(npzfs.NotAnArchive, 21, f"{path}: not a ZIP archive", call, path)
    assert isinstance(error, ValueError)


@every_call
def test_a_damaged_archive_raises_damaged_archive(archive, call):
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(npzfs.DamagedArchive, match=rf"^{archive}: ") as raised:
        call(archive)
    assert raised.value.status == 22 and isinstance(raised.value, ValueError)


@every_call
def test_a_fifo_raises_cannot_open(place, call):
    os.mkfifo(place / "a.npz")
    message = f"{place}/a.npz: is a FIFO, not an archive"
    error = assert_raises(npzfs.CannotOpen, 20, message, call, place / "a.npz")
    assert isinstance(error, OSError)


def test_strict_refuses_members_that_cannot_be_read(place):
    with zipfile.ZipFile(place / "a.npz", "w") as file:
        file.writestr("good", "text")
        file.writestr("bad", "text")
    whole = (place / "a.npz").read_bytes()
    # The flag for encryption in both headers.
    at = [whole.rindex(b"PK\x03\x04") + 6, whole.rindex(b"PK\x01\x02") + 8]
    (place / "a.npz").write_bytes(bytes(b | (i in at) for i, b in enumerate(whole)))
    message = f"{place}/a.npz: member 'bad': encrypted"
    error = assert_raises(npzfs.Unreadable, 23, message, npzfs.mount, place / "a.npz", strict=True)
    assert isinstance(error, OSError)

    with npzfs.load(place / "a.npz") as arrays:
        assert arrays["good"] == b"text"
        assert_raises(npzfs.Unreadable, 23, message, arrays.__getitem__, "bad")


def test_a_damaged_member_raises_os_error_when_it_is_read(place):
    np.savez_compressed(place / "a.npz", x=np.random.default_rng(1).random(1000))
    whole = bytearray((place / "a.npz").read_bytes())
    whole[len(whole) // 2] ^= 1
    (place / "a.npz").write_bytes(whole)
    with npzfs.load(place / "a.npz") as arrays:
        with pytest.raises(OSError) as raised:
            arrays["x"]
        assert raised.value.errno == errno.EIO and not isinstance(raised.value, npzfs.Error)


def test_an_unusable_mount_point_raises_mount_point_error(archive, place):
    message = f"{archive}: mount point is not a directory"
    assert_raises(npzfs.MountPointError, 10, message, npzfs.mount, archive, at=archive)
    assert issubclass(npzfs.MountPointError, OSError)


def test_unavailable_fuse_raises_fuse_unavailable(archive):
    with pytest.raises(npzfs.FuseUnavailable) as raised:
        npzfs.mount(archive, passthrough="on")
    assert raised.value.status == 11 and isinstance(raised.value, OSError)
    assert "--passthrough=on: " in raised.value.message


def test_an_invalid_value_raises_usage_error(archive):
    with pytest.raises(npzfs.UsageError, match="^invalid value '0' for '--threads <N>'") as raised:
        npzfs.mount(archive, threads=0)
    assert raised.value.status == 2 and isinstance(raised.value, ValueError)


@pytest.mark.parametrize("call", [npzfs.mount, npzfs.load])
@pytest.mark.parametrize("option", ["thread", "foreground", "until_eof", "f"])
def test_an_unknown_option_is_a_type_error(archive, call, option):
    message = rf"^{call.__name__}\(\) got an unexpected keyword argument '{option}'$"
    with pytest.raises(TypeError, match=message):
        call(archive, **{option: True})


def test_no_archive_is_a_type_error():
    with pytest.raises(TypeError, match=r"^mount\(\) needs an archive$"):
        npzfs.mount()


def test_a_missing_program_raises_and_so_does_another_one(archive, place, monkeypatch):
    monkeypatch.setenv("NPZFS", str(place / "none"))
    message = f"{place}/none: No such file or directory"
    error = assert_raises(npzfs.ProgramNotFound, 127, message, npzfs.mount, archive)
    assert isinstance(error, FileNotFoundError)

    other = place / "other"
    other.write_text("#!/bin/sh\nkill -9 $$\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("NPZFS", str(other))
    message = "npzfs ended with status -9"
    assert_raises(npzfs.Error, -9, message, npzfs.mount, archive)


def test_a_mount_that_fails_leaves_nothing(archive, place):
    for _ in range(3):
        with pytest.raises(npzfs.Error):
            npzfs.mount(archive, passthrough="on")
    assert mounts(place) == []
    with npzfs.mount(archive):
        pass


def test_every_exit_status_of_a_mount_has_its_exception():
    section = MANUAL.read_text().split("\n.Sh EXIT STATUS\n")[1].split("\n.El\n")[0]
    statuses = {int(status) for status in re.findall(r"^\.It (\d+)$", section, re.MULTILINE)}
    # Success, the base class of all failures, and the statuses of `npzfs run` alone.
    assert set(_errors._BY_STATUS) == statuses - {0, 1, 126, 127}
    assert npzfs.Error.status == 1


def test_every_exception_derives_from_one():
    names = (name for name in npzfs.__all__ if isinstance(getattr(npzfs, name), type))
    kinds = [getattr(npzfs, name) for name in names]
    errors = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(errors) == 10
    assert all(issubclass(error, npzfs.Error) for error in errors)


def test_arrays_of_objects_cannot_be_mapped(place):
    np.savez(place / "a.npz", x=np.array([None, "text"], dtype=object), y=np.ones(2))
    with npzfs.load(place / "a.npz") as arrays:
        with pytest.raises(ValueError, match="a.npz: member 'x.npy': holds Python objects"):
            arrays["x"]
        assert arrays["y"].sum() == 2
