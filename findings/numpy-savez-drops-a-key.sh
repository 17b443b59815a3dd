#!/bin/sh
# NumPy 2.4.6: `np.savez` drops the array of the key `allow_pickle`, where NumPy 1.26.4 saved it.
#
# Expected: a key that cannot be one is refused, as `file` is; what an older NumPy saved, a newer one saves.
# Happens:  `allow_pickle` became a parameter, so the array of that name is taken for a setting, of which only the truth would be
#           asked, and only for objects: it is not in the archive, and nothing is said, whatever its size.
# Matters:  to anyone who saves settings or parsed arguments beside the data, `np.savez(f, **everything)`, and upgrades.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
venv/bin/python - << 'END' | tee seen
import subprocess
import sys

import numpy as np

arrays = {"data": np.arange(3), "allow_pickle": np.arange(5)}
np.savez("new.npz", **arrays)
print("2.4.6:", *np.load("new.npz").files)
old = "import sys, numpy as np; np.savez('old.npz', data=np.arange(3), allow_pickle=np.arange(5))"
subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", "old", "numpy==1.26.4"], check=True)
subprocess.run([sys.executable, "-c", old], env={"PYTHONPATH": "old"}, check=True)
print("1.26.4:", *np.load("old.npz").files)
try:
    np.savez("new.npz", **{"data": np.arange(3), "file": np.arange(5)})
except TypeError:
    print("the key file is refused")
END
cat > expected << 'END'
2.4.6: data
1.26.4: data allow_pickle
the key file is refused
END
diff expected seen
