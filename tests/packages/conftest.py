"""Fixtures that build all packages in two places, and install them into a scratch system."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scratch import Scratch

TOP = Path(__file__).parents[2]
sys.path.append(str(TOP / "packaging"))  # for the scripts that are tested separately
KINDS = {"deb": "*.deb", "rpm": "*.rpm", "arch": "*.pkg.tar*", "dist": "*.tar.xz"}
BUILD_TIMEOUT_S = 1200


class Place:
    """A clone of the sources, in which packages are built."""

    def __init__(self, top: Path, **environment: str):
        self.top = top
        self.log = top / "target" / "packages.log"
        self.log.parent.mkdir(exist_ok=True)
        # Not the options of a make that runs the tests.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        with open(self.log, "w") as log:
            self.make = subprocess.Popen(
                ["make", "-C", top, *KINDS],
                env=inherited | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        assert self.make.wait(BUILD_TIMEOUT_S) == 0, self.log.read_text()

    def end(self) -> None:
        """Kill a build that still runs, with its children."""
        if self.make.poll() is None:
            os.killpg(self.make.pid, signal.SIGKILL)
            self.make.wait()

    def package(self, kind: str) -> Path:
        (package,) = (self.top / "target" / "packages").glob(KINDS[kind])
        return package


@pytest.fixture(scope="session")
def places(tmp_path_factory) -> Iterator[tuple[Place, Place]]:
    """Builds here and in a clone with another time zone, umask and home of Cargo."""
    other = tmp_path_factory.mktemp("other")
    home = Path(os.environ.get("CARGO_HOME", "~/.cargo")).expanduser()
    (other / "cargo").symlink_to(home)
    rustup = Path(os.environ.get("RUSTUP_HOME", "~/.rustup")).expanduser()
    clone = other / "clone"
    subprocess.run(["git", "clone", "--quiet", TOP, clone], check=True)
    here = Place(TOP)
    umask = os.umask(0o077)
    there = Place(clone, TZ="Asia/Tokyo", CARGO_HOME=f"{other}/cargo", RUSTUP_HOME=str(rustup))
    os.umask(umask)
    try:
        here.wait()
        there.wait()
        yield here, there
    finally:
        here.end()
        there.end()
        shutil.rmtree(other)  # it is large


@pytest.fixture(scope="session")
def package(places):
    """Return the package of a kind."""
    return places[0].package


@pytest.fixture
def scratch(tmp_path) -> Iterator[Scratch]:
    if os.geteuid() != 0:
        assert "CI" not in os.environ, "packages can be installed by root only"
        pytest.skip("packages can be installed by root only")
    scratch = Scratch(tmp_path)
    yield scratch
    scratch.end()
