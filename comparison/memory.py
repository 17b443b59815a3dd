"""Panel 2: the memory that a loaded frame adds to its process."""

import functools
import gc
from collections.abc import Callable
from pathlib import Path

from . import cases, child, filesystems, frames, process
from .results import Panel
from .scale import Scale

TITLE = "Memory of a loaded frame"
ABOUT = (
    "The resident, shared and virtual memory that `from_npy` and `from_npy_mmap` add to their "
    "process, from a native directory and from a mount, before any data is accessed."
)


def added_memory(load: Callable[[Path], object], tiny: Path, path: Path) -> dict[str, int]:
    """Measure the memory that a frame adds, in bytes."""
    kept = [load(tiny)]
    gc.collect()
    before = process.statm()
    kept.append(load(path))
    return {name: after - before[name] for name, after in process.statm().items()}


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Load two frames with each of the four contenders."""
    tiny = directory / "tiny"
    child.run(frames.MAKING_TIMEOUT_S, frames.make, tiny, frames.TINY)
    for shape, values in (("square", "uniform"), ("tall", "mixed")):
        made = directory / f"{shape}-{values}"
        text = frames.fixture(shape, values, scale.memory_elements)
        child.run(frames.MAKING_TIMEOUT_S, frames.make, made, text)

        def record(contender: str, loader: str, path: Path) -> None:
            load = frames.NPY_LOADERS[loader]
            sizes = child.run(scale.timeout_s, added_memory, load, tiny / "npy", path)
            for name, size in sizes.items():
                case = f"{shape} {values}, {name}"
                panel.add(case, cases.MOUNT_COLD, contender, cases.MEMORY, "B", size)

        def native(loader: str) -> None:
            record(f"{loader}, native", loader, made / "npy")

        def over_mount(loader: str) -> None:
            archive = made / "frame.npz"
            with filesystems.mounted("npzfs", archive, timeout_s=scale.timeout_s) as mount:
                record(f"{loader}, npzfs", loader, mount.path)

        contenders: dict[str, Callable[[], None]] = {}
        for loader in frames.NPY_LOADERS:
            contenders[f"{loader}, native"] = functools.partial(native, loader)
            contenders[f"{loader}, npzfs"] = functools.partial(over_mount, loader)
        panel.interleave(min(scale.rounds, 3), f"{shape} {values}", contenders)
