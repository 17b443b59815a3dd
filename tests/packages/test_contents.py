"""The files and the metadata of each package."""

import subprocess
import tomllib

import pytest

from conftest import KINDS, TOP

# Below the prefix; a file may be compressed.
EVERYWHERE = [
    "bin/npzfs",
    "share/bash-completion/completions/npzfs",
    "share/fish/vendor_completions.d/npzfs.fish",
    "share/man/man1/npzfs.1",
    "share/man/man8/mount.fuse.npzfs.8",
    "share/man/man8/mount.npzfs.8",
    "share/doc/npzfs/README.md",
    "share/doc/npzfs/examples/auto.npz",
    "share/doc/npzfs/examples/mnt-frame.automount",
    "share/doc/npzfs/examples/mnt-frame.mount",
    "share/doc/npzfs/examples/npzfs@.service",
]
LICENSES = ["LICENSE-APACHE", "LICENSE-MIT", "third-party-licenses.txt"]
HERE = {
    "deb": [
        "sbin/mount.fuse.npzfs",
        "sbin/mount.npzfs",
        "share/zsh/vendor-completions/_npzfs",
        "share/doc/npzfs/changelog",
        "share/doc/npzfs/copyright",
        "share/doc/npzfs/third-party-licenses.txt",
    ],
    "rpm": [
        "sbin/mount.fuse.npzfs",
        "sbin/mount.npzfs",
        "share/zsh/site-functions/_npzfs",
        "share/doc/npzfs/CHANGELOG.md",
        *(f"share/doc/npzfs/{name}" for name in LICENSES),
    ],
    "arch": [
        "bin/mount.fuse.npzfs",
        "bin/mount.npzfs",
        "share/zsh/site-functions/_npzfs",
        "share/doc/npzfs/CHANGELOG.md",
        *(f"share/licenses/npzfs/{name}" for name in LICENSES),
    ],
    "dist": [
        "INSTALL",
        "sbin/mount.fuse.npzfs",
        "sbin/mount.npzfs",
        "share/zsh/site-functions/_npzfs",
        "share/doc/npzfs/CHANGELOG.md",
        *(f"share/doc/npzfs/{name}" for name in LICENSES),
    ],
}


def output(*command) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def unpacked(kind, package, directory) -> dict:
    """Unpack a package; return its files by their paths below the prefix."""
    if kind == "deb":
        output("dpkg-deb", "--extract", package, directory)
    else:
        output("bsdtar", "--extract", "--directory", directory, "--file", package)
    top = next(directory.glob("npzfs-*"), directory / "usr")
    files = [path for path in top.rglob("*") if path.is_symlink() or path.is_file()]
    # The links from build IDs to programs in an rpm.
    files = [path for path in files if ".build-id" not in path.parts]
    return {str(path.relative_to(top)).removesuffix(".gz"): path for path in files}


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_holds_these_files_and_no_others(kind, package, tmp_path):
    files = unpacked(kind, package(kind), tmp_path)
    assert sorted(files) == sorted(EVERYWHERE + HERE[kind])
    helpers = [path for name, path in files.items() if "bin/mount." in name]
    assert {path.resolve() for path in helpers} == {files["bin/npzfs"]}
    prefix = "/usr/local" if kind == "dist" else "/usr"
    service = files["share/doc/npzfs/examples/npzfs@.service"].read_text()
    assert f"ExecStart={prefix}/bin/npzfs mount" in service


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_holds_no_path_of_the_machine_that_built_it(kind, package, tmp_path):
    files = unpacked(kind, package(kind), tmp_path)
    program = files["bin/npzfs"].read_bytes()
    for path in TOP, TOP.home(), "/registry/src/":
        assert str(path).encode() not in program


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_the_version_in_cargo_toml(kind, package):
    version = tomllib.loads((TOP / "Cargo.toml").read_text())["package"]["version"]
    assert f"npzfs{'_' if kind == 'deb' else '-'}{version}" in package(kind).name


def test_lintian_finds_neither_errors_nor_warnings_in_the_deb(package):
    found = output("lintian", "--allow-root", "--fail-on=error,warning", package("deb"))
    assert found == ""


@pytest.mark.parametrize("kind", ["deb", "rpm", "arch"])
def test_a_package_depends_on_fuse3(kind, package, tmp_path):
    file = package(kind)
    database = f"--dbpath={tmp_path}"  # else rpm creates one in the home directory
    ask = {
        "deb": ["dpkg-deb", "--field", file, "Depends"],
        "rpm": ["rpm", database, "--query", "--requires", "--package", file],
        "arch": ["tar", "--extract", "--to-stdout", "--file", file, ".PKGINFO"],
    }
    assert "fuse3" in output(*ask[kind]).replace(",", " ").split()
