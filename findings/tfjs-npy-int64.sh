#!/bin/sh
# tfjs-npy 0.0.3 (npm): int64 keeps every other 32 bits.
#
# Expected: TensorFlow.js has no int64, so an error, as for types that the library does not know.
# Happens:  the low half of each number is kept as an int32, without a look at the high half: 2**32 + 7 is 7, 2**31 is negative.
# Matters:  int64 is NumPy's type for any whole number.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund tfjs-npy@0.0.3
venv/bin/python - << 'END'
import numpy as np
np.save("one.npy", np.array([7, 2**31, 2**32 + 7]))
END
node - << 'END' 2> /dev/null | tee seen
// The version of tfjs-core that it brings asks for a page.
globalThis.document = { createElement: () => ({ getContext: () => null }) };
globalThis.window = globalThis;
const { parse } = require('tfjs-npy');
const bytes = new Uint8Array(require('fs').readFileSync('one.npy'));
console.log(...parse(bytes.buffer).dataSync());
END
cat > expected << 'END'
7 -2147483648 7
END
diff expected seen
