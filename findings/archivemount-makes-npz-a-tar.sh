#!/bin/sh
# archivemount 0.8.7: a file that is copied into a mounted .npz makes a tar archive of it.
#
# Expected: the archive is written again as what it was, or the mount is read-only, or an error at the end.
# Happens:  on unmounting, the archive is replaced by a tar archive of the same name. No warning, and `np.load` then says that
#           the file holds pickled data. The old archive is beside it, as one.npz.orig, until the next time.
# Matters:  to anyone who adds an array to an .npz that is mounted so, as the tool invites to: all arrays are gone for NumPy.
set -eu
work=$(mktemp -d)
trap 'fusermount -u "$work/mount" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
apt-get download -qq archivemount=0.8.7-1+b1 libarchive13=3.6.2-1+deb12u5 libfuse2=2.9.9-6+b1 2> /dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name 'libarchive.so.13')"):$(dirname "$(find "$work/root" -name 'libfuse.so.2')")
export LD_LIBRARY_PATH
venv/bin/python -c 'import numpy as np; np.savez("one.npz", x=np.zeros(3)); np.save("y.npy", np.ones(3))'
mkdir mount
root/usr/bin/archivemount one.npz mount
cp y.npy mount
fusermount -u mount
# The archive is written after the mount is gone.
tries=0
until [ -e one.npz.orig ] && tar -tf one.npz > members 2> /dev/null || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
{
    echo "tar: $(paste -s -d " " members)"
    venv/bin/python -c 'import numpy as np; np.load("one.npz")' 2>&1 | tail -1 | cut -c 1-49
} | tee seen
cat > expected << 'END'
tar: x.npy y.npy
ValueError: This file contains pickled (object) d
END
diff expected seen
