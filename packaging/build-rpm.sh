#!/bin/sh
# Builds the RPM package of the last commit, with packaging/rpm/npzfs.spec.
#
# usage: packaging/build-rpm.sh [OPTION OF rpmbuild ...]

set -eu
cd "$(dirname "$0")/.."
. packaging/commit.sh

start_in rpm
sed "s/@VERSION@/$version/" packaging/rpm/npzfs.spec > "$work/rpm/npzfs.spec"
packaging/changelog.py rpm >> "$work/rpm/npzfs.spec"

# If rpm is a Debian package, its database does not know the compiler.
if dpkg-query --show rpm > /dev/null 2>&1; then
    set -- --nodeps --define "_dbpath $work/rpm/database" "$@"
fi

# The other definitions make the build reproducible.
rpmbuild -bb \
    --define "_topdir $work/rpm" --define "_sourcedir $work/rpm" \
    --define "_buildhost localhost" \
    --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" \
    "$@" "$work/rpm/npzfs.spec"
rm -f "$packages"/*.rpm
cp "$work"/rpm/RPMS/*/*.rpm "$packages"
