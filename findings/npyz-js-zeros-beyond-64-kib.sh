#!/bin/sh
# npyz 0.4.2 (npm): an array that is longer than 64 KiB is read as wrong numbers, mostly zeros.
#
# Expected: the numbers of the file, or an error.
# Happens:  only what the stream has at first, 64 KiB, is taken for the data, and the size of an element is computed from it:
#           bytes at hand divided by elements. So an array of 100,000 float64 has elements of no bytes, and each is what the first
#           eight bytes say. Shape and type are right, nothing is said; a small array is right as well.
# Matters:  to anyone who tries the library on a small file first, as one does.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund npyz@0.4.2
venv/bin/python - << 'END'
import numpy as np
np.save("small.npy", np.arange(1000.0) + 1)
np.save("large.npy", np.arange(100_000.0) + 1)
END
node - << 'END' | tee seen
const { load } = require('npyz');
(async () => {
  for (const name of ['small', 'large']) {
    const array = await load(`${name}.npy`);
    console.log(name, array.length, 'different numbers:', new Set(array).size, 'last:', array[array.length - 1]);
  }
})();
END
cat > expected << 'END'
small 1000 different numbers: 1000 last: 1000
large 100000 different numbers: 1 last: 1
END
diff expected seen
