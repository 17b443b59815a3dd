#!/bin/sh
# SciPy 1.17.1 reads the .npz of PyData sparse 0.19.3, and puts zeros where its fill value was.
#
# Expected: `scipy.sparse.load_npz` refuses a file that `sparse.save_npz` wrote, as the latter's manual has it (not
#           compatible, only this package can open it), or gives the same matrix.
# Happens:  it gives a matrix of the right shape and type, in which every element that is not stored is 0, where the array
#           has its fill value. Both call their format "coo" and name their members alike, but for `fill_value`, which SciPy
#           does not look for.
# Matters:  to anyone who stores distances, masks or logarithms sparsely, where "absent" is not 0.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 sparse==0.19.3
"$work/venv/bin/python" - "$work/matrix.npz" << 'END' | tee "$work/seen"
import sys
import numpy as np
import scipy.sparse
import sparse
array = np.array([[1.0, 2.0], [7.0, 1.0]])
sparse.save_npz(sys.argv[1], sparse.COO.from_numpy(array, fill_value=1.0))
print("members", *sorted(np.load(sys.argv[1]).files))
print("sparse", sparse.load_npz(sys.argv[1]).todense().tolist())
print("scipy", scipy.sparse.load_npz(sys.argv[1]).toarray().tolist())
END
cat > "$work/expected" << 'END'
members coords data fill_value format shape
sparse [[1.0, 2.0], [7.0, 1.0]]
scipy [[0.0, 2.0], [7.0, 0.0]]
END
diff "$work/expected" "$work/seen"
