"""The contents of an archive, read without mounting it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import _program

if TYPE_CHECKING:
    from ._program import StrPath

Label = Union[None, str, int, float, bool, Tuple[Any, ...]]
"""A name as StaticFrame stores it."""


@dataclass(frozen=True)
class Npy:
    """The npy header of a member.

    Attributes:
        version: The format version: ``"1.0"``, ``"2.0"`` or ``"3.0"``.
        dtype: The data type, such as ``"<f8"``; for a structured one the list of its fields, as
            text.
        fortran_order: Whether the array is in Fortran order: the first index varies fastest.
        shape: The length of each dimension.
        data_offset: The length of the npy header in bytes; the array's data follows it.
        aligned_64: Whether the array's data starts in the archive at a multiple of 64 bytes; None
            if the member is compressed.
        aligned_page: The same for the page size.
    """

    version: str
    dtype: str
    fortran_order: bool
    shape: Tuple[int, ...]
    data_offset: int
    aligned_64: Optional[bool]
    aligned_page: Optional[bool]


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Attributes:
        name: The name in the archive; control characters are escaped.
        path: The path in a mount, with a trailing slash for a directory; None if a mount does not
            show the member.
        method: The compression method: ``"stored"``, ``"deflated"``, ...
        size_bytes: The uncompressed size.
        compressed_bytes: The size of the data in the archive.
        crc32: The CRC-32 that the archive records: eight hexadecimal digits.
        local_header_offset: The offset of the local header in the archive, in bytes.
        data_offset: The offset of the data in the archive, in bytes; None if the local header is
            damaged.
        mtime: The modification time that a mount shows, in seconds since 1970-01-01 UTC.
        npy: The npy header; None if the member has none or cannot be read.
        lane: How a mount would serve the member: ``"mapped"``, ``"cloned"`` or ``"inflated"``.
        problem: Why the member cannot be read, as text; None if it can be.
    """

    name: str
    path: Optional[str]
    method: str
    size_bytes: int
    compressed_bytes: int
    crc32: str
    local_header_offset: int
    data_offset: Optional[int]
    mtime: int
    npy: Optional[Npy]
    lane: Optional[str]
    problem: Optional[str]


@dataclass(frozen=True)
class Axis:
    """The labels of the rows or of the columns of a frame.

    Attributes:
        name: The name of the index.
        type: The class of the index, such as ``"IndexDate"``.
        depth: The number of levels.
        types: The class of each level if there are several.
    """

    name: Label
    type: str
    depth: int
    types: Tuple[str, ...]


@dataclass(frozen=True)
class StoredFrame:
    """A frame that StaticFrame has stored in an archive.

    Attributes:
        name: The name of the frame.
        shape: The numbers of rows and columns, or None if the arrays do not show them.
        blocks: The number of arrays that hold the values.
        index: The labels of the rows.
        columns: The labels of the columns.
    """

    name: Label
    shape: Optional[Tuple[int, int]]
    blocks: int
    index: Axis
    columns: Axis


@dataclass(frozen=True)
class Listing:
    """The contents of an archive.

    Attributes:
        archive: The path as given, escaped like the names of members.
        size_bytes: The size of the archive.
        members: All members, in the order of the archive, including those that a mount hides.
        frame: The frame that StaticFrame has stored in the archive, or None.
    """

    archive: str
    size_bytes: int
    members: Tuple[Member, ...]
    frame: Optional[StoredFrame]


_T = TypeVar("_T")


def _from_json(kind: Type[_T], values: Mapping[str, Any], **parts: Any) -> _T:
    """Return an instance of `kind` with the values of a JSON object, lists as tuples."""
    # A later version of the program may add keys.
    known = {field.name: values[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(value) for name, value in {**known, **parts}.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if type(value) is type([]) else value


def _member(values: Mapping[str, Any]) -> Member:
    npy = values["npy"]
    return _from_json(Member, values, npy=npy and _from_json(Npy, npy))


def _frame(values: Mapping[str, Any]) -> StoredFrame:
    axes = {axis: _from_json(Axis, values[axis]) for axis in ("index", "columns")}
    return _from_json(StoredFrame, values, **axes)


def list(archive: StrPath) -> Listing:
    """List the contents of an archive without mounting it, as ``npzfs list --json`` does::

        for member in npzfs.list("frame.npz").members:
            if member.npy:
                print(member.name, member.npy.dtype, member.npy.shape)

    A member that cannot be read is not an error; its `Member.problem` gives the reason.

    Raises:
        NotFound: The archive does not exist.
        CannotOpen: The archive cannot be opened or read.
        NotAnArchive: The file is not a ZIP archive.
        DamagedArchive: The archive is damaged.
    """
    listing = json.loads(_program.run(["list", "--json"], [os.fspath(archive)]))
    frame = listing["frame"]
    members = tuple(map(_member, listing["members"]))
    return _from_json(Listing, listing, members=members, frame=frame and _frame(frame))
