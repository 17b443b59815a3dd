"""What one task of a SLURM job does: sum its block of an array of a mounted archive."""

import argparse
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("directory", type=Path, help="where the archive is mounted")
parser.add_argument("name", help="of the array, as np.load has it")
arguments = parser.parse_args()

block, blocks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
array = np.load(arguments.directory / f"{arguments.name}.npy", mmap_mode="r")
print(repr(float(np.array_split(array, blocks)[block].sum())))
