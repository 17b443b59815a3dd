"""Reproducible builds: two builds of a commit give the same bytes."""

import tarfile

import pytest


@pytest.mark.parametrize("kind", ["deb", "rpm", "dist"])
def test_a_package_of_another_build_has_the_same_bytes(kind, places):
    here, there = (place.package(kind) for place in places)
    assert here.name == there.name
    assert here.read_bytes() == there.read_bytes()


def test_an_arch_package_of_another_build_differs_in_one_path(places):
    here, there = (members(place.package("arch")) for place in places)
    assert {name for name in here if here[name] != there.get(name)} == {".BUILDINFO", ".MTREE"}
    assert here.keys() == there.keys()


def members(package) -> dict[str, tuple]:
    with tarfile.open(package) as tar:
        return {
            member.name: (
                member.mode,
                member.mtime,
                member.linkname,
                tar.extractfile(member).read() if member.isreg() else None,
            )
            for member in tar
        }
