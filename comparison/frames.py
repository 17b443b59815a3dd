"""Panel 1: the frames of the StaticFrame article, loaded from each storage format."""

import functools
import gc
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import frame_fixtures as ff
import pandas as pd
import pyarrow.feather  # noqa: F401  else pandas imports it during the measurement
import pyarrow.parquet  # noqa: F401
import static_frame as sf

from . import cases, child, filesystems
from .results import Panel
from .scale import Scale

TITLE = "The panel of the StaticFrame article"
ABOUT = (
    "Nine frames, each loaded from an `.npz`, from a directory of `.npy` files (native, and the "
    "same `.npz` mounted), memory-mapped from both, and from Parquet and Feather by pandas. The "
    "time is that until the loader returns: `from_npy_mmap` reads the headers only, the others "
    "read all data."
)

SHAPES = {"tall": (100, 1), "square": (1, 1), "wide": (1, 100)}
VALUES = {
    "uniform": "v(float)",
    "mixed": "v(int,int,bool,float,float)",
    "columnar": "v(int,bool,float)",
}
TINY = "s(4,4)|v(int,bool,float)|i(I,int)|c(I,str)"

# Each frame is made once, and pandas takes long to write a wide one.
MAKING_TIMEOUT_S = 1800


def fixture(shape: str, values: str, elements: int) -> str:
    """The frame-fixtures expression for a frame; its longer side is 100 times the shorter one."""
    rows, columns = SHAPES[shape]
    unit = round((elements / (rows * columns)) ** 0.5)
    return f"s({unit * rows},{unit * columns})|{VALUES[values]}|i(I,int)|c(I,str)"


def make(directory: Path, text: str) -> int:
    """Write a frame in each format; returns the number of members of its archive."""
    warnings.simplefilter("ignore")  # pandas warns of frames with many blocks
    directory.mkdir()
    frame = ff.parse(text)
    frame.to_npz(directory / "frame.npz")
    frame.to_npy(directory / "npy")
    table = frame.to_pandas()
    table.to_parquet(directory / "snappy.parquet")
    table.to_parquet(directory / "plain.parquet", compression=None)
    table.reset_index().to_feather(directory / "frame.feather")
    return len(list((directory / "npy").iterdir()))


def seconds(load: Callable[[Path], object], tiny: Path, path: Path) -> float:
    """Measure the time to load a frame, after a first load has done all one-time work."""
    kept = [load(tiny)]
    gc.collect()
    start = time.perf_counter()
    kept.append(load(path))
    return time.perf_counter() - start


NPY_LOADERS = {"from_npy": sf.Frame.from_npy, "from_npy_mmap": sf.Frame.from_npy_mmap}
FILE_LOADERS: dict[str, tuple[Callable[[Path], object], str]] = {
    cases.FROM_NPZ: (sf.Frame.from_npz, "frame.npz"),
    cases.PARQUET: (pd.read_parquet, "snappy.parquet"),
    cases.PLAIN_PARQUET: (pd.read_parquet, "plain.parquet"),
    cases.FEATHER: (pd.read_feather, "frame.feather"),
}


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Load each of the nine frames with each contender."""
    tiny = directory / "tiny"
    child.run(MAKING_TIMEOUT_S, make, tiny, TINY)
    for values in VALUES:
        for shape in SHAPES:
            made = directory / f"{shape}-{values}"
            text = fixture(shape, values, scale.frame_elements)
            members = child.run(MAKING_TIMEOUT_S, make, made, text)
            measure_frame(panel, scale, f"{shape} {values}, {cases.members(members)}", made, tiny)
            shutil.rmtree(made)


def measure_frame(panel: Panel, scale: Scale, case: str, made: Path, tiny: Path) -> None:
    def record(contender: str, state: str, load: Callable, *paths: Path) -> None:
        sample = child.run(scale.timeout_s, seconds, load, *paths)
        panel.add(case, state, contender, cases.TIME, "s", sample)

    def from_file(contender: str) -> None:
        load, file = FILE_LOADERS[contender]
        record(contender, cases.CACHED, load, tiny / file, made / file)

    def from_directory(loader: str) -> None:
        load = NPY_LOADERS[loader]
        record(f"{loader}, native", cases.CACHED, load, tiny / "npy", made / "npy")

    def from_mount(loader: str) -> None:
        contender = f"{loader}, npzfs"
        archive = made / "frame.npz"
        with filesystems.mounted("npzfs", archive, timeout_s=scale.timeout_s) as mount:
            for state in (cases.MOUNT_COLD, cases.WARM):
                record(contender, state, NPY_LOADERS[loader], tiny / "npy", mount.path)

    contenders = {name: functools.partial(from_file, name) for name in FILE_LOADERS}
    for loader in NPY_LOADERS:
        contenders[f"{loader}, native"] = functools.partial(from_directory, loader)
        contenders[f"{loader}, npzfs"] = functools.partial(from_mount, loader)
    panel.interleave(scale.rounds, case, contenders)
