"""Panel 5: one element with `mmap_mode` of an archive, which NumPy accepts and ignores."""

import functools
from collections.abc import Callable
from pathlib import Path

from . import archives, cache, cases, child, filesystems
from .big import MAKING_TIMEOUT_S, first_and_slice, from_mmnpz, from_npy, from_npz
from .results import Panel
from .scale import Scale

TITLE = 'What `mmap_mode="r"` does for an archive'
ABOUT = (
    '`np.load("big.npz", mmap_mode="r")["a"][k]` against `np.load("mount/a.npy", '
    'mmap_mode="r")[k]` on the mounted archive, for arrays of several lengths: time and memory. '
    "The archive is already mounted."
)


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Look up an element in arrays of each length."""
    for size in scale.lookup_bytes:
        folder = directory / str(size)
        folder.mkdir()
        archive, file = child.run(MAKING_TIMEOUT_S, archives.sparse, folder, size)
        cache.fill(archive)
        case = f"{size / 1e6:,g} MB"

        def record(contender: str, load: Callable, path: Path) -> None:
            result = child.run(scale.timeout_s, first_and_slice, load, path)
            panel.add(case, cases.MOUNT_COLD, contender, cases.TIME, "s", result["first"])
            panel.add(case, cases.MOUNT_COLD, contender, cases.ALLOCATED, "B", result["allocated"])

        def from_mount(contender: str) -> None:
            with filesystems.mounted(contender, archive, timeout_s=scale.timeout_s) as mount:
                record(contender, from_npy, mount.path / "a.npy")

        panel.interleave(
            scale.rounds,
            case,
            {
                cases.NATIVE: functools.partial(record, cases.NATIVE, from_npy, file),
                cases.NPZ_FILE: functools.partial(record, cases.NPZ_FILE, from_npz, archive),
                cases.MMNPZ: functools.partial(record, cases.MMNPZ, from_mmnpz, archive),
                cases.NPZFS: functools.partial(from_mount, cases.NPZFS),
            },
        )
