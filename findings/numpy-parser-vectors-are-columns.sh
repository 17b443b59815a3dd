#!/bin/sh
# numpy-parser 1.2.3 (npm): a vector of n numbers has the shape [n, 1].
#
# Expected: [n], as NumPy has it and as the header says: "(3,)".
# Happens:  the header is turned into JSON by replacing text, and ",)" becomes ",1]". Vectors and columns look the same.
# Matters:  code that looks at the number of dimensions takes labels for a matrix of one column.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund numpy-parser@1.2.3
venv/bin/python - << 'END'
import numpy as np
np.save("vector.npy", np.zeros(3))
np.save("column.npy", np.zeros((3, 1)))
END
node - << 'END' | tee seen
const fs = require('fs');
const { fromArrayBuffer } = require('numpy-parser');
for (const name of ['vector', 'column']) {
  const bytes = new Uint8Array(fs.readFileSync(`${name}.npy`));
  console.log(name, JSON.stringify(fromArrayBuffer(bytes.buffer).shape));
}
END
cat > expected << 'END'
vector [3,1]
column [3,1]
END
diff expected seen
