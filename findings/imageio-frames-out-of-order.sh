#!/bin/sh
# imageio 2.38.1: the frames of a .npz come back in another order than they were written in.
#
# Expected: `mimread` gives the frames in the order in which `mimwrite`, or `np.savez(f, *frames)`, took them.
# Happens:  from the eleventh frame on it does not: the plugin sorts the keys arr_0, arr_1, ... as text, so that arr_10 and
#           arr_11 come between arr_1 and arr_2. No warning; shapes and types are right.
# Matters:  to anyone who keeps a film or a stack of slices in a .npz: time or depth is shuffled.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imageio==2.38.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" << 'END' | tee "$work/seen"
import sys
import imageio.v2 as imageio
import numpy as np
frames = [np.full((4, 4), number, "u1") for number in range(12)]
imageio.mimwrite(sys.argv[1] + "/own.npz", frames)
np.savez(sys.argv[1] + "/numpy.npz", *frames)
print("keys", *np.load(sys.argv[1] + "/own.npz").files)
for name in ("own", "numpy"):
    print(name, *(int(frame[0, 0]) for frame in imageio.mimread(f"{sys.argv[1]}/{name}.npz")))
END
cat > "$work/expected" << 'END'
keys arr_0 arr_1 arr_2 arr_3 arr_4 arr_5 arr_6 arr_7 arr_8 arr_9 arr_10 arr_11
own 0 1 10 11 2 3 4 5 6 7 8 9
numpy 0 1 10 11 2 3 4 5 6 7 8 9
END
diff "$work/expected" "$work/seen"
