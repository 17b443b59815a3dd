#!/bin/sh
# npy-append-array 0.9.19: what is appended is cast to the type of the file, whatever is lost.
#
# Expected: an error, as for a shape that does not fit, or the type of `np.concatenate`, which holds both.
# Happens:  fractions are cut off, numbers that do not fit wrap, and strings are cut to the width of the first array.
# Matters:  to anyone who collects batches whose type depends on their values, such as labels: the file looks sound.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 npy-append-array==0.9.19
cd "$work"
venv/bin/python - << 'END' | tee seen
import numpy as np
from npy_append_array import NpyAppendArray

for first, second in (([1, 2], [3.9]), (np.array([1, 2], "u1"), [300, -1]), (["ab"], ["longer"])):
    np.save("one.npy", np.array(first))
    with NpyAppendArray("one.npy") as file:
        file.append(np.array(second))
    print(second, "->", np.load("one.npy")[len(first):].tolist())
END
cat > expected << 'END'
[3.9] -> [3]
[300, -1] -> [44, 255]
['longer'] -> ['lo']
END
diff expected seen
