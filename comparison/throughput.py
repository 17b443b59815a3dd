"""Panel 6, first part: the throughput of a long member."""

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from . import archives, cache, cases, child, filesystems, reading
from .filesystems import Mount
from .loads import Usage
from .results import Panel
from .scale import Scale

TITLE = "A long member, read and mapped"
ABOUT = (
    "Reads of 1 MiB, touching every page of a mapping, random faults of one page each, and 1, 2 "
    "and 4 processes that read the same member."
)

WAYS: dict[str, Callable[[Path], float]] = {
    cases.READ: reading.sequential,
    cases.TOUCH: reading.touch,
}
PROCESSES = (1, 2, 4)
MEMBER = "a.npy"
MAKING_TIMEOUT_S = 600


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Read the member in each way from each file system, in each state."""
    archive, file = child.run(MAKING_TIMEOUT_S, archives.npz_and_npy, directory, scale.member_bytes)
    size = file.stat().st_size
    mapped = filesystems.passthrough_option("off")

    def mount_of(name: str) -> AbstractContextManager[Mount]:
        options = mapped if name == cases.NPZFS else ()
        return filesystems.mounted(name, archive, *options, timeout_s=scale.timeout_s)

    @contextmanager
    def cached(name: str) -> Iterator[tuple[str, Path]]:
        """Yields the state and the path of the member: the cached native file, or a fresh mount."""
        if name == cases.NATIVE:
            cache.fill(file)
            yield cases.CACHED, file
        else:
            cache.fill(archive)
            with mount_of(name) as mount:
                yield cases.MOUNT_COLD, mount.path / MEMBER

    def rate(case: str, state: str, contender: str, path: Path) -> None:
        seconds = child.run(scale.timeout_s, WAYS[case], path)
        panel.add(case, state, contender, cases.RATE, "GB/s", size / seconds / 1e9)

    def native(case: str) -> None:
        cache.evict(file)
        rate(case, cases.DISK_COLD, cases.NATIVE, file)
        rate(case, cases.CACHED, cases.NATIVE, file)

    def over_mount(case: str, name: str) -> None:
        cache.evict(archive)
        with mount_of(name) as mount:
            rate(case, cases.DISK_COLD, name, mount.path / MEMBER)
            pages = sum(map(cache.resident_bytes, (archive, mount.path / MEMBER)))
            panel.add(case, cases.DISK_COLD, name, cases.PAGE_CACHE, "", pages / size)
        cache.fill(archive)
        with mount_of(name) as mount:
            for state in (cases.MOUNT_COLD, cases.WARM):
                before = Usage(name, mount)
                rate(case, state, name, mount.path / MEMBER)
                spent = before.record_since(panel, case, state)
                panel.add(case, state, name, cases.CPU_PER_GIB, "s", spent / size * 2**30)
            panel.add(case, cases.WARM, name, cases.PRIVATE, "B", mount.private_bytes())

    def random_faults(name: str) -> None:
        with cached(name) as (state, path):
            seconds = child.run(scale.timeout_s, reading.faults, path, scale.random_faults)
            each = seconds / scale.random_faults
            panel.add(cases.FAULTS, state, name, cases.TIME_PER_FAULT, "s", each)

    def concurrent(case: str, count: int, name: str) -> None:
        with cached(name) as (state, path):
            seconds = child.run(scale.timeout_s, reading.concurrent, path, count)
            panel.add(case, state, name, cases.RATE, "GB/s", count * size / seconds / 1e9)

    all_names = (cases.NATIVE, *filesystems.NAMES)
    for case in WAYS:
        contenders = {cases.NATIVE: functools.partial(native, case)}
        for name in filesystems.NAMES:
            contenders[name] = functools.partial(over_mount, case, name)
        panel.interleave(scale.rounds, case, contenders)
    faulting = {name: functools.partial(random_faults, name) for name in all_names}
    panel.interleave(scale.rounds, cases.FAULTS, faulting)
    for count in PROCESSES:
        case = f"{count} {'process' if count == 1 else 'processes'}"
        readers = {name: functools.partial(concurrent, case, count, name) for name in all_names}
        panel.interleave(scale.rounds, case, readers)
