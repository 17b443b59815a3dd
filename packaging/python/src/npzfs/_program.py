"""The program npzfs: where it is, and how it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Sequence, Union

from ._errors import NotFound, ProgramNotFound, error_of

StrPath = Union[str, "os.PathLike[str]"]

_PREFIX = "npzfs: "


def find() -> str:
    """The path of the program.

    The environment variable ``NPZFS`` names it, or it is the one that was installed with this
    package, or the one in ``PATH``.

    Raises:
        ProgramNotFound: It is nowhere.
    """
    named = os.environ.get("NPZFS")
    if named:
        return named
    package = Path(__file__).resolve().parent
    places = [
        # <prefix>/lib/python3.x/site-packages/npzfs, and what `pip install --target` makes.
        package.parent.parent.parent.parent / "bin",
        package.parent / "bin",
        Path(sysconfig.get_path("scripts")),
    ]
    for place in places:
        found = shutil.which("npzfs", path=str(place))
        if found:
            return found
    found = shutil.which("npzfs")
    if found:
        return found
    raise ProgramNotFound("the program npzfs is neither beside this package nor in PATH")


def run(
    arguments: Sequence[str],
    sources: Sequence[str],
    *others: str,
    stdin: int = subprocess.DEVNULL,
) -> bytes:
    """Run the program to its end, with options, then archives, then other arguments.

    Returns:
        What it wrote to standard output.

    Raises:
        Error: It failed; the class goes by its exit status.
    """
    command = [find(), "--color=never", *arguments, "--", *sources, *others]
    try:
        done = subprocess.run(command, stdin=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise ProgramNotFound(f"{command[0]}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    message = said[len(_PREFIX) :] if said.startswith(_PREFIX) else said
    failure = error_of(done.returncode, message or f"npzfs ended with status {done.returncode}")
    if failure.status == NotFound.status and not all(map(os.path.lexists, sources)):
        raise NotFound(failure.message)
    raise failure
