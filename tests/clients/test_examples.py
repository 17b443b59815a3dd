"""The examples for clusters, on this machine: each worker mounts the archive itself."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import COMMAND_TIMEOUT_S, NPZFS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAME = "__blocks_0__"
WORKERS = 2

# Runs one process per task of the job, with the number of the task.
SRUN = """#!/bin/sh
task=0
while [ $task -lt $SLURM_NTASKS ]; do
    SLURM_PROCID=$task "$@" &
    task=$((task + 1))
done
wait
"""

# Dask sends arrays that outlive their mount to workers that do not know the archive.
OUTLIVING = """
import sys
import dask
import dask.array as da
import npzfs
import numpy as np
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    with npzfs.load(sys.argv[1]) as arrays:
        x = arrays["numbers"]
    blocks = da.from_array(x, chunks=20_000)
    print(blocks.sum().compute(scheduler="processes"))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            print(client.submit(np.sum, x).result())
            print(client.submit(np.sum, client.scatter(x[::3])).result())
            print(blocks.sum().compute())
"""


@pytest.fixture
def environment(tmp_path):
    """Variables for the examples to find this npzfs. At the end nothing may be mounted."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, program in {"npzfs": NPZFS, "python3": sys.executable}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        (programs / name).chmod(0o755)
    yield os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "packaging" / "python" / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path),
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
    }
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    try:
        while left := mounts_below(tmp_path):
            assert time.monotonic() < deadline, f"still mounted: {left}"
            time.sleep(0.01)
        assert not [*tmp_path.glob("npzfs-*")]
    finally:
        for mount_point in mounts_below(tmp_path):
            subprocess.run([NPZFS, "umount", "--lazy", mount_point])


@pytest.fixture
def archive(tmp_path):
    """An array of integers, whose sum does not depend on the order."""
    path = tmp_path / "numbers.npz"
    np.savez(path, numbers=np.arange(100_003.0), other=np.ones(3))
    return path


def mounts_below(directory):
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{directory}/")]


def output(*command, environment):
    """Run a command and return its output; after a time limit its process group is killed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=2 * COMMAND_TIMEOUT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    assert process.returncode == 0
    return out


@pytest.mark.parametrize("engine", ["dask", "joblib"])
def test_workers_mount_the_archive_and_sum_their_blocks(engine, archive, environment):
    command = [sys.executable, EXAMPLES / f"{engine}_sum.py", archive, "numbers"]
    out = output(*command, f"--workers={WORKERS}", environment=environment)
    assert float(out) == np.arange(100_003.0).sum()


def test_dask_workers_get_arrays_that_outlive_their_mount(archive, environment, tmp_path):
    program = tmp_path / "outliving.py"
    program.write_text(OUTLIVING)
    out = output(sys.executable, program, archive, environment=environment)
    total, third = np.arange(100_003.0).sum(), np.arange(0, 100_003.0, 3).sum()
    assert [*map(float, out.split())] == [total, total, third, total]


def test_a_slurm_job_sums_blocks_on_each_node(archive, environment, tmp_path):
    srun = tmp_path / "bin" / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    environment |= {"SLURM_NTASKS": "3", "SLURM_SUBMIT_DIR": str(ROOT)}
    # sbatch runs a copy of the script, too.
    copy = shutil.copy(EXAMPLES / "slurm.sh", tmp_path / "slurm_script")
    out = output("bash", copy, archive, "numbers", environment=environment)
    assert float(out) == np.arange(100_003.0).sum()


def test_the_scripts_are_clean():
    if shutil.which("shellcheck") is None:
        assert os.environ.get("CI") != "true", "CI needs shellcheck"
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", *EXAMPLES.glob("*.sh")], check=True)


def test_the_pod_has_what_fuse_needs_and_its_command_runs(environment):
    pod = yaml.safe_load((EXAMPLES / "pod.yaml").read_text())
    assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod")
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"] == {"privileged": True}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["fuse"]["hostPath"] == {"path": "/dev/fuse", "type": "CharDevice"}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == volumes.keys()
    assert mounts["fuse"]["mountPath"] == "/dev/fuse"
    assert mounts["data"]["readOnly"] is True
    # The volume is the directory of the examples in this test.
    data = mounts["data"]["mountPath"]
    command = [word.replace(f"{data}/", f"{EXAMPLES}/") for word in container["command"]]
    out = output(*command, *container["args"], environment=environment)
    with np.load(EXAMPLES / "frame.npz") as arrays:
        assert float(out) == pytest.approx(arrays[NAME].sum(), rel=1e-12)
