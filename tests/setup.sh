#!/bin/sh
# Installs the system packages for `make demo`, `make test`, `make test-packages` or `make bench`, and
# prints what it does. On other systems than Debian and Ubuntu it only prints what is missing.

set -eu

case ${1:-} in
demo) programs="fusermount3" ;;
test) programs="automount bindfs fusermount3 findmnt getfattr jq make man mandoc mkfs.btrfs mkfs.ext4 mkfs.xfs
    script shellcheck strace systemd-analyze unzip xxd zip zstd" ;;
packages) programs="bsdtar dh dpkg-buildpackage findmnt fusermount3 lintian makepkg man pacman rpmbuild" ;;
bench) programs="archivemount fincore findmnt fuse-zip fusermount3 losetup mkfs.xfs strace" ;;
*)
    echo "usage: $0 demo|test|packages|bench" >&2
    exit 2
    ;;
esac

# Prints the Debian package of a program.
package_of() {
    case $1 in
    automount) echo autofs ;;
    bsdtar) echo libarchive-tools ;;
    dh) echo debhelper ;;
    dpkg-buildpackage) echo dpkg-dev ;;
    fusermount3) echo fuse3 ;;
    fincore) echo util-linux-extra ;;
    findmnt) echo util-linux ;;
    getfattr) echo attr ;;
    losetup) echo mount ;;
    man) echo man-db ;;
    pacman) echo pacman-package-manager ;;
    rpmbuild) echo rpm ;;
    script) echo bsdutils ;;
    mkfs.btrfs) echo btrfs-progs ;;
    mkfs.ext4) echo e2fsprogs ;;
    mkfs.xfs) echo xfsprogs ;;
    systemd-analyze) echo systemd ;;
    *) echo "$1" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        echo "setup: sudo $*"
        sudo "$@"
    fi
}

packages=
for program in $programs; do
    if ! command -v "$program" > /dev/null && ! [ -x "/usr/sbin/$program" ]; then
        packages="$packages $(package_of "$program")"
    fi
done
if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
    packages="$packages python3-venv"
fi
if [ -n "$packages" ]; then
    if command -v apt-get > /dev/null; then
        echo "setup: installing$packages"
        as_root apt-get -qq update
        # shellcheck disable=SC2086 # one word a package
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            $packages > /dev/null
    else
        echo "setup: please install$packages (as your system calls them)" >&2
    fi
fi

if [ "$1" = test ] && [ "$(id -u)" -eq 0 ]; then
    if ! id npzfs-test > /dev/null 2>&1; then
        echo "setup: adding the user npzfs-test, for mounts of ordinary users"
        useradd --no-create-home --shell /usr/sbin/nologin npzfs-test
    fi
    if [ -e /dev/fuse ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
        echo "setup: giving /dev/fuse mode 0666, as udev does"
        chmod 0666 /dev/fuse
    fi
fi
