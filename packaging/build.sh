#!/bin/sh
# Compiles npzfs for a package, at the top of the sources, to target/package/npzfs. The same sources
# and the same compiler make the same bytes of it, wherever the sources and the crates lie.
#
# usage: packaging/build.sh [--static]
#
# With CARGO_BUILD_TARGET it is compiled for another machine. Completions are written by the program
# itself, so then there is a second one, target/package/npzfs-here, that runs on this machine.

set -eu

here=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_BUILD_TARGET:-$here}
unset CARGO_BUILD_TARGET
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
build=${CARGO_TARGET_DIR:-$PWD/target}

# Panics tell where in the sources they came about; below $crates is a directory a registry.
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
