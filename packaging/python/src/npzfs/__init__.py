"""Mount NumPy ``.npz`` archives as directories of memory-mappable ``.npy`` files.

    with npzfs.mount("frame.npz") as path:              # a directory of .npy files
        x = np.load(path / "x.npy", mmap_mode="r")
    arrays = npzfs.load("frame.npz")                    # a mapping of names to numpy.memmap
    members = npzfs.list("frame.npz").members           # the contents, without mounting
    frame = npzfs.frame("frame.npz")                    # a memory-mapped static_frame.Frame

This package runs the program ``npzfs``, which is part of it. The environment variable ``NPZFS``
selects another one. Its manual page, npzfs(1), describes mounts and their options in full.
"""

from __future__ import annotations

from ._arrays import Arrays, load
from ._errors import (
    CannotOpen,
    DamagedArchive,
    Error,
    FuseUnavailable,
    MountPointError,
    NotAnArchive,
    NotFound,
    ProgramNotFound,
    Unreadable,
    UsageError,
)
from ._frame import frame
from ._listing import Axis, Listing, Member, Npy, StoredFrame, list
from ._mount import Mount, mount
from ._options import Options

__all__ = [
    "Arrays",
    "Axis",
    "CannotOpen",
    "DamagedArchive",
    "Error",
    "FuseUnavailable",
    "Listing",
    "Member",
    "Mount",
    "MountPointError",
    "NotAnArchive",
    "NotFound",
    "Npy",
    "Options",
    "ProgramNotFound",
    "StoredFrame",
    "Unreadable",
    "UsageError",
    "frame",
    "list",
    "load",
    "mount",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("npzfs")
    raise AttributeError(f"module 'npzfs' has no attribute {name!r}")
