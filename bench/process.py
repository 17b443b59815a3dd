"""What proc(5) tells of a process."""

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, in user and in kernel mode, with its ended children."""
    # The name before it may hold blanks and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def private_bytes(pid: int) -> int:
    """Memory that no other process has mapped."""
    rollup = fields_of(Path(f"/proc/{pid}/smaps_rollup"))
    return rollup["Private_Clean"] + rollup["Private_Dirty"]


def anonymous_bytes() -> int:
    """What this process has allocated and touched."""
    return fields_of(Path("/proc/self/status"))["RssAnon"]


def statm() -> dict[str, int]:
    """Virtual, resident and shared memory of this process, in bytes."""
    pages = map(int, Path("/proc/self/statm").read_text().split())
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    names = ("virtual", "resident", "shared")
    return {name: count * page_bytes for name, count in zip(names, pages)}


def fields_of(path: Path) -> dict[str, int]:
    """The values of lines such as `RssAnon:  1234 kB`, in bytes."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words[-1] == "kB"}
