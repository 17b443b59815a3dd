"""The archives and directories that are measured."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np

DATE = 1 << 5 | 1  # 1980-01-01, which NumPy writes


def random_array(len_bytes: int) -> np.ndarray:
    """Return incompressible numbers."""
    return np.random.default_rng(1).random(len_bytes // 8)


def npz_and_npy(directory: Path, len_bytes: int) -> tuple[Path, Path]:
    """Write one array as an archive, whose member is `a.npy`, and as a file."""
    array = random_array(len_bytes)
    archive, file = directory / "a.npz", directory / "a.npy"
    np.savez(archive, a=array)
    np.save(file, array)
    os.sync()  # else writeback would run during the measurements
    return archive, file


class SparseFile(io.FileIO):
    """A file that leaves holes in place of zeros."""

    def write(self, data: bytes) -> int:
        if len(data) >= 4096 and not np.frombuffer(data, np.uint8).any():
            self.seek(len(data), os.SEEK_CUR)
            return len(data)
        return super().write(data)


def sparse(directory: Path, len_bytes: int) -> tuple[Path, Path]:
    """Write one array of zeros as an archive and as a file; neither takes up disk space."""
    archive, file = directory / "zeros.npz", directory / "zeros.npy"
    zeros = np.zeros(len_bytes // 8)
    with SparseFile(archive, "w+") as writer:
        np.savez(writer, a=zeros)
    with open(file, "wb") as writer:
        header = np.lib.format.header_data_from_array_1_0(zeros)
        np.lib.format.write_array_header_1_0(writer, header)
        writer.truncate(writer.tell() + zeros.nbytes)
    return archive, file


def many_members(path: Path, members: int) -> None:
    """Write what `np.savez` writes for `members` arrays of one number, but much faster."""
    npy = io.BytesIO()
    np.save(npy, np.zeros(1))
    content = npy.getvalue()
    crc, size = zlib.crc32(content), len(content)
    sizes = struct.pack("<HHQQ", 1, 16, size, size)
    central = []
    offset = 0
    with open(path, "wb") as archive:
        for number in range(members):
            name = b"arr_%d.npy" % number
            wide = struct.pack(
                "<I5H3I2H",
                0x04034B50,
                45,
                0,
                0,
                0,
                DATE,
                crc,
                2**32 - 1,
                2**32 - 1,
                len(name),
                len(sizes),
            )
            archive.write(wide + name + sizes + content)
            central.append(
                struct.pack(
                    "<I6H3I5H2I",
                    0x02014B50,
                    3 << 8 | 45,
                    45,
                    0,
                    0,
                    0,
                    DATE,
                    crc,
                    size,
                    size,
                    len(name),
                    0,
                    0,
                    0,
                    0,
                    0o600 << 16,
                    offset,
                )
                + name
            )
            offset += len(wide) + len(name) + len(sizes) + size
        directory = b"".join(central)
        archive.write(directory)
        if members > 0xFFFF:
            archive.write(
                struct.pack(
                    "<IQ2H2I4Q",
                    0x06064B50,
                    44,
                    45,
                    45,
                    0,
                    0,
                    members,
                    members,
                    len(directory),
                    offset,
                )
            )
            archive.write(struct.pack("<IIQI", 0x07064B50, 0, offset + len(directory), 1))
        count = min(members, 0xFFFF)
        archive.write(
            struct.pack("<I4H2IH", 0x06054B50, 0, 0, count, count, len(directory), offset, 0)
        )
    os.sync()
