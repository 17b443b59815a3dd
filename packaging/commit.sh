# shellcheck shell=sh
# To be read by a script at the top of the tree: packages are made of the last commit, by its time.
#
# Sets version, archive (its sources), work (a directory for its packages) and CARGO_TARGET_DIR.

packages=$PWD/target/packages
version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1)
archive=npzfs-$version.tar.gz

# Unpacked sources have the time of their commit, by which Cargo cannot tell them from older ones.
# So the sources of each tree are compiled in a directory of their own, all packages in the same.
work=$packages/$(git rev-parse --short 'HEAD^{tree}')
export CARGO_TARGET_DIR="$work/cargo"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC0
umask 022

# What builds packages may give its commands another home.
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"

# Empties a directory below $work, puts the archive of the sources into it, and removes what there is
# of other commits.
start_in() {
    if ! git diff --quiet HEAD; then
        echo "packages: changes that are not committed are left out" >&2
    fi
    rm -rf "${work:?}/$1"
    mkdir -p "$work/$1"
    find "$packages" -mindepth 1 -maxdepth 1 -type d ! -path "$work" -exec rm -rf {} +
    git archive --format=tar --prefix="npzfs-$version/" HEAD | gzip -n > "$work/$1/$archive"
}
