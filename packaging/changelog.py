#!/usr/bin/env python3
"""Converts CHANGELOG.md to the changelog of a package: `packaging/changelog.py deb|rpm`.

Unreleased changes get the version in Cargo.toml and the time SOURCE_DATE_EPOCH.
"""

import os
import re
import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

# The project has no address. The domain `.invalid` is reserved for this purpose.
MAINTAINER = "The npzfs developers <developers@npzfs.invalid>"
TOP = Path(__file__).resolve().parents[1]


class Release(NamedTuple):
    """A section of CHANGELOG.md, with each change on one line."""

    version: str
    time: datetime
    changes: list[str]


def releases(changelog: str, version: str, now: datetime) -> list[Release]:
    """Return the sections of a changelog in the format of Keep a Changelog, except empty ones."""
    found = []
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        items = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
        changes = [" ".join(item.split()) for item in items]
        dated = re.fullmatch(r"\[(.+)\] - (\d{4}-\d\d-\d\d)", heading.strip())
        if dated:
            time = datetime.fromisoformat(dated[2]).replace(tzinfo=timezone.utc)
            found.append(Release(dated[1], time, changes))
        else:
            found.append(Release(version, now, changes))
    return [release for release in found if release.changes]


def wrapped(changes: list[str], mark: str, width: int) -> str:
    indent = " " * len(mark)
    form = textwrap.TextWrapper(
        width, initial_indent=mark, subsequent_indent=indent, break_on_hyphens=False
    )
    return "\n".join(map(form.fill, changes))


def deb(release: Release) -> str:
    return (
        f"npzfs ({release.version}) unstable; urgency=medium\n\n"
        f"{wrapped(release.changes, '  * ', 79)}\n\n"
        f" -- {MAINTAINER}  {release.time:%a, %d %b %Y %H:%M:%S +0000}\n"
    )


def rpm(release: Release) -> str:
    changes = wrapped(release.changes, "- ", 80).replace("%", "%%")
    return f"* {release.time:%a %b %d %Y} {MAINTAINER} - {release.version}-1\n{changes}\n"


if __name__ == "__main__":
    form = {"deb": deb, "rpm": rpm}[sys.argv[1]]
    version = re.search(r'^version = "(.*)"$', (TOP / "Cargo.toml").read_text(), re.MULTILINE)[1]
    now = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    found = releases((TOP / "CHANGELOG.md").read_text(encoding="utf-8"), version, now)
    sys.stdout.write("\n".join(map(form, found)))
