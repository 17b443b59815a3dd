"""The file systems that mount an archive as a directory, and their mounts."""

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

# Each runs in the foreground, keeps its index in memory and does not change the archive.
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
    """A file system is not installed, or failed to mount an archive."""


class CommandFailed(Exception):
    """A program exited with an error."""


@dataclass(frozen=True)
class Mount:
    """A live mount."""

    path: Path
    pid: int
    # From the start of the program to the entry in the kernel's mount table.
    seconds: float

    def cpu_seconds(self) -> float:
        """The processor time that the server has used."""
        return process.cpu_seconds(self.pid)

    def private_bytes(self) -> int:
        """The private memory of the server."""
        return process.private_bytes(self.pid)

    def stats(self) -> dict[str, int]:
        """The counters of npzfs, those of requests by type among them."""
        return json.loads(os.getxattr(self.path, "user.npzfs.stats"))


def requests_between(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The number of requests of each type between two readings of the counters."""
    types = (
        "lookup getattr open read release opendir readdir readdirplus releasedir ioctl lseek flush "
        "fsync"
    )
    counts = {name: after.get(name, 0) - before.get(name, 0) for name in types.split()}
    return {name: count for name, count in counts.items() if count}


@functools.cache
def program(name: str) -> str | None:
    """The path of a program in the virtual environment or on PATH."""
    search = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return shutil.which(name, path=search)


@functools.cache
def passthrough_option(value: str) -> tuple[str, ...]:
    """The option that disables or requires passthrough, if npzfs has it."""
    help_text = run([NPZFS, "mount", "--help"], UNMOUNT_TIMEOUT_S)
    return (f"--passthrough={value}",) if "--passthrough" in help_text else ()


@contextmanager
def mounted(name: str, archive: Path, *options: str, timeout_s: float) -> Iterator[Mount]:
    """Mount an archive, and always unmount it and end its server."""
    command = COMMANDS[name]
    found = program(command[0])
    if found is None:
        raise CannotMount("not installed")
    point = Path(tempfile.mkdtemp(prefix="npzfs-comparison-"))
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        words = [found, *command[1:], *options, archive, point]
        server = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(point, server, start + timeout_s)
            yield Mount(point, server.pid, time.perf_counter() - start)
        except CannotMount as error:
            output.seek(0)
            lines = output.read(4096).decode(errors="replace").split("\n")
            raise CannotMount(" ".join([str(error), *lines]).strip()) from None
        finally:
            try:
                unmount(point, server)
            finally:
                # Not recursively: it might still be mounted.
                point.rmdir()


def run(command: Sequence[str | Path], timeout_s: float | None) -> str:
    """Run a command and return its output; a failure quotes the last line of its error output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode != 0:
        lines = done.stderr.strip().split("\n")
        raise CommandFailed(f"{command[0]}: exit status {done.returncode}: {lines[-1]}")
    return done.stdout


def wait_for(point: Path, server: subprocess.Popen, deadline: float) -> None:
    while not is_mounted(point):
        if server.poll() is not None:
            raise CannotMount(f"exit status {server.returncode}:")
        if time.perf_counter() > deadline:
            raise CannotMount("not mounted in time")
        time.sleep(0.0005)


def unmount(point: Path, server: subprocess.Popen) -> None:
    """Unmount, lazily if that fails; the server is ended in any case."""
    as_root = os.geteuid() == 0
    plain = ["umount"] if as_root else ["fusermount3", "-u"]
    lazy = ["umount", "-l"] if as_root else ["fusermount3", "-uz"]
    if not is_mounted(point):
        server.kill()  # else it might still mount
    elif not succeeds([*plain, str(point)]):
        # The kernel answers readers of a dead server with an error, so none can hang.
        server.kill()
        succeeds([*lazy, str(point)])
    try:
        server.wait(UNMOUNT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if is_mounted(point):
        succeeds([*lazy, str(point)])


def succeeds(command: list[str]) -> bool:
    """Run a command, again if it fails; returns whether it succeeded in time."""
    for _ in range(10):
        try:
            done = subprocess.run(command, capture_output=True, timeout=UNMOUNT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            return True
        time.sleep(0.1)  # a process that was just killed may still use the mount
    return False


def is_mounted(path: Path) -> bool:
    """Look in the kernel's mount table, since a stat would hang if the server does."""
    # The table has blanks in octal, and paths of other mounts may hold any bytes.
    name = os.fsencode(path).replace(b" ", rb"\040")
    table = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return any(line.split(b" ")[4] == name for line in table)
