#!/bin/sh
# Builds a tarball of the last commit with a static program, which runs on any Linux.
#
# usage: packaging/build-dist.sh
#
# The program is linked with the C library of this machine, or with that of CARGO_BUILD_TARGET, such
# as x86_64-unknown-linux-musl. The GNU library is the default, because the limits of memory and
# time were measured with its allocator.

set -eu
cd "$(dirname "$0")/.."
. packaging/commit.sh

target=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
name=npzfs-$version-${target%%-*}-linux

start_in dist
cd "$work/dist"
tar -xf "$archive"
cd "npzfs-$version"
packaging/build.sh --static
packaging/install.sh "../$name" ""
cp packaging/dist/INSTALL "../$name"
case $target in
*-gnu*) packaging/dist/libc-license.sh >> "../$name/share/doc/npzfs/third-party-licenses.txt" ;;
esac

rm -f "$packages"/*.tar.xz
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --format=gnu -C "$work/dist" -cf - "$name" | xz > "$packages/$name.tar.xz"
