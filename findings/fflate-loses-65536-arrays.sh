#!/bin/sh
# fflate 0.8.3 and JSZip 3.10.2 write 70,000 members and count 4,464; half of the readers stop there, fflate too.
#
# Expected: more than 65,535 members need ZIP64, so a writer without it refuses; or readers agree on what is in such an archive.
# Happens:  both write the count modulo 65,536 and say nothing. NumPy, which goes by the length of the directory, has all
#           arrays, and so have JSZip and zip.js; yauzl, adm-zip, unzipper and fflate itself have 4,464, without an error. (So
#           have the Rust crates zip 9.2.2 and async_zip 0.0.19; rawzip and rc-zip have all.)
# Matters:  many small arrays, one a sample, is what .npz is used for; a round trip through one library loses 65,536 of them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund fflate@0.8.3 jszip@3.10.2 @zip.js/zip.js@2.24.0 yauzl@3.4.0 adm-zip@0.6.1 unzipper@0.12.5
cat > write.mjs << 'END'
import fs from 'fs';
import { zipSync } from 'fflate';
import JSZip from 'jszip';

const names = Array.from({ length: 70000 }, (_, index) => `arr_${index}.npy`);
const npy = new Uint8Array(fs.readFileSync('one.npy'));
fs.writeFileSync('fflate.npz', zipSync(Object.fromEntries(names.map((name) => [name, npy])), { level: 0 }));
const zip = new JSZip();
names.forEach((name) => zip.file(name, npy));
fs.writeFileSync('jszip.npz', await zip.generateAsync({ type: 'nodebuffer' }));
END
cat > read.mjs << 'END'
import fs from 'fs';
import AdmZip from 'adm-zip';
import { unzipSync } from 'fflate';
import JSZip from 'jszip';
import unzipper from 'unzipper';
import yauzl from 'yauzl';
import { Uint8ArrayReader, ZipReader } from '@zip.js/zip.js';

const bytes = fs.readFileSync(process.argv[2]);
const readers = {
  jszip: async () => Object.keys((await JSZip.loadAsync(bytes)).files).length,
  'zip.js': async () => (await new ZipReader(new Uint8ArrayReader(bytes)).getEntries()).length,
  yauzl: () => new Promise((resolve, reject) => yauzl.fromBuffer(bytes, {}, (error, zip) => {
    let count = 0;
    zip.on('entry', () => { count += 1; });
    zip.on('error', reject);
    zip.on('end', () => resolve(count));
  })),
  'adm-zip': () => new AdmZip(bytes).getEntries().length,
  unzipper: async () => (await unzipper.Open.buffer(bytes)).files.length,
  fflate: () => Object.keys(unzipSync(new Uint8Array(bytes))).length,
};
for (const [name, count] of Object.entries(readers)) console.log(name, await count());
END
venv/bin/python -c 'import numpy as np; np.save("one.npy", np.zeros(1))'
node write.mjs
for writer in fflate jszip; do
    echo "written by $writer"
    venv/bin/python -c "import numpy as np; print('NumPy', len(np.load('$writer.npz').files))"
    node read.mjs $writer.npz
done | tee seen
cat > expected << 'END'
written by fflate
NumPy 70000
jszip 70000
zip.js 70000
yauzl 4464
adm-zip 4464
unzipper 4464
fflate 4464
written by jszip
NumPy 70000
jszip 70000
zip.js 70000
yauzl 4464
adm-zip 4464
unzipper 4464
fflate 4464
END
diff expected seen
