"""The processor time and memory of a process, from proc(5)."""

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """The processor time of a process, in user and kernel mode, with that of its ended children."""
    # The name that comes first may contain blanks and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def private_bytes(pid: int) -> int:
    """The memory that no other process has mapped."""
    rollup = size_fields(Path(f"/proc/{pid}/smaps_rollup"))
    return rollup["Private_Clean"] + rollup["Private_Dirty"]


def anonymous_bytes() -> int:
    """The anonymous resident memory of this process."""
    return size_fields(Path("/proc/self/status"))["RssAnon"]


def statm() -> dict[str, int]:
    """The virtual, resident and shared memory of this process, in bytes."""
    pages = map(int, Path("/proc/self/statm").read_text().split())
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    names = ("virtual", "resident", "shared")
    return {name: count * page_bytes for name, count in zip(names, pages)}


def size_fields(path: Path) -> dict[str, int]:
    """Parse the values of lines such as `RssAnon:  1234 kB`, in bytes."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words[-1] == "kB"}
