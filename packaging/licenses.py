#!/usr/bin/env python3
"""Writes the licences of all crates in the program, and fails if one is unknown.

Crates that only build scripts and tests use are not part of the program. CARGO_BUILD_TARGET selects
another machine than this one.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Add a licence only after checking what it requires from those who distribute the program.
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
    """Return the output of `cargo metadata` for the target machine."""
    target = os.environ.get("CARGO_BUILD_TARGET") or host()
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def host() -> str:
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True)
    return re.search(r"^host: (.*)$", version.stdout, re.MULTILINE)[1]


def crates(metadata: dict) -> list[dict]:
    """Return the crates in the program, except itself, sorted by name and version."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, pending = set(), [root]
    while pending:
        for dependency in nodes[pending.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                pending.append(dependency["pkg"])
    crates = [package for package in metadata["packages"] if package["id"] in found]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def is_known(expression: str) -> bool:
    """Return whether known licences satisfy an SPDX expression."""
    # Old crates write `MIT/Apache-2.0` instead of an SPDX expression.
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
    """Return the licence texts in the directory of a crate's manifest."""
    directory = Path(crate["manifest_path"]).parent
    names = {path.name for path in directory.iterdir() if TEXTS.match(path.name)}
    names |= {crate["license_file"]} if crate["license_file"] else set()
    files = (directory / name for name in sorted(names))
    lines = (file.read_text(encoding="utf-8").splitlines() for file in files if file.is_file())
    return ["\n".join(map(str.rstrip, text)).strip("\n") for text in lines]


def report(crates: list[dict]) -> str:
    """Return a list of the crates and their licences, followed by each licence text once."""
    owners: dict[str, list[str]] = {}
    names = []
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        licence = crate["license"] or ""
        if not is_known(licence):
            sys.exit(f"licenses: {name}: unknown licence '{licence}'; check it, then add it to {__file__}")
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
