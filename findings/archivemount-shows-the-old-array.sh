#!/bin/sh
# archivemount 0.8.7 and Perl's Archive::Zip 1.68 give the old array, where NumPy and bsdtar give the one that replaced it.
#
# Expected: of two members of one name the later one counts, as for NumPy, and for everything that unpacks them in turn; archivemount
#           rests on the same libarchive as bsdtar.
# Happens:  archivemount shows one file, with the numbers of the first member; `memberNamed` of Archive::Zip finds the first, too.
#           (So do PHP's `getFromName` and R's `unz`.) Nothing says that there are two.
# Matters:  appending is how Python's zipfile replaces an array in a large .npz without writing it all again.
set -eu
work=$(mktemp -d)
trap 'fusermount -u "$work/mount" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
apt-get download -qq archivemount=0.8.7-1+b1 libarchive13=3.6.2-1+deb12u5 libarchive-tools=3.6.2-1+deb12u5 \
    libfuse2=2.9.9-6+b1 libarchive-zip-perl=1.68-1 2> /dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name 'libarchive.so.13')"):$(dirname "$(find "$work/root" -name 'libfuse.so.2')")
export LD_LIBRARY_PATH
venv/bin/python -W ignore - << 'END'
import zipfile
import numpy as np
np.savez("one.npz", x=np.array([1.0]))
with zipfile.ZipFile("one.npz", "a") as out, out.open("x.npy", "w") as member:
    np.save(member, np.array([2.0]))
END
mkdir unpacked mount
root/usr/bin/bsdtar -C unpacked -xf one.npz
perl -Iroot/usr/share/perl5 -MArchive::Zip -e 'Archive::Zip->new("one.npz")->memberNamed("x.npy")->extractToFileNamed("perl.npy")'
root/usr/bin/archivemount -o ro one.npz mount
cp mount/x.npy mounted.npy
fusermount -u mount
venv/bin/python - << 'END' | tee seen
import numpy as np
print("NumPy", np.load("one.npz")["x"])
print("bsdtar", np.load("unpacked/x.npy"))
print("archivemount", np.load("mounted.npy"))
print("Archive::Zip", np.load("perl.npy"))
END
cat > expected << 'END'
NumPy [2.]
bsdtar [2.]
archivemount [1.]
Archive::Zip [1.]
END
diff expected seen
