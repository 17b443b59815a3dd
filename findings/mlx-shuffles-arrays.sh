#!/bin/sh
# MLX 0.32.4: `mx.load` of a .npz gives the arrays in another order than that of the file, and `mx.savez` writes them so.
#
# Expected: `first, second, *others = load(f).values()` undoes `savez(f, first, second, *others)`, as with NumPy; dictionaries
#           have an order in Python.
# Happens:  MLX keeps the names in a hash table. NumPy finds what MLX saved backwards, and MLX what NumPy saved shuffled; only
#           MLX with MLX looks right, up to a number of arrays.
# Matters:  to anyone who takes layers, samples or time steps by their place, and not by name: shapes are often equal.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 'mlx[cpu]==0.32.4'
cd "$work"
venv/bin/python - << 'END' | tee seen
import mlx.core as mx
import numpy as np

numbers = [float(number) for number in range(12)]
mx.savez("mlx.npz", *(mx.array([number]) for number in numbers[:4]))
np.savez("numpy.npz", *(np.array([number]) for number in numbers))
print("MLX to NumPy:", *(int(array[0]) for array in np.load("mlx.npz").values()))
print("NumPy to MLX:", *(int(array.item()) for array in mx.load("numpy.npz").values()))
print("NumPy to NumPy:", *(int(array[0]) for array in np.load("numpy.npz").values()))
END
cat > expected << 'END'
MLX to NumPy: 3 2 1 0
NumPy to MLX: 11 8 10 7 5 4 9 6 3 2 1 0
NumPy to NumPy: 0 1 2 3 4 5 6 7 8 9 10 11
END
diff expected seen
