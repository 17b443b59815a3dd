"""Panel 4: one array of gigabytes, of which a small part is read."""

import functools
import time
from collections.abc import Callable
from pathlib import Path

import mmnpz
import numpy as np

from . import archives, cases, child, filesystems, process
from .results import Panel
from .scale import Scale

TITLE = "One big array"
ABOUT = (
    "The time to the first element of a big array, from nothing opened and nothing mounted, and "
    "then to a slice of 1,000 elements in its middle, as in Arrow's notebook; and the memory "
    "allocated by then. The array is all zeros and its file a hole, so copying and checking is "
    "measured, and not the disk. The time to mount is included."
)

SLICE_LEN = 1000
MAKING_TIMEOUT_S = 600


def from_npy(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


def from_npz(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")["a"]


def from_mmnpz(path: Path) -> np.ndarray:
    return mmnpz.load(path)["a"]


def first_and_slice(load: Callable[[Path], np.ndarray], path: Path) -> dict[str, float]:
    """Measure the seconds to the first element and then to the slice, and the bytes allocated."""
    allocated = process.anonymous_bytes()
    start = time.perf_counter()
    array = load(path)
    first = float(array[0])
    at_first = time.perf_counter()
    middle = len(array) // 2
    total = float(array[middle : middle + SLICE_LEN].sum())
    at_slice = time.perf_counter()
    if first or total:
        raise ValueError("the array is not all zeros")
    return {
        "first": at_first - start,
        "slice": at_slice - at_first,
        "allocated": max(process.anonymous_bytes() - allocated, 0),
    }


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Read from the array with each contender."""
    size = big_bytes(scale)
    archive, file = child.run(MAKING_TIMEOUT_S, archives.sparse, directory, size)
    case = f"{size / 1e9:g} GB"

    def record(contender: str, load: Callable, path: Path, mount_seconds: float) -> None:
        result = child.run(max(scale.timeout_s, 60), first_and_slice, load, path)
        first = result["first"] + mount_seconds
        panel.add(f"{case}, first element", cases.MOUNT_COLD, contender, cases.TIME, "s", first)
        panel.add(f"{case}, slice", cases.MOUNT_COLD, contender, cases.TIME, "s", result["slice"])
        panel.add(case, cases.MOUNT_COLD, contender, cases.ALLOCATED, "B", result["allocated"])

    def from_mount(contender: str) -> None:
        with filesystems.mounted(contender, archive, timeout_s=scale.timeout_s) as mount:
            record(contender, from_npy, mount.path / "a.npy", mount.seconds)

    contenders: dict[str, Callable[[], None]] = {
        cases.NATIVE: functools.partial(record, cases.NATIVE, from_npy, file, 0),
        cases.NPZ_FILE: functools.partial(record, cases.NPZ_FILE, from_npz, archive, 0),
        cases.MMNPZ: functools.partial(record, cases.MMNPZ, from_mmnpz, archive, 0),
    }
    for name in filesystems.NAMES:
        contenders[name] = functools.partial(from_mount, name)
    panel.interleave(min(scale.rounds, 3), case, contenders)


def big_bytes(scale: Scale) -> int:
    """The length of the array; it has to fit into memory twice, also as page cache."""
    available = process.size_fields(Path("/proc/meminfo"))["MemAvailable"]
    return min(scale.big_bytes, available * 4 // 10 // 10**9 * 10**9)
