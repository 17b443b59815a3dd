#!/bin/sh
# npyjs 1.2.0 (npm): `dump` of plain numbers picks the type by their values, and rounds to float32.
#
# Expected: numbers of JavaScript are float64, so float64 is written, and every number is kept.
# Happens:  [1, 2] becomes uint8, [300, 1] uint16, [-1, 5] int8, and what has a fraction float32, with 7 digits, unless a number is too
#           large for it. A series of files that one program wrote has a type each.
# Matters:  to anyone who stores measurements or coordinates: digits are lost for good, though typed arrays are kept as they are.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund npyjs@1.2.0
node --input-type=module - << 'END'
import fs from 'fs';
import { dump } from 'npyjs';
const write = (name, array) => fs.writeFileSync(name, new Uint8Array(dump(array, [array.length])));
[[1, 2], [300, 1], [-1, 5], [0.1, 16777217.5]].forEach((array, index) => write(`${index}.npy`, array));
write('4.npy', Float64Array.from([0.1, 16777217.5]));
END
venv/bin/python - << 'END' | tee seen
import numpy as np
for index in range(5):
    array = np.load(f"{index}.npy")
    print(array.dtype, array.tolist())
END
cat > expected << 'END'
uint8 [1, 2]
uint16 [300, 1]
int8 [-1, 5]
float32 [0.10000000149011612, 16777218.0]
float64 [0.1, 16777217.5]
END
diff expected seen
