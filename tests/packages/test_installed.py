"""The installation, use and removal of each package."""

import zipfile

import pytest

from conftest import TOP

FRAME = TOP / "examples" / "frame.npz"

INSTALL = {
    "deb": ["dpkg", "--install"],
    # rpm and pacman do not know the packages of Debian.
    "rpm": ["rpm", "--install", "--nodeps"],
    "arch": ["pacman", "--upgrade", "--noconfirm", "--nodeps", "--nodeps"],
}
REMOVE = {
    "deb": ["dpkg", "--purge", "npzfs"],
    "rpm": ["rpm", "--erase", "npzfs"],
    "arch": ["pacman", "--remove", "--noconfirm", "npzfs"],
}
BY_MOUNT = [["mount", "-t", "fuse.npzfs"], ["mount", "-t", "npzfs"]]
# On Arch, /sbin is /usr/bin, but not on the Debian that runs the tests.
BY_HELPER = [["/usr/bin/mount.fuse.npzfs"], ["/usr/bin/mount.npzfs"]]
HELPERS = {"deb": BY_MOUNT, "rpm": BY_MOUNT, "arch": BY_HELPER}
ZSH = {"deb": "vendor-completions", "rpm": "site-functions", "arch": "site-functions"}

# The files of package managers, and of triggers of other packages.
DATABASES = (
    "/etc/dpkg/",
    "/etc/ld.so.cache",
    "/var/cache/",
    "/var/lib/dpkg/",
    "/var/lib/pacman/",
    "/var/lib/rpm/",
    "/var/log/",
)


@pytest.mark.parametrize("kind", INSTALL)
def test_a_package_is_installed_used_and_removed_completely(kind, package, scratch):
    scratch.run(*INSTALL[kind], scratch.copy(package(kind)))

    uses(scratch, ["/usr/bin/npzfs", "mount"], *HELPERS[kind])
    assert manual(scratch, "npzfs").startswith("/usr/share/man/man1/npzfs.1")
    assert manual(scratch, "mount.npzfs").startswith("/usr/share/man/")
    bash = ". /usr/share/bash-completion/completions/npzfs && complete -p npzfs"
    assert "_npzfs" in scratch.run("bash", "-c", bash)
    for script in f"zsh/{ZSH[kind]}/_npzfs", "fish/vendor_completions.d/npzfs.fish":
        assert "npzfs" in scratch.run("cat", f"/usr/share/{script}")

    scratch.run(*REMOVE[kind])
    left = {path for path in scratch.changes() if not path.startswith(DATABASES)}
    assert left == set()


def manual(scratch, page: str) -> str:
    return scratch.run("man", "--path", page).strip()


def uses(scratch, *commands) -> None:
    """Mount with each of the commands, and unmount."""
    archive = scratch.copy(FRAME)
    scratch.run("mkdir", "-p", "/mnt/point")
    for command in commands:
        scratch.run(*command, archive, "/mnt/point")
        with zipfile.ZipFile(FRAME) as members:
            for name in members.namelist():
                assert scratch.outside(f"root/mnt/point/{name}").read_bytes() == members.read(name)
        assert "npzfs" in scratch.run("findmnt", "--noheadings", "/mnt/point")
        scratch.run("umount", "/mnt/point")
        assert scratch.run("ls", "/mnt/point") == ""


def test_the_tarball_is_installed_by_its_instructions(package, scratch):
    scratch.run("tar", "--extract", "--directory=/mnt", "--file", scratch.copy(package("dist")))
    (top,) = scratch.run("find", "/mnt", "-maxdepth", "1", "-name", "npzfs-*-linux").split()
    uses(scratch, [f"{top}/bin/npzfs", "mount"])

    steps = [line.strip() for line in scratch.run("cat", f"{top}/INSTALL").splitlines()]
    steps = [step for step in steps if step.startswith(("cp ", "ln "))]
    scratch.run("sh", "-euc", f"cd {top}; {'; '.join(steps)}")
    uses(scratch, ["/usr/local/bin/npzfs", "mount"], *BY_MOUNT)
    assert manual(scratch, "npzfs") == "/usr/local/share/man/man1/npzfs.1"
    bash = ". /usr/local/share/bash-completion/completions/npzfs && complete -p npzfs"
    assert "_npzfs" in scratch.run("bash", "-c", bash)


def test_the_program_of_the_tarball_needs_no_other_file(package, scratch):
    scratch.run("tar", "--extract", "--directory=/mnt", "--file", scratch.copy(package("dist")))
    scratch.copy(FRAME)
    scratch.run("sh", "-euc", "mkdir /mnt/empty; mv /mnt/frame.npz /mnt/*/bin/npzfs /mnt/empty")
    listed = scratch.run("chroot", "/mnt/empty", "/npzfs", "list", "/frame.npz")
    assert listed.endswith("11 members, 38 kB in members, 40 kB archive\n")
    assert scratch.run("chroot", "/mnt/empty", "/npzfs", "verify", "/frame.npz").endswith("sound\n")
