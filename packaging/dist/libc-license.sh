#!/bin/sh
# Writes what has to be told where a program contains the GNU C library.

set -eu

# Where Debian, Fedora and Arch have it.
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
echo "dist: the text of the licence LGPL-2.1, of the GNU C library, is not found" >&2
exit 1
