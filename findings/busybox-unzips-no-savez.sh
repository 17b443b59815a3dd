#!/bin/sh
# BusyBox 1.35.0: `unzip` cannot unpack what `np.savez` writes to a file, and can what it writes to a pipe.
#
# Expected: the plainest archives there are, stored and below 4 GiB; of the two, the one with data descriptors is the harder.
# Happens:  NumPy puts 0xFFFFFFFF and a ZIP64 field into each local header where it can seek, and BusyBox, which goes by those
#           headers, does not know the field: the first array takes the rest of the archive, directory and all, the others
#           are missing, and it fails with "short read". With `savez_compressed` nothing shows, for the data ends by itself.
# Matters:  in containers of Alpine Linux `unzip` is this one; the file x.npy that it leaves can be loaded, but is too long.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
apt-get download -qq busybox=1:1.35.0-4+deb12u1+b1 2> /dev/null
dpkg -x busybox_*.deb busybox
venv/bin/python - << 'END'
import io
import numpy as np

class Pipe(io.RawIOBase):
    data = b""
    def writable(self):
        return True
    def write(self, data):
        self.data += bytes(data)
        return len(data)

arrays = {"x": np.zeros(100), "y": np.zeros(3)}
np.savez("file.npz", **arrays)
np.savez_compressed("compressed.npz", **arrays)
pipe = Pipe()
np.savez(pipe, **arrays)
with open("pipe.npz", "wb") as file:
    file.write(pipe.data)
END
for name in compressed pipe file; do
    mkdir $name
    busybox=$work/busybox/bin/busybox
    (cd $name && "$busybox" unzip -q ../$name.npz 2>&1) || echo "failed"
    (cd $name && stat -c '%n %s' -- *) | sed "s/^/$name: /"
done | tee seen
cat > expected << 'END'
compressed: x.npy 928
compressed: y.npy 152
pipe: x.npy 928
pipe: y.npy 152
unzip: short read
failed
file: x.npy 1259
END
diff expected seen
