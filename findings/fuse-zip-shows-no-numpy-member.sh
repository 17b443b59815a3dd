#!/bin/sh
# fuse-zip 0.5.0: every array in an archive of NumPy gives an input/output error, even to `ls`.
#
# Expected: the members of a sound archive as files, as `unzip` has them.
# Happens:  Python's zipfile says mode 0600 and no file type when NumPy writes a member as a stream; fuse-zip cannot tell what kind of file
#           that is, and fails. The directories that the names need are shown. Packed by Info-ZIP the same arrays are there.
# Matters:  it is the best known way to mount a .npz; the archive is taken for broken.
set -eu
work=$(mktemp -d)
trap 'fusermount -u "$work/mount" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
apt-get download -qq fuse-zip=0.5.0-1+b1 libzip4=1.7.3-1+b1 libfuse2=2.9.9-6+b1 zip=3.0-13+deb12u1 2> /dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name 'libzip.so.4')"):$(dirname "$(find "$work/root" -name 'libfuse.so.2')")
export LD_LIBRARY_PATH
venv/bin/python -c 'import numpy as np; np.savez("numpy.npz", x=np.zeros(3)); np.save("x.npy", np.zeros(3))'
root/usr/bin/zip -q -0 zip.npz x.npy
mkdir mount
for name in numpy zip; do
    root/usr/bin/fuse-zip -r $name.npz mount
    wc -c mount/x.npy 2>&1 | sed "s/^/$name: /"
    fusermount -u mount
done | tee seen
cat > expected << 'END'
numpy: wc: mount/x.npy: Input/output error
zip: 152 mount/x.npy
END
diff expected seen
