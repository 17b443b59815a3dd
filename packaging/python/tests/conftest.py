"""Archives, and a place to mount them in, of which nothing may be left."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List

import numpy as np
import pytest
from npzfs import _program

TIMEOUT_S = 60
PATIENCE_S = 10


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory, with one in it for temporary files. In the end nothing is mounted below it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    yield tmp_path
    try:
        wait_until("all servers have ended", lambda: not servers(tmp_path))
        assert mounts(tmp_path) == []
        assert [*temporary.glob("npzfs-*")] == []
    finally:
        for mount_point in mounts(tmp_path):
            subprocess.run([_program.find(), "umount", "--lazy", mount_point])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of an array, one without elements in a directory, and one without dimensions."""
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(12.0).reshape(3, 4), "d/none": np.zeros((0, 3)), "one": np.int32(7)}
    np.savez(path, **arrays)
    return path


def mounts(below: Path) -> List[str]:
    """Where something is mounted, as the kernel tells."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in table if line.split()[4].startswith(f"{below}/")]


def servers(below: Path) -> List[int]:
    """The processes of npzfs that serve, or have served, a mount."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"mount" in words and any(word.startswith(os.fsencode(below)) for word in words):
                found.append(int(directory.name))
    return found


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not so in time: {what}"
        time.sleep(0.005)


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program in an interpreter of its own, and wait until it has said a line."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def server_of(path: Path) -> int:
    """The number of the process behind a mount."""
    stats = json.loads(os.getxattr(path, "user.npzfs.stats"))
    return int(stats["pid"])
