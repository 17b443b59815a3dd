"""Fixtures that run the npzfs binary named by the environment variable NPZFS."""

import gc
import json
import os
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

NPZFS = os.path.abspath(os.environ["NPZFS"])  # a test may change the working directory
# Long, since other work may slow a test down a lot.
COMMAND_TIMEOUT_S = 120
MOUNT_TIMEOUT_S = 200


def schema(subcommand) -> Draft202012Validator:
    """Return the JSON schema for the output of a subcommand."""
    path = Path(__file__).parents[2] / "docs" / f"{subcommand}.schema.json"
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def npzfs():
    """Run an npzfs command."""

    def run(*arguments) -> subprocess.CompletedProcess:
        # Without pipes: if a server held one open, reading it would last until the unmount.
        return subprocess.run([NPZFS, *arguments], timeout=COMMAND_TIMEOUT_S)

    return run


@pytest.fixture
def listed():
    """Return the objects that `npzfs list --json` writes, one for each archive."""

    def listed(*archives) -> list[dict]:
        command = [NPZFS, "list", "--json", *archives]
        output = subprocess.run(command, timeout=COMMAND_TIMEOUT_S, check=True, capture_output=True)
        assert output.stderr == b""
        objects = [json.loads(line) for line in output.stdout.splitlines()]
        for found in objects:
            schema("list").validate(found)
        return objects

    return listed


@pytest.fixture
def mount(npzfs, tmp_path):
    """Mount archives below `tmp_path`, and unmount them at the end, even if the test fails."""
    watched = {}

    def mount(archive: Path, *options) -> Path:
        mount_point = tmp_path / f"mount point {len(watched)}"
        mount_point.mkdir()
        watched[mount_point] = watch(mount_point)
        assert npzfs("mount", *options, archive, mount_point).returncode == 0
        return mount_point

    yield mount

    gc.collect()  # an array that is still mapped uses its mount
    stuck = [path for path in watched if is_mounted(path) and not unmount(npzfs, path)]
    for watchdog in watched.values():
        watchdog.communicate(timeout=COMMAND_TIMEOUT_S)
    assert not stuck, f"npzfs umount failed for {stuck}"


def unmount(npzfs, mount_point: Path) -> bool:
    try:
        return npzfs("umount", mount_point).returncode == 0 and not is_mounted(mount_point)
    except subprocess.TimeoutExpired:
        return False


def watch(mount_point: Path) -> subprocess.Popen:
    """Start a process that unmounts when its input is closed, for example by the end of pytest.

    After a time limit it aborts the mount. Python itself cannot time out on a page of a mapped
    file: the thread that waits for it holds the interpreter lock, and only SIGKILL interrupts it.
    """
    script = 'timeout "$1" cat || umount -f "$2"; umount -l "$2" || fusermount3 -uz "$2"'
    return subprocess.Popen(
        ["sh", "-c", script, "watch", str(MOUNT_TIMEOUT_S), mount_point],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # usually nothing is left to unmount
        start_new_session=True,  # after Ctrl-C the teardown of pytest still needs it
    )


def is_mounted(path: Path) -> bool:
    """Look in the kernel's mount table, since a stat of a dead mount may fail or hang."""
    table = Path("/proc/self/mountinfo").read_bytes().splitlines()
    # The table has spaces as \040; Latin-1 maps the bytes to characters and back.
    mount_points = [line.split()[4].decode("unicode_escape").encode("latin-1") for line in table]
    return os.fsencode(path) in mount_points
