"""StaticFrame, unchanged, on a mounted frame."""

import json
import mmap
import os

import frame_fixtures as ff
import numpy as np
import pytest
import static_frame as sf

# The nine frames of StaticFrame's article on serialization, with fewer cells. The loader with
# memory mapping keeps a descriptor for each array, so the widest has less than the usual limit.
SHAPES = {"tall": (800, 50), "square": (200, 200), "wide": (50, 800)}
VALUES = {"columnar": "int,bool,float", "mixed": "int,int,bool,float,float", "uniform": "float"}
FRAMES = {
    f"{shape} {values}": ff.parse(f"s({rows},{columns})|v({VALUES[values]})|i(I,int)|c(I,str)")
    for shape, (rows, columns) in SHAPES.items()
    for values in VALUES
}
FRAMES |= {
    "hierarchical index": ff.parse("s(200,6)|v(int,bool,str)|i(IH,(str,dtD))|c(I,str)"),
    "hierarchical columns": ff.parse("s(200,6)|v(float,dtns)|i(ID,dtD)|c(IH,(str,int))"),
    "hierarchical both": ff.parse(
        "s(200,12)|v(int,bool,str,float,dtD)|i(IH,(str,int,dtY))|c(IH,(str,int))"
    ).rename(("frame", 1), index=("station", "run", "year"), columns=("measure", "sensor")),
    "automatic labels": sf.Frame(np.arange(12.0).reshape(3, 4)),
    "raw labels": sf.Frame.from_records(
        [range(6)],
        columns=("a/b", "", "..", "größe", "two words", "x\ny"),
        index=("a/b",),
        name="a/b",
    ),
    "no rows": sf.Frame.from_element(0.0, index=(), columns=("a", "b")),
}

every_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


@pytest.fixture
def mounted(mount, tmp_path):
    """Store a frame by StaticFrame; return the archive and its mount point."""

    def mounted(frame):
        archive = tmp_path / "frame.npz"
        frame.to_npz(archive)
        return archive, mount(archive)

    return mounted


def assert_equals(loaded, frame):
    assert loaded.equals(frame, compare_name=True, compare_dtype=True, compare_class=True)


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@every_frame
def test_a_frame_loads_alike_from_archive_and_mount(mounted, frame):
    archive, mnt = mounted(frame)

    assert_equals(sf.Frame.from_npz(archive), frame)
    assert_equals(sf.Frame.from_npy(mnt), frame)


@every_frame
def test_a_frame_loads_memory_mapped(mounted, frame):
    _, mnt = mounted(frame)

    mapped, close = sf.Frame.from_npy_mmap(mnt)
    assert_equals(mapped, frame)
    assert all(is_mapped(column) for column in mapped.iter_array(axis=0))
    if "__values_columns_0__.npy" in os.listdir(mnt) and mapped.columns.depth == 1:
        assert is_mapped(mapped.columns.values)

    del mapped  # closing unmaps the pages of arrays that are left
    close()


def test_a_growable_frame_loads(mounted):
    frame = FRAMES["square mixed"].to_frame_go()
    _, mnt = mounted(frame)

    loaded = sf.FrameGO.from_npy(mnt)
    assert_equals(loaded, frame)
    loaded["one more"] = 1


def test_the_contents_of_archive_and_mount_are_alike(mounted):
    archive, mnt = mounted(FRAMES["hierarchical both"])

    with sf.NPZ(archive) as npz, sf.NPY(mnt) as npy:
        assert npy.contents.equals(npz.contents)
        assert npy.nbytes == npz.nbytes


def test_the_metadata_is_a_json_file(mounted):
    _, mnt = mounted(FRAMES["hierarchical both"])

    metadata = json.loads((mnt / "__meta__.json").read_text())
    assert metadata["__types__"] == ["IndexHierarchy", "IndexHierarchy"]


def test_attributes_agree_with_a_header_of_staticframe(mounted):
    _, mnt = mounted(FRAMES["square uniform"])
    block = mnt / "__blocks_0__.npy"

    assert os.getxattr(block, "user.npy.dtype") == b"<f8"
    assert os.getxattr(block, "user.npy.shape") == b"200,200"
    fortran_order = np.isfortran(np.load(block, mmap_mode="r"))
    assert os.getxattr(block, "user.npy.fortran_order").decode() == str(fortran_order)
