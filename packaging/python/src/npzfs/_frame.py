"""Frames of StaticFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mount import open_mount

if TYPE_CHECKING:
    from static_frame import TFrameAny
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath


def frame(archive: StrPath, **options: Unpack[Options]) -> TFrameAny:
    """Open a frame that ``Frame.to_npz`` of StaticFrame has written, memory-mapped.

    The frame need not be closed: the mount ends with its last array. Each array keeps one file
    open. For wide frames raise the limit first, with ``resource.setrlimit`` or ``ulimit -n``.

    Args:
        archive: The path of the archive.
        options: See `mount`.

    Returns:
        A ``static_frame.Frame`` with the shape, types and labels of the stored one.

    Raises:
        ImportError: StaticFrame is not installed.
        OSError: An array cannot be mapped, for example because of the limit of open files.
        Error: See `mount`.
    """
    try:
        import static_frame
    except ImportError as error:
        message = "npzfs.frame needs StaticFrame: pip install 'npzfs[static-frame]'"
        raise ImportError(message) from error
    with open_mount("frame", [archive], options) as path:
        # The second value unmaps the arrays of the frame, so it must not be called.
        mapped, _ = static_frame.Frame.from_npy_mmap(path)
    return mapped
