"""Programs started by `npzfs run`."""

import os
import resource
import subprocess
import sys

import frame_fixtures as ff
import numpy as np
import pytest
import static_frame as sf
from conftest import COMMAND_TIMEOUT_S, NPZFS

# Opens the frame, and prints its number of columns and the sum of one column.
OPEN = """
import os, static_frame as sf
frame, close = sf.Frame.from_npy_mmap(os.environ["NPZFS_MOUNT"])
print(frame.shape[1], frame.iloc[:, -2].sum())
"""

USUAL_LIMIT = 1024


@pytest.fixture
def run(tmp_path):
    """Run a Python program by `npzfs run`, after which nothing may be left."""

    def run(archive, program, *, limit=None):
        def set_limit():
            if limit is not None:
                _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))

        return subprocess.run(
            [NPZFS, "run", archive, "--", sys.executable, "-c", program],
            env=os.environ | {"XDG_RUNTIME_DIR": str(runtime)},
            preexec_fn=set_limit,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    runtime = tmp_path / "runtime"
    runtime.mkdir()
    yield run
    assert list(runtime.iterdir()) == []


def test_a_frame_is_mapped_through_the_variable(run, tmp_path):
    frame = ff.parse("s(20,6)|v(int,float)|i(I,int)|c(I,str)")
    frame.to_npz(archive := tmp_path / "frame.npz")

    ran = run(archive, OPEN)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"6 {frame.iloc[:, -2].sum()}\n"


def test_numpy_finds_the_mount_in_an_argument(run, tmp_path):
    np.savez(archive := tmp_path / "x.npz", x=np.arange(12.0))

    ran = run(archive, 'import numpy as np; print(np.load("{}/x.npy", mmap_mode="r").sum())')
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "66.0\n", "")


def test_a_frame_with_more_blocks_than_the_usual_limit_is_mapped(run, tmp_path):
    columns = 3 * USUAL_LIMIT
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < columns + 100:
        assert os.environ.get("CI") != "true", "CI needs a hard limit of more open files"
        pytest.skip(f"the hard limit of open files is {hard}")
    # Neighbours have different types, so that each column is a block.
    values = (np.full(3, at, dtype=(int, float)[at % 2]) for at in range(columns))
    frame = sf.Frame.from_items(enumerate(values))
    frame.to_npz(archive := tmp_path / "wide.npz")

    ran = run(archive, OPEN, limit=USUAL_LIMIT)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{columns} {3 * (columns - 2)}\n"

    # With the limit lowered again, the same program fails.
    lower = f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({USUAL_LIMIT}, {hard}))"
    ran = run(archive, lower + OPEN)
    assert ran.returncode == 1
    assert "Too many open files" in ran.stderr
