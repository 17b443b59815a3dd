#!/bin/sh
# Makes the RPM package of the last commit; packaging/rpm/npzfs.spec is what builds it.
#
# usage: packaging/build-rpm.sh [OPTION OF rpmbuild ...]

set -eu
cd "$(dirname "$0")/.."
. packaging/commit.sh

start_in rpm
sed "s/@VERSION@/$version/" packaging/rpm/npzfs.spec > "$work/rpm/npzfs.spec"
packaging/changelog.py rpm >> "$work/rpm/npzfs.spec"

# Where rpm itself is a Debian package, its own database knows of no compiler.
if dpkg-query --show rpm > /dev/null 2>&1; then
    set -- --nodeps --define "_dbpath $work/rpm/database" "$@"
fi

# The rest makes the same package at any time, on any machine.
rpmbuild -bb \
    --define "_topdir $work/rpm" --define "_sourcedir $work/rpm" \
    --define "_buildhost localhost" \
    --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" \
    "$@" "$work/rpm/npzfs.spec"
rm -f "$packages"/*.rpm
cp "$work"/rpm/RPMS/*/*.rpm "$packages"
