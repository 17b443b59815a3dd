"""The output of `npzfs list --json`, compared with NumPy, zipfile and StaticFrame."""

import ast
import itertools
import mmap
import os
import zipfile

import numpy as np
import pytest
import static_frame as sf
from test_numpy import SHAPES, STRUCTURED, npy_of, quiet_versions, random_array, some_dtypes, zip_of
from test_staticframe import FRAMES, every_frame


def dtype_of(descr):
    if descr.startswith("["):
        descr = ast.literal_eval(descr)
    return np.lib.format.descr_to_dtype(descr)


def assert_agrees_with_numpy(listed, archive):
    """Compare the listed members with what zipfile and NumPy read from the archive."""
    assert listed["archive"] == str(archive)
    assert listed["size_bytes"] == archive.stat().st_size
    with zipfile.ZipFile(archive) as npz, open(archive, "rb") as raw:
        assert len(listed["members"]) == len(npz.infolist())
        for member, info in zip(listed["members"], npz.infolist()):
            assert member["name"] == member["path"] == info.filename
            assert member["method"] == "stored"
            assert member["lane"] == "mapped"
            assert member["problem"] is None
            assert member["size_bytes"] == info.file_size
            assert member["compressed_bytes"] == info.compress_size
            assert member["crc32"] == f"{info.CRC:08x}"
            assert member["local_header_offset"] == info.header_offset
            raw.seek(member["data_offset"])
            assert raw.read(info.file_size) == npz.read(info)
            with npz.open(info) as file:
                version = np.lib.format.read_magic(file)
            with npz.open(info) as file:
                array = np.lib.format.read_array(file, max_header_size=1 << 20)
            npy = member["npy"]
            assert npy["version"] == "%d.%d" % version
            assert dtype_of(npy["dtype"]) == array.dtype
            assert npy["fortran_order"] is np.isfortran(array)
            assert tuple(npy["shape"]) == array.shape
            assert npy["data_offset"] == info.file_size - array.nbytes
            start = member["data_offset"] + npy["data_offset"]
            assert npy["aligned_64"] is (start % 64 == 0)
            assert npy["aligned_page"] is (start % mmap.PAGESIZE == 0)


@quiet_versions
@some_dtypes
def test_arrays_of_every_dtype_shape_and_order_agree_with_numpy(listed, tmp_path, dtype):
    cases = itertools.product(SHAPES, "CF")
    archive = tmp_path / "frame.npz"
    np.savez(archive, **{f"{case}": random_array(dtype, *case) for case in cases})

    (found,) = listed(archive)
    if dtype == STRUCTURED["long header, version 2.0"]:
        assert [member["npy"] for member in found["members"]] == [None] * len(SHAPES) * 2
    else:
        assert_agrees_with_numpy(found, archive)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_agrees_with_numpy(listed, tmp_path, version):
    array = random_array(np.dtype("<f8"), (5, 3))
    archive = zip_of(tmp_path / "frame.npz", {"x.npy": npy_of(array, version)})

    assert_agrees_with_numpy(*listed(archive), archive)


def test_an_array_can_be_mapped_at_the_listed_offsets(listed, tmp_path):
    array = random_array(np.dtype("<f8"), (5, 3), "F")
    archive = tmp_path / "frame.npz"
    np.savez(archive, before=np.arange(7), x=array)

    member = listed(archive)[0]["members"][1]
    npy = member["npy"]
    mapped = np.memmap(
        archive,
        dtype=npy["dtype"],
        mode="r",
        offset=member["data_offset"] + npy["data_offset"],
        shape=tuple(npy["shape"]),
        order="F" if npy["fortran_order"] else "C",
    )
    assert mapped.tobytes("A") == array.tobytes("A")


def test_a_compressed_archive_is_listed_with_its_arrays(listed, tmp_path):
    archive = tmp_path / "frame.npz"
    np.savez_compressed(archive, x=np.zeros(1000), y=np.arange(5))

    with zipfile.ZipFile(archive) as npz:
        for member, info in zip(listed(archive)[0]["members"], npz.infolist(), strict=True):
            assert member["size_bytes"] == info.file_size
            assert member["compressed_bytes"] == info.compress_size
            assert member["method"] == "deflated"
            assert (member["lane"], member["problem"]) == ("inflated", None)
            assert member["npy"]["aligned_64"] is member["npy"]["aligned_page"] is None
        assert [member["npy"]["shape"] for member in listed(archive)[0]["members"]] == [[1000], [5]]


def test_paths_sizes_and_times_are_those_of_the_mount(listed, mount, tmp_path):
    names = ["a/b.npy", "a/../c.npy", "a/c.npy", "größe.npy", "x\ny", "empty/", "dup", "./dup"]
    archive = tmp_path / "frame.npz"
    with zipfile.ZipFile(archive, "w") as file:
        for size, name in enumerate(names):
            info = zipfile.ZipInfo(name, date_time=(2024, 1, 2, 3, 4, size * 2))
            file.writestr(info, b"" if name.endswith("/") else b"x" * size)
    mnt = mount(archive)

    members = listed(archive)[0]["members"]
    walked = (os.path.join(top, file) for top, _, files in os.walk(mnt) for file in files)
    files = {os.path.relpath(path, mnt) for path in walked}
    assert {member["path"] for member in members} == files | {"empty/"}
    for member in members:
        stat = os.stat(mnt / member["path"])
        if member["path"] != "empty/":
            assert (member["size_bytes"], member["mtime"]) == (stat.st_size, stat.st_mtime)


def labels_of(index):
    types = [kind.__name__ for kind in index.index_types.values] if index.depth > 1 else []
    return type(index).__name__, index.depth, types


def assert_is_frame(found, frame):
    assert found["shape"] == list(frame.shape)
    assert found["blocks"] == len(frame._blocks._blocks)
    for name, key, labels in [
        (frame.index.name, "index", frame.index),
        (frame.columns.name, "columns", frame.columns),
    ]:
        axis = found[key]
        assert axis["name"] == (list(name) if isinstance(name, tuple) else name)
        assert (axis["type"], axis["depth"], axis["types"]) == labels_of(labels)
    name = frame.name
    assert found["name"] == (list(name) if isinstance(name, tuple) else name)


@every_frame
def test_a_frame_agrees_with_staticframe(listed, tmp_path, frame):
    archive = tmp_path / "frame.npz"
    frame.to_npz(archive)

    (found,) = listed(archive)
    assert_is_frame(found["frame"], frame)


@pytest.mark.parametrize(
    "frame",
    [
        sf.Frame(index=("a", "b", "c")),
        sf.Frame(columns=("a", "b")),
        sf.Frame(),
        FRAMES["square mixed"].to_frame_go(),
    ],
    ids=["no columns", "no rows", "nothing", "growable"],
)
def test_a_frame_without_values_has_its_shape_from_its_labels(listed, tmp_path, frame):
    archive = tmp_path / "frame.npz"
    frame.to_npz(archive)

    assert_is_frame(listed(archive)[0]["frame"], frame)


def test_a_date_in_a_name_is_text(listed, tmp_path):
    archive = tmp_path / "frame.npz"
    FRAMES["no rows"].rename(np.datetime64("2024-01-31")).to_npz(archive)

    assert listed(archive)[0]["frame"]["name"] == "np.datetime64('2024-01-31')"


def test_a_frame_that_staticframe_assembled_has_its_shape(listed, tmp_path):
    archive = tmp_path / "frame.npz"
    with sf.NPZ(archive, "w") as npz:
        npz.from_arrays([np.arange(3), np.zeros((3, 4))], axis=1, name="assembled")

    found = listed(archive)[0]["frame"]
    assert (found["name"], found["shape"]) == ("assembled", [3, 5])


def test_a_bus_is_no_frame(listed, tmp_path):
    archive = tmp_path / "bus.zip"
    frames = (FRAMES["square uniform"].rename("one"), FRAMES["square mixed"].rename("two"))
    sf.Bus.from_frames(frames).to_zip_npz(archive)

    (found,) = listed(archive)
    assert found["frame"] is None
    assert [member["name"] for member in found["members"]] == ["one.npz", "two.npz"]
