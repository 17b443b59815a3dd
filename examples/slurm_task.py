"""The task of a SLURM job: sum a block of an array of a mounted archive."""

import argparse
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("directory", type=Path, help="the mount point of the archive")
parser.add_argument("name", help="the name of the array, as in np.load")
arguments = parser.parse_args()

block, blocks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
array = np.load(arguments.directory / f"{arguments.name}.npy", mmap_mode="r")
print(repr(float(np.array_split(array, blocks)[block].sum())))
