"""The hardware and software of a run."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from . import filesystems

PACKAGES = ("numpy", "static-frame", "frame-fixtures", "pandas", "pyarrow", "ratarmount", "mmnpz")
VERSION_OPTIONS = {"npzfs": "--version", "fuse-zip": "-V", "archivemount": "-V", "mount-zip": "-V"}


def describe(directory: Path) -> dict[str, str]:
    """The machine, its kernel, the file system of `directory` and the versions of all programs."""
    cpu_info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpu_info)
    memory_kib = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    facts = {
        "processor": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "memory": f"{memory_kib / 2**20:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": file_system(directory),
        "user": "root" if os.geteuid() == 0 else "not root",
        "python": platform.python_version(),
    }
    for name in filesystems.NAMES:
        if name in VERSION_OPTIONS:
            facts[name] = version(name)
    for package in PACKAGES:
        facts[package] = metadata.version(package)
    return facts


def file_system(directory: Path) -> str:
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", directory]
    return filesystems.run(command, 10).strip()


def version(name: str) -> str:
    """The version that a program prints."""
    found = filesystems.program(filesystems.COMMANDS[name][0])
    if found is None:
        return "not installed"
    command = [found, VERSION_OPTIONS[name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    numbers = re.search(rf"{name}\D*(\d+\.\d[\w.]*)", done.stdout + done.stderr)
    return numbers[1] if numbers else "unknown"
