#!/bin/sh
# NumPy 2.4.6: an array of a page or less that is mapped, and saved to the file that it is mapped from, becomes zeros.
#
# Expected: `np.save(path, np.load(path))` changes nothing; with `mmap_mode="r"` it is the same, or is refused: the array is
#           read-only, and NumPy knows which file it is mapped from (`array.filename`).
# Happens:  the file is emptied first, which takes the numbers from the mapping, and zeros are saved. Nothing is raised. (A large
#           array ends otherwise, and no better: this is about what passes for success.)
# Matters:  to anyone who edits arrays in place, or normalises a folder of them, and maps them to save memory.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
venv/bin/python - << 'END' | tee seen
import numpy as np

for mode in (None, "r"):
    np.save("one.npy", np.array([1, 2, 3]))
    np.save("one.npy", np.load("one.npy", mmap_mode=mode))
    print(mode, np.load("one.npy"))
END
cat > expected << 'END'
None [1 2 3]
r [0 0 0]
END
diff expected seen
