"""Exceptions for the failures of the program npzfs."""

from __future__ import annotations

import errno
from typing import Optional


class Error(Exception):
    """The program npzfs failed. The base class of all exceptions of this package.

    Attributes:
        message: The program's error message, usually one line that names the archive.
        status: Its exit status, as listed in the manual page; or, if a signal ended the program,
            minus the number of the signal.
    """

    status = 1

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status


class UsageError(Error, ValueError):
    """An option has an invalid value, or conflicts with another option."""

    status = 2


class MountPointError(Error, OSError):
    """The mount point cannot be used."""

    status = 10


class FuseUnavailable(Error, OSError):
    """FUSE is not available or not permitted: no ``/dev/fuse``, no ``fusermount3``, ..."""

    status = 11


class CannotOpen(Error, OSError):
    """The archive cannot be opened or read."""

    status = 20


class NotFound(CannotOpen, FileNotFoundError):
    """The archive does not exist."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message, status)
        self.errno = errno.ENOENT


class NotAnArchive(Error, ValueError):
    """The file is not a ZIP archive."""

    status = 21


class DamagedArchive(Error, ValueError):
    """The archive is damaged, for example truncated."""

    status = 22


class Unreadable(Error, OSError):
    """Members are encrypted, damaged, or compressed by an unsupported method."""

    status = 23


class ProgramNotFound(Error, FileNotFoundError):
    """The program npzfs was not found. The wheel of this package contains it."""

    status = 127


_BY_STATUS = {
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


def from_status(status: int, message: str) -> Error:
    """Return the exception for an exit status of the program."""
    return _BY_STATUS.get(status, Error)(message, status)
