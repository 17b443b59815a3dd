"""Panel 3: many small arrays, each loaded separately."""

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
    "files of 50 arrays each. *Listed*: the directory was listed first, by `os.listdir`; *each "
    "stat'ed*: it was listed and each file was passed to `stat` first. The time excludes this."
)

SHAPE = (100, 100)
BATCH = 50
MAKING_TIMEOUT_S = 600


def name_of(number: int) -> str:
    return f"a{number:05}"


def make(directory: Path, count: int) -> None:
    """Write the same arrays as a directory, an archive and Parquet files."""
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
    """Load batch by batch, as written; one read loads all arrays of a batch."""
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


def stat_all(path: Path) -> None:
    with os.scandir(path) as entries:
        for entry in entries:
            entry.stat()


PREPARATIONS: dict[str, Callable[[Path], object]] = {
    cases.LISTED: os.listdir,
    cases.STATTED: stat_all,
}


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Load all arrays with each contender, and count the system calls that this takes."""
    child.run(MAKING_TIMEOUT_S, make, directory, scale.small_arrays)
    archive = directory / "a.npz"
    cache.fill(archive)
    in_order = list(range(scale.small_arrays))
    shuffled = random.Random(1).sample(in_order, len(in_order))

    def record(case: str, state: str, contender: str, load: Callable, path: Path) -> None:
        order = shuffled if case == cases.SHUFFLED else in_order
        sample = child.run(scale.timeout_s, seconds, load, path, order)
        panel.add(case, state, contender, cases.TIME, "s", sample)

    def from_file(case: str, contender: str) -> None:
        load, file = LOADERS[contender]
        record(case, cases.CACHED, contender, load, directory / file)

    def from_mount(case: str, contender: str) -> None:
        with filesystems.mounted(contender, archive, timeout_s=scale.timeout_s) as mount:
            if case in PREPARATIONS:
                child.run(scale.timeout_s, PREPARATIONS[case], mount.path)
            for state in (cases.MOUNT_COLD, cases.WARM):
                before = Usage(contender, mount)
                record(case, state, contender, load_files, mount.path)
                before.record_since(panel, case, state)

    for case in (cases.ARCHIVE_ORDER, cases.LISTED, cases.STATTED, cases.SHUFFLED):
        contenders = {name: functools.partial(from_file, case, name) for name in LOADERS}
        for name in filesystems.NAMES:
            contenders[name] = functools.partial(from_mount, case, name)
        panel.interleave(scale.rounds, case, contenders)
    count_system_calls(panel, scale, directory)


class Usage:
    """The processor time of a server, and the request counters of npzfs, at one moment."""

    def __init__(self, contender: str, mount: Mount) -> None:
        self.contender, self.mount = contender, mount
        self.cpu_seconds = mount.cpu_seconds()
        self.stats = mount.stats() if contender == cases.NPZFS else None

    def record_since(self, panel: Panel, case: str, state: str) -> float:
        """Record what was used since then; returns the processor time, in seconds."""
        now = Usage(self.contender, self.mount)
        spent = now.cpu_seconds - self.cpu_seconds
        panel.add(case, state, self.contender, cases.CPU, "s", spent)
        if self.stats is not None and now.stats is not None:
            counts = filesystems.requests_between(self.stats, now.stats)
            ioctls = counts.pop("ioctl", 0)
            panel.add(case, state, self.contender, cases.IOCTLS, "", ioctls)
            panel.add(case, state, self.contender, cases.REQUESTS, "", sum(counts.values()))
        return spent


def count_system_calls(panel: Panel, scale: Scale, directory: Path) -> None:
    """Count those of a whole program, minus those of the same program when it loads nothing."""
    count = min(scale.small_arrays, 1000)

    def record(contender: str, loader: str, path: Path) -> None:
        calls = system_calls(scale, loader, path, count) - system_calls(scale, loader, path, 0)
        panel.add("a program", cases.CACHED, contender, cases.SYSTEM_CALLS, "", calls / count)

    def from_file(contender: str) -> None:
        load, file = LOADERS[contender]
        record(contender, load.__name__, directory / file)

    def from_mount() -> None:
        archive = directory / "a.npz"
        with filesystems.mounted("npzfs", archive, timeout_s=scale.timeout_s) as mount:
            record(cases.NPZFS, load_files.__name__, mount.path)

    contenders: dict[str, Callable[[], None]] = {
        name: functools.partial(from_file, name) for name in LOADERS
    }
    panel.interleave(1, "a program", contenders | {cases.NPZFS: from_mount})


def system_calls(scale: Scale, loader: str, path: Path, count: int) -> int:
    program = (
        f"import sys, pathlib; from comparison.loads import {loader}; "
        f"{loader}(pathlib.Path(sys.argv[1]), range({count}))"
    )
    command = ["strace", "-f", "-c", "-o", "/dev/stdout", sys.executable, "-c", program, path]
    done = filesystems.run(command, 10 * scale.timeout_s)
    total = re.search(r"^100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", done, re.M)
    if total is None:
        raise ValueError(f"no total from strace: {done[-200:]}")
    return int(total[1])
