"""A system to install packages into: this one, with all changes in memory, and gone in the end."""

import os
import shutil
import subprocess
from pathlib import Path

TIMEOUT_S = 120

# In namespaces of its own, so that neither a mount nor a process outlives the shell, which waits
# for the end of its input.
SET_UP = """
mount -t tmpfs npzfs-test "$0"
cd "$0"
mkdir changes work root
mount -t overlay -o lowerdir=/,upperdir="$0/changes",workdir="$0/work" npzfs-test root
mount -t proc proc root/proc
mount --bind /dev root/dev
mount -t tmpfs npzfs-test root/mnt
# Slim images have dpkg leave manual pages out.
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
        """What a command writes on standard output. It must succeed."""
        namespaces = f"/proc/{self.shell.pid}/ns"
        enter = [f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/mnt"}
        # In files, as a server that stayed would hold a pipe open.
        said, complained = self.directory / "said", self.directory / "complained"
        with open(said, "w") as out, open(complained, "w") as err:
            status = subprocess.run(
                ["nsenter", *enter, "chroot", self.directory / "root", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=TIMEOUT_S,
            ).returncode
        assert status == 0, f"{command}: status {status}: {complained.read_text()}"
        return said.read_text()

    def seen(self, path: str) -> Path:
        """Where a path of this directory is found from outside."""
        return Path(f"/proc/{self.shell.pid}/root{self.directory}/{path}")

    def give(self, file: Path) -> str:
        """Copies a file to where commands find it."""
        shutil.copy(file, self.seen("root/mnt"))
        return f"/mnt/{file.name}"

    def changes(self) -> set[str]:
        """All files that are not as on this system, and directories that it does not have."""
        top = self.seen("changes")
        changed = set()
        for at, directories, files in os.walk(top):
            below = Path("/") / Path(at).relative_to(top)
            changed |= {str(below / file) for file in files}
            changed |= {str(below / name) for name in directories if not (below / name).is_dir()}
        return changed
