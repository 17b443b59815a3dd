#!/bin/sh
# unzipper 0.12.5 (npm): an array whose data is aligned to a page cannot be read.
#
# Expected: the length of the extra field is in the local header; the data begins behind it, wherever that is.
# Happens:  how much to read for a member is computed from the lengths in the central directory, before its local header is seen. If
#           the local field is longer, which is what aligns the data, reading ends too early and fails with FILE_ENDED. Both
#           headers are as the specification has them, and NumPy reads the array.
# Matters:  to anyone who aligns arrays so that they can be mapped, with zipalign, with a crate's `with_alignment`, or by hand.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
npm install --silent --no-audit --no-fund unzipper@0.12.5
venv/bin/python - << 'END'
import io
import zipfile
import numpy as np

npy = io.BytesIO()
np.save(npy, np.zeros(3))
for name, alignment in (("plain", 0), ("aligned", 4096)):
    with zipfile.ZipFile(f"{name}.npz", "w") as out:
        member = zipfile.ZipInfo("x.npy")
        padding = alignment - 30 - len("x.npy") - 4
        # The field of Android's zipalign, 0xD935.
        member.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding) if alignment else b""
        out.writestr(member, npy.getvalue())
        # The directory needs no such field.
        member.extra = b""
    print(name, np.load(f"{name}.npz")["x"])
END
node - << 'END' | tee seen
const unzipper = require('unzipper');
(async () => {
  for (const name of ['plain', 'aligned']) {
    const { files } = await unzipper.Open.file(`${name}.npz`);
    console.log(name, await files[0].buffer().then((bytes) => bytes.length, (error) => error.message));
  }
})();
END
cat > expected << 'END'
plain 152
aligned FILE_ENDED
END
diff expected seen
