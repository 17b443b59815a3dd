"""NumPy, unchanged, on a mounted .npz archive."""

import ast
import errno
import io
import itertools
import json
import mmap
import multiprocessing
import os
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import COMMAND_TIMEOUT_S

DTYPES = [
    np.dtype(dtype)
    for dtype in (
        *("?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8"),
        *("<f2", "<f4", "<f8", "longdouble", "<c8", "<c16", "clongdouble"),
        *("S1", "S7", "<U1", "<U5", "V6"),
        *("<M8[ns]", "<M8[D]", "<m8[us]"),
        *(">i2", ">u8", ">f4", ">c16", ">U5", ">M8[s]"),
    )
]
STRUCTURED = {
    "flat": np.dtype([("id", "<i8"), ("value", ">f4"), ("label", "<U3")]),
    "nested": np.dtype(
        [("id", "<u4"), ("at", [("x", "<f8"), ("y", [("lo", "i1"), ("hi", "<i2")])])]
    ),
    "subarray": np.dtype([("id", "i1"), ("matrix", "<f4", (2, 3)), ("row", "<M8[D]", 4)]),
    "titles": np.dtype([(("the id", "id"), "<i4"), (("the value", "value"), "<f8")]),
    "padded": np.dtype([("flag", "i1"), ("value", "<f8")], align=True),
    "latin-1 name": np.dtype([("größe", "<f8")]),
    "long header": np.dtype([(f"field number {i}", "<f8") for i in range(200)]),
    # Its descr is over 64 KiB, for which only version 2.0 has a length field.
    "long header, version 2.0": np.dtype([(f"field number {i}", "u1") for i in range(4000)]),
}
SHAPES = [(), (0,), (3, 0), (7,), (5, 3), (4, 3, 2)]

some_dtypes = pytest.mark.parametrize(
    "dtype", [*DTYPES, *STRUCTURED.values()], ids=[*(d.str for d in DTYPES), *STRUCTURED]
)
quiet_versions = pytest.mark.filterwarnings("ignore:Stored array in format")


def random_array(dtype, shape, order="C"):
    """Return an array of random bytes, NaNs with payloads included; a bool is 0 or 1."""
    count = int(np.prod(shape))
    values = np.random.default_rng(count).integers(0, 256, count * dtype.itemsize, "u1")
    if dtype.kind == "b":
        values &= 1
    return np.asarray(values.view(dtype).reshape(shape), order=order)


def load(path, mmap_mode=None):
    return np.load(path, mmap_mode, max_header_size=1 << 20)


def assert_identical(loaded, expected, case):
    assert loaded.dtype == expected.dtype, case
    assert loaded.shape == expected.shape, case
    assert loaded.flags.c_contiguous == expected.flags.c_contiguous, case
    assert loaded.flags.f_contiguous == expected.flags.f_contiguous, case
    assert loaded.tobytes("A") == expected.tobytes("A"), case


def attributes(path, *names):
    return [os.getxattr(path, f"user.{name}").decode() for name in names]


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy_of(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


@pytest.fixture
def savez(tmp_path):
    """Write an archive by NumPy."""

    def savez(**arrays):
        path = tmp_path / "frame.npz"
        np.savez(path, **arrays)
        return path

    return savez


# Arrays


@quiet_versions
@some_dtypes
def test_every_dtype_loads_bit_for_bit_in_every_shape_and_order(mount, savez, dtype):
    cases = itertools.product(SHAPES, "CF")
    archive = savez(**{f"{case}": random_array(dtype, *case) for case in cases})
    mnt = mount(archive)

    with np.load(archive, max_header_size=1 << 20) as npz:
        for name, expected in npz.items():
            path = mnt / f"{name}.npy"
            assert_identical(load(path), expected, name)
            for mode in "rc":
                mapped = load(path, mode)
                assert isinstance(mapped, np.memmap), name
                assert_identical(mapped, expected, name)
                if mapped.ndim and mapped.size:
                    assert mapped.ctypes.data % 64 == 0, name


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_loads(mount, tmp_path, version):
    array = random_array(np.dtype("<f8"), (5, 3))
    mnt = mount(zip_of(tmp_path / "frame.npz", {"x.npy": npy_of(array, version)}))

    assert_identical(load(mnt / "x.npy", "r"), array, version)
    assert attributes(mnt / "x.npy", "npy.version") == ["%d.%d" % version]


@quiet_versions
def test_field_names_beyond_latin_1_load(mount, savez):
    array = random_array(np.dtype([("数据", "<f8")]), (5,))
    mnt = mount(savez(x=array))

    assert_identical(load(mnt / "x.npy", "r"), array, "version 3.0")
    version, descr = attributes(mnt / "x.npy", "npy.version", "npy.dtype")
    assert (version, ast.literal_eval(descr)) == ("3.0", array.dtype.descr)


def test_pickled_objects_load(mount, savez):
    objects = np.array([None, "text", 2**100, {"key": [1.5]}], dtype=object)
    mnt = mount(savez(obj=objects))

    assert np.load(mnt / "obj.npy", allow_pickle=True).tolist() == objects.tolist()


def test_an_archive_of_10000_members_loads_whole(mount, savez):
    mnt = mount(savez(**{f"m{i}": np.array([i]) for i in range(10_000)}))

    assert [int(np.load(mnt / f"m{i}.npy", "r")[0]) for i in range(10_000)] == list(range(10_000))


# Writing


def test_mapping_for_writing_is_refused_as_read_only(mount, savez):
    mnt = mount(savez(x=np.arange(5)))

    with pytest.raises(OSError, match="Read-only file system") as refusal:
        np.load(mnt / "x.npy", mmap_mode="r+")
    assert refusal.value.errno == errno.EROFS


def test_a_copy_on_write_array_changes_in_memory_only(mount, savez):
    archive = savez(x=np.arange(5))
    before = archive.read_bytes()
    mnt = mount(archive)

    private = np.load(mnt / "x.npy", mmap_mode="c")
    private[:] = 99

    assert private.tolist() == [99] * 5
    assert np.load(mnt / "x.npy", mmap_mode="c").tolist() == [0, 1, 2, 3, 4]
    assert np.load(mnt / "x.npy").tolist() == [0, 1, 2, 3, 4]
    assert archive.read_bytes() == before


# Names


@pytest.mark.parametrize("key", ["größe", "数据", "two words", " ", "a.b", "x" * 251, "-r", "x\ny"])
def test_a_key_is_a_file_name(mount, savez, key):
    mnt = mount(savez(**{key: np.arange(5)}))

    assert os.listdir(mnt) == [f"{key}.npy"]
    assert np.load(mnt / f"{key}.npy", "r").tolist() == [0, 1, 2, 3, 4]


def test_a_slash_in_a_key_makes_a_subdirectory(mount, savez):
    mnt = mount(savez(**{"a/b": np.arange(5), "a/c/d": np.arange(6), "a": np.arange(7)}))

    assert sorted(os.listdir(mnt)) == ["a", "a.npy"]
    assert sorted(os.listdir(mnt / "a")) == ["b.npy", "c"]
    assert os.listdir(mnt / "a" / "c") == ["d.npy"]
    assert np.load(mnt / "a/b.npy", "r").size == 5
    assert np.load(mnt / "a/c/d.npy", "r").size == 6
    assert np.load(mnt / "a.npy", "r").size == 7


def test_scandir_lists_the_members_and_nothing_else(mount, tmp_path):
    members = {f"{i}.npy": npy_of(np.arange(i)) for i in range(500)} | {"__meta__.json": "{}"}
    mnt = mount(zip_of(tmp_path / "frame.npz", members))

    with os.scandir(mnt) as entries:
        listed = {entry.name: (entry.is_file(), entry.stat().st_size) for entry in entries}
    assert listed == {name: (True, len(content)) for name, content in members.items()}


# Other ways to read


def test_the_mmap_module_sees_the_bytes_of_the_member(mount, savez):
    archive = savez(x=np.arange(10_000))
    mnt = mount(archive)

    with open(mnt / "x.npy", "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[:] == zipfile.ZipFile(archive).read("x.npy")


def sum_of_mapped(path):
    return int(np.load(path, mmap_mode="r").sum())


def test_several_processes_read_one_member(mount, savez):
    array = np.arange(1_000_000)
    mnt = mount(savez(x=array))

    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as workers:
        paths = [mnt / "x.npy"] * 12
        sums = list(workers.map(sum_of_mapped, paths, timeout=COMMAND_TIMEOUT_S))
    assert sums == [int(array.sum())] * 12


# Deflated members


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_mapped_like_stored_ones(mount, tmp_path, method):
    array = np.arange(100_000).reshape(100, -1)
    content = npy_of(array)
    with zipfile.ZipFile(tmp_path / "frame.npz", "w") as archive:
        archive.writestr("stored.npy", content)
        archive.writestr("compressed.npy", content, method)
        archive.writestr("empty", "", method)
    mnt = mount(tmp_path / "frame.npz")

    assert (mnt / "compressed.npy").read_bytes() == content
    assert (mnt / "compressed.npy").stat().st_size == len(content)
    assert (mnt / "empty").read_bytes() == b""
    for name in "stored", "compressed":
        mapped = np.load(mnt / f"{name}.npy", mmap_mode="r")
        assert isinstance(mapped, np.memmap)
        assert (mapped == array).all()


def test_an_archive_of_savez_compressed_is_mapped(mount, tmp_path):
    arrays = {"x": np.random.default_rng(1).random((300, 70)), "y": np.arange(5), "z": np.zeros(())}
    np.savez_compressed(tmp_path / "frame.npz", **arrays)
    mnt = mount(tmp_path / "frame.npz")

    for name, array in arrays.items():
        assert (np.load(mnt / f"{name}.npy", mmap_mode="r") == array).all()


def test_deflated_refuse_refuses_an_archive_of_deflated_members(npzfs, tmp_path):
    np.savez_compressed(tmp_path / "frame.npz", x=np.arange(1000), y=np.arange(5))
    (tmp_path / "mnt").mkdir()

    refused = npzfs("mount", "--deflated=refuse", tmp_path / "frame.npz", tmp_path / "mnt")
    assert refused.returncode == 23
    assert not os.path.ismount(tmp_path / "mnt")


def test_deflated_refuse_fails_opens_of_deflated_members(mount, tmp_path):
    content = npy_of(np.zeros(1000))
    with zipfile.ZipFile(tmp_path / "frame.npz", "w") as archive:
        archive.writestr("stored.npy", content)
        archive.writestr("deflated.npy", content, zipfile.ZIP_DEFLATED)
    mnt = mount(tmp_path / "frame.npz", "--deflated=refuse")

    assert np.load(mnt / "stored.npy", "r").tolist() == [0] * 1000
    assert (mnt / "deflated.npy").stat().st_size == len(content)
    with pytest.raises(OSError) as refusal:
        open(mnt / "deflated.npy", "rb")
    assert refusal.value.errno == errno.EOPNOTSUPP


# Extended attributes


@pytest.mark.parametrize(
    ("array", "dtype", "shape", "fortran_order"),
    [
        (np.zeros((3, 4)), "<f8", "3,4", "False"),
        (np.zeros((3, 4), order="F"), "<f8", "3,4", "True"),
        (np.zeros(3, ">i2"), ">i2", "3", "False"),
        (np.zeros((), "U5"), "<U5", "", "False"),
        (np.zeros((3, 0), "?"), "|b1", "3,0", "False"),
        (np.zeros((2, 3, 4), "M8[ns]"), "<M8[ns]", "2,3,4", "False"),
    ],
)
def test_attributes_agree_with_the_npy_header(mount, savez, array, dtype, shape, fortran_order):
    mnt = mount(savez(x=array))

    found = attributes(mnt / "x.npy", "npy.dtype", "npy.shape", "npy.fortran_order", "npy.version")
    assert found == [dtype, shape, fortran_order, "1.0"]


@pytest.mark.parametrize("name", ["flat", "nested", "subarray", "titles", "padded", "latin-1 name"])
def test_the_dtype_attribute_of_a_structured_array_is_its_descr(mount, savez, name):
    mnt = mount(savez(x=np.zeros(3, STRUCTURED[name])))

    (descr,) = attributes(mnt / "x.npy", "npy.dtype")
    assert ast.literal_eval(descr) == np.lib.format.dtype_to_descr(STRUCTURED[name])


def test_attributes_have_the_position_of_a_member(mount, savez):
    archive = savez(x=np.arange(5), **{"a/b": np.arange(1000), "größe": np.zeros((3, 0))})
    mnt = mount(archive)

    for member in zipfile.ZipFile(archive).infolist():
        path = mnt / member.filename
        name, offset, crc32, method = attributes(
            path, "npzfs.name", "npzfs.offset", "npzfs.crc32", "npzfs.method"
        )
        assert (name, crc32, method) == (member.filename, f"{member.CRC:08x}", "stored")
        start, size = int(offset), path.stat().st_size
        assert archive.read_bytes()[start : start + size] == path.read_bytes()


def test_a_member_without_npy_header_has_no_npy_attributes(mount, tmp_path):
    mnt = mount(zip_of(tmp_path / "frame.npz", {"__meta__.json": "{}", "short.npy": b"\x93NUM"}))

    for path in mnt.iterdir():
        with pytest.raises(OSError) as missing:
            os.getxattr(path, "user.npy.dtype")
        assert missing.value.errno == errno.ENODATA
        assert not [name for name in os.listxattr(path) if name.startswith("user.npy.")]


@pytest.mark.parametrize(
    "literal",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': " + "(" * 20_000,
        "['descr', '<f8']",
        "{'descr': '<f8'}",
    ],
    ids=["shape beyond the data", "negative shape", "parentheses", "no dict", "no shape"],
)
@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_a_false_npy_header_is_refused_by_numpy(mount, tmp_path, literal, mmap_mode):
    length = len(literal).to_bytes(2, "little")
    lying = b"\x93NUMPY\1\0" + length + literal.encode() + bytes(16)
    too_long = b"\x93NUMPY\1\0\xff\xff" + literal.encode()[:100]
    members = {"x.npy": lying, "y.npy": too_long, "good.npy": npy_of(np.arange(3))}
    mounted = mount(zip_of(tmp_path / "a.npz", members))
    for name in ("x.npy", "y.npy"):
        with pytest.raises(ValueError):
            np.load(mounted / name, mmap_mode)
    assert np.load(mounted / "good.npy", mmap_mode).tolist() == [0, 1, 2]


def test_the_mount_point_has_the_path_of_its_archive(mount, savez, monkeypatch):
    archive = savez(x=np.arange(5))
    monkeypatch.chdir(archive.parent)
    mnt = mount(archive.name)

    assert attributes(mnt, "npzfs.archive") == [str(archive)]


# Cost


def requests(mnt):
    """Return the counters of a mount, those of requests by type among them."""
    stats = json.loads(os.getxattr(mnt, "user.npzfs.stats"))
    del stats["lanes"]
    assert all(isinstance(count, int) for count in stats.values())
    return stats


def test_second_pass_costs_no_requests(mount, savez):
    mnt = mount(savez(**{f"x{i}": np.arange(i, i + 1000) for i in range(200)}))

    def sums():
        return [int(np.load(path, mmap_mode="r").sum()) for path in sorted(mnt.iterdir())]

    kinds = ("lookup", "getattr", "open", "read", "readdir", "readdirplus")

    def cost():
        before = requests(mnt)
        assert sums() == first
        after = requests(mnt)
        return {k: after[k] - before.get(k, 0) for k in kinds if after.get(k) != before.get(k)}

    first = sums()
    assert any(requests(mnt).get(kind) for kind in kinds)
    # The kernel may drop its caches at any time, so the pass is repeated until it costs none.
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    while costs := cost():
        assert time.monotonic() < deadline, costs
