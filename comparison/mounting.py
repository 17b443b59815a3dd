"""Panel 6, second part: many members, mounted and listed."""

import functools
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import archives, cases, child, filesystems
from .results import Panel
from .scale import Scale

TITLE = "Many members, mounted and listed"
ABOUT = (
    "The time until an archive is mounted, and the private memory of the server then; Python's "
    "`zipfile` and the Rust crate `zip` only index it. Then `ls -l` and `find` on a directory of "
    "many members; native is a directory of as many files."
)

LISTINGS = {"ls -l": ["ls", "-l"], "find": ["find"]}
MAKING_TIMEOUT_S = 600


def index_with_zipfile(path: Path) -> float:
    start = time.perf_counter()
    kept = zipfile.ZipFile(path)
    seconds = time.perf_counter() - start
    kept.close()
    return seconds


@functools.cache
def rust_bench() -> str:
    """The path of the Rust benchmark, which measures the crate `zip`; built if necessary."""
    command = [
        "cargo",
        "bench",
        "--locked",
        "--bench",
        "bench",
        "--no-run",
        "--message-format=json",
    ]
    messages = map(json.loads, filesystems.run(command, MAKING_TIMEOUT_S).splitlines())
    return next(it["executable"] for it in messages if it.get("target", {}).get("name") == "bench")


def index_with_crate(path: Path) -> float:
    command = [rust_bench(), "--one", "zip", path]
    return float(filesystems.run(command, 60))


def listing_seconds(command: list[str], path: Path) -> float:
    start = time.perf_counter()
    filesystems.run([*command, path], None)
    return time.perf_counter() - start


def make_files(path: Path, count: int) -> None:
    path.mkdir()
    for number in range(count):
        (path / f"arr_{number}.npy").write_bytes(bytes(136))


def measure(panel: Panel, scale: Scale, directory: Path) -> None:
    """Mount archives of each number of members, then list a mount."""
    for count in scale.mounted_members:
        archive = directory / f"{count}.npz"
        child.run(MAKING_TIMEOUT_S, archives.many_members, archive, count)
        measure_mounting(panel, scale, cases.members(count), archive)
        archive.unlink()
    measure_listing(panel, scale, directory)


def measure_mounting(panel: Panel, scale: Scale, case: str, archive: Path) -> None:
    def mount(name: str) -> None:
        with filesystems.mounted(name, archive, timeout_s=scale.timeout_s) as mount:
            panel.add(case, cases.CACHED, name, cases.TIME, "s", mount.seconds)
            panel.add(case, cases.CACHED, name, cases.MEMORY, "B", mount.private_bytes())

    def index(name: str, work: Callable[[Path], float]) -> None:
        sample = child.run(scale.timeout_s, work, archive)
        panel.add(case, cases.CACHED, name, cases.TIME, "s", sample)

    contenders = {name: functools.partial(mount, name) for name in filesystems.NAMES}
    contenders[cases.ZIPFILE] = functools.partial(index, cases.ZIPFILE, index_with_zipfile)
    contenders[cases.CRATE] = functools.partial(index, cases.CRATE, index_with_crate)
    panel.interleave(scale.rounds, case, contenders)


def measure_listing(panel: Panel, scale: Scale, directory: Path) -> None:
    count = scale.listed_members
    archive, files = directory / "listed.npz", directory / "files"
    child.run(MAKING_TIMEOUT_S, archives.many_members, archive, count)
    child.run(MAKING_TIMEOUT_S, make_files, files, count)

    def record(name: str, state: str, listing: str, path: Path) -> None:
        sample = child.run(scale.timeout_s, listing_seconds, LISTINGS[listing], path)
        panel.add(f"{listing}, {cases.members(count)}", state, name, cases.TIME, "s", sample)

    def over_mount(listing: str, name: str) -> None:
        with filesystems.mounted(name, archive, timeout_s=scale.timeout_s) as mount:
            for state in (cases.MOUNT_COLD, cases.WARM):
                record(name, state, listing, mount.path)

    for listing in LISTINGS:
        native = functools.partial(record, cases.NATIVE, cases.CACHED, listing, files)
        contenders = {cases.NATIVE: native}
        for name in filesystems.NAMES:
            contenders[name] = functools.partial(over_mount, listing, name)
        panel.interleave(scale.rounds, f"{listing}, {cases.members(count)}", contenders)
