"""npzfs and NumPy agree on what npy headers mean, however they are spelt.

NPZFS_HEADERS=N in the environment checks N random headers instead of a few thousand.
"""

import ast
import io
import json
import math
import os
import re
import subprocess
import zipfile

import numpy as np
import pytest
from conftest import NPZFS
from header_generator import Generator
from numpy.lib.format import descr_to_dtype

HEADERS = int(os.environ.get("NPZFS_HEADERS", 4000))
BATCH = 4000
TIMEOUT_S = 300


def npy_of(version, text, data):
    encoded = text.encode("utf-8" if version == 3 else "latin-1")
    length = len(encoded).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + encoded + data


def read_by_numpy(npy, version):
    """The shape and the dtype of a header; None if NumPy refuses it."""
    implementation = getattr(np.lib, "_format_impl", np.lib.format)  # of NumPy 2 and 1
    try:
        return implementation._read_array_header(io.BytesIO(npy[8:]), (version, 0))[::2]
    except Exception:  # NumPy lets errors of all kinds through
        return None


def random_headers(seed, count):
    """Headers, each with the shape and the dtype that NumPy reads, or None."""
    generator = Generator(seed)
    while count:
        version, text = generator.header()
        try:
            npy = npy_of(version, text, b"")
        except UnicodeEncodeError:
            continue
        read = read_by_numpy(npy, version)
        if read is None or min(read[0], default=0) < 0:
            read = None  # NumPy reads whatever there is where a length is negative
        elif not read[1].hasobject and data_len(*read) > 1 << 20:
            continue
        count -= 1
        yield npy, text, read


def data_len(shape, dtype):
    return math.prod(shape) * dtype.itemsize


def data_of(read):
    if read is None or read[1].hasobject:
        return b"\x80\x04N."  # a pickle
    return bytes(data_len(*read))


def run(*arguments):
    return subprocess.run([NPZFS, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)


def faults_of(archive):
    """The fault of each member that has one, by its number."""
    result = run("verify", archive)
    assert result.returncode in (0, 1) and result.stderr == "", result.stderr
    found = re.findall(r": member '(\d+)\.npy': (.*)", result.stdout)
    assert "note" not in result.stdout
    return {int(number): fault for number, fault in found}


def write(archive, arrays):
    with zipfile.ZipFile(archive, "w") as opened:
        for number, npy in enumerate(arrays):
            opened.writestr(f"{number}.npy", npy)
    return archive


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(-(-HEADERS // BATCH)))
def test_npzfs_and_numpy_agree_on_npy_headers(tmp_path, seed):
    headers = list(random_headers(seed, min(HEADERS, BATCH)))
    sound = sum(read is not None for _, _, read in headers)
    assert len(headers) / 4 < sound < len(headers) * 3 / 4
    archive = write(tmp_path / "right.npz", (npy + data_of(read) for npy, _, read in headers))
    faults = faults_of(archive)
    for number, (_, text, read) in enumerate(headers):
        assert (number in faults) == (read is None), (text, read, faults.get(number))
    members = json.loads(run("list", "--json", archive).stdout)["members"]
    for member, (_, text, read) in zip(members, headers):
        if read:
            shape, dtype = read
            assert member["npy"]["shape"] == list(shape), text
            assert dtype_of(member["npy"]["dtype"]) == dtype, text

    archive = write(tmp_path / "long.npz", (npy + data_of(read) + b"!" for npy, _, read in headers))
    faults = faults_of(archive)
    for number, (_, text, read) in enumerate(headers):
        if read and not read[1].hasobject:
            declared = data_len(*read)
            expected = f"npy header tells of {declared} bytes of data, but {declared + 1} follow it"
            assert faults.get(number) == expected, text


def dtype_of(text):
    """The dtype that a client makes of the text that npzfs shows."""
    for literal in (text, re.sub(r"(?<=\d)L", "", text)):
        try:
            descr = ast.literal_eval(literal)
            if isinstance(descr, (list, tuple)):
                return descr_to_dtype(descr)
        except Exception:
            pass  # a string such as "2i4,", which also looks like a literal
    return descr_to_dtype(text)
