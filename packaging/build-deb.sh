#!/bin/sh
# Builds the Debian package of the last commit, with packaging/debian/rules.
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

# Use the compiler in PATH, even if it is not a Debian package.
dpkg-buildpackage --build=binary --unsigned-changes --build-profiles=pkg.npzfs.rustup "$@"
rm -f "$packages"/*.deb
cp ../*.deb "$packages"
