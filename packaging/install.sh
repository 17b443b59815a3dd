#!/bin/sh
# Installs the program that packaging/build.sh has compiled, and the other files of every package.
#
# usage: packaging/install.sh DESTDIR PREFIX [VARIABLE=VALUE ...]
#
# The variables are the directories of the Makefile.

set -eu

destdir=$1
prefix=$2
shift 2

make install CARGO=true RELEASE=target/package/npzfs HERE=target/package/npzfs-here \
    DESTDIR="$destdir" PREFIX="$prefix" "$@"

doc=$destdir$prefix/share/doc/npzfs
install -d "$doc/examples"
install -m 0644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$doc"
for example in packaging/systemd/* packaging/autofs/*; do
    sed "s,/usr/local/bin/,${prefix:-/usr/local}/bin/," "$example" > "$doc/examples/${example##*/}"
done
packaging/licenses.py > "$doc/third-party-licenses.txt"
chmod 0644 "$doc"/*.txt "$doc"/examples/*
