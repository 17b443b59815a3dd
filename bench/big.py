"""Panel 4: one array of gigabytes, of which little is wanted."""

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
    "From nothing opened and nothing mounted to the first element of a big array, and to a "
    "slice of 1,000 in its middle, as in Arrow's notebook; what is allocated then. The array is"
    " all zeros and a hole in its file, so that it is copying and checking which is measured, "
    "and no disk. The time to mount is included."
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
    """Seconds to the first element and then to the slice; bytes allocated for both."""
    allocated = process.anonymous_bytes()
    start = time.perf_counter()
    array = load(path)
    first = float(array[0])
    at_first = time.perf_counter()
    middle = len(array) // 2
    total = float(array[middle : middle + SLICE_LEN].sum())
    at_slice = time.perf_counter()
    if first or total:
        raise ValueError("not what was written")
    return {
        "first": at_first - start,
        "slice": at_slice - at_first,
        "allocated": max(process.anonymous_bytes() - allocated, 0),
    }


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Look into the array in each way."""
    size = big_bytes(scale)
    archive, file = child.run(MAKING_TIMEOUT_S, archives.sparse, directory, size)
    case = f"{size / 1e9:g} GB"

    def note(contender: str, load: Callable, path: Path, mount_seconds: float) -> None:
        found = child.run(max(scale.timeout_s, 60), first_and_slice, load, path)
        first = found["first"] + mount_seconds
        panel.add(f"{case}, first element", cases.MOUNT_COLD, contender, cases.TIME, "s", first)
        panel.add(f"{case}, slice", cases.MOUNT_COLD, contender, cases.TIME, "s", found["slice"])
        panel.add(case, cases.MOUNT_COLD, contender, cases.ALLOCATED, "B", found["allocated"])

    def from_mount(contender: str) -> None:
        with filesystems.mounted(contender, archive, timeout_s=scale.timeout_s) as mount:
            note(contender, from_npy, mount.path / "a.npy", mount.seconds)

    contenders: dict[str, Callable[[], None]] = {
        cases.NATIVE: functools.partial(note, cases.NATIVE, from_npy, file, 0),
        cases.NPZ_FILE: functools.partial(note, cases.NPZ_FILE, from_npz, archive, 0),
        cases.MMNPZ: functools.partial(note, cases.MMNPZ, from_mmnpz, archive, 0),
    }
    for name in filesystems.NAMES:
        contenders[name] = functools.partial(from_mount, name)
    panel.interleave(min(scale.rounds, 3), case, contenders)


def big_bytes(scale: Scale) -> int:
    """What is wanted, but no more than fits into memory twice: as an array and as page cache."""
    available = process.fields_of(Path("/proc/meminfo"))["MemAvailable"]
    return min(scale.big_bytes, available * 4 // 10 // 10**9 * 10**9)
