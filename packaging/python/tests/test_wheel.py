"""The wheel, installed by pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import npzfs
import pytest
from conftest import TIMEOUT_S
from npzfs import _program

ROOT = Path(__file__).parents[3]
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
(WHEEL,) = (ROOT / "dist").glob("npzfs-*.whl")


def output(*command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, **options)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_fresh_environment_needs_nothing_but_the_wheel(archive, place):
    environment = place / "environment"
    output(sys.executable, "-m", "venv", environment)
    pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    before = sorted(environment.rglob("*"))
    output(*pip, "install", "--no-index", WHEEL)
    program = (
        "import npzfs, os, sys\n"
        "assert npzfs._program.find() == sys.argv[2]\n"
        "with npzfs.mount(sys.argv[1]) as path: print(sorted(os.listdir(path)))\n"
        "print(len(npzfs.list(sys.argv[1]).members))\n"
        "try: npzfs.load(sys.argv[1])\n"
        "except ImportError as error: print(error)\n"
    )
    # No variables that lead to other modules or programs.
    bare = {key: os.environ[key] for key in ("TMPDIR", "XDG_RUNTIME_DIR") if key in os.environ}
    binary = environment / "bin" / "npzfs"
    python = environment / "bin" / "python"
    assert output(python, "-I", "-B", "-c", program, archive, binary, env=bare) == (
        "['d', 'one.npy', 'x.npy']\n3\nnpzfs.load needs NumPy: pip install 'npzfs[numpy]'\n"
    )
    assert output(binary, "--version") == f"npzfs {VERSION}\n"
    manual = environment / "share" / "man" / "man1" / "npzfs.1"
    assert manual.read_bytes() == (ROOT / "man" / "npzfs.1").read_bytes()
    output(*pip, "uninstall", "--yes", "npzfs")
    after = {path for path in environment.rglob("*") if "__pycache__" not in path.parts}
    assert {path for path in after if path.is_file()} <= set(before)


def test_the_program_is_found_where_pip_installs_it(place, monkeypatch):
    assert _program.find() == str(Path(sys.prefix) / "bin" / "npzfs")
    # pip install --target
    target = place / "target"
    (target / "bin").mkdir(parents=True)
    shutil.copytree(Path(npzfs.__file__).parent, target / "npzfs")
    shutil.copy(_program.find(), target / "bin")
    program = "import npzfs._program; print(npzfs._program.find())"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    found = output("python3", "-c", program, env=environment).strip()
    assert found == str(target / "bin" / "npzfs")
    # Without it, the one in PATH.
    (target / "bin" / "npzfs").rename(place / "npzfs")
    base = Path(sys.base_prefix) / "bin" / "python3"
    environment["PATH"] = str(place)
    assert output(base, "-c", program, env=environment).strip() == str(place / "npzfs")
    environment["PATH"] = "/nowhere"
    ran = subprocess.run([base, "-c", program], env=environment, capture_output=True, text=True)
    assert ran.stderr.endswith(
        "ProgramNotFound: the program npzfs is neither beside this package nor in PATH\n"
    )
    monkeypatch.setenv("NPZFS", "/some/npzfs")
    assert _program.find() == "/some/npzfs"


def test_the_version_is_that_of_the_program():
    assert npzfs.__version__ == VERSION
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        npzfs.nothing


def test_the_wheel_has_all_files_and_metadata():
    with zipfile.ZipFile(WHEEL) as wheel:
        names = wheel.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = wheel.read(metadata).decode()
        (program,) = (name for name in names if name.endswith(".data/scripts/npzfs"))
        assert wheel.getinfo(program).external_attr >> 16 & 0o111 == 0o111
        assert wheel.read(program) == Path(_program.find()).read_bytes()
    info = metadata.rpartition("/")[0]
    licenses = ("LICENSE-MIT", "LICENSE-APACHE", "third-party-licenses.txt")
    assert {f"{info}/licenses/{name}" for name in licenses} <= set(names)
    assert "npzfs/py.typed" in names and "npzfs/__init__.py" in names
    assert not [name for name in names if "test" in name or name.endswith(".pyc")]
    for line in (
        f"Version: {VERSION}",
        "License-Expression: MIT OR Apache-2.0",
        "Requires-Python: >=3.9",
        "Author: The npzfs developers",
        "Requires-Dist: numpy>=1.26 ; extra == 'numpy'",
    ):
        assert line in text.splitlines()
    # No package is required unconditionally.
    assert not re.search(r"^Requires-Dist: [^;]*$", text, re.M)
    # The name states the oldest C library that the program works with.
    assert re.fullmatch(
        rf"npzfs-{VERSION}-py3-none-(manylinux_2_\d+|musllinux_1_\d+)_\w+\.whl", WHEEL.name
    )


def test_the_examples_of_the_readmes_run(place, monkeypatch):
    blocks = []
    for readme in (ROOT / "README.md", ROOT / "packaging" / "python" / "README.md"):
        blocks += re.findall(r"^```python\n(.*?)^```$", readme.read_text(), re.M | re.S)
    shutil.copytree(ROOT / "examples", place / "examples")
    shutil.copy(ROOT / "examples" / "frame.npz", place)
    monkeypatch.chdir(place)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
