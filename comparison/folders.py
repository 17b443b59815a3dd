"""A folder of archives of one small array each, loaded by one process and by two."""

import concurrent.futures
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from . import cases, child, filesystems
from .loads import MAKING_TIMEOUT_S, SHAPE, Usage, name_of
from .results import Panel
from .scale import Scale

TITLE = "Folders of archives"
ABOUT = (
    "A folder of as many archives as the panel before has arrays, each of one array of 100x100 "
    "numbers: `np.load` of each array from native directories, from an `NpzFile` per archive, and "
    "from the folder mounted by npzfs, in one process and divided among two."
)


def make(directory: Path, count: int) -> None:
    """Write a folder of archives, and the same arrays as native directories."""
    (directory / "npz").mkdir()
    first = directory / "npz" / f"{name_of(0)}.npz"
    np.savez(first, x=np.random.default_rng(1).random(SHAPE))
    for number in range(count):
        name = name_of(number)
        if number > 0:
            # In the mount each has its own inode and is opened separately.
            os.link(first, directory / "npz" / f"{name}.npz")
        (directory / "npy" / f"{name}.npz").mkdir(parents=True)
        np.save(directory / "npy" / f"{name}.npz" / "x.npy", np.zeros(SHAPE))
    os.sync()


def load_file(path: Path) -> None:
    np.load(path / "x.npy")


def load_npz(path: Path) -> None:
    with np.load(path) as archive:
        archive["x"]


def load_all(load: Callable[[Path], None], paths: Sequence[Path]) -> None:
    for path in paths:
        load(path)


def seconds(load: Callable[[Path], None], folder: Path, count: int, processes: int) -> float:
    paths = [folder / f"{name_of(number)}.npz" for number in range(count)]
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(processes, context) as workers:
        # Start the workers before the clock.
        list(workers.map(len, [()] * processes))
        start = time.perf_counter()
        shares = [paths[first::processes] for first in range(processes)]
        list(workers.map(functools.partial(load_all, load), shares))
        return time.perf_counter() - start


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Load all arrays with each contender, in one process and in two."""
    count = scale.small_arrays
    child.run(MAKING_TIMEOUT_S, make, directory, count)

    def record(case: str, state: str, contender: str, load: Callable, folder: Path, n: int) -> None:
        sample = child.run(scale.timeout_s, seconds, load, folder, count, n)
        panel.add(case, state, contender, cases.TIME, "s", sample)

    def from_mount(case: str, processes: int) -> None:
        folder = directory / "npz"
        with filesystems.mounted(cases.NPZFS, folder, timeout_s=scale.timeout_s) as mount:
            for state in (cases.MOUNT_COLD, cases.WARM):
                before = Usage(cases.NPZFS, mount)
                record(case, state, cases.NPZFS, load_file, mount.path, processes)
                before.record_since(panel, case, state)

    for processes, case in ((1, "one process"), (2, "two processes")):
        native = functools.partial(
            record, case, cases.CACHED, cases.NATIVE, load_file, directory / "npy", processes
        )
        npz_file = functools.partial(
            record, case, cases.CACHED, cases.NPZ_FILE, load_npz, directory / "npz", processes
        )
        panel.interleave(
            scale.rounds,
            case,
            {
                cases.NATIVE: native,
                cases.NPZ_FILE: npz_file,
                cases.NPZFS: functools.partial(from_mount, case, processes),
            },
        )
