#!/bin/sh
# JAX 0.10.2: `jnp.load` of int64 keeps the low 32 bits, without a word.
#
# Expected: without x64 mode JAX has no int64, so `jnp.load` warns, as `jnp.asarray(..., dtype="int64")` does, or refuses what
#           does not fit.
# Happens:  times and counts wrap: 2**31 + 5 becomes a negative number, even with all warnings made errors. The same array in
#           a .npz stays as it was, for then `jnp.load` gives NumPy's own arrays.
# Matters:  to anyone who loads time stamps or identifiers; a .npy and a .npz of one array give different numbers.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 jax==0.10.2
cd "$work"
venv/bin/python - << 'END' | tee seen
import warnings

import jax.numpy as jnp
import numpy as np

warnings.simplefilter("error")
array = np.array([2**31 + 5, 1700000000123456789])
np.save("one.npy", array)
np.savez("one.npz", a=array)
print("npy", jnp.load("one.npy"))
print("npz", jnp.load("one.npz")["a"])
try:
    jnp.asarray(array, dtype="int64")
except UserWarning:
    print("asarray with a dtype warns")
END
cat > expected << 'END'
npy [-2147483643  1032178965]
npz [         2147483653 1700000000123456789]
asarray with a dtype warns
END
diff expected seen
