"""Runs every writer and reader of the survey, and writes docs/writers.md.

python -m survey BUILT: BUILT is the folder that setup.sh has filled. NPZFS is the program to try; with ONLY=WORD only
tools with that word in their name are run, and nothing is written.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from . import anatomy, arrays, report, tools

SURVEY = Path(__file__).parent
SOURCES = {
    "x.npy": np.arange(30000.0).reshape(300, 100),
    "y.npy": np.arange(7, dtype="<i4"),
    "deep/z.npy": np.array(2.5),
}
NPZFS = os.environ.get("NPZFS", "npzfs")
ONLY = os.environ.get("ONLY", "")
SECONDS = 120


def main():
    built = Path(sys.argv[1]).resolve()
    work = built / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    runner = Runner(built, work)
    results = {
        "npzfs": runner.output(f"{NPZFS} --version").removeprefix("npzfs "),
        "array_writers": runner.write_all(tools.ARRAY_WRITERS),
        "archivers": runner.write_all([tool for tool in tools.ARCHIVERS if tool.write]),
        "archive_readers": runner.read_archives([tool for tool in tools.ARCHIVERS if tool.read]),
        "array_readers": runner.read_arrays(tools.ARRAY_READERS),
    }
    for failure in runner.failures:
        print(f"survey: {failure}", file=sys.stderr)
    if ONLY or runner.failures:
        print(json.dumps(results, indent=1))
        return 1 if runner.failures else 0
    (SURVEY / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (SURVEY.parent / "docs/writers.md").write_text(report.markdown(results))
    return 0


class Runner:
    def __init__(self, built, work):
        self.work = work
        self.failures = []
        self.environment = os.environ | {"BUILT": str(built), "PROGRAMS": str(SURVEY / "programs"), "TZ": "UTC"}

    def shell(self, command, folder, archive):
        """Runs a command of a tool; returns whether it succeeded, and the end of what it said."""
        environment = self.environment | {"ARCHIVE": str(archive), "FOLDER": str(folder)}
        try:
            done = subprocess.run(["sh", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False, f"nothing within {SECONDS} s"
        said = (done.stdout if done.returncode == 0 else done.stdout + done.stderr).decode("utf-8", "replace").strip()
        return done.returncode == 0, said

    def output(self, command):
        good, said = self.shell(command, self.work, "")
        if not good:
            raise SystemExit(f"survey: {command}: {said}")
        return said

    def version(self, tool):
        print(f"survey: {tool.name}", flush=True)
        return self.output(tool.version).split(" with ")[0]

    def fresh(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def sources(self):
        """Returns a new folder with the arrays as files, of 2001."""
        folder = self.fresh("sources")
        for name, array in SOURCES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            np.save(folder / name, array)
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (981_173_106, 981_173_106))
        return folder

    def write_all(self, writers):
        rows = [self.write(tool) for tool in writers if ONLY.lower() in tool.name.lower()]
        return [row for row in rows if row]

    def write(self, tool):
        row = {"name": tool.name, "version": self.version(tool)}
        archive = self.work / "archive.npz"
        archive.unlink(missing_ok=True)
        good, said = self.shell(tool.write, self.sources(), archive)
        if not good or not archive.exists():
            self.failures.append(f"{tool.name} wrote nothing: {said}")
            return None
        return row | anatomy.describe(archive.read_bytes()) | {"readers": self.judge(archive)}

    def judge(self, archive):
        """Returns who does not read the archive, and what they say."""
        expected = members_of_zipfile(archive)
        out = self.fresh("out")
        readers = {
            "NumPy": lambda: numpy_reads(archive),
            "unzip": lambda: self.shell("unzip -q $ARCHIVE", out, archive),
            "7-Zip": lambda: self.shell("7zz t -bd $ARCHIVE", out, archive),
            "npzfs mount": lambda: self.mounted(archive, expected),
            "npzfs verify": lambda: self.shell(f"{NPZFS} verify $ARCHIVE", out, archive),
        }
        answers = {name: read() for name, read in readers.items()}
        return {name: said.splitlines()[-1].replace(f"{archive}: ", "") if said else "fails"
                for name, (good, said) in answers.items() if not good}

    def mounted(self, archive, expected):
        """Returns whether a mount shows the same bytes as Python's zipfile."""
        out = self.fresh("mounted")
        good, said = self.shell(f'{NPZFS} run $ARCHIVE -- sh -c \'cp -r {{}}/. .\'', out, archive)
        if good and contents(out) != expected:
            return False, "other bytes"
        return good, said

    def archives(self):
        """Writes the archives that readers are given, by their headings."""
        folder = self.fresh("archives")
        values = {name.removesuffix(".npy"): array for name, array in SOURCES.items()}
        np.savez(folder / "savez.npz", **values)
        np.savez_compressed(folder / "compressed.npz", **values)
        for name in ("savez", "compressed"):
            (folder / f"{name}-pipe.npz").write_bytes(streamed(name, values))
        self.output(f"{NPZFS} repack {folder}/savez.npz {folder}/repack.npz")
        (folder / "prefix.npz").write_bytes(b"#!/bin/sh\nexit\n" + (folder / "savez.npz").read_bytes())
        return {
            "`savez`": folder / "savez.npz",
            "`savez_compressed`": folder / "compressed.npz",
            "`savez` to a pipe": folder / "savez-pipe.npz",
            "`savez_compressed` to a pipe": folder / "compressed-pipe.npz",
            "`npzfs repack`": folder / "repack.npz",
            "behind a script": folder / "prefix.npz",
        }

    def read_archives(self, readers):
        archives = self.archives()
        expected = contents(self.sources())
        rows = []
        for tool in readers:
            if ONLY.lower() not in tool.name.lower():
                continue
            row = {"name": tool.name, "version": self.version(tool), "answers": {}}
            for heading, archive in archives.items():
                out = self.fresh("out")
                good, _ = self.shell(tool.read, out, archive)
                row["answers"][heading] = verdict(good, contents(out) == expected)
            rows.append(row)
        return rows

    def read_arrays(self, readers):
        folder = self.fresh("npy")
        arrays.write(folder)
        values = arrays.values()
        columns = []
        for tool in readers:
            if ONLY.lower() not in tool.name.lower():
                continue
            column = {"name": tool.name, "version": self.version(tool), "answers": {}}
            for name, array in values.items():
                good, said = self.shell(tool.read, self.fresh("out"), folder / f"{name}.npy")
                column["answers"][name] = arrays.judge(array, said) if good and said else "no"
            columns.append(column)
        return columns


def verdict(good, same):
    if same:
        return "yes" if good else "yes, and an error"
    return "wrong" if good else "no"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members_of_zipfile(archive):
    import zipfile

    with zipfile.ZipFile(archive) as source:
        return {name: source.read(name) for name in source.namelist() if not name.endswith("/")}


def numpy_reads(archive):
    try:
        with np.load(archive) as source:
            for name in source.files:
                source[name]
    except Exception as error:
        return False, str(error)
    return True, ""


def streamed(name, values):
    """Returns what NumPy writes where it cannot seek."""
    import io

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    (np.savez if name == "savez" else np.savez_compressed)(pipe, **values)
    return pipe.data


if __name__ == "__main__":
    sys.exit(main())
