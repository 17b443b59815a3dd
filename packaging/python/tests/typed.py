"""A program that uses the module, for mypy --strict, which sees the types of the installed one."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import npzfs


def shape_of(archive: Path, name: str) -> Optional[Tuple[int, ...]]:
    for member in npzfs.list(archive).members:
        if member.path == f"{name}.npy" and member.npy is not None:
            return member.npy.shape
    return None


def total(archive: str) -> float:
    options: npzfs.Options = {"inflate_limit": "2G", "umask": 0o027}
    with npzfs.mount(archive, at=Path("/mnt"), **options) as path:
        first: Path = path / "x.npy"
    try:
        with npzfs.load(archive, mmap_mode="c", threads=2) as arrays:
            return sum(float(arrays[name].sum()) for name in arrays.files) + len(first.name)
    except npzfs.NotFound as error:
        return float(error.status + len(error.message))


def wrong(archive: str) -> None:
    npzfs.mount(archive, thread=2)  # type: ignore[call-arg]
    npzfs.mount(archive, threads="2")  # type: ignore[arg-type]
    npzfs.load(archive, "r+")  # type: ignore[arg-type]
    npzfs.list(archive).members[0].name = "x"  # type: ignore[misc]
