#!/bin/sh
# NumPy 2.4.6: a key that ends in ".npy" reads the array of another key.
#
# Expected: `np.savez(f, **arrays)` takes any names, and `np.load(f)[key]` gives what was saved under that key.
# Happens:  of the keys "a" and "a.npy", both give the array "a". Nothing is raised on either side, `files` lists both keys,
#           and the second array is in the archive, as "a.npy.npy". A key is first looked up among the members' names, where
#           "a.npy" is the member of the key "a".
# Matters:  to anyone who uses file names as keys, or merges archives: the wrong array, of the wrong length, in silence.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$work/venv/bin/python" - "$work/keys.npz" << 'END' | tee "$work/seen"
import sys, zipfile
import numpy as np
np.savez(sys.argv[1], **{"a": np.array([1]), "a.npy": np.array([2, 2])})
z = np.load(sys.argv[1])
print("members", *zipfile.ZipFile(sys.argv[1]).namelist())
print("keys", *z.files)
for key in z.files:
    print(key, z[key])
END
cat > "$work/expected" << 'END'
members a.npy a.npy.npy
keys a a.npy
a [1]
a.npy [1]
END
diff "$work/expected" "$work/seen"
