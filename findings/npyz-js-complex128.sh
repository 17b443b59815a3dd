#!/bin/sh
# npyz 0.4.2 (npm): complex128 is read as halves of its float64, for numbers.
#
# Expected: pairs of the numbers that NumPy wrote, as for complex64, or an error, as for types that it does not know.
# Happens:  each element is read as two float32 wherever it is, so (1+2j) becomes [0, 1.875]: the two halves of the 1.0.
# Matters:  complex128 is what NumPy makes of any complex number; wrong numbers of the right shape come out.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund npyz@0.4.2
venv/bin/python - << 'END'
import numpy as np
np.save("c8.npy", np.array([1 + 2j, 3 + 4j], "c8"))
np.save("c16.npy", np.array([1 + 2j, 3 + 4j]))
END
node - << 'END' | tee seen
const { load } = require('npyz');
(async () => {
  for (const name of ['c8', 'c16']) console.log(name, JSON.stringify(await load(`${name}.npy`)));
})();
END
cat > expected << 'END'
c8 [[1,2],[3,4]]
c16 [[0,1.875],[0,2.125]]
END
diff expected seen
