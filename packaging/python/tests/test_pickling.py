"""Arrays that are sent to other processes, which get the data and not a file name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import npzfs
import numpy as np
import pytest
from conftest import TIMEOUT_S

# joblib writes arrays of more than 1 MB to files for its workers; the others are pickled.
ROWS = {"long": 300, "short": 10}

# `spawn` runs it again in each worker, as a module.
PROGRAM = """
import concurrent.futures, copy, multiprocessing, pickle, sys
import joblib
import numpy as np
import npzfs

archive, way, moment = sys.argv[1:]

def pickled(**options):
    return lambda arrays: [pickle.loads(pickle.dumps(x, **options)).sum() for x in arrays]

def executor(method):
    def sums(arrays):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            return [*pool.map(np.sum, arrays)]
    return sums

def pool(method):
    def sums(arrays):
        with multiprocessing.get_context(method).Pool(1) as workers:
            return workers.map(np.sum, arrays)
    return sums

def parallel(backend):
    return lambda arrays: joblib.Parallel(2, backend=backend)(map(joblib.delayed(np.sum), arrays))

WAYS = {
    "pickle": pickled(),
    "newest pickle": pickled(protocol=5),
    "deepcopy": lambda arrays: [copy.deepcopy(x).sum() for x in arrays],
    "concurrent.futures, fork": executor("fork"),
    "concurrent.futures, spawn": executor("spawn"),
    "multiprocessing, fork": pool("fork"),
    "multiprocessing, spawn": pool("spawn"),
    "joblib, loky": parallel("loky"),
    "joblib, multiprocessing": parallel("multiprocessing"),
    "joblib, threading": parallel("threading"),
}

def check(arrays):
    got = WAYS[way](arrays)
    assert got == [np.array(x).sum() for x in arrays], got

if __name__ == "__main__":
    with npzfs.load(archive) as loaded:
        arrays = []
        for x in loaded.values():
            arrays += [x, x[3:7], x[:, ::3], np.asarray(x), x.T]
        del loaded, x
        if moment == "inside":
            check(arrays)
    if moment == "after":
        check(arrays)
"""

# The worker's mount is gone before its array arrives.
WORKER = """
import sys
import joblib
import npzfs

def mapped(archive):
    return npzfs.load(archive)["long"]

if __name__ == "__main__":
    for array in joblib.Parallel(2)([joblib.delayed(mapped)(sys.argv[1])] * 2):
        assert array.sum() == sum(range(300 * 1000)), array
"""

CHANGED = """
import sys
import joblib
import numpy as np
import npzfs

if __name__ == "__main__":
    with npzfs.load(sys.argv[1], mmap_mode="c") as arrays:
        x = arrays["x"]
        x[0] = 100
        sums = joblib.Parallel(2)([joblib.delayed(np.sum)(x)] * 2)
    assert sums == [66 - 6 + 400] * 2, sums
"""

WAYS = [
    "pickle",
    "newest pickle",
    "deepcopy",
    "concurrent.futures, fork",
    "concurrent.futures, spawn",
    "multiprocessing, fork",
    "multiprocessing, spawn",
    "joblib, loky",
    "joblib, multiprocessing",
    "joblib, threading",
]


@pytest.fixture
def numbers(place):
    path = place / "numbers.npz"
    whole = np.arange(300 * 1000.0).reshape(300, 1000)
    arrays = {name: whole[:rows] for name, rows in ROWS.items()}
    np.savez(path, **arrays, fortran=np.asfortranarray(whole))
    return path


def run(text, place, *arguments):
    """Run a program from a file, as `spawn` requires. It has to end in time and with success."""
    program = place / "program.py"
    program.write_text(text)
    process = subprocess.Popen(
        [sys.executable, program, *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # the workers, too
        process.wait()
        raise
    assert process.returncode == 0, stderr


@pytest.mark.parametrize("moment", ["inside", "after"])
@pytest.mark.parametrize("way", WAYS)
def test_other_processes_get_the_values_of_an_array(way, moment, numbers, place):
    run(PROGRAM, place, numbers, way, moment)


def test_joblib_workers_return_arrays(numbers, place):
    run(WORKER, place, numbers)


def test_changes_of_a_copy_on_write_array_are_sent_with_it(archive, place):
    run(CHANGED, place, archive)


def test_an_array_has_no_file_name_to_be_opened_by(archive):
    with npzfs.load(archive) as arrays:
        x = arrays["x"]
    assert isinstance(x, np.memmap) and x.filename is None
