#!/bin/sh
# NumPy 2.4.6 with ml_dtypes 0.6.0: `np.save` of float8_e5m2 writes a file that `np.load` refuses.
#
# Expected: like bfloat16 and the other small floats, it comes back as raw bytes (`|V1`), to be viewed as what it was; or
#           `np.save` says that it cannot be done.
# Happens:  `np.save` and `np.savez` succeed and write `'descr': '<f1'`, which is no dtype; `np.load` raises, for the array and
#           for no other of its kind: of the five float8 types tried only this one. JAX's `save` and `load` are the same.
# Matters:  to anyone who stores gradients in the format that is meant for them: the loss shows when they are needed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0
cd "$work"
venv/bin/python - << 'END' | tee seen
import ml_dtypes
import numpy as np

for name in ("float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "bfloat16"):
    array = np.ones(3, getattr(ml_dtypes, name))
    np.savez("one.npz", a=array)
    try:
        print(name, np.load("one.npz")["a"].dtype)
    except ValueError as error:
        print(name, error)
END
cat > expected << 'END'
float8_e4m3 |V1
float8_e4m3fn |V1
float8_e5m2 descr is not a valid dtype descriptor: '<f1'
float8_e5m2fnuz |V1
float8_e8m0fnu |V1
bfloat16 |V2
END
diff expected seen
