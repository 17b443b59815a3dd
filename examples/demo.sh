#!/bin/sh
# Mounts a frame, lists it, reads it from Python, and unmounts it.
#
# NPZFS is the program (default: npzfs), PYTHON an interpreter with StaticFrame (default: python3).
# tests/clients/requirements.txt lists the packages that the interpreter needs.

set -eu

# With these functions the session below shows the commands that a user would type.
npzfs() { command "${NPZFS:-npzfs}" "$@"; }
python() { command "${PYTHON:-python3}" "$@"; }

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

is_mounted() { grep -qF " $mnt " /proc/self/mountinfo; }

clean_up() {
    if is_mounted; then
        npzfs umount "$mnt" || umount -l "$mnt" || fusermount3 -uz "$mnt" || :
    fi
    rmdir "$mnt" "$dir"
}

examples=$(dirname "$0")
dir=$(mktemp -d)
mnt=$dir/frame
mkdir "$mnt"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

show npzfs mount "$examples/frame.npz" "$mnt"
show ls -l "$mnt"
show head -c 200 "$mnt/__meta__.json"
echo
show python "$examples/demo.py" "$mnt"
show npzfs umount "$mnt"

cat <<'END'

The same with your own archive, written by np.savez or Frame.to_npz:

  npzfs mount your.npz /mnt/x
  python3 -c 'import numpy; print(numpy.load("/mnt/x/NAME.npy", mmap_mode="r"))'
  npzfs umount /mnt/x
END
