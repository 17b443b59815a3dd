"""The page cache of files."""

import os
import subprocess
from pathlib import Path


class NotEvicted(Exception):
    """Pages of a file stay in the page cache."""


def evict(*paths: Path) -> None:
    """Drop files from the page cache: as after a boot, but for these files alone."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        left = resident_bytes(path)
        if left > 1 << 20:
            raise NotEvicted(f"{left} bytes of {path.name} stay in the page cache")


def fill(path: Path) -> None:
    """Have the whole of a file in the page cache."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def resident_bytes(path: Path) -> int:
    """How much of a file is in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", path]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
