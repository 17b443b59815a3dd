#!/bin/sh
# MLX 0.32.4: none of four JavaScript readers reads an array that `mx.save` wrote.
#
# Expected: a matrix of float32 in C order is what every reader can do; MLX writes the format of NumPy.
# Happens:  MLX spells the shape `(2, 2, )`, which is Python, and which NumPy reads, but readers that turn the header into JSON
#           stumble over the comma. The header ends at byte 78, where the format wants a multiple of 64 (once 16), so npyjs
#           cannot lay an array over the data. Vectors and scalars say `'fortran_order': True` on top of it, as whatever is
#           contiguous in that order does, and readers without that order refuse. (candle-core 0.11.1, in Rust, refuses both.)
# Matters:  to anyone who moves weights from MLX to a browser, or writes a header by hand: the spelling of NumPy is the format.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 'mlx[cpu]==0.32.4'
cd "$work"
npm install --silent --no-audit --no-fund npyjs@1.2.0 numpy-parser@1.2.3 npyz@0.4.2 @loaders.gl/textures@4.5.4 @loaders.gl/core@4.5.4
venv/bin/python - << 'END' | tee seen
import mlx.core as mx
import numpy as np
for name, array in (("matrix", [[1.0, 2.0], [3.0, 4.0]]), ("vector", [1.0, 2.0])):
    mx.save(f"{name}.npy", mx.array(array))
    np.save(f"numpy-{name}.npy", np.array(array, "f4"))
    with open(f"{name}.npy", "rb") as file:
        data = file.read()
        print(name, data[10:].split(b"}")[0].decode() + "}", "ends at", 10 + int.from_bytes(data[8:10], "little"))
END
cat > read.mjs << 'END'
import fs from 'fs';
import { NPYLoader } from '@loaders.gl/textures';
import { parse } from 'npyjs';
import numpyParser from 'numpy-parser';
import npyz from 'npyz';

const [library, name] = process.argv.slice(2);
const say = (word) => { console.log(library, name, word); process.exit(0); };
process.on('unhandledRejection', () => say('refused'));
const bytes = new Uint8Array(fs.readFileSync(`${name}.npy`)).buffer;
const readers = {
  npyjs: () => parse(bytes),
  'numpy-parser': () => numpyParser.fromArrayBuffer(bytes),
  'loaders.gl': () => NPYLoader.parse(bytes),
  npyz: () => npyz.load(`${name}.npy`),
};
try {
  await readers[library]();
  say('read');
} catch {
  say('refused');
}
END
for library in npyjs numpy-parser loaders.gl npyz; do
    for name in numpy-matrix matrix numpy-vector vector; do
        node read.mjs $library $name 2> /dev/null
    done
done | tee -a seen
cat > expected << 'END'
matrix {'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, )} ends at 78
vector {'descr': '<f4', 'fortran_order': True, 'shape': (2, )} ends at 70
npyjs numpy-matrix read
npyjs matrix refused
npyjs numpy-vector read
npyjs vector refused
numpy-parser numpy-matrix read
numpy-parser matrix refused
numpy-parser numpy-vector read
numpy-parser vector refused
loaders.gl numpy-matrix read
loaders.gl matrix refused
loaders.gl numpy-vector read
loaders.gl vector refused
npyz numpy-matrix read
npyz matrix refused
npyz numpy-vector read
npyz vector refused
END
diff expected seen
