# shellcheck shell=sh
# Sourced by the build scripts, at the top of the tree. Packages are built from the last commit and
# have its time.
#
# Sets version, archive (the source tarball), work (the build directory) and CARGO_TARGET_DIR.

packages=$PWD/target/packages
version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1)
archive=npzfs-$version.tar.gz

# Unpacked sources have the time of their commit, so Cargo cannot detect that they changed.
# Therefore each tree has its own build directory, which all of its packages share.
work=$packages/$(git rev-parse --short 'HEAD^{tree}')
export CARGO_TARGET_DIR="$work/cargo"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC0
umask 022

# Package builders may set another HOME for their commands.
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"

# Empties the directory $1 below $work, writes the source tarball to it, and removes the build
# directories of other commits.
start_in() {
    if ! git diff --quiet HEAD; then
        echo "packages: uncommitted changes are not included" >&2
    fi
    rm -rf "${work:?}/$1"
    mkdir -p "$work/$1"
    find "$packages" -mindepth 1 -maxdepth 1 -type d ! -path "$work" -exec rm -rf {} +
    git archive --format=tar --prefix="npzfs-$version/" HEAD | gzip -n > "$work/$1/$archive"
}
