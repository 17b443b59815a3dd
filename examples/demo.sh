#!/bin/sh
# Mount a frame, look at it, read it from Python, unmount it.
#
# NPZFS names the binary (default: npzfs), PYTHON an interpreter that has StaticFrame
# (default: python3; tests/clients/requirements.txt lists what it needs).

set -eu

# These two functions let the session below show the commands that a user would type.
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

That was the whole of it. With an archive of your own, stored with np.savez or Frame.to_npz:

  npzfs mount your.npz /mnt/x
  python3 -c 'import numpy; print(numpy.load("/mnt/x/NAME.npy", mmap_mode="r"))'
  npzfs umount /mnt/x
END
