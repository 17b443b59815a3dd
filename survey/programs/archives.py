"""python archives.py LIBRARY write ARCHIVE FOLDER | read ARCHIVE FOLDER"""

import os
import shutil
import stat
import sys
import zipfile

NAMES = ["x.npy", "y.npy", "deep/z.npy"]


def load(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def save(folder, name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def write(library, archive, folder):
    match library:
        case "zipfile":
            with zipfile.ZipFile(archive, "w") as out:
                for name in NAMES:
                    out.write(os.path.join(folder, name), name)
        case "shutil":
            shutil.make_archive(archive.removesuffix(".zip"), "zip", folder)
        case "pyzipper":
            import pyzipper

            with pyzipper.ZipFile(archive, "w") as out:
                for name in NAMES:
                    out.write(os.path.join(folder, name), name)
        case "repro-zipfile":
            from repro_zipfile import ReproducibleZipFile

            with ReproducibleZipFile(archive, "w") as out:
                for name in NAMES:
                    out.write(os.path.join(folder, name), name)
        case "stream-zip":
            from datetime import datetime

            from stream_zip import ZIP_64, stream_zip

            members = ((name, datetime.now(), stat.S_IFREG | 0o644, ZIP_64, [load(folder, name)]) for name in NAMES)
            with open(archive, "wb") as file:
                file.writelines(stream_zip(members))
        case "zipstream-ng":
            from zipstream import ZipStream

            out = ZipStream(sized=True)
            for name in NAMES:
                out.add_path(os.path.join(folder, name), name)
            with open(archive, "wb") as file:
                file.writelines(out)


def read(library, archive, folder):
    match library:
        case "zipfile":
            with zipfile.ZipFile(archive) as source:
                source.extractall(folder)
        case "fsspec":
            import fsspec

            source = fsspec.filesystem("zip", fo=archive)
            for name in source.find(""):
                save(folder, name, source.cat_file(name))
        case "stream-unzip":
            from stream_unzip import stream_unzip

            with open(archive, "rb") as file:
                for name, _, chunks in stream_unzip(iter(lambda: file.read(65536), b"")):
                    save(folder, name.decode(), b"".join(chunks))


library, action, archive, folder = sys.argv[1:]
{"write": write, "read": read}[action](library, archive, folder)
