#!/bin/sh
# Makes the Debian package of the last commit; debian/rules is what builds it.
#
# usage: packaging/build-deb.sh [OPTION OF dpkg-buildpackage ...]

set -eu
cd "$(dirname "$0")/.."
. packaging/commit.sh

start_in deb
cd "$work/deb"
tar -xf "$archive"
cd "npzfs-$version"
cp -R packaging/debian debian
packaging/changelog.py deb > debian/changelog

# The compiler on the path is used, whether dpkg knows of it or not.
dpkg-buildpackage --build=binary --unsigned-changes --build-profiles=pkg.npzfs.rustup "$@"
rm -f "$packages"/*.deb
cp ../*.deb "$packages"
