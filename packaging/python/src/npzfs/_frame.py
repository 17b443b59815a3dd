"""Frames of StaticFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mount import mounted

if TYPE_CHECKING:
    from static_frame import TFrameAny
    from typing_extensions import Unpack

    from ._options import Options
    from ._program import StrPath


def frame(archive: StrPath, **options: Unpack[Options]) -> TFrameAny:
    """Open a frame that StaticFrame has stored with ``Frame.to_npz``, memory-mapped.

    Nothing has to be closed: each array keeps what it is mapped from, and that goes when the last
    of them does. There is one open file for each array; if these are too many, raise the limit
    first, by ``resource.setrlimit`` or ``ulimit -n``.

    Args:
        archive: The archive.
        options: As for `mount`.

    Returns:
        A ``static_frame.Frame`` with the shape, types and labels of the one that was stored.

    Raises:
        ImportError: StaticFrame is not installed.
        OSError: It takes more open files than are allowed, for example.
        Error: As for `mount`.
    """
    try:
        import static_frame
    except ImportError as error:
        message = "npzfs.frame needs StaticFrame: pip install 'npzfs[static-frame]'"
        raise ImportError(message) from error
    with mounted("frame", [archive], options) as path:
        # Left alone, the second one: it would take the pages away from under the frame.
        mapped, _ = static_frame.Frame.from_npy_mmap(path)
    return mapped
