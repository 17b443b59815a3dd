"""Compressed archives of the clients, loaded through a mount and from the archive."""

import os
import shutil
import struct
import subprocess
import zipfile
import zlib

import numpy as np
import pytest
import static_frame as sf
from test_numpy import (
    DTYPES,
    SHAPES,
    STRUCTURED,
    assert_identical,
    load,
    npy_of,
    quiet_versions,
    random_array,
    requests,
)
from test_staticframe import assert_equals, every_frame

PACKED = {
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
every_method = pytest.mark.parametrize("method", PACKED.values(), ids=PACKED)


def needs(program):
    if not shutil.which(program):
        assert os.environ.get("CI") != "true", f"CI needs {program}"
        pytest.skip(f"needs {program}")


def repacked(archive, method, level=None):
    """Write the members of an archive to another one, all of them compressed."""
    packed = archive.with_name("packed.npz")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(packed, "w", method, True, level) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return packed


@quiet_versions
def test_every_dtype_shape_and_order_of_savez_compressed(mount, tmp_path):
    arrays = {
        f"{name} {shape} {order}".replace("/", "-"): random_array(dtype, shape, order)
        for name, dtype in [*((dtype.str, dtype) for dtype in DTYPES), *STRUCTURED.items()]
        for shape in SHAPES
        for order in "CF"
    }
    np.savez_compressed(tmp_path / "frame.npz", **arrays)
    mnt = mount(tmp_path / "frame.npz")

    assert len(os.listdir(mnt)) == len(arrays)
    for name, expected in arrays.items():
        for mode in None, "r", "c":
            loaded = load(mnt / f"{name}.npy", mode)
            assert isinstance(loaded, np.memmap) == bool(mode)
            assert_identical(loaded, expected, name)
    assert requests(mnt)["inflations"] == len(arrays)


@every_method
@every_frame
def test_a_frame_loads_memory_mapped_from_a_compressed_archive(mount, tmp_path, frame, method):
    frame.to_npz(tmp_path / "frame.npz")
    mnt = mount(repacked(tmp_path / "frame.npz", method))

    mapped, close = sf.Frame.from_npy_mmap(mnt)
    assert_equals(mapped, frame)
    close()
    assert_equals(sf.Frame.from_npy(mnt), frame)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_every_level_of_zipfile(mount, tmp_path, level):
    array = np.arange(300_000) // 7
    np.savez(tmp_path / "frame.npz", x=array, random=random_array(np.dtype("<f8"), (9000,)))
    archive = repacked(tmp_path / "frame.npz", zipfile.ZIP_DEFLATED, level)
    mnt = mount(archive)

    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            assert (mnt / name).read_bytes() == opened.read(name)
    assert (np.load(mnt / "x.npy", "r") == array).all()


@pytest.mark.parametrize("options", [["-9"], ["-1"], ["-9", "-fd"], ["-9", "-fz"]], ids=str)
def test_archives_of_info_zip(mount, tmp_path, options):
    needs("zip")
    arrays = {"d/x.npy": np.arange(100_000.0), "y.npy": random_array(np.dtype("<f8"), (5, 3))}
    (tmp_path / "d").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / name, array)
    command = ["zip", "-q", "-r", *options, "frame.npz", "d", "y.npy"]
    subprocess.run(command, cwd=tmp_path, check=True)
    mnt = mount(tmp_path / "frame.npz")

    for name, array in arrays.items():
        assert_identical(np.load(mnt / name, "r"), array, name)
        assert (mnt / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("options", [["-1"], ["-3"], ["-19"], ["--ultra", "-22"]], ids=str)
def test_members_compressed_by_zstd(mount, tmp_path, options):
    needs("zstd")
    content = npy_of(np.arange(300_000.0) // 7) + os.urandom(100_000)
    command = ["zstd", "-q", *options, "-c"]
    data = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout
    # Store the compressed data, and then write the true method, CRC and sizes to both headers.
    with zipfile.ZipFile(tmp_path / "frame.npz", "w") as archive:
        archive.writestr("x.npy", data)
    whole = bytearray((tmp_path / "frame.npz").read_bytes())
    for at in 8, whole.rindex(b"PK\x01\x02") + 10:
        struct.pack_into("<H", whole, at, 93)
        struct.pack_into("<LLL", whole, at + 6, zlib.crc32(content), len(data), len(content))
    (tmp_path / "frame.npz").write_bytes(whole)
    mnt = mount(tmp_path / "frame.npz")

    assert os.getxattr(mnt / "x.npy", "user.npzfs.method") == b"zstd"
    assert (mnt / "x.npy").read_bytes() == content


def test_a_mapped_array_keeps_its_bytes_under_memory_pressure(mount, tmp_path):
    arrays = {f"x{i}": np.random.default_rng(i).random(100_000) for i in range(20)}
    np.savez_compressed(tmp_path / "frame.npz", **arrays)
    mnt = mount(tmp_path / "frame.npz", "--inflate-limit=2M")

    mapped = np.load(mnt / "x0.npy", "r")
    for _ in range(2):
        for name, array in arrays.items():
            assert (np.load(mnt / f"{name}.npy", "r") == array).all()
    assert (mapped == arrays["x0"]).all()
    stats = requests(mnt)
    assert stats["inflated_bytes"] <= 2 << 20
    # The mapped one is inflated once, others repeatedly.
    assert len(arrays) < stats["inflations"] < 2 * len(arrays)
