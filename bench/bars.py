"""The bars: what the figures have to be, as ratios inside one run, and what they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import cases
from .results import Panel, Results

# A frame of more members costs more than Parquet and Feather even as a native directory.
FEW_MEMBERS = 1_003


@dataclass(frozen=True)
class Bar:
    """One requirement, and the figure for it if there is one."""

    what: str
    sign: str
    limit: float
    measured: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is on the right side; `None` if there is none."""
        if self.measured is None:
            return None
        return {
            ">=": self.measured >= self.limit,
            "<=": self.measured <= self.limit,
            "<": self.measured < self.limit,
            ">": self.measured > self.limit,
        }[self.sign]


class Figures:
    """The medians of one panel; none where the panel is missing."""

    def __init__(self, results: Results, name: str) -> None:
        self.panel = results.panel(name) or Panel(name, "", "")

    def median(self, case: str, state: str, contender: str, quantity: str) -> float | None:
        """A median; that of a contender without a mount is the same in each of its states."""
        states = (state,) if state == cases.DISK_COLD else (state, cases.CACHED)
        for state in states:
            series = self.panel.find(case, state, contender, quantity)
            if series is not None:
                return series.median
        return None

    def ratio(
        self, case: str, state: str, one: str, other: Iterable[str] | str, quantity: str, best=min
    ) -> float | None:
        """The figure of one contender, in that of another or of the best of several."""
        others = [other] if isinstance(other, str) else list(other)
        figures = (self.median(case, state, name, quantity) for name in others)
        known = [figure for figure in figures if figure is not None]
        own = self.median(case, state, one, quantity)
        if own is None or not known:
            return None
        against = best(known)
        return own / against if against else math.inf

    def cases(self) -> list[str]:
        """The cases, each once, in their order."""
        return list(dict.fromkeys(series.case for series in self.panel.series))

    def peers(self) -> set[str]:
        """The other file systems that were measured."""
        names = {series.contender for series in self.panel.series}
        return names - {cases.NPZFS, cases.NATIVE}


def bars(results: Results) -> Iterator[Bar]:
    """Each bar with what was measured."""
    cloned, long = Figures(results, "cloned"), Figures(results, "throughput")
    clone = (cases.CLONED, cases.NATIVE, cases.RATE)
    for case, state, limit in (
        (cases.READ, cases.WARM, 1.0),
        (cases.TOUCH, cases.WARM, 1.0),
        (cases.READ, cases.DISK_COLD, 0.95),
    ):
        what = f"cloned lane, {state}, {case}: rate in that of the native file on the same XFS"
        yield Bar(what, ">=", limit, cloned.ratio(case, state, *clone))
    for case in (cases.READ, cases.TOUCH):
        measured = long.ratio(case, cases.DISK_COLD, cases.NPZFS, cases.NATIVE, cases.RATE)
        yield Bar(f"mapped lane, disk-cold, {case}: rate in the native one", ">=", 0.9, measured)

    cold_read = (cases.READ, cases.MOUNT_COLD, cases.NPZFS)
    start = "mapped lane, mount-cold, sequential read: rate in that of"
    for peer, limit in (("mount-zip", 1.8), ("ratarmount", 2.0)):
        yield Bar(f"{start} {peer}", ">=", limit, long.ratio(*cold_read, peer, cases.RATE))
    fastest = long.ratio(*cold_read, long.peers(), cases.RATE, max)
    yield Bar(f"{start} the fastest peer", ">", 1.0, fastest)

    small = Figures(results, "loads")
    for case, limit in ((cases.IN_ORDER, 2.0), (cases.LISTED, 1.4)):
        measured = small.ratio(case, cases.MOUNT_COLD, cases.NPZFS, cases.NPZ_FILE, cases.TIME)
        yield Bar(
            f"`np.load` of each, mount-cold, {case}: time in `NpzFile`'s", "<=", limit, measured
        )
    measured = small.ratio(cases.IN_ORDER, cases.WARM, cases.NPZFS, cases.NATIVE, cases.TIME)
    yield Bar("the same, warm: time in the native directory's", "<=", 1.7, measured)

    yield from of_frames(Figures(results, "frames"))
    yield Bar("second pass: requests beyond Python's ioctl", "<=", 0, second_pass(small, long))

    mounts = Figures(results, "mounting")
    counts = [it for it in mounts.cases() if it.endswith("members") and it[0].isdigit()]
    for other, limit in ((cases.CRATE, 1.3), (cases.ZIPFILE, 0.1)):
        most = max(counts, key=cases.members_in, default="")
        measured = mounts.ratio(most, cases.CACHED, cases.NPZFS, other, cases.TIME)
        yield Bar(
            f"mounting {most or 'many members'}: time in that of {other} to parse",
            "<=",
            limit,
            measured,
        )

    cached = long.median(cases.READ, cases.DISK_COLD, cases.NPZFS, cases.PAGE_CACHE)
    yield Bar("page cache after one cold pass, in the member's length", "<=", 1.1, cached)
    least = long.ratio(*cold_read, long.peers(), cases.CPU_A_GIB)
    yield Bar("server CPU a GiB, mapped, mount-cold: in the least of the peers'", "<", 1.0, least)


def of_frames(frames: Figures) -> Iterator[Bar]:
    """The worst frame of each kind counts."""
    tables = (cases.PARQUET, cases.PLAIN_PARQUET, cases.FEATHER)
    few = [case for case in frames.cases() if cases.members_in(case) <= FEW_MEMBERS]
    wide = [case for case in frames.cases() if case not in few]
    uniform = [case for case in few if " uniform" in case]
    mapped = "from_npy_mmap, npzfs"
    native = "from_npy_mmap, native"
    start = "`from_npy_mmap` over the mount, mount-cold"
    kinds: tuple[tuple[str, list[str], tuple[str, ...], str, float], ...] = (
        ("the frames of few members: time in Parquet's or Feather's", few, tables, "<", 1.0),
        ("uniform frames: time in `from_npz`'s", uniform, (cases.FROM_NPZ,), "<", 1.0),
        (
            "the wide frames of many members: time in the native directory's",
            wide,
            (native,),
            "<=",
            2.0,
        ),
    )
    for what, chosen, others, sign, limit in kinds:
        found = [frames.ratio(it, cases.MOUNT_COLD, mapped, others, cases.TIME) for it in chosen]
        known = [ratio for ratio in found if ratio is not None]
        yield Bar(f"{start}, {what}, at worst", sign, limit, max(known, default=None))


def second_pass(*panels: Figures) -> float | None:
    """The requests that the second pass took that took most."""
    wanted = (cases.WARM, cases.NPZFS, cases.REQUESTS)
    return max(
        (
            it.median
            for figures in panels
            for it in figures.panel.series
            if (it.state, it.contender, it.quantity) == wanted
        ),
        default=None,
    )
