"""The task of one worker: sum a block of an array without copying the array or the archive."""

import functools

import npzfs
import numpy as np


@functools.cache
def arrays_of(archive):
    """Return the arrays of an archive, which each process mounts once, for its lifetime."""
    return npzfs.load(archive)


def sum_of_block(archive, name, block, blocks):
    """Return the sum of block number `block`, counted from 0, of an array split into `blocks`."""
    return float(np.array_split(arrays_of(archive)[name], blocks)[block].sum())
