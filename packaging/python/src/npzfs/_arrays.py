"""The arrays of an archive, memory-mapped."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ._errors import Error, Unreadable
from ._listing import list as list_members
from ._mount import mounted

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_NAME = "user.npzfs.name"
_SHOWN = 5
"""How many names are shown where there may be many."""


class Arrays(Mapping[str, "np.memmap[Any, np.dtype[Any]]"]):
    """The arrays of an archive by their names, each mapped anew when it is asked for.

    Names are those of `numpy.lib.npyio.NpzFile`: the members' without ``.npy``, though with it they
    are found as well, and in the order of the archive. A member that is no array is `bytes`, as
    there.

    Arrays outlive it: closing it, or dropping the last reference to it, only means that no further
    array can be had. The pages of an array that is alive never go away.

    Copies by `pickle` are loaded anew where they are unpickled, so it can be handed to processes.

    Attributes:
        archive: The path of the archive.
    """

    archive: Path

    def __init__(
        self, archive: StrPath, mmap_mode: Literal["r", "c"], options: Mapping[str, Any]
    ) -> None:
        self.archive = Path(archive)
        self._mode = mmap_mode
        self._options = options
        self._mount = mounted("load", [archive], options)
        self._index: Optional[Dict[str, str]] = None

    @property
    def files(self) -> List[str]:
        """The names of all arrays, in the order of the archive."""
        return [name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) else name for name in self._paths()]

    def __getitem__(self, name: str) -> np.memmap[Any, np.dtype[Any]]:
        """Map an array, read-only, or copy-on-write if so wanted.

        Raises:
            KeyError: There is none of this name.
            Unreadable: It is encrypted, damaged, or compressed in an unknown way.
            OSError: It cannot be read for another reason.
            ValueError: It holds Python objects, which cannot be mapped; or this is closed.
        """
        path = self._path(name)
        if path is None:
            raise KeyError(f"{name!r} is not in {self.archive}, which has {self._some()}")
        try:
            # A buffer would cost a request to the mount: whether the file is a terminal.
            with open(os.path.join(self._root(), path), "rb", buffering=0) as file:
                array: np.memmap[Any, np.dtype[Any]] = self._read(file, path)
                return array
        except OSError as error:
            self._explain(path, error)
            raise

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._path(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self._paths())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._mount.closed

    def close(self) -> None:
        """Let go of the archive. Arrays that were had from it stay as they are."""
        self._mount.close()

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        return (Arrays, (os.path.abspath(self.archive), self._mode, self._options))

    def __repr__(self) -> str:
        what = "closed" if self.closed else f"with keys: {self._some()}"
        return f"Arrays '{self.archive}' {what}"

    def _some(self) -> str:
        files = self.files
        more = "..." if len(files) > _SHOWN else ""
        return (", ".join(files[:_SHOWN]) or "nothing") + more

    def _path(self, name: str) -> Optional[str]:
        names = (name, name + _SUFFIX)
        if self._index is None:
            # All names are only looked at if it takes that.
            for each in names:
                if self._is_named(each):
                    return each
        paths = self._paths()
        return next((paths[each] for each in names if each in paths), None)

    def _is_named(self, path: str) -> bool:
        """Whether the mount shows a member under the very name that the archive has for it."""
        try:
            return os.getxattr(self._root() / path, _NAME) == path.encode()
        except (OSError, ValueError):
            return False

    def _paths(self) -> Dict[str, str]:
        """The members' names, and their paths below the mount."""
        root = self._root()
        if self._index is None:
            found = sorted(_walk(root, ""))
            if self._options.get("recursive"):
                self._index = {path: path for _, path in found}
            else:
                self._index = {_name_of(root / path): path for _, path in found}
        return self._index

    def _root(self) -> Path:
        if self.closed:
            raise ValueError(f"{self!r}")
        return self._mount.path

    def _read(self, file: FileIO, path: str) -> Any:
        """What `numpy.load` would make of a file, which it opens three times."""
        import numpy as np

        magic = file.read(len(_MAGIC))
        file.seek(0)
        if magic != _MAGIC:
            return file.read()
        form: Any = np.lib.format
        version = form.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            return np.load(file.name, mmap_mode=self._mode)
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, fortran_order, dtype = header(file)
        if dtype.hasobject:
            message = "holds Python objects, which cannot be mapped"
            raise ValueError(f"{self.archive}: member '{path}': {message}")
        order: Literal["F", "C"] = "F" if fortran_order else "C"
        return np.memmap(file, dtype, self._mode, file.tell(), shape, order)

    def _explain(self, path: str, error: OSError) -> None:
        """Say why a member cannot be read, if the program can tell."""
        if error.errno not in (errno.EIO, errno.EACCES, errno.EOPNOTSUPP):
            return
        try:
            members = list_members(self.archive).members
        except (Error, OSError):
            return
        for member in members:
            if member.path == path and member.problem:
                message = f"{self.archive}: member '{member.name}': {member.problem}"
                raise Unreadable(message) from error


def _walk(root: Path, below: str) -> Iterator[Tuple[int, str]]:
    """The files of a mount, each with its number, which goes by the order of the archive."""
    try:
        with os.scandir(root / below) as scan:
            entries = [*scan]
    except OSError:
        if not below:
            raise
        return  # a member that has the name of an archive and is none
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.is_dir():
            yield from _walk(root, path)
        else:
            yield entry.inode(), path


def _name_of(file: Path) -> str:
    """The name that the archive has for a file: a mount shows none that leads out of it."""
    name = os.getxattr(file, _NAME)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def load(
    archive: StrPath, mmap_mode: Literal["r", "c"] = "r", **options: Unpack[Options]
) -> Arrays:
    """Map the arrays of an archive, which `numpy.load` only copies, whatever `mmap_mode` it has::

        with npzfs.load("frame.npz") as arrays:
            x = arrays["x"]
        x.sum()

    Args:
        archive: The archive. With ``recursive=True`` the arrays of archives inside it go by their
            paths in the mount: ``"inner.npz/x"``.
        mmap_mode: ``"r"`` for arrays that cannot be written to, ``"c"`` for such that can be,
            though only in memory.
        options: As for `mount`.

    Returns:
        A mapping of names to `numpy.memmap`, with the shape and the dtype that each array was saved
        with.

    Raises:
        ImportError: NumPy is not installed.
        IsADirectoryError: `archive` is a folder: `mount` shows the archives in it.
        ValueError: Another `mmap_mode` is wanted, and archives are never written to.
        Error: As for `mount`.
    """
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise ImportError("npzfs.load needs NumPy: pip install 'npzfs[numpy]'") from error
    if mmap_mode not in ("r", "c"):
        raise ValueError(f"mmap_mode is {mmap_mode!r}, and must be 'r' or 'c'")
    if os.path.isdir(archive):
        raise IsADirectoryError(errno.EISDIR, "npzfs.load takes one archive", os.fspath(archive))
    return Arrays(archive, mmap_mode, options)
