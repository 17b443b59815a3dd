"""The sessions in the README, run and compared with the shown output."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND_TIMEOUT_S, NPZFS

ROOT = Path(__file__).parents[2]
SUBCOMMANDS = ["mount", "umount", "list", "verify", "repack", "run", "mounts"]


def sessions():
    """Return the commands of the README in order, each with the lines that follow it."""
    text = (ROOT / "README.md").read_text()
    commands = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            else:
                commands[-1][1].append(line)
    return commands


def python_input(lines):
    return "".join(line[4:] + "\n" for line in lines if line.startswith(">>> "))


def pattern_of(lines):
    """Return a regular expression for the shown output, in which `...` matches anything."""
    shown = "\n".join(" ".join(line.split()) for line in lines)
    # The process ID, the path of the archive and the number of bytes read vary.
    shown = re.sub(r" /\S+/examples/frame.npz \d+ live 11 \S+ kB ", " ARCHIVE SERVED ", shown)
    shown = re.escape(shown).replace(r"\.\.\.", "(?s:.*?)")
    archive = re.escape(f"{ROOT}/examples/frame.npz")
    return shown.replace(r"ARCHIVE\ SERVED", rf"{archive} \d+ live 11 [\d.]+ k?B")


def test_the_readme_shows_every_subcommand():
    shown = {command.split()[1] for command, _ in sessions() if command.startswith("npzfs ")}
    assert shown == set(SUBCOMMANDS)


def test_every_make_target_of_the_readme_exists():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = "".join(blocks).splitlines() + re.findall(r"`(make [^`]+)`", text)
    targets = {command.split()[1] for command in commands}
    assert {"demo", "test", "deb", "wheel"} <= targets
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets <= set(phony.split())


def test_every_command_of_the_readme_prints_the_shown_output(tmp_path):
    for program in ("getfattr", "jq"):
        if shutil.which(program) is None:
            assert os.environ.get("CI") != "true", f"CI needs {program}"
            pytest.skip(f"{program} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npzfs").symlink_to(NPZFS)
    (programs / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" -q -i\n')
    (programs / "python3").chmod(0o755)
    here = lambda text: text.replace("/tmp/", f"{tmp_path}/")
    try:
        for command, lines in sessions():
            lines = [here(line) for line in lines]
            ran = subprocess.run(
                ["bash", "-c", here(command)],
                cwd=ROOT,
                env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
                input=python_input(lines),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if command == "python3" else subprocess.STDOUT,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
            )
            assert ran.returncode == 0, ran
            output = [" ".join(line.split()) for line in ran.stdout.splitlines()]
            if command == "npzfs mounts":
                # The machine may have other mounts.
                output = [
                    line for line in output if line.startswith(("MOUNTPOINT ", str(tmp_path)))
                ]
            expected = pattern_of(line for line in lines if not line.startswith(">>> "))
            assert re.fullmatch(expected, "\n".join(output)), (command, output, expected)
    finally:
        subprocess.run([NPZFS, "umount", "--lazy", tmp_path / "frame"], capture_output=True)
