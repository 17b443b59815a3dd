"""The licences of all crates, and their texts."""

import pytest

import licenses


@pytest.fixture
def crate(tmp_path):
    """Return the metadata of a crate with a licence and its text."""

    def crate(licence, name="matrix", text="A text.", file="LICENSE"):
        manifest = tmp_path / name / "Cargo.toml"
        manifest.parent.mkdir()
        (manifest.parent / file).write_text(text)
        path = str(manifest)
        return dict(
            name=name, version="1.0.0", license=licence, license_file=None, manifest_path=path
        )

    return crate


@pytest.mark.parametrize(
    ("expression", "known"),
    [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("Apache-2.0 WITH Some-exception", False),
        ("(MIT", False),
        ("MIT MIT", False),
        ("", False),
    ],
)
def test_an_expression_is_known_if_known_licences_satisfy_it(expression, known):
    assert licenses.is_known(expression) == known


def test_a_crate_with_an_unknown_licence_fails_the_build(crate):
    with pytest.raises(SystemExit, match="matrix 1.0.0: unknown licence 'GPL-3.0-only'"):
        licenses.report([crate("GPL-3.0-only")])


def test_a_crate_without_a_licence_fails_the_build(crate):
    with pytest.raises(SystemExit, match="matrix 1.0.0: unknown licence ''"):
        licenses.report([crate(None)])


def test_a_crate_without_a_text_fails_the_build(crate):
    with pytest.raises(SystemExit, match="matrix 1.0.0: no file with the text of its licence"):
        licenses.report([crate("MIT", file="README")])


def test_a_text_of_several_crates_is_quoted_once(crate):
    report = licenses.report([crate("MIT", "a"), crate("MIT", "b"), crate("MIT", "c", "Another.")])
    assert "a 1.0.0: MIT\nb 1.0.0: MIT\nc 1.0.0: MIT\n" in report
    assert report.count("A text.") == 1
    assert "\na 1.0.0, b 1.0.0:\n\nA text.\n" in report


def test_the_crates_of_the_program_are_listed_without_the_tests():
    crates = {crate["name"] for crate in licenses.crates(licenses.metadata())}
    assert {"clap", "fuser", "zlib-rs"} <= crates
    assert not {"npzfs", "proptest", "zip"} & crates
