"""The arrays that every reader of .npy files is given, one file each."""

import json

import numpy as np
from numpy.lib import format as npy

# The name of each array, in the order of the table, and what is special about it.
ARRAYS = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64 past 2**53",
    "i4": "int32",
    "u8": "uint64 past 2**63",
    "u2": "uint16",
    "i1": "int8",
    "b1": "bool",
    "c8": "complex64",
    "c16": "complex128",
    "fortran": "float64 in Fortran order",
    "fortran1": "one dimension, fortran_order True",
    "big_f8": "float64, big-endian",
    "big_i4": "int32, big-endian",
    "scalar": "no dimensions",
    "vector": "one dimension",
    "empty": "shape (0, 3)",
    "six": "six dimensions",
    "large": "2 MiB of float64",
    "unicode": "U3",
    "bytes": "S4",
    "datetime": "datetime64[ns]",
    "record": "a structured dtype",
    "version2": "header of version 2.0",
    "version3": "header of version 3.0",
    "unpadded": "header without padding",
    "python2": "header as NumPy wrote it under Python 2: 3L",
    "trailing": "bytes behind the array",
}


def values():
    """Returns each array by name."""
    grid = np.arange(6, dtype="<f8").reshape(2, 3) + 0.5
    record = np.zeros(3, dtype=[("id", "<i4"), ("x", "<f8")])
    record["id"] = [1, 2, 3]
    record["x"] = [0.5, 1.5, 2.5]
    return {
        "f8": grid + 0.1,
        "f4": grid.astype("<f4"),
        "f2": np.array([[0.5, -1.5, 65504], [2**-24, -0.0, 3]], "<f2"),
        "i8": np.array([[1, -2, 2**53 + 1], [-(2**63), 2**63 - 1, 3]], "<i8"),
        "i4": np.array([[1, -2, 2**31 - 1], [-(2**31), 5, 6]], "<i4"),
        "u8": np.array([[1, 2, 2**63 + 1], [2**64 - 1, 5, 6]], "<u8"),
        "u2": np.array([[1, 2, 65535], [4, 5, 6]], "<u2"),
        "i1": np.array([[1, -2, 127], [-128, 5, 6]], "|i1"),
        "b1": np.array([[True, False, True], [False, False, True]]),
        "c8": (grid + 1j * grid[::-1]).astype("<c8"),
        "c16": (grid + 1j * grid[::-1]).astype("<c16"),
        "fortran": np.asfortranarray(grid),
        "fortran1": np.array([0.5, 1.5, 2.5]),
        "big_f8": grid.astype(">f8"),
        "big_i4": np.array([[1, -2, 3], [4, 5, 6]], ">i4"),
        "scalar": np.array(2.5),
        "vector": np.array([0.5, 1.5, 2.5]),
        "empty": np.empty((0, 3)),
        "six": np.arange(64, dtype="<f8").reshape(2, 2, 2, 2, 2, 2),
        "large": np.arange(262144, dtype="<f8").reshape(512, 512),
        "unicode": np.array(["ab", "", "xyz"], "<U3"),
        "bytes": np.array([b"ab", b"", b"wxyz"], "|S4"),
        "datetime": np.array([0, 1700000000123456789], "<M8[ns]"),
        "record": record,
        "version2": grid,
        "version3": grid,
        "unpadded": grid,
        "python2": grid,
        "trailing": grid,
    }


def write(directory):
    """Writes each array as a file of NumPy's own, or as others write it."""
    for name, array in values().items():
        with open(directory / f"{name}.npy", "wb") as file:
            if name in ("version2", "version3"):
                npy.write_array(file, array, version=(int(name[-1]), 0))
            elif name == "fortran1":
                header = "{'descr': '<f8', 'fortran_order': True, 'shape': (3,), }"
                file.write(spelled(header, 64) + array.tobytes())
            elif name == "unpadded":
                header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }"
                file.write(spelled(header, 1) + array.tobytes())
            elif name == "python2":
                header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }"
                file.write(spelled(header, 16) + array.tobytes())
            else:
                npy.write_array(file, array)
            if name == "trailing":
                file.write(bytes(16))


def spelled(header, multiple):
    """Returns the start of a file of version 1.0 with this header, padded to a multiple."""
    text = header + " " * (-(len(header) + 11) % multiple) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def judge(array, answer):
    """Returns yes, or what is wrong with the JSON that a reader printed of an array."""
    answer = json.loads(answer)
    order = "F" if answer["fortran"] else "C"
    expected = array.ravel(order)
    if expected.dtype.kind in "mM":
        expected = expected.astype("i8")
    values = answer["values"]
    # A list of lists cannot say what is behind a length of zero.
    shape = list(array.shape[:array.shape.index(0) + 1]) if 0 in array.shape else list(array.shape)
    if answer["shape"] not in (list(array.shape), shape):
        return "wrong shape"
    if expected.dtype.kind == "c" and len(values) == 2 * len(expected):
        values = list(zip(values[::2], values[1::2]))
    if len(values) != len(expected):
        return "wrong length"
    if all(map(same, expected, values)):
        return "yes"
    if expected.dtype == np.float64 and all(np.float32(value) == np.float32(other) for value, other in zip(expected, values)):
        return "as float32"
    return "wrong values"


def same(expected, value):
    """Whether a reader's value, a number or text, is the one in the array."""
    try:
        match expected.dtype.kind:
            case "b":
                return {"true": 1, "false": 0, "1": 1, "0": 0}.get(value, value) == bool(expected)
            case "i" | "u":
                return int(value) == int(expected)
            case "f":
                return expected.dtype.type(float(value)) == expected
            case "c":
                real, imaginary = value if not isinstance(value, str) else complex_parts(value)
                return complex(float(real), float(imaginary)) == complex(expected)
            case "S":
                return value == expected.decode()
            case "V":
                return list(value) == list(expected.item())
        return value == str(expected)
    except (TypeError, ValueError):
        return False


def complex_parts(text):
    number = complex(text.replace("i", "j"))
    return number.real, number.imag
