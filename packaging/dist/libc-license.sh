#!/bin/sh
# Writes the notice that a program with a static GNU C library requires.

set -eu

# The paths on Debian, Fedora and Arch.
for text in /usr/share/common-licenses/LGPL-2.1 /usr/share/licenses/glibc/COPYING.LIB \
    /usr/share/licenses/spdx/LGPL-2.1-or-later.txt; do
    if [ -e "$text" ]; then
        cat <<END

--------------------------------------------------------------------------------
npzfs contains the GNU C library, https://www.gnu.org/software/libc, under the
licence LGPL-2.1-or-later. To use another version of that library, build npzfs
from its sources on a machine that has it: make dist.

END
        cat "$text"
        exit
    fi
done
echo "dist: the LGPL-2.1 text, the licence of the GNU C library, was not found" >&2
exit 1
