"""`npzfs.load`."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import zipfile

import npzfs
import numpy as np
import pytest
from conftest import mounts, wait_until, servers

ARRAYS = {
    "x": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "none": np.zeros((0, 3)),
    "one": np.array(7, "<i2"),
    "a/b": np.array(["größe", "x"]),
    "../out": np.array([1 + 2j]),
    "/absolute": np.array(["2024-05"], dtype="M8[M]"),
    "big endian": np.arange(3, dtype=">u4"),
    "record": np.zeros(2, dtype=[("a", "<i4"), ("b", "<f8", (2,))]),
    "unicode record": np.zeros(2, dtype=[("größe", "<i4")]),
    "漢字": np.array([True, False]),
    "x.npy": np.ones(1),
    "long header": np.zeros(1, dtype=[(f"field {i:04}", "i1") for i in range(400)]),
}


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_of_numpy_load_but_mapped(place, save):
    save(place / "a.npz", **ARRAYS)
    with np.load(place / "a.npz") as expected, npzfs.load(place / "a.npz") as arrays:
        assert arrays.files == expected.files
        assert list(arrays) == list(expected) and len(arrays) == len(expected)
        assert list(arrays.keys()) == expected.files
        for name, array in expected.items():
            mapped = arrays[name]
            assert isinstance(mapped, np.memmap), name
            assert (mapped.dtype, mapped.shape) == (array.dtype, array.shape)
            assert mapped.flags.f_contiguous == array.flags.f_contiguous
            assert np.array_equal(mapped, array)
            assert mapped.flags.aligned and not mapped.flags.writeable
            assert name in arrays and f"{name}.npy" in arrays
            assert np.array_equal(arrays[f"{name}.npy"], expected[f"{name}.npy"])


@pytest.mark.parametrize("name", ["x", "x.npy", "../out", "../out.npy", "/absolute", "a/b"])
def test_a_name_is_found_without_a_listing(place, name):
    np.savez(place / "a.npz", **{key: ARRAYS[key] for key in ("x", "../out", "/absolute", "a/b")})
    with npzfs.load(place / "a.npz") as arrays:
        assert np.array_equal(arrays[name], ARRAYS[name.replace(".npy", "")])
        assert name in arrays and len(arrays) == 4


def test_a_missing_name_is_a_key_error_with_the_other_names(archive):
    with npzfs.load(archive) as arrays:
        for name in ("y", "", "../a.npz", "d", "no\0thing", "\udc80"):
            assert name not in arrays and arrays.get(name) is None
        with pytest.raises(KeyError) as raised:
            arrays["y"]
        assert raised.value.args == (f"'y' is not in {archive}, which has x, d/none, one",)
        assert 7 not in arrays
        with pytest.raises(TypeError):
            arrays["x"] = 1


def test_other_members_are_bytes(place):
    with zipfile.ZipFile(place / "a.npz", "w") as file:
        file.writestr("__meta__.json", "{}")
        file.writestr("text.npy", "text")
        file.writestr("nothing", "")
    with npzfs.load(place / "a.npz") as arrays:
        assert dict(arrays) == {"__meta__.json": b"{}", "text": b"text", "nothing": b""}


def test_repr_shows_a_few_names(place):
    np.savez(place / "a.npz", **{f"a{i}": np.ones(1) for i in range(9)})
    np.savez(place / "b.npz")
    arrays = npzfs.load(place / "a.npz")
    assert repr(arrays) == f"Arrays '{place}/a.npz' with keys: a0, a1, a2, a3, a4..."
    arrays.close()
    assert repr(arrays) == f"Arrays '{place}/a.npz' closed"
    assert arrays.closed
    with npzfs.load(place / "b.npz") as arrays:
        assert repr(arrays) == f"Arrays '{place}/b.npz' with keys: nothing"


def test_nothing_is_accessible_after_close(archive):
    arrays = npzfs.load(archive)
    arrays.close()
    arrays.close()
    for use in (
        lambda: arrays["x"],
        lambda: arrays.files,
        lambda: len(arrays),
        lambda: "x" in arrays,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_arrays_outlive_the_mapping_and_end_the_server(place):
    values = np.random.default_rng(1).random((1 << 10, 1 << 10))
    np.savez(place / "a.npz", x=values)
    with npzfs.load(place / "a.npz") as arrays:
        column = arrays["x"][:, 7]
        x = arrays["x"]
    # It is unmounted, but still serves pages that were not read before.
    assert mounts(place) == [] and servers(place) != []
    assert np.array_equal(x, values)
    del x
    gc.collect()
    assert servers(place) != []
    assert np.array_equal(column, values[:, 7])
    del column
    gc.collect()
    wait_until("the server ends", lambda: servers(place) == [])


def test_an_array_outlives_an_unreferenced_mapping(archive, place):
    x = npzfs.load(archive)["x"]
    gc.collect()
    assert mounts(place) == []
    assert x.sum() == 66


def test_copy_on_write_does_not_change_the_archive(archive):
    before = archive.read_bytes()
    with npzfs.load(archive, mmap_mode="c") as arrays:
        x = arrays["x"]
        x[0] = 100
        assert x.sum() == 66 - 6 + 400
        assert arrays["x"].sum() == 66
    assert archive.read_bytes() == before


@pytest.mark.parametrize("mode", ["r+", "w+", None])
def test_arrays_cannot_be_mapped_for_writing(archive, mode):
    with pytest.raises(ValueError, match="must be 'r' or 'c'"):
        npzfs.load(archive, mode)


def test_a_mapping_can_be_pickled(archive, place, monkeypatch):
    monkeypatch.chdir(place)
    arrays = npzfs.load("a.npz", umask=0o027)
    again = pickle.loads(pickle.dumps(arrays))
    assert again["x"].sum() == 66
    arrays.close()
    assert again.files == ["x", "d/none", "one"]
    again.close()


def wide(fields, name="field"):
    """A table with many fields, and so with a long npy header."""
    return np.ones(3, dtype=[(f"{name} {i:04}", "i1") for i in range(fields)])


@pytest.mark.filterwarnings("ignore:Stored array in format")
def test_tables_with_long_headers_are_mapped(place):
    tables = {"latin": wide(800), "unicode": wide(800, "größe")}
    np.savez(place / "a.npz", **tables)
    with npzfs.load(place / "a.npz") as arrays:
        for name, table in tables.items():
            assert isinstance(arrays[name], np.memmap)
            assert np.array_equal(arrays[name], table)


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("name", ["field", "größe"])
def test_max_header_size_is_that_of_numpy_load(place, name):
    np.savez(place / "a.npz", wide=wide(800, name), wider=wide(4000, name))
    with npzfs.load(place / "a.npz", max_header_size=10_000) as arrays:
        for refused in ("wide", "wider"):
            with pytest.raises(ValueError, match="max_header_size"):
                arrays[refused]
    with npzfs.load(place / "a.npz") as arrays:
        with pytest.raises(ValueError, match="max_header_size"):
            arrays["wider"]
    with npzfs.load(place / "a.npz", max_header_size=1_000_000) as arrays:
        with pickle.loads(pickle.dumps(arrays)) as again:
            for loaded in (arrays, again):
                assert np.array_equal(loaded["wider"], wide(4000, name))


def test_a_long_header_that_npzfs_cannot_parse_is_refused(place):
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1" + "+1" * 6000 + ",)}\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(place / "a.npz", "w") as file:
        file.writestr("x.npy", header + bytes(8 * 6001))
    with npzfs.load(place / "a.npz") as arrays:
        with pytest.raises(ValueError, match="max_header_size"):
            arrays["x"]


def test_a_mapping_shares_the_mount_of_the_same_archive(archive, place):
    with npzfs.mount(archive) as path, npzfs.load(archive) as arrays:
        assert mounts(place) == [str(path)]
    assert arrays.closed and mounts(place) == []


def test_members_of_inner_archives_have_their_paths(place, archive):
    with zipfile.ZipFile(place / "bus.zip", "w") as bus:
        bus.write(archive, "one/inner.npz")
        bus.writestr("broken.npz", "text")
        bus.writestr("top", "text")
    with npzfs.load(place / "bus.zip", recursive=True) as arrays:
        assert arrays["one/inner.npz/x"].sum() == 66
        assert set(arrays) == {
            "top", "one/inner.npz/x", "one/inner.npz/d/none", "one/inner.npz/one"
        }  # fmt: skip


def test_each_array_uses_one_open_file(place, archive):
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    with npzfs.load(archive) as arrays:
        before = open_files()
        kept = [arrays["x"] for _ in range(10)]
        assert open_files() == before + 10
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                kept += [arrays["x"] for _ in range(100)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        kept.clear()
        gc.collect()
        assert open_files() == before


def test_a_folder_is_refused(place):
    with pytest.raises(IsADirectoryError, match="takes one archive"):
        npzfs.load(place)


def test_of_repeated_names_the_last_is_loaded(place):
    with pytest.warns(UserWarning), zipfile.ZipFile(place / "a.npz", "w") as file:
        file.writestr("x", "first")
        file.writestr("x", "last")
    with npzfs.load(place / "a.npz") as arrays:
        assert dict(arrays) == {"x": b"last"}
