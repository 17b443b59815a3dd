#!/bin/sh
# Builds the Arch Linux package of the last commit, with packaging/arch/PKGBUILD.
#
# usage: packaging/build-arch.sh [OPTION OF makepkg ...]

set -eu
cd "$(dirname "$0")/.."
. packaging/commit.sh

start_in arch
sum=$(sha256sum "$work/arch/$archive")
sed "s/@VERSION@/$version/; s/@SHA256@/${sum%% *}/" packaging/arch/PKGBUILD > "$work/arch/PKGBUILD"

# If makepkg is a Debian package, pacman does not know the compiler.
if dpkg-query --show makepkg > /dev/null 2>&1; then
    set -- --nodeps "$@"
fi

cd "$work/arch"
if [ "$(id -u)" -eq 0 ]; then
    # makepkg refuses to run as root, so map root to another user ID.
    unshare --user --map-user=1000 --map-group=1000 makepkg --force "$@"
else
    makepkg --force "$@"
fi
rm -f "$packages"/*.pkg.tar*
cp ./*.pkg.tar* "$packages"
