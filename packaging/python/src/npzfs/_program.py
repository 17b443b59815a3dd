"""Finds and runs the program npzfs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Sequence, Union

from ._errors import NotFound, ProgramNotFound, from_status

StrPath = Union[str, "os.PathLike[str]"]

_PREFIX = "npzfs: "


def find() -> str:
    """Return the path of the program.

    The first of: the value of the environment variable ``NPZFS``, the program installed with this
    package, and the program in ``PATH``.

    Raises:
        ProgramNotFound: There is none of these.
    """
    configured = os.environ.get("NPZFS")
    if configured:
        return configured
    package = Path(__file__).resolve().parent
    directories = [
        # From <prefix>/lib/python3.x/site-packages/npzfs to <prefix>/bin.
        package.parent.parent.parent.parent / "bin",
        # The layout of `pip install --target`.
        package.parent / "bin",
        Path(sysconfig.get_path("scripts")),
    ]
    for directory in directories:
        program = shutil.which("npzfs", path=str(directory))
        if program:
            return program
    program = shutil.which("npzfs")
    if program:
        return program
    raise ProgramNotFound("the program npzfs is neither beside this package nor in PATH")


def run(
    options: Sequence[str],
    sources: Sequence[str],
    *operands: str,
    stdin: int = subprocess.DEVNULL,
) -> bytes:
    """Run the program until it exits: a subcommand with options, archives, and more operands.

    Returns:
        Its standard output.

    Raises:
        Error: It failed. The class depends on the exit status.
    """
    command = [find(), "--color=never", *options, "--", *sources, *operands]
    try:
        completed = subprocess.run(command, stdin=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise ProgramNotFound(f"{command[0]}: {error.strerror}") from error
    status = completed.returncode
    if status == 0:
        return completed.stdout
    stderr = completed.stderr.decode(errors="replace").strip()
    message = stderr[len(_PREFIX) :] if stderr.startswith(_PREFIX) else stderr
    failure = from_status(status, message or f"npzfs ended with status {status}")
    if failure.status == NotFound.status and not all(map(os.path.lexists, sources)):
        raise NotFound(failure.message)
    raise failure
