"""A system to install packages into: this one, with all changes in memory."""

import os
import shutil
import subprocess
from pathlib import Path

TIMEOUT_S = 120

# In namespaces of its own, so that no mount and no process outlives the shell, which waits for the
# end of its input.
SET_UP = """
mount -t tmpfs npzfs-test "$0"
cd "$0"
mkdir changes work root
mount -t overlay -o lowerdir=/,upperdir="$0/changes",workdir="$0/work" npzfs-test root
mount -t proc proc root/proc
mount --bind /dev root/dev
mount -t tmpfs npzfs-test root/mnt
# In slim images dpkg is configured not to install manual pages.
rm -rf root/etc/dpkg/dpkg.cfg.d
echo ready
read -r _
"""


class Scratch:
    def __init__(self, directory: Path):
        self.directory = directory
        script = ["sh", "-euc", SET_UP, directory]
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *script]
        self.shell = subprocess.Popen(
            isolated, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.shell.stdout.readline() == "ready\n"

    def end(self) -> None:
        self.shell.communicate(timeout=TIMEOUT_S)

    def run(self, *command: str) -> str:
        """Run a command, which must succeed, and return its standard output."""
        namespaces = f"/proc/{self.shell.pid}/ns"
        enter = [f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/mnt"}
        # Output goes to files, since a server that remains would hold a pipe open.
        stdout, stderr = self.directory / "stdout", self.directory / "stderr"
        with open(stdout, "w") as out, open(stderr, "w") as err:
            status = subprocess.run(
                ["nsenter", *enter, "chroot", self.directory / "root", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=TIMEOUT_S,
            ).returncode
        assert status == 0, f"{command}: status {status}: {stderr.read_text()}"
        return stdout.read_text()

    def outside(self, path: str) -> Path:
        """Return the path by which processes outside find a path of this directory."""
        return Path(f"/proc/{self.shell.pid}/root{self.directory}/{path}")

    def copy(self, file: Path) -> str:
        """Copy a file into the system; returns its path inside."""
        shutil.copy(file, self.outside("root/mnt"))
        return f"/mnt/{file.name}"

    def changes(self) -> set[str]:
        """Return the files that differ from this system, and new directories."""
        top = self.outside("changes")
        changed = set()
        for at, directories, files in os.walk(top):
            below = Path("/") / Path(at).relative_to(top)
            changed |= {str(below / file) for file in files}
            changed |= {str(below / name) for name in directories if not (below / name).is_dir()}
        return changed
