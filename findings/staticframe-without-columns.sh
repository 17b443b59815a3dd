#!/bin/sh
# StaticFrame 5.1.1: a frame with rows and no columns is written to a .npz that it cannot read.
#
# Expected: what `to_npz` wrote, `from_npz` reads: frames without rows, and without either, come back equal.
# Happens:  with an index of two labels and no columns `to_npz` succeeds, and `from_npz` raises: the number of rows is
#           taken from the blocks, of which there are none. `to_npy` and `from_npy` are the same.
# Matters:  to anyone who stores the result of a selection that may be empty: it is found out when it is needed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 static-frame==5.1.1
cd "$work"
venv/bin/python - << 'END' | tee seen
import static_frame as sf

frames = {
    "no rows": sf.Frame(columns=("a", "b")),
    "neither": sf.Frame(),
    "no columns": sf.Frame.from_dict({"a": (1, 2)}, index=("x", "y"))[[]],
}
for name, frame in frames.items():
    frame.to_npz("one.npz")
    try:
        print(name, frame.shape, sf.Frame.from_npz("one.npz").equals(frame))
    except sf.ErrorInitFrame as error:
        print(name, frame.shape, error)
END
cat > expected << 'END'
no rows (0, 2) True
neither (0, 0) True
no columns (2, 0) Index has incorrect size (got 0, expected 2)
END
diff expected seen
