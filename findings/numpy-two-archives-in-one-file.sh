#!/bin/sh
# NumPy 2.4.6: of two archives saved one behind the other in a file, the first `np.load` gives the second.
#
# Expected: as with `np.save`, whose manual shows it: what was saved to an open file in turn is loaded from it in turn.
# Happens:  the first `np.load` gives the last archive, since a ZIP archive is looked for from the end of the file, and leaves
#           the file at its end; so the first archive can never be had, and the second `np.load` fails, with a message about
#           pickles.
# Matters:  to anyone who appends a checkpoint or a batch to an open file: the newest arrays are taken for the oldest ones.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
venv/bin/python - << 'END' | tee seen
import numpy as np

for save, load in ((np.save, lambda file: np.load(file)), (lambda f, a: np.savez(f, a=a), lambda file: np.load(file)["a"])):
    with open("two", "wb") as file:
        save(file, np.array([1]))
        save(file, np.array([2, 2]))
    with open("two", "rb") as file:
        for turn in ("first", "second"):
            try:
                print(turn, load(file))
            except ValueError as error:
                print(turn, str(error)[:37])
END
cat > expected << 'END'
first [1]
second [2 2]
first [2 2]
second This file contains pickled (object) d
END
diff expected seen
