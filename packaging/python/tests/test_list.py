"""`npzfs.list`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import npzfs
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
FRAME = ROOT / "examples" / "frame.npz"


def test_a_listing_has_every_member(archive):
    listing = npzfs.list(archive)
    assert (listing.archive, listing.size_bytes) == (str(archive), archive.stat().st_size)
    assert listing.frame is None
    x, none, one = listing.members
    assert (x.name, x.path, x.method, x.lane, x.problem) == (
        "x.npy", "x.npy", "stored", "mapped", None
    )  # fmt: skip
    assert x.npy is not None
    assert (x.npy.dtype, x.npy.shape, x.npy.fortran_order) == ("<f8", (3, 4), False)
    assert x.size_bytes == x.npy.data_offset + 96
    assert none.npy is not None and none.npy.shape == (0, 3)
    assert one.npy is not None and one.npy.shape == ()


def test_a_listing_has_the_frame():
    frame = npzfs.list(FRAME).frame
    assert frame is not None
    assert (frame.name, frame.shape, frame.blocks) == ("weather", (360, 10), 6)
    assert frame.index == npzfs.Axis(
        name=("station", "month"),
        type="IndexHierarchy",
        depth=2,
        types=("Index", "IndexYearMonth"),
    )


def test_listings_are_hashable_and_immutable(archive):
    listing = npzfs.list(FRAME)
    assert len({listing, npzfs.list(FRAME), npzfs.list(archive)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        listing.members[0].name = "other"


def test_the_classes_have_the_keys_of_the_schema():
    schema = json.loads((ROOT / "docs" / "list.schema.json").read_text())
    kinds = {
        "member": npzfs.Member,
        "npy": npzfs.Npy,
        "frame": npzfs.StoredFrame,
        "axis": npzfs.Axis,
    }
    described = {npzfs.Listing: schema} | {
        kind: schema["$defs"][name] for name, kind in kinds.items()
    }
    for kind, keys in described.items():
        fields = [field.name for field in dataclasses.fields(kind)]
        assert fields == list(keys["properties"]), kind


def test_unreadable_members_are_no_failure(archive):
    whole = bytearray(archive.read_bytes())
    whole[whole.index(b"PK\x03\x04")] = 0
    archive.write_bytes(whole)
    x = npzfs.list(archive).members[0]
    assert x.problem is not None and x.lane is None and x.npy is None


def test_names_are_escaped_and_paths_are_not(archive):
    np.savez(archive, **{"two\nlines": np.ones(1)})
    (member,) = npzfs.list(str(archive)).members
    assert (member.name, member.path) == ("two\\nlines.npy", "two\nlines.npy")
