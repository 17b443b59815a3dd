"""The arrays of an archive, memory-mapped."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ._errors import Error, Unreadable
from ._listing import list as list_members
from ._mount import open_mount

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_NAME_ATTRIBUTE = "user.npzfs.name"
_VERSION_ATTRIBUTE = "user.npy.version"
_HEADER_SIZE_MAX = 10_000
"""NumPy's default limit for an npy header, in bytes."""
_REPR_NAMES_MAX = 5
"""How many names `repr` and error messages show."""


class Arrays(Mapping[str, "np.memmap[Any, np.dtype[Any]]"]):
    """A mapping of names to the arrays of an archive. Each access maps the array anew.

    The names are those of `numpy.lib.npyio.NpzFile`, in the order of the archive: the names of the
    members without ``.npy``. A name with ``.npy`` is found, too. As in `NpzFile`, the value of a
    member that is not an array is `bytes`.

    Arrays stay valid after `close`, and after the last reference to this object is gone. Closing
    only prevents further access by name.

    An instance can be pickled. The process that unpickles it mounts the archive again, from the
    same path.

    Attributes:
        archive: The path of the archive.
    """

    archive: Path

    def __init__(
        self,
        archive: StrPath,
        mmap_mode: Literal["r", "c"],
        max_header_size: Optional[int],
        options: Mapping[str, Any],
    ) -> None:
        self.archive = Path(archive)
        self._mmap_mode = mmap_mode
        self._max_header_size = max_header_size
        self._options = options
        self._mount = open_mount("load", [archive], options)
        self._index: Optional[Dict[str, str]] = None

    @property
    def files(self) -> List[str]:
        """The names of all members, in the order of the archive."""
        return [name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) else name for name in self._paths()]

    def __getitem__(self, name: str) -> np.memmap[Any, np.dtype[Any]]:
        """Map an array.

        Returns:
            An array that is read-only, or copy-on-write with ``mmap_mode="c"``.

        Raises:
            KeyError: The archive has no member of this name.
            Unreadable: The member is encrypted, damaged, or compressed by an unsupported method.
            OSError: The member cannot be read for another reason.
            ValueError: The array holds Python objects, which cannot be mapped; its npy header is
                invalid or longer than `max_header_size`; or this object is closed.
        """
        path = self._find(name)
        if path is None:
            raise KeyError(f"{name!r} is not in {self.archive}, which has {self._first_names()}")
        try:
            # A buffered file would send one more request to the mount: isatty(3).
            with open(os.path.join(self._root(), path), "rb", buffering=0) as file:
                array: np.memmap[Any, np.dtype[Any]] = self._read(file, path)
                return array
        except OSError as error:
            self._raise_unreadable(path, error)
            raise

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self._paths())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._mount.closed

    def close(self) -> None:
        """Release the mount. Arrays that were mapped before stay valid."""
        self._mount.close()

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        archive = os.path.abspath(self.archive)
        return (Arrays, (archive, self._mmap_mode, self._max_header_size, self._options))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"with keys: {self._first_names()}"
        return f"Arrays '{self.archive}' {state}"

    def _first_names(self) -> str:
        files = self.files
        more = "..." if len(files) > _REPR_NAMES_MAX else ""
        return (", ".join(files[:_REPR_NAMES_MAX]) or "nothing") + more

    def _find(self, name: str) -> Optional[str]:
        """Return the path of a member below the mount, or None."""
        names = (name, name + _SUFFIX)
        if self._index is None:
            # Most names are also paths. This avoids listing the whole mount.
            for path in names:
                if self._has_name(path):
                    return path
        paths = self._paths()
        return next((paths[each] for each in names if each in paths), None)

    def _has_name(self, path: str) -> bool:
        """Whether the member at a path of the mount has the same name in the archive."""
        try:
            return os.getxattr(self._root() / path, _NAME_ATTRIBUTE) == path.encode()
        except (OSError, ValueError):
            return False

    def _paths(self) -> Dict[str, str]:
        """Return the paths of all members below the mount, by name."""
        root = self._root()
        if self._index is None:
            files = sorted(_walk(root, ""))
            if self._options.get("recursive"):
                self._index = {path: path for _, path in files}
            else:
                self._index = {_member_name(root / path): path for _, path in files}
        return self._index

    def _root(self) -> Path:
        if self.closed:
            raise ValueError(f"{self!r}")
        return self._mount.path

    def _read(self, file: FileIO, path: str) -> Any:
        """Do what `numpy.load` does, which opens the file three times."""
        import numpy as np

        magic = file.read(len(_MAGIC))
        file.seek(0)
        if magic != _MAGIC:
            return file.read()
        # NumPy's stubs lack `max_header_size`.
        form: Any = np.lib.format
        version = form.read_magic(file)
        limit = self._max_header_size
        if limit is None:
            limit = _default_max_header_size(file, version)
        if version not in ((1, 0), (2, 0)):
            load: Any = np.load
            return _without_file(load(file.name, mmap_mode=self._mmap_mode, max_header_size=limit))
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, fortran_order, dtype = header(file, max_header_size=limit)
        if dtype.hasobject:
            message = "holds Python objects, which cannot be mapped"
            raise ValueError(f"{self.archive}: member '{path}': {message}")
        order: Literal["F", "C"] = "F" if fortran_order else "C"
        return _without_file(np.memmap(file, dtype, self._mmap_mode, file.tell(), shape, order))

    def _raise_unreadable(self, path: str, error: OSError) -> None:
        """Raise `Unreadable` with the reason that ``npzfs list`` gives, if it gives one."""
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


def _default_max_header_size(file: FileIO, version: Tuple[int, int]) -> int:
    """Return the length up to which the npy header of a file is safe to load, in bytes.

    NumPy's limit protects Python's parser, which malicious text can crash. A mount shows the
    version of a header only if npzfs has parsed all of it, and then a longer one is safe, too.
    """
    size_len = 2 if version == (1, 0) else 4
    size = int.from_bytes(os.pread(file.fileno(), size_len, len(_MAGIC) + 2), "little")
    if size > _HEADER_SIZE_MAX:
        try:
            os.getxattr(file.fileno(), _VERSION_ATTRIBUTE)
            return size
        except OSError:
            pass
    return _HEADER_SIZE_MAX


def _without_file(array: np.memmap[Any, Any]) -> np.memmap[Any, Any]:
    """Return the same mapped array without the name of its file.

    joblib looks for a `mmap.mmap` among the bases of an array, and passes such an array to other
    processes by file name, which they cannot open once the mount is gone. Here the last base is a
    `memoryview` of the mapping, so joblib passes the data, as it does for an array in memory.
    """
    import numpy as np

    mapping: Any = array.base
    pages = np.frombuffer(mapping, np.uint8)
    offset = array.offset % mmap.ALLOCATIONGRANULARITY
    return np.ndarray.__new__(np.memmap, array.shape, array.dtype, pages, offset, array.strides)


def _walk(root: Path, below: str) -> Iterator[Tuple[int, str]]:
    """Yield the inode number and the path of each file below a mount.

    Inode numbers increase in the order of the archive.
    """
    try:
        with os.scandir(root / below) as scan:
            entries = [*scan]
    except OSError:
        if not below:
            raise
        return  # a member with the name of an archive that is not an archive
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.is_dir():
            yield from _walk(root, path)
        else:
            yield entry.inode(), path


def _member_name(file: Path) -> str:
    """Return the name of a member in the archive, which can differ from its path in the mount."""
    name = os.getxattr(file, _NAME_ATTRIBUTE)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def load(
    archive: StrPath,
    mmap_mode: Literal["r", "c"] = "r",
    *,
    max_header_size: Optional[int] = None,
    **options: Unpack[Options],
) -> Arrays:
    """Map the arrays of an archive into memory::

        with npzfs.load("frame.npz") as arrays:
            x = arrays["x"]
        x.sum()

    `numpy.load` ignores its `mmap_mode` for an archive and copies each array.

    The arrays stay valid after the block. Pickling an array pickles its data. To give another
    process an array without copying it, pass the mapping that this function returns, or the path
    of the archive, and map the array there. The attribute ``filename`` of the arrays is None,
    because the mount has no lasting path.

    Args:
        archive: The path of the archive. With ``recursive=True`` arrays of archives inside it are
            named by their paths in the mount: ``"inner.npz/x"``.
        mmap_mode: ``"r"`` for read-only arrays, ``"c"`` for copy-on-write: changes stay in memory.
        max_header_size: The longest npy header to read, in bytes, as in `numpy.load`. Tables with
            hundreds of fields have long headers. By default it is 10,000 as in NumPy, but 64 KiB
            for headers that npzfs could parse, so that they are known to be harmless.
        options: See `mount`.

    Returns:
        A mapping of names to `numpy.memmap` arrays with their saved shapes and dtypes.

    Raises:
        ImportError: NumPy is not installed.
        IsADirectoryError: `archive` is a folder. Use `mount` for its archives.
        ValueError: `mmap_mode` is neither ``"r"`` nor ``"c"``. Archives are never written to.
        Error: See `mount`.
    """
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise ImportError("npzfs.load needs NumPy: pip install 'npzfs[numpy]'") from error
    if mmap_mode not in ("r", "c"):
        raise ValueError(f"mmap_mode is {mmap_mode!r}, and must be 'r' or 'c'")
    if os.path.isdir(archive):
        raise IsADirectoryError(errno.EISDIR, "npzfs.load takes one archive", os.fspath(archive))
    return Arrays(archive, mmap_mode, max_header_size, options)
