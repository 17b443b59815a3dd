"""The sizes of a quick, a usual and a full run."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The lengths and counts of one kind of run."""

    name: str
    rounds: int
    # The time limit of one measurement; a contender that exceeds it has failed.
    timeout_s: float
    frame_elements: int
    memory_elements: int
    small_arrays: int
    big_bytes: int
    lookup_bytes: tuple[int, ...]
    member_bytes: int
    random_faults: int
    mounted_members: tuple[int, ...]
    listed_members: int


QUICK = Scale(
    name="quick",
    rounds=3,
    timeout_s=5,
    frame_elements=10**6,
    memory_elements=10**6,
    small_arrays=1_000,
    big_bytes=10**9,
    lookup_bytes=(10**6, 10**8),
    member_bytes=1 << 27,
    random_faults=200,
    mounted_members=(10**3, 10**5),
    listed_members=10**4,
)
USUAL = Scale(
    name="usual",
    rounds=5,
    timeout_s=60,
    frame_elements=10**6,
    memory_elements=10**7,
    small_arrays=10_000,
    big_bytes=9 * 10**9,
    lookup_bytes=(10**6, 10**7, 10**8, 10**9),
    member_bytes=1 << 29,
    random_faults=5_000,
    mounted_members=(10**3, 10**4, 10**5, 10**6),
    listed_members=10**5,
)
FULL = Scale(
    name="full",
    rounds=7,
    timeout_s=600,
    frame_elements=10**8,
    memory_elements=10**8,
    small_arrays=10_000,
    big_bytes=9 * 10**9,
    lookup_bytes=(10**6, 10**7, 10**8, 10**9),
    member_bytes=1 << 30,
    random_faults=20_000,
    mounted_members=(10**3, 10**4, 10**5, 10**6),
    listed_members=10**5,
)


def from_environment() -> Scale:
    """The scale selected by the variables QUICK and FULL."""
    if os.environ.get("QUICK"):
        return QUICK
    return FULL if os.environ.get("FULL") else USUAL
