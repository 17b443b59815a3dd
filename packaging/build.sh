#!/bin/sh
# Compiles npzfs for a package, at the top of the sources, to target/package/npzfs. The build is
# reproducible: the result does not depend on the paths of the sources and the crates.
#
# usage: packaging/build.sh [--static]
#
# CARGO_BUILD_TARGET selects another machine. The program itself writes the completions, so a second
# one for this machine is compiled, too: target/package/npzfs-here.

set -eu

here=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_BUILD_TARGET:-$here}
unset CARGO_BUILD_TARGET
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
build=${CARGO_TARGET_DIR:-$PWD/target}

# Panic messages contain source paths. $crates has a directory for each registry.
cargo fetch --locked --target "$target"
flags="${RUSTFLAGS:-} --remap-path-prefix=$build=/build"
for registry in "$crates"/*/; do
    flags="$flags --remap-path-prefix=${registry%/}=/crates"
done
if [ "${1:-}" = --static ]; then
    flags="$flags -C target-feature=+crt-static"
fi

compile() {
    RUSTFLAGS=$flags cargo build --locked --release --target "$1"
    install -D "$build/$1/release/npzfs" "$2"
}

compile "$target" target/package/npzfs
if [ "$target" = "$here" ]; then
    ln -sf npzfs target/package/npzfs-here
else
    rm -f target/package/npzfs-here
    compile "$here" target/package/npzfs-here
fi
