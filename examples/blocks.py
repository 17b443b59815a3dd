"""What one worker does: sum its block of an array, without copying the array or the archive."""

import functools

import npzfs
import numpy as np


@functools.cache
def arrays_of(archive):
    """The arrays of an archive, mounted once in a process, for as long as that lives."""
    return npzfs.load(archive)


def sum_of_block(archive, name, block, blocks):
    """The sum of the block with this number, counted from 0, of an array cut into so many."""
    return float(np.array_split(arrays_of(archive)[name], blocks)[block].sum())
