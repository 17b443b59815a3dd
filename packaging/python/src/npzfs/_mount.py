"""Mounts."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from . import _options
from ._server import Server, server

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath


class Mount:
    """A live mount. As a context manager it gives its path and ends with the block.

    It also ends by `close`, with the last reference to it, and with the process, even if that is
    killed. Files and arrays that are open then go on as before: the mount only cannot be seen any
    more, and its server ends when the last of them is closed.

    In a process that was forked the mount is its parent's. It can be used there as long as the
    parent has it, and nothing ends it there.

    Attributes:
        path: The directory of the mount.
    """

    path: Path

    def __init__(self, server: Server) -> None:
        self.path = server.enter()
        self._server = server
        self._end = weakref.finalize(self, server.leave)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._end.alive

    def close(self) -> None:
        """End the mount, unless another `Mount` of this process shares it.

        Raises:
            Error: The mount stays, for the reason given.
        """
        if self._end.detach():
            self._server.leave()

    def __enter__(self) -> Path:
        if self.closed:
            raise ValueError(f"{self!r}")
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<npzfs.Mount at {str(self.path)!r}{', closed' if self.closed else ''}>"


def mount(*sources: StrPath, at: Optional[StrPath] = None, **options: Unpack[Options]) -> Mount:
    """Mount archives, to be used in a ``with`` block::

        with npzfs.mount("frame.npz") as path:
            x = np.load(path / "x.npy", mmap_mode="r")

    Each member of the archive is a file below the path, and its bytes are the archive's own. The
    same archives with the same options are mounted once in a process, whichever threads ask for
    them, and stay mounted until the last of these is done.

    Args:
        sources: An archive; or several archives or folders of archives, which become directories in
            the mount, as does a folder's content if it is the only one.
        at: The directory to mount on, which is made, and later removed, if it is missing. Without
            it, it is one that nobody else knows, below ``TMPDIR`` or else ``/tmp``.
        options: The long options of ``npzfs mount``, with underscores: ``strict=True``,
            ``inflate_limit="2G"``, ``umask=0o027``. Those of ``-o`` are a string: ``o="noatime"``.

    Raises:
        NotFound, CannotOpen, NotAnArchive, DamagedArchive, Unreadable: The archive cannot be used.
        MountPointError: `at` cannot be used.
        FuseUnavailable: Nothing can be mounted here.
        UsageError: An option has a wrong value.
        TypeError: There is no such option.
        Error: Anything else.
    """
    return mounted("mount", sources, options, at)


def mounted(
    function: str,
    sources: Sequence[StrPath],
    options: Mapping[str, Any],
    at: Optional[StrPath] = None,
) -> Mount:
    """The mount that a function of this package is asked for."""
    if not sources:
        raise TypeError(f"{function}() needs an archive")
    words = _options.arguments(options, function)
    place = None if at is None else os.path.abspath(at)
    return Mount(server([os.fspath(source) for source in sources], place, words))
