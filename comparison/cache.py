"""Control of the page cache."""

import os
import subprocess
from pathlib import Path


class NotEvicted(Exception):
    """Pages of a file stayed in the page cache."""


def evict(*paths: Path) -> None:
    """Drop files from the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        resident = resident_bytes(path)
        if resident > 1 << 20:
            raise NotEvicted(f"{resident} bytes of {path.name} stay in the page cache")


def fill(path: Path) -> None:
    """Read a whole file into the page cache."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def resident_bytes(path: Path) -> int:
    """The number of bytes of a file in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", path]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
