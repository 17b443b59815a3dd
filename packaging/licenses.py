#!/usr/bin/env python3
"""Writes the licences of all crates that npzfs is made of, and fails if one is not known.

Crates that only build scripts and tests need are no part of the program. Set CARGO_BUILD_TARGET for
another machine than this one.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# What another one means for those who pass the program on, somebody has to find out first.
KNOWN = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
}
EXCEPTIONS = {"LLVM-exception"}
TEXTS = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)
RULE = "-" * 80


def metadata() -> dict:
    """What cargo knows of the crates, for the machine that the program is for."""
    target = os.environ.get("CARGO_BUILD_TARGET") or host()
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def host() -> str:
    said = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (.*)$", said, re.MULTILINE)[1]


def crates(metadata: dict) -> list[dict]:
    """The crates that go into the program, apart from itself, by name and version."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, ahead = set(), [root]
    while ahead:
        for dependency in nodes[ahead.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                ahead.append(dependency["pkg"])
    crates = [package for package in metadata["packages"] if package["id"] in found]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def is_known(expression: str) -> bool:
    """Whether an SPDX expression can be fulfilled with licences that are known."""
    # Crates from before SPDX was asked for write `MIT/Apache-2.0`.
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def joined(word: str, part: Callable[[], bool], judge: Callable[[list], bool]) -> bool:
        known = [part()]
        while words[:1] == [word]:
            words.pop(0)
            known.append(part())
        return judge(known)

    def alternatives() -> bool:
        return joined("OR", requirements, any)

    def requirements() -> bool:
        return joined("AND", licence, all)

    def licence() -> bool:
        if not words:
            return False
        word = words.pop(0)
        if word == "(":
            known = alternatives()
            return bool(words) and words.pop(0) == ")" and known
        known = word in KNOWN
        if words[:1] == ["WITH"]:
            words.pop(0)
            known = bool(words) and words.pop(0) in EXCEPTIONS and known
        return known

    return alternatives() and not words


def texts(crate: dict) -> list[str]:
    """The licence texts that lie beside a crate's manifest."""
    directory = Path(crate["manifest_path"]).parent
    names = {path.name for path in directory.iterdir() if TEXTS.match(path.name)}
    names |= {crate["license_file"]} if crate["license_file"] else set()
    files = (directory / name for name in sorted(names))
    lines = (file.read_text(encoding="utf-8").splitlines() for file in files if file.is_file())
    return ["\n".join(map(str.rstrip, text)).strip("\n") for text in lines]


def report(crates: list[dict]) -> str:
    """The crates with the names of their licences, then each text once, and whose it is."""
    owners: dict[str, list[str]] = {}
    names = []
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        licence = crate["license"] or ""
        if not is_known(licence):
            sys.exit(f"licenses: {name}: unknown licence '{licence}'; look at it and at {__file__}")
        found = texts(crate)
        if not found:
            sys.exit(f"licenses: {name}: no file with the text of its licence, '{licence}'")
        names.append(f"{name}: {licence}")
        for text in found:
            owners.setdefault(text, []).append(name)
    head = (
        "npzfs contains the Rust standard library, https://www.rust-lang.org, under the licence\n"
        "MIT OR Apache-2.0, and these crates, https://crates.io, whose licences follow:"
    )
    sections = [f"{', '.join(of)}:\n\n{text}" for text, of in owners.items()]
    return f"\n\n{RULE}\n".join([f"{head}\n\n" + "\n".join(names), *sections]) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(report(crates(metadata())))
