"""Read a mounted frame with NumPy and with StaticFrame, memory-mapped."""

import argparse
from pathlib import Path

import numpy as np
import static_frame as sf


PLAIN = sf.DisplayConfig(type_show=False, type_color=False, display_columns=8)


def show_array(path):
    array = np.load(path, mmap_mode="r")
    aligned = "aligned" if array.ctypes.data % 64 == 0 else "not aligned"
    print(f"np.load({path.name!r}, mmap_mode='r')")
    print(f"  {type(array).__name__} of {array.dtype}, shape {array.shape}, {aligned} to 64 bytes")
    print(f"  first row {array[0]}")


def show_frame(directory):
    frame, close = sf.Frame.from_npy_mmap(directory)
    print(f"sf.Frame.from_npy_mmap({directory.name!r})")
    print(f"  frame {frame.name!r}, shape {frame.shape}, {frame.nbytes:,} bytes of mapped arrays")
    print()
    print(frame.head(6).display(PLAIN))
    del frame  # close() unmaps the pages, so no array may be left
    close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="the mount point of a frame's archive")
    directory = parser.parse_args().directory
    show_array(directory / "__blocks_0__.npy")
    print()
    show_frame(directory)
