"""What can go wrong: exceptions with the program's own message."""

from __future__ import annotations

import errno
from typing import Optional


class Error(Exception):
    """Something that the program npzfs refused or failed to do. All others derive from it.

    Attributes:
        message: What the program said, as a rule one line that names the archive.
        status: Its exit status, as the manual page lists them; if a signal has ended it, minus the
            number of that.
    """

    status = 1

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status


class UsageError(Error, ValueError):
    """An option has a value that the program does not take, or goes with no other one given."""

    status = 2


class MountPointError(Error, OSError):
    """The directory to mount on cannot be used."""

    status = 10


class FuseUnavailable(Error, OSError):
    """FUSE is not available or not permitted: no ``/dev/fuse``, no ``fusermount3``, ..."""

    status = 11


class CannotOpen(Error, OSError):
    """The archive cannot be opened or read."""

    status = 20


class NotFound(CannotOpen, FileNotFoundError):
    """There is no such archive."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message, status)
        self.errno = errno.ENOENT


class NotAnArchive(Error, ValueError):
    """The file is no ZIP archive."""

    status = 21


class DamagedArchive(Error, ValueError):
    """The archive is damaged: truncated, for example."""

    status = 22


class Unreadable(Error, OSError):
    """Members cannot be read: they are encrypted, damaged, or compressed in an unknown way."""

    status = 23


class ProgramNotFound(Error, FileNotFoundError):
    """The program npzfs itself is not there. Its wheel has it."""

    status = 127


_OF_STATUS = {
    error.status: error
    for error in (
        UsageError,
        MountPointError,
        FuseUnavailable,
        CannotOpen,
        NotAnArchive,
        DamagedArchive,
        Unreadable,
    )
}


def error_of(status: int, message: str) -> Error:
    """The exception for an exit status of the program."""
    return _OF_STATUS.get(status, Error)(message, status)
