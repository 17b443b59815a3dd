"""Panel 3: many small arrays, each loaded by itself."""

import functools
import os
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mmnpz
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import cache, cases, child, filesystems
from .filesystems import Mount
from .results import Panel
from .scale import Scale

TITLE = "Many small arrays"
ABOUT = (
    "Arrays of 100x100 numbers, and `np.load` of each: from a native directory, from an "
    "`NpzFile` and from mounts of the archive; the same arrays by `mmnpz`, and from Parquet "
    "files that hold 50 each. *Listed* means that the directory was listed first, by `os.listdir`, "
    "and *each looked at* that there was a `stat` of each file besides; that is not in the time."
)

SHAPE = (100, 100)
BATCH = 50
MAKING_TIMEOUT_S = 600


def name_of(number: int) -> str:
    return f"a{number:05}"


def make(directory: Path, count: int) -> None:
    """The same arrays as a directory, an archive, and Parquet files."""
    arrays = np.random.default_rng(1).random((count, *SHAPE))
    for kind in ("npy", "parquet"):
        (directory / kind).mkdir()
    for number, array in enumerate(arrays):
        np.save(directory / "npy" / f"{name_of(number)}.npy", array)
    np.savez(directory / "a.npz", **{name_of(at): array for at, array in enumerate(arrays)})
    for first in range(0, count, BATCH):
        flat = pa.array(arrays[first : first + BATCH].ravel())
        column = pa.FixedSizeListArray.from_arrays(flat, SHAPE[0] * SHAPE[1])
        table = pa.table({"array": column})
        pq.write_table(table, directory / "parquet" / f"{first // BATCH:05}.parquet")
    os.sync()


def load_files(path: Path, order: Sequence[int]) -> None:
    for number in order:
        np.load(f"{path}/{name_of(number)}.npy")


def load_npz(path: Path, order: Sequence[int]) -> None:
    with np.load(path) as archive:
        for number in order:
            archive[name_of(number)]


def load_mmnpz(path: Path, order: Sequence[int]) -> None:
    archive = mmnpz.load(path)
    for number in order:
        np.array(archive[name_of(number)])


def load_parquet(path: Path, order: Sequence[int]) -> None:
    """Batch by batch, as they were written; a batch in memory serves all of its arrays."""
    for batch in sorted({number // BATCH for number in order}):
        table = pq.read_table(path / f"{batch:05}.parquet")
        column = table.column("array").combine_chunks()
        column.flatten().to_numpy().reshape(-1, *SHAPE)


LOADERS: dict[str, tuple[Callable[[Path, Sequence[int]], None], str]] = {
    cases.NATIVE: (load_files, "npy"),
    cases.NPZ_FILE: (load_npz, "a.npz"),
    cases.MMNPZ: (load_mmnpz, "a.npz"),
    "Parquet, batches of 50": (load_parquet, "parquet"),
}


def seconds(load: Callable[[Path, Sequence[int]], None], path: Path, order: Sequence[int]) -> float:
    start = time.perf_counter()
    load(path, order)
    return time.perf_counter() - start


def look_at_all(path: Path) -> None:
    with os.scandir(path) as entries:
        for entry in entries:
            entry.stat()


FIRST: dict[str, Callable[[Path], object]] = {
    cases.LISTED: os.listdir,
    cases.LOOKED_AT: look_at_all,
}


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Load all arrays in each way, and count the system calls that this takes."""
    child.run(MAKING_TIMEOUT_S, make, directory, scale.small_arrays)
    archive = directory / "a.npz"
    cache.fill(archive)
    in_order = list(range(scale.small_arrays))
    shuffled = random.Random(1).sample(in_order, len(in_order))

    def note(case: str, state: str, contender: str, load: Callable, path: Path) -> None:
        order = shuffled if case == cases.SHUFFLED else in_order
        sample = child.run(scale.timeout_s, seconds, load, path, order)
        panel.add(case, state, contender, cases.TIME, "s", sample)

    def from_file(case: str, contender: str) -> None:
        load, file = LOADERS[contender]
        note(case, cases.CACHED, contender, load, directory / file)

    def from_mount(case: str, contender: str) -> None:
        with filesystems.mounted(contender, archive, timeout_s=scale.timeout_s) as mount:
            if case in FIRST:
                child.run(scale.timeout_s, FIRST[case], mount.path)
            for state in (cases.MOUNT_COLD, cases.WARM):
                before = Cost(contender, mount)
                note(case, state, contender, load_files, mount.path)
                before.note(panel, case, state)

    for case in (cases.IN_ORDER, cases.LISTED, cases.LOOKED_AT, cases.SHUFFLED):
        contenders = {name: functools.partial(from_file, case, name) for name in LOADERS}
        for name in filesystems.NAMES:
            contenders[name] = functools.partial(from_mount, case, name)
        panel.interleave(scale.rounds, case, contenders)
    count_system_calls(panel, scale, directory)


class Cost:
    """What a server has spent, and what npzfs was asked for, up to a moment."""

    def __init__(self, contender: str, mount: Mount) -> None:
        self.contender, self.mount = contender, mount
        self.cpu_seconds = mount.cpu_seconds()
        self.stats = mount.stats() if contender == cases.NPZFS else None

    def note(self, panel: Panel, case: str, state: str) -> float:
        """Note what has come to it since; returns the processor time, in seconds."""
        now = Cost(self.contender, self.mount)
        spent = now.cpu_seconds - self.cpu_seconds
        panel.add(case, state, self.contender, cases.CPU, "s", spent)
        if self.stats is not None and now.stats is not None:
            counts = filesystems.requests(self.stats, now.stats)
            ioctls = counts.pop("ioctl", 0)
            panel.add(case, state, self.contender, cases.IOCTLS, "", ioctls)
            panel.add(case, state, self.contender, cases.REQUESTS, "", sum(counts.values()))
        return spent


def count_system_calls(panel: Panel, scale: Scale, directory: Path) -> None:
    """Count those of a whole program, less those of the same program that loads nothing."""
    count = min(scale.small_arrays, 1000)

    def note(contender: str, loader: str, path: Path) -> None:
        calls = system_calls(scale, loader, path, count) - system_calls(scale, loader, path, 0)
        panel.add("a program", cases.CACHED, contender, cases.CALLS, "", calls / count)

    def from_file(contender: str) -> None:
        load, file = LOADERS[contender]
        note(contender, load.__name__, directory / file)

    def from_mount() -> None:
        archive = directory / "a.npz"
        with filesystems.mounted("npzfs", archive, timeout_s=scale.timeout_s) as mount:
            note(cases.NPZFS, load_files.__name__, mount.path)

    contenders: dict[str, Callable[[], None]] = {
        name: functools.partial(from_file, name) for name in LOADERS
    }
    panel.interleave(1, "a program", contenders | {cases.NPZFS: from_mount})


def system_calls(scale: Scale, loader: str, path: Path, count: int) -> int:
    program = (
        f"import sys, pathlib; from bench.loads import {loader}; "
        f"{loader}(pathlib.Path(sys.argv[1]), range({count}))"
    )
    command = ["strace", "-f", "-c", "-o", "/dev/stdout", sys.executable, "-c", program, path]
    done = filesystems.run(command, 10 * scale.timeout_s)
    total = re.search(r"^100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", done, re.M)
    if total is None:
        raise ValueError(f"no total from strace: {done[-200:]}")
    return int(total[1])
