"""What an archive holds, without mounting it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import _program

if TYPE_CHECKING:
    from ._program import StrPath

Label = Union[None, str, int, float, bool, Tuple[Any, ...]]
"""A name as StaticFrame writes it."""


@dataclass(frozen=True)
class Npy:
    """What the npy header of a member says.

    Attributes:
        version: Of the format: ``"1.0"``, ``"2.0"`` or ``"3.0"``.
        dtype: Such as ``"<f8"``, or the list of fields of a structured one, as text.
        fortran_order: Whether the first index runs fastest.
        shape: The length of each dimension.
        data_offset: The length of the npy header in bytes, behind which the array starts.
        aligned_64: Whether the array starts at a multiple of 64 bytes in the archive; None if its
            bytes are not in the archive as they are.
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
        name: Its name in the archive, with escapes in the place of control characters.
        path: Its path in a mount, of a directory with a slash behind it; None if it is not shown.
        method: How it is compressed: ``"stored"``, ``"deflated"``, ...
        size_bytes: Its length.
        compressed_bytes: The length of its data in the archive.
        crc32: Of its content, as the archive has it: eight hexadecimal digits.
        local_header_offset: Where its local header starts in the archive, in bytes.
        data_offset: Where its data starts there; None if the local header is damaged.
        mtime: The time that the mount shows, in seconds since 1970-01-01 UTC.
        npy: What its npy header says, if it has one and can be read.
        lane: How a mount would serve it: ``"mapped"``, ``"cloned"`` or ``"inflated"``.
        problem: Why it cannot be read, in words, or None.
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
        name: Its own name.
        type: The class of the index, such as ``"IndexDate"``.
        depth: How many levels it has.
        types: The class of each level where there are several.
    """

    name: Label
    type: str
    depth: int
    types: Tuple[str, ...]


@dataclass(frozen=True)
class StoredFrame:
    """A frame that StaticFrame has stored.

    Attributes:
        name: Its own name.
        shape: How many rows and columns it has, or None if the arrays do not tell.
        blocks: How many arrays hold the values.
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
    """What an archive holds.

    Attributes:
        archive: Its path as given, escaped like the names of members.
        size_bytes: Its length.
        members: All members, in the order of the archive, hidden ones among them.
        frame: What StaticFrame has stored in it, if it has.
    """

    archive: str
    size_bytes: int
    members: Tuple[Member, ...]
    frame: Optional[StoredFrame]


_T = TypeVar("_T")


def _made(kind: Type[_T], of: Mapping[str, Any], **parts: Any) -> _T:
    """An object of what the program tells, in which tuples take the place of lists."""
    # Later versions may tell more.
    known = {field.name: of[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(value) for name, value in {**known, **parts}.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if type(value) is type([]) else value


def _member(told: Mapping[str, Any]) -> Member:
    npy = told["npy"]
    return _made(Member, told, npy=npy and _made(Npy, npy))


def _frame(told: Mapping[str, Any]) -> StoredFrame:
    axes = {axis: _made(Axis, told[axis]) for axis in ("index", "columns")}
    return _made(StoredFrame, told, **axes)


def list(archive: StrPath) -> Listing:
    """List the members of an archive, without mounting it: ``npzfs list --json``::

        for member in npzfs.list("frame.npz").members:
            if member.npy:
                print(member.name, member.npy.dtype, member.npy.shape)

    Raises:
        NotFound, CannotOpen, NotAnArchive, DamagedArchive: The archive cannot be read. That members
            cannot be read is no error here, but their `Member.problem`.
    """
    told = json.loads(_program.run(["list", "--json"], [os.fspath(archive)]))
    frame = told["frame"]
    members = tuple(map(_member, told["members"]))
    return _made(Listing, told, members=members, frame=frame and _frame(frame))
