"""Timed ways of reading a file."""

import os
import time
from pathlib import Path

import numpy as np

READ_BYTES = 1 << 20
PAGE_BYTES = 4096


def sequential(path: Path) -> float:
    """Measure the seconds to read a file from end to end."""
    buffer = bytearray(READ_BYTES)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def touch(path: Path) -> float:
    """Measure the seconds to map a file and read a byte of each page."""
    start = time.perf_counter()
    np.memmap(path, np.uint8, "r")[::PAGE_BYTES].max()
    return time.perf_counter() - start


def faults(path: Path, count: int) -> float:
    """Measure the seconds to read a byte of `count` pages of a mapping, in random order."""
    pages = os.path.getsize(path) // PAGE_BYTES
    offsets = np.random.default_rng().choice(pages, min(count, pages), replace=False) * PAGE_BYTES
    mapping = np.memmap(path, np.uint8, "r")
    start = time.perf_counter()
    mapping[offsets].max()
    return time.perf_counter() - start


def concurrent(path: Path, count: int) -> float:
    """Measure the seconds for `count` processes to read the whole file concurrently."""
    readers = []
    blocked, release = os.pipe()
    for _ in range(count):
        reader = os.fork()
        if reader == 0:
            try:
                os.close(release)
                os.read(blocked, 1)
                sequential(path)
            except BaseException:
                os._exit(1)
            os._exit(0)
        readers.append(reader)
    start = time.perf_counter()
    os.close(release)
    statuses = [os.waitpid(reader, 0)[1] for reader in readers]
    if any(statuses):
        raise OSError("a reader failed")
    return time.perf_counter() - start
