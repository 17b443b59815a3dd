"""npzfs verify on archives of the clients: they are sound, and a flipped byte is found."""

import io
import os
import random
import shutil
import subprocess
import zipfile

import frame_fixtures as ff
import numpy as np
import pytest
import static_frame as sf
from conftest import COMMAND_TIMEOUT_S, NPZFS
from test_numpy import DTYPES, SHAPES, STRUCTURED, npy_of, quiet_versions, random_array, zip_of

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def verify(*archives):
    return subprocess.run(
        [NPZFS, "verify", *archives], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
    )


def lines_of(result):
    """What verify prints, but for notes on dtypes of so many fields that NumPy refuses them, too."""
    lines = result.stdout.splitlines()
    return [line for line in lines if "unless max_header_size is raised" not in line]


def assert_sound(archive):
    result = verify(archive)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    [line] = lines_of(result)
    assert line.startswith(f"{archive}: ") and line.endswith(": sound")


def assert_damage_is_found(archive):
    """Check that a flipped byte in the middle of the data of some members is found."""
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if member.file_size]
    whole = archive.read_bytes()
    for member in random.Random(1).sample(members, min(len(members), 3)):
        name_len, extra_len = (
            int.from_bytes(whole[member.header_offset + at :][:2], "little") for at in (26, 28)
        )
        data = member.header_offset + 30 + name_len + extra_len
        damaged = bytearray(whole)
        damaged[data + member.compress_size // 2] ^= 0x10
        archive.write_bytes(damaged)
        result = verify(archive)
        assert result.returncode == 1, member.filename
        fault, result = lines_of(result)
        assert f": member '{member.filename}': " in fault
        assert result.endswith(": 1 fault")
    archive.write_bytes(whole)


def assert_checked(archive):
    assert_sound(archive)
    assert_damage_is_found(archive)


@quiet_versions
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_dtype_and_shape_of_numpy_is_sound(tmp_path, save):
    arrays = {
        f"{name} {shape} {order}".replace("/", "-"): random_array(dtype, shape, order)
        for name, dtype in [*((dtype.str, dtype) for dtype in DTYPES), *STRUCTURED.items()]
        for shape in SHAPES
        for order in "CF"
    }
    archive = tmp_path / "frame.npz"
    save(archive, **arrays)

    assert len(arrays) == (len(DTYPES) + len(STRUCTURED)) * len(SHAPES) * 2
    assert_checked(archive)


@quiet_versions
@pytest.mark.parametrize("dtype", [*DTYPES, *STRUCTURED.values()], ids=str)
def test_an_array_cut_or_extended_by_a_byte_is_found(tmp_path, dtype):
    npy = npy_of(random_array(dtype, (5, 3)))
    for contents in (npy[:-1], npy + b"\0"):
        result = verify(zip_of(tmp_path / "frame.npz", {"x.npy": contents}))
        assert result.returncode == 1
        assert ": member 'x.npy': npy header tells of " in result.stdout


def test_pickled_objects_and_empty_types_are_sound(tmp_path):
    archive = tmp_path / "frame.npz"
    objects = np.array([None, "text", 2**100, {"key": [1.5]}], dtype=object)
    mixed = np.array([(1, None), (2, [3])], dtype=[("id", "<i4"), ("value", "O")])
    empty = np.zeros(4, dtype=[])
    np.savez(archive, objects=objects, mixed=mixed, empty=empty, void=np.zeros(3, "V0"))

    assert_checked(archive)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_is_sound(tmp_path, version):
    array = random_array(np.dtype("<f8"), (5, 3))
    assert_checked(zip_of(tmp_path / "frame.npz", {"x.npy": npy_of(array, version)}))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_of_zipfile_is_sound(tmp_path, method):
    array = np.arange(100_000.0) // 7
    members = {"x.npy": npy_of(array), "d/y.npy": npy_of(array[:10]), "text": "text", "none": ""}
    assert_checked(zip_of(tmp_path / "frame.npz", members, method))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_data_descriptors_of_zipfile_are_sound(tmp_path, method):
    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        def tell(self):
            raise io.UnsupportedOperation

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", method) as written:
        written.writestr("x.npy", npy_of(np.arange(1000.0)))
        with written.open("y.npy", "w", force_zip64=True) as member:
            member.write(npy_of(np.arange(10)))
    archive = tmp_path / "frame.npz"
    archive.write_bytes(stream.getvalue())

    assert_checked(archive)


@pytest.mark.parametrize("options", [[], ["-0"], ["-fd"], ["-fz"]], ids=str)
def test_archives_of_info_zip_are_sound(tmp_path, options):
    if not shutil.which("zip"):
        assert os.environ.get("CI") != "true", "CI needs zip"
        pytest.skip("needs zip")
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "x.npy", np.arange(1000.0))
    np.save(tmp_path / "y.npy", random_array(np.dtype("<f8"), (5, 3)))
    command = ["zip", "-q", "-r", *options, "frame.npz", "d", "y.npy"]
    subprocess.run(command, cwd=tmp_path, check=True)

    assert_checked(tmp_path / "frame.npz")


def test_a_frame_of_staticframe_is_sound(tmp_path):
    archive = tmp_path / "frame.npz"
    layout = "s(50,6)|v(int64,float64,str,bool,dtD,dtns)|i(ID,dtD)|c(IH,(str,str))"
    ff.parse(layout).to_npz(archive)

    assert_checked(archive)


@pytest.mark.parametrize("method", ["to_zip_npz", "to_zip_npy"])
def test_a_bus_of_staticframe_is_sound(tmp_path, method):
    frames = [ff.parse(f"s({rows},3)|v(float64,int64,str)").rename(f"f{rows}") for rows in (5, 50)]
    archive = tmp_path / "bus.zip"
    getattr(sf.Bus.from_frames(frames), method)(archive)

    assert_checked(archive)
