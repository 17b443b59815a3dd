#!/bin/sh
# mounted.sh PROGRAM: mounts $ARCHIVE and copies what is there to $FOLDER.
set -eu
mount=$(mktemp -d)
"$1" -o ro "$ARCHIVE" "$mount"
trap 'fusermount -u "$mount" && rmdir "$mount"' EXIT
tries=0
until mountpoint -q "$mount" || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
cp -r "$mount/." "$FOLDER"
