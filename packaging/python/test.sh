#!/bin/sh
# Tests the wheel in dist/ with the oldest and with the newest Python on this machine.

set -eu
cd "$(dirname "$0")/../.."

OLDEST="9 10 11 12 13 14"
NEWEST="14 13 12 11 10 9"

# Prints the path of Python 3.$1, of the system or of pyenv, if it can create environments.
find_python() {
    pyenv_root=$(pyenv root 2> /dev/null || true)
    for python in "$(command -v "python3.$1" || true)" "$pyenv_root/versions/3.$1".*/bin/python; do
        if "$python" -c 'import ensurepip, venv' 2> /dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# Prints the path of the first available version.
first_python() {
    for version in "$@"; do
        find_python "$version" && return
    done
    echo "test.sh: no Python from 3.9 to 3.14 with ensurepip and venv was found" >&2
    return 1
}

# Tests with the interpreter $1 and the packages listed in tests/$2.txt; more arguments go to mypy.
test_with() {
    python=$1 packages=$2
    shift 2
    requirements=packaging/python/tests/$packages.txt
    venv=target/python-$packages
    if ! [ "$venv/done" -nt "$requirements" ] || [ "$(cat "$venv/done")" != "$python" ]; then
        "$python" -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
        echo "$python" > "$venv/done"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps \
        --force-reinstall "$WHEEL"
    echo "$("$venv/bin/python" --version), NumPy $("$venv/bin/python" -c \
        'import numpy; print(numpy.__version__)')"
    # The module itself, and a program that uses the installed one.
    for checked in src/npzfs tests/typed.py; do
        "$venv/bin/python" -m mypy --config-file packaging/python/pyproject.toml \
            --cache-dir "target/mypy-$packages" "$@" "packaging/python/$checked"
    done
    "$venv/bin/python" -m pytest -q -p no:cacheprovider --maxfail=3 \
        packaging/python/tests
}

make wheel
WHEEL=$(echo dist/npzfs-*.whl)
cp "$WHEEL" target/wheel-before
make wheel
cmp "$WHEEL" target/wheel-before

# shellcheck disable=SC2086 # one word a version
{
    test_with "$(first_python $OLDEST)" oldest --python-version 3.9
    test_with "$(first_python $NEWEST)" newest
}
