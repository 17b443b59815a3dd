#!/bin/sh
# MLX 0.32.4: `mx.load` of a .npy reads the file only when the array is used.
#
# Expected: an array that was loaded has the numbers that the file had; what is written to the file afterwards is another matter.
# Happens:  the file is read at the first use. If something else was saved there meanwhile, the array has the new numbers. An
#           array from a .npz has the old ones.
# Matters:  to anyone who loads a checkpoint, trains, saves over it and compares: both sides are the new one.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 'mlx[cpu]==0.32.4'
cd "$work"
venv/bin/python - << 'END' | tee seen
import mlx.core as mx
import numpy as np

np.save("one.npy", np.ones(3, "f4"))
np.savez("one.npz", a=np.ones(3, "f4"))
npy, npz = mx.load("one.npy"), mx.load("one.npz")["a"]
np.save("one.npy", np.full(3, 7, "f4"))
np.savez("one.npz", a=np.full(3, 7, "f4"))
print("npy", npy.tolist())
print("npz", npz.tolist())
END
cat > expected << 'END'
npy [7.0, 7.0, 7.0]
npz [1.0, 1.0, 1.0]
END
diff expected seen
