"""The changelogs of packages, made from CHANGELOG.md."""

from datetime import datetime, timezone

import changelog

NOW = datetime(2027, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
TEXT = """# Changelog

## [Unreleased]

### Added

- A `thing` that has so long a description that it goes on for more than one line, at 100%
  of the width.

## [0.1.0] - 2026-12-01

### Added

- All.
"""


def test_unreleased_changes_have_the_version_and_commit_time():
    ahead, first = changelog.releases(TEXT, "0.2.0", NOW)
    assert changelog.deb(ahead) == (
        "npzfs (0.2.0) unstable; urgency=medium\n"
        "\n"
        "  * A `thing` that has so long a description that it goes on for more than one\n"
        "    line, at 100% of the width.\n"
        "\n"
        f" -- {changelog.MAINTAINER}  Thu, 04 Mar 2027 05:06:07 +0000\n"
    )
    assert changelog.rpm(first) == (f"* Tue Dec 01 2026 {changelog.MAINTAINER} - 0.1.0-1\n- All.\n")


def test_percent_signs_are_no_macros_of_rpm():
    assert "100%% of the" in changelog.rpm(changelog.releases(TEXT, "0.2.0", NOW)[0])


def test_a_section_without_changes_is_left_out():
    text = TEXT.replace("- A `thing`", "A thing")
    assert [release.version for release in changelog.releases(text, "0.2.0", NOW)] == ["0.1.0"]
