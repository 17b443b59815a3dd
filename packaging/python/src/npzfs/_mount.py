"""Mounts."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from . import _options
from ._server import Server, server_for

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath


class Mount:
    """A live mount. As a context manager it returns its path, and ends with the block.

    It also ends when `close` is called, when the last reference to it is gone, and when the process
    ends, even if it is killed. The mount point then disappears, but open files and mapped arrays
    stay valid; the server process ends when the last of them is closed.

    After a fork the mount belongs to the parent. The child can use it as long as the parent keeps
    it, and cannot end it.

    Attributes:
        path: The mount point.
    """

    path: Path

    def __init__(self, server: Server) -> None:
        self.path = server.acquire()
        self._server = server
        self._finalizer = weakref.finalize(self, server.release)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """End the mount, unless another `Mount` of this process shares it.

        Raises:
            Error: The mount could not be ended; the message gives the reason.
        """
        if self._finalizer.detach():
            self._server.release()

    def __enter__(self) -> Path:
        if self.closed:
            raise ValueError(f"{self!r}")
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<npzfs.Mount at {str(self.path)!r}{', closed' if self.closed else ''}>"


def mount(*sources: StrPath, at: Optional[StrPath] = None, **options: Unpack[Options]) -> Mount:
    """Mount archives, usually for a ``with`` block::

        with npzfs.mount("frame.npz") as path:
            x = np.load(path / "x.npy", mmap_mode="r")

    Each member of the archive is a file below the path, with the bytes of the archive itself.
    Threads that mount the same archives with the same options share one mount, which ends with the
    last of them.

    Args:
        sources: An archive, a folder of archives, or several of either. The mount shows the members
            of a single archive, or the contents of a single folder. Several sources become
            directories in the mount.
        at: The mount point. If it does not exist, it is created, and removed when the mount ends.
            By default it is a new directory with a random name below ``TMPDIR`` or ``/tmp``.
        options: The long options of ``npzfs mount``, with underscores: ``strict=True``,
            ``inflate_limit="2G"``, ``umask=0o027``. Options for ``-o`` are a string:
            ``o="noatime"``.

    Raises:
        NotFound: An archive does not exist.
        CannotOpen: An archive cannot be opened or read.
        NotAnArchive: A file is not a ZIP archive.
        DamagedArchive: An archive is damaged.
        Unreadable: No member of an archive can be read; or any cannot, with ``strict=True``.
        MountPointError: `at` cannot be used.
        FuseUnavailable: FUSE is not available or not permitted.
        UsageError: An option has an invalid value.
        TypeError: An option does not exist.
        Error: Any other failure of the program.
    """
    return open_mount("mount", sources, options, at)


def open_mount(
    function: str,
    sources: Sequence[StrPath],
    options: Mapping[str, Any],
    at: Optional[StrPath] = None,
) -> Mount:
    """Return a mount of `sources`. Error messages name `function`, which the user has called."""
    if not sources:
        raise TypeError(f"{function}() needs an archive")
    arguments = _options.to_arguments(options, function)
    mount_point = None if at is None else os.path.abspath(at)
    return Mount(server_for([os.fspath(source) for source in sources], mount_point, arguments))
