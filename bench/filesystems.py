"""The file systems that show an archive as a directory, and mounts of them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import process

NPZFS = os.path.abspath(os.environ.get("NPZFS", "target/release/npzfs"))

# Each stays in the foreground, keeps its index in memory and leaves the archive as it is.
COMMANDS: dict[str, list[str]] = {
    "npzfs": [NPZFS, "mount", "--foreground", "--quiet"],
    "mount-zip": ["mount-zip", "-f"],
    "ratarmount": ["ratarmount", "-f", "--index-file", ":memory:"],
    "fuse-zip": ["fuse-zip", "-f", "-r"],
    "archivemount": ["archivemount", "-f", "-o", "readonly,nobackup"],
}
NAMES = tuple(COMMANDS)

UNMOUNT_TIMEOUT_S = 10


class CannotMount(Exception):
    """A file system is not there, or does not mount an archive."""


class CommandFailed(Exception):
    """A program ended with a failure."""


@dataclass(frozen=True)
class Mount:
    """A live mount."""

    path: Path
    pid: int
    # From the start of the program to the mount's being in the kernel's table.
    seconds: float

    def cpu_seconds(self) -> float:
        """Processor time of the server up to now."""
        return process.cpu_seconds(self.pid)

    def private_bytes(self) -> int:
        """Private memory of the server."""
        return process.private_bytes(self.pid)

    def stats(self) -> dict[str, int]:
        """The counters of npzfs: requests by their names, and others."""
        return json.loads(os.getxattr(self.path, "user.npzfs.stats"))


def requests(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """How many requests of each type came between two looks at the counters."""
    types = (
        "lookup getattr open read release opendir readdir readdirplus releasedir ioctl lseek flush "
        "fsync"
    )
    counts = {name: after.get(name, 0) - before.get(name, 0) for name in types.split()}
    return {name: count for name, count in counts.items() if count}


@functools.cache
def program(name: str) -> str | None:
    """Where a program is: in the virtual environment or on PATH."""
    search = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return shutil.which(name, path=search)


@functools.cache
def passthrough(choice: str) -> tuple[str, ...]:
    """The option that forbids or demands passthrough, where npzfs has it."""
    said = run([NPZFS, "mount", "--help"], UNMOUNT_TIMEOUT_S)
    return (f"--passthrough={choice}",) if "--passthrough" in said else ()


@contextmanager
def mounted(name: str, archive: Path, *options: str, timeout_s: float) -> Iterator[Mount]:
    """Mount an archive; whatever happens, neither mount nor process is left."""
    command = COMMANDS[name]
    found = program(command[0])
    if found is None:
        raise CannotMount("not installed")
    point = Path(tempfile.mkdtemp(prefix="npzfs-bench-"))
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        words = [found, *command[1:], *options, archive, point]
        server = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            wait_for(point, server, start + timeout_s)
            yield Mount(point, server.pid, time.perf_counter() - start)
        except CannotMount as error:
            said.seek(0)
            lines = said.read(4096).decode(errors="replace").split("\n")
            raise CannotMount(" ".join([str(error), *lines]).strip()) from None
        finally:
            try:
                unmount(point, server)
            finally:
                # Never what is in it: it could be a mount still.
                point.rmdir()


def run(command: Sequence[str | Path], timeout_s: float | None) -> str:
    """What a command writes; its failure is told with the last that it says of it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode != 0:
        said = done.stderr.strip().split("\n")
        raise CommandFailed(f"{command[0]}: exit status {done.returncode}: {said[-1]}")
    return done.stdout


def wait_for(point: Path, server: subprocess.Popen, deadline: float) -> None:
    while not is_mounted(point):
        if server.poll() is not None:
            raise CannotMount(f"exit status {server.returncode}:")
        if time.perf_counter() > deadline:
            raise CannotMount("not mounted in time")
        time.sleep(0.0005)


def unmount(point: Path, server: subprocess.Popen) -> None:
    """Unmount in good order or, where that fails, by force; the server ends in any case."""
    as_root = os.geteuid() == 0
    polite = ["umount"] if as_root else ["fusermount3", "-u"]
    forced = ["umount", "-l"] if as_root else ["fusermount3", "-uz"]
    if not is_mounted(point):
        server.kill()  # it must not mount any more
    elif not call([*polite, str(point)]):
        # A server that is dead answers no reader any more, so nobody can hang on it.
        server.kill()
        call([*forced, str(point)])
    try:
        server.wait(UNMOUNT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if is_mounted(point):
        call([*forced, str(point)])


def call(command: list[str]) -> bool:
    """Whether a command succeeds, in time."""
    for _ in range(10):
        try:
            done = subprocess.run(command, capture_output=True, timeout=UNMOUNT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            return True
        time.sleep(0.1)  # a process that has just been ended may still hold the mount
    return False


def is_mounted(path: Path) -> bool:
    """Ask the kernel's table: a stat of the place would hang where the server does."""
    # It has blanks in octal, and other mounts may have any bytes in their names.
    name = os.fsencode(path).replace(b" ", rb"\040")
    table = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return any(line.split(b" ")[4] == name for line in table)
