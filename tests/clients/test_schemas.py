"""The JSON of npzfs, validated by its schemas. The fixture `listed` does this in all tests."""

import copy
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND_TIMEOUT_S, NPZFS, schema

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus" / "index"
FRAME = Path(__file__).parents[2] / "examples" / "frame.npz"


def run(*arguments):
    command = [NPZFS, *arguments]
    return subprocess.run(command, timeout=COMMAND_TIMEOUT_S, capture_output=True)


def test_odd_archives_match_the_schema():
    listed = 0
    for archive in sorted(CORPUS.iterdir()):
        output = run("list", "--json", archive)
        assert output.returncode in (0, 21, 22)
        for line in output.stdout.splitlines():
            schema("list").validate(json.loads(line))
            listed += 1
    assert listed > 20


def test_members_of_every_kind_match_the_schema(listed, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for at, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)):
            file.writestr(f"{at}.npy", b"\x93NUMPY\x01\0", method)
        file.writestr("directory/", b"")
        with file.open("x.npy", "w") as member:
            np.save(member, np.float64(1))
    (found,) = listed(archive)
    assert len(found["members"]) == 5


def test_mounts_match_the_schema(mount):
    at = mount(FRAME)
    output = run("mounts", "--json")
    assert (output.returncode, output.stderr) == (0, b"")
    mounts = json.loads(output.stdout)
    schema("mounts").validate(mounts)
    assert [found["state"] for found in mounts if found["mount_point"] == str(at)] == ["live"]


@pytest.mark.parametrize("key", ["name", "path", "size_bytes", "crc32", "npy", "lane", "problem"])
def test_the_schema_rejects_missing_keys_and_other_types(listed, key):
    (found,) = listed(FRAME)
    for change in (lambda member: member.pop(key), lambda member: member.update({key: ["odd"]})):
        wrong = copy.deepcopy(found)
        change(wrong["members"][0])
        assert not schema("list").is_valid(wrong)


def test_the_schemas_have_every_key(listed, mount):
    (found,) = listed(FRAME)
    described = schema("list").schema
    parts = described["$defs"]
    assert set(found) == set(described["properties"])
    assert set(found["members"][0]) == set(parts["member"]["properties"])
    assert set(found["members"][0]["npy"]) == set(parts["npy"]["properties"])
    assert set(found["frame"]) == set(parts["frame"]["properties"])
    assert set(found["frame"]["index"]) == set(parts["axis"]["properties"])
    mount(FRAME)
    mounts = json.loads(run("mounts", "--json").stdout)
    assert set(mounts[0]) == set(schema("mounts").schema["items"]["properties"])
