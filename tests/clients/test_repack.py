"""NumPy, StaticFrame, zipfile and unzip, unchanged, on archives of npzfs repack."""

import datetime
import os
import re
import subprocess
import zipfile

import frame_fixtures as ff
import numpy as np
import pytest
import static_frame as sf
from conftest import COMMAND_TIMEOUT_S

ALIGNMENTS = ["64", "4096", "65536", "2097152"]
ARRAYS = {
    "x": np.arange(10_000.0).reshape(100, 100),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "größe": np.array(["a", "bc"]),
    "scalar": np.array(7),
    "empty": np.empty((0, 3)),
    "dates": np.arange("2024-01-01", "2024-02-01", dtype="M8[D]"),
    "structured": np.zeros(5, [("a", "<i4"), ("b", "<f8", (2,))]),
}
FRAMES = {
    "columnar": ff.parse("s(50,20)|v(int,bool,float,str,dtD)|i(I,int)|c(I,str)"),
    "dates": ff.parse("s(60,4)|v(float)|i(ID,dtD)|c(I,str)"),
    "hierarchical": ff.parse("s(40,6)|v(int,bool,str)|i(IH,(str,dtD))|c(IH,(str,int))").rename(
        "frame"
    ),
    "automatic labels": sf.Frame(np.arange(12.0).reshape(3, 4)),
}
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}

every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)
every_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


@pytest.fixture
def repack(npzfs, tmp_path):
    """Repack an archive or a directory, check the result with other programs, and return it."""

    def repack(given, *options):
        result = tmp_path / f"result{given.suffix or '.npz'}"
        assert npzfs("repack", "--force", *options, given, result).returncode == 0
        subprocess.run(["unzip", "-tqq", result], check=True, timeout=COMMAND_TIMEOUT_S)
        with zipfile.ZipFile(result) as archive:
            assert archive.testzip() is None
            assert {info.compress_type for info in archive.infolist()} <= {zipfile.ZIP_STORED}
        return result

    return repack


def assert_alike(result, expected):
    """Check that the arrays of an archive are bit for bit those of a dictionary."""
    with np.load(result) as loaded:
        assert loaded.files == list(expected)
        for name, array in expected.items():
            assert loaded[name].dtype == array.dtype
            assert loaded[name].shape == array.shape
            assert np.isfortran(loaded[name]) == np.isfortran(array)
            assert loaded[name].tobytes() == array.tobytes()


@every_alignment
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_array_is_unchanged(repack, mount, tmp_path, save, alignment):
    save(tmp_path / "given.npz", **ARRAYS)
    result = repack(tmp_path / "given.npz", "--align", alignment, "--verify")

    assert_alike(result, ARRAYS)
    mounted = mount(result)
    for name, array in ARRAYS.items():
        file = mounted / f"{name}.npy"
        assert int(os.getxattr(file, "user.npzfs.offset")) % int(alignment) == 0
        assert np.load(file).tobytes() == array.tobytes()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_members_of_every_method_of_zipfile_are_stored(repack, tmp_path, method):
    np.savez(tmp_path / "stored.npz", **ARRAYS)
    with (
        zipfile.ZipFile(tmp_path / "stored.npz") as stored,
        zipfile.ZipFile(tmp_path / "given.npz", "w", method) as given,
    ):
        for info in stored.infolist():
            given.writestr(info.filename, stored.read(info))

    assert_alike(repack(tmp_path / "given.npz"), ARRAYS)


def test_of_repeated_names_the_last_is_kept(repack, tmp_path):
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "given.npz", "w") as given:
        for array in (ARRAYS["x"], ARRAYS["dates"]):
            with given.open("x.npy", "w") as member:
                np.lib.format.write_array(member, array)

    assert_alike(repack(tmp_path / "given.npz"), {"x": ARRAYS["dates"]})


def test_keys_are_kept_whatever_they_are(repack, tmp_path):
    keys = [
        "/model/kernel",
        "model/kernel",
        "../x",
        "x",
        "./x",
        "a//b",
        "C:\\x",
        "größe",
        "k" * 300,
    ]
    arrays = {key: np.arange(number) for number, key in enumerate(keys)}
    np.savez(tmp_path / "given.npz", **arrays)
    assert_alike(repack(tmp_path / "given.npz"), arrays)

    # Python decodes names without the flag of UTF-8 as code page 437.
    given = (tmp_path / "given.npz").read_bytes()
    flag = re.compile(rb"(PK\x03\x04..|PK\x01\x02....)\x00\x08", re.DOTALL)
    given, count = flag.subn(rb"\1\0\0", given)
    assert count == 2
    (tmp_path / "given.npz").write_bytes(given)
    mojibake = "größe".encode().decode("cp437")
    arrays = {mojibake if key == "größe" else key: array for key, array in arrays.items()}
    assert_alike(repack(tmp_path / "given.npz"), arrays)


def test_times_and_order_are_kept(repack, tmp_path):
    times = {
        "z.npy": (1980, 1, 1, 0, 0, 0),
        "a.npy": (2024, 2, 29, 23, 59, 58),
        "m/": (2107, 12, 31, 0, 0, 2),
    }
    with zipfile.ZipFile(tmp_path / "given.npz", "w") as given:
        for name, time in times.items():
            given.writestr(zipfile.ZipInfo(name, time), b"")

    with zipfile.ZipFile(repack(tmp_path / "given.npz")) as result:
        assert {info.filename: info.date_time for info in result.infolist()} == times
        assert result.namelist() == list(times)


@every_frame
@every_alignment
def test_a_frame_is_unchanged(repack, mount, tmp_path, frame, alignment):
    frame.to_npz(tmp_path / "given.npz")
    result = repack(tmp_path / "given.npz", "--align", alignment)

    assert_equals(sf.Frame.from_npz(result), frame)
    assert_equals(sf.Frame.from_npy(mount(result)), frame)


@every_frame
def test_a_directory_of_a_frame_becomes_its_archive(repack, mount, tmp_path, frame):
    frame.to_npy(tmp_path / "given")
    result = repack(tmp_path / "given")

    assert_equals(sf.Frame.from_npz(result), frame)
    mapped, close = sf.Frame.from_npy_mmap(mount(result))
    assert_equals(mapped, frame)
    del mapped
    close()


def test_the_times_of_files_are_kept(repack, tmp_path):
    (tmp_path / "given").mkdir()
    np.save(tmp_path / "given" / "x.npy", ARRAYS["x"])
    time = datetime.datetime(2024, 7, 1, 12, 30, 44)
    os.utime(tmp_path / "given" / "x.npy", (time.timestamp(),) * 2)

    with zipfile.ZipFile(repack(tmp_path / "given")) as result:
        assert datetime.datetime(*result.getinfo("x.npy").date_time) == time


def test_a_bus_is_packed_frame_by_frame(repack, tmp_path):
    bus = sf.Bus.from_frames([FRAMES["columnar"].rename("a"), FRAMES["dates"].rename("b")])
    bus.to_zip_npy(tmp_path / "given.zip")

    loaded = sf.Bus.from_zip_npy(repack(tmp_path / "given.zip"))
    for name in ("a", "b"):
        assert_equals(loaded[name], bus[name])


def assert_equals(loaded, frame):
    assert loaded.equals(frame, compare_name=True, compare_dtype=True, compare_class=True)
