#!/bin/sh
# JAX 0.10.2: `jnp.load` takes any two raw bytes for a bfloat16, but only in a .npy.
#
# Expected: bfloat16 that `jnp.save` wrote is loaded as bfloat16, that `jnp.savez` wrote as well, and what is no number is refused.
# Happens:  in a file bfloat16 is `V2`, as raw bytes are. `jnp.load` of a .npy makes bfloat16 of every V2, also of bytes that
#           NumPy saved as such, and of no V1, so float8 is not restored; of a .npz it restores nothing.
# Matters:  to anyone who keeps both weights and packed records: which of the two it was is not in the file.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 jax==0.10.2
cd "$work"
venv/bin/python - << 'END' | tee seen
import jax.numpy as jnp
import numpy as np

jnp.save("weights.npy", jnp.arange(3, dtype="bfloat16"))
jnp.savez("weights.npz", a=jnp.arange(3, dtype="bfloat16"))
jnp.save("small.npy", jnp.arange(3).astype("float8_e4m3fn"))
np.save("records.npy", np.array([b"\x01\x02", b"\x03\x04"], "V2"))
print("bfloat16 in npy:", jnp.load("weights.npy").dtype)
print("bfloat16 in npz:", jnp.load("weights.npz")["a"].dtype)
print("float8 in npy:", jnp.load("small.npy").dtype)
print("raw bytes in npy:", jnp.load("records.npy").dtype)
END
cat > expected << 'END'
bfloat16 in npy: bfloat16
bfloat16 in npz: |V2
float8 in npy: |V1
raw bytes in npy: bfloat16
END
diff expected seen
