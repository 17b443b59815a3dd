"""The performance targets, as ratios within one run, and the measured values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import cases
from .results import Panel, Results

# A frame of more members is slower than Parquet and Feather even in a native directory.
FEW_MEMBERS = 1_003


@dataclass(frozen=True)
class Target:
    """One target, and the measured value if there is one."""

    description: str
    sign: str
    limit: float
    measured: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the measured value meets the target; `None` if it was not measured."""
        if self.measured is None:
            return None
        return {
            ">=": self.measured >= self.limit,
            "<=": self.measured <= self.limit,
            "<": self.measured < self.limit,
            ">": self.measured > self.limit,
        }[self.sign]


class Medians:
    """The medians of one panel; empty if the panel was not run."""

    def __init__(self, results: Results, name: str) -> None:
        self.panel = results.panel(name) or Panel(name, "", "")

    def median(self, case: str, state: str, contender: str, quantity: str) -> float | None:
        """A median. A contender without a mount has the same one when mount-cold and when warm."""
        states = (state,) if state == cases.DISK_COLD else (state, cases.CACHED)
        for state in states:
            series = self.panel.find(case, state, contender, quantity)
            if series is not None:
                return series.median
        return None

    def ratio(
        self, case: str, state: str, one: str, other: Iterable[str] | str, quantity: str, best=min
    ) -> float | None:
        """The median of `one` divided by that of `other`, or by the best of several others."""
        others = [other] if isinstance(other, str) else list(other)
        medians = (self.median(case, state, name, quantity) for name in others)
        known = [median for median in medians if median is not None]
        own = self.median(case, state, one, quantity)
        if own is None or not known:
            return None
        against = best(known)
        return own / against if against else math.inf

    def cases(self) -> list[str]:
        """The cases, without repetitions, in order."""
        return list(dict.fromkeys(series.case for series in self.panel.series))

    def peers(self) -> set[str]:
        """The measured file systems other than npzfs."""
        names = {series.contender for series in self.panel.series}
        return names - {cases.NPZFS, cases.NATIVE}


def targets(results: Results) -> Iterator[Target]:
    """Yields each target with its measured value."""
    cloned, long = Medians(results, "cloned"), Medians(results, "throughput")
    against_native = (cases.CLONED, cases.NATIVE, cases.RATE)
    for case, state, limit in (
        (cases.READ, cases.WARM, 1.0),
        (cases.TOUCH, cases.WARM, 1.0),
        (cases.READ, cases.DISK_COLD, 0.95),
    ):
        description = f"cloned lane, {state}, {case}: rate / rate of the native file on that XFS"
        yield Target(description, ">=", limit, cloned.ratio(case, state, *against_native))
    for case in (cases.READ, cases.TOUCH):
        measured = long.ratio(case, cases.DISK_COLD, cases.NPZFS, cases.NATIVE, cases.RATE)
        yield Target(f"mapped lane, disk-cold, {case}: rate / native rate", ">=", 0.9, measured)

    cold_read = (cases.READ, cases.MOUNT_COLD, cases.NPZFS)
    start = "mapped lane, mount-cold, sequential read: rate / rate of"
    for peer, limit in (("mount-zip", 1.8), ("ratarmount", 2.0)):
        yield Target(f"{start} {peer}", ">=", limit, long.ratio(*cold_read, peer, cases.RATE))
    fastest = long.ratio(*cold_read, long.peers(), cases.RATE, max)
    yield Target(f"{start} the fastest peer", ">", 1.0, fastest)

    loads = Medians(results, "loads")
    for case, limit in ((cases.ARCHIVE_ORDER, 2.0), (cases.LISTED, 1.4)):
        measured = loads.ratio(case, cases.MOUNT_COLD, cases.NPZFS, cases.NPZ_FILE, cases.TIME)
        yield Target(
            f"`np.load` of each, mount-cold, {case}: time / time of `NpzFile`",
            "<=",
            limit,
            measured,
        )
    measured = loads.ratio(cases.ARCHIVE_ORDER, cases.WARM, cases.NPZFS, cases.NATIVE, cases.TIME)
    yield Target(
        "`np.load` of each, warm: time / time of the native directory", "<=", 1.7, measured
    )

    yield from frame_targets(Medians(results, "frames"))
    yield Target(
        "second pass: requests other than Python's ioctl", "<=", 0, second_pass(loads, long)
    )

    mounts = Medians(results, "mounting")
    counts = [it for it in mounts.cases() if it.endswith("members") and it[0].isdigit()]
    for other, limit in ((cases.CRATE, 1.3), (cases.ZIPFILE, 0.1)):
        most = max(counts, key=cases.members_in, default="")
        measured = mounts.ratio(most, cases.CACHED, cases.NPZFS, other, cases.TIME)
        yield Target(
            f"mounting {most or 'many members'}: time / parsing time of {other}",
            "<=",
            limit,
            measured,
        )

    resident = long.median(cases.READ, cases.DISK_COLD, cases.NPZFS, cases.PAGE_CACHE)
    yield Target("page cache after one cold pass / length of the member", "<=", 1.1, resident)
    least = long.ratio(*cold_read, long.peers(), cases.CPU_PER_GIB)
    yield Target(
        "server CPU per GiB, mapped, mount-cold: CPU / least CPU of a peer", "<", 1.0, least
    )


def frame_targets(frames: Medians) -> Iterator[Target]:
    """Yields the targets for frames; each is measured on its worst frame."""
    tables = (cases.PARQUET, cases.PLAIN_PARQUET, cases.FEATHER)
    few = [case for case in frames.cases() if cases.members_in(case) <= FEW_MEMBERS]
    wide = [case for case in frames.cases() if case not in few]
    uniform = [case for case in few if " uniform" in case]
    mapped = "from_npy_mmap, npzfs"
    native = "from_npy_mmap, native"
    start = "`from_npy_mmap` over the mount, mount-cold"
    kinds: tuple[tuple[str, list[str], tuple[str, ...], str, float], ...] = (
        ("frames of few members: time / time of Parquet or Feather", few, tables, "<", 1.0),
        ("uniform frames: time / time of `from_npz`", uniform, (cases.FROM_NPZ,), "<", 1.0),
        (
            "wide frames of many members: time / time of the native directory",
            wide,
            (native,),
            "<=",
            2.0,
        ),
    )
    for kind, chosen, others, sign, limit in kinds:
        found = [frames.ratio(it, cases.MOUNT_COLD, mapped, others, cases.TIME) for it in chosen]
        known = [ratio for ratio in found if ratio is not None]
        yield Target(f"{start}, {kind}, worst case", sign, limit, max(known, default=None))


def second_pass(*panels: Medians) -> float | None:
    """The most requests that any second pass took."""
    key = (cases.WARM, cases.NPZFS, cases.REQUESTS)
    return max(
        (
            it.median
            for medians in panels
            for it in medians.panel.series
            if (it.state, it.contender, it.quantity) == key
        ),
        default=None,
    )
