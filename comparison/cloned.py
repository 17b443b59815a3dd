"""Panel 6, third part: an aligned archive on a file system with reflinks."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from . import archives, cache, cases, child, filesystems
from .results import Panel
from .scale import Scale
from .throughput import WAYS

TITLE = "A repacked archive on XFS"
ABOUT = (
    "The same long member, from an archive aligned by `npzfs repack`, on an XFS image: the native "
    "file, npzfs as root with the cloned lane, and npzfs restricted to its mapped lane."
)

TOOL_TIMEOUT_S = 120
MAKING_TIMEOUT_S = 600
# mkfs.xfs requires 300 MiB.
IMAGE_BYTES_MIN = 1 << 30


class NotRoot(Exception):
    """The user may not mount an image."""


@contextlib.contextmanager
def xfs(directory: Path, size: int) -> Iterator[Path]:
    """Mount an XFS image, and unmount and detach it at the end."""
    if os.geteuid() != 0:
        raise NotRoot("only root may mount an XFS image")
    image, point = directory / "xfs.img", directory / "xfs"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    run_tool("mkfs.xfs", "-q", image)
    # Direct I/O, or the image would be cached a second time.
    device = run_tool("losetup", "--find", "--show", "--direct-io=on", image).strip()
    try:
        run_tool("mount", "-t", "xfs", device, point)
        try:
            yield point
        finally:
            if not filesystems.succeeds(["umount", str(point)]):
                run_tool("umount", "-l", point)
    finally:
        run_tool("losetup", "--detach", device)


def run_tool(*command: str | Path) -> str:
    return filesystems.run(command, TOOL_TIMEOUT_S)


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Read the member in each way and each state."""
    image_bytes = max(6 * scale.member_bytes, IMAGE_BYTES_MIN)
    with xfs(directory, image_bytes) as folder:
        packed, file = folder / "packed.npz", folder / "a.npy"
        made, _ = child.run(MAKING_TIMEOUT_S, archives.npz_and_npy, folder, scale.member_bytes)
        run_tool(filesystems.NPZFS, "repack", "--quiet", made, packed)
        made.unlink()
        os.sync()
        for case in WAYS:
            measure_case(panel, scale, case, packed, file)


def measure_case(panel: Panel, scale: Scale, case: str, packed: Path, file: Path) -> None:
    size = file.stat().st_size

    def rate(state: str, contender: str, path: Path) -> None:
        sample = child.run(scale.timeout_s, WAYS[case], path)
        panel.add(case, state, contender, cases.RATE, "GB/s", size / sample / 1e9)

    def native() -> None:
        cache.evict(file)
        for state in (cases.DISK_COLD, cases.CACHED):
            rate(state, cases.NATIVE, file)

    def npzfs(contender: str, passthrough: str) -> None:
        options = filesystems.passthrough_option(passthrough)
        if contender == cases.CLONED and not options:
            raise filesystems.CannotMount("this npzfs has no --passthrough")
        mounted = functools.partial(
            filesystems.mounted, "npzfs", packed, *options, timeout_s=scale.timeout_s
        )
        cache.evict(packed)
        with mounted() as mount:
            rate(cases.DISK_COLD, contender, mount.path / "a.npy")
        cache.fill(packed)
        with mounted() as mount:
            for state in (cases.MOUNT_COLD, cases.WARM):
                rate(state, contender, mount.path / "a.npy")

    contenders = {
        cases.NATIVE: native,
        cases.CLONED: functools.partial(npzfs, cases.CLONED, "on"),
        cases.MAPPED: functools.partial(npzfs, cases.MAPPED, "off"),
    }
    panel.interleave(scale.rounds, case, contenders)
