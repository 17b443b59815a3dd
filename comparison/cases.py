"""The names of states, contenders, cases and quantities."""

DISK_COLD = "disk-cold"
MOUNT_COLD = "mount-cold"
WARM = "warm"
# The state of a contender without a mount, which stands for mount-cold and warm alike.
CACHED = "cached"

NATIVE = "native"
NPZFS = "npzfs"
NPZ_FILE = "NpzFile"
MMNPZ = "mmnpz"
CLONED = "npzfs, cloned"
MAPPED = "npzfs, mapped"
CRATE = "crate zip"
ZIPFILE = "zipfile"

FROM_NPZ = "from_npz"
PARQUET = "Parquet"
PLAIN_PARQUET = "Parquet, uncompressed"
FEATHER = "Feather"

READ = "sequential read"
TOUCH = "touching every page"
FAULTS = "random faults"

ARCHIVE_ORDER = "archive order"
LISTED = "archive order, listed"
STATTED = "archive order, each stat'ed"
SHUFFLED = "shuffled"

TIME = "time"
RATE = "rate"
MEMORY = "memory"
ALLOCATED = "allocated"
TIME_PER_FAULT = "time per fault"
CPU = "server CPU"
CPU_PER_GIB = "server CPU per GiB"
PRIVATE = "private memory of the server"
PAGE_CACHE = "page cache / length"
IOCTLS = "ioctls"
REQUESTS = "other requests"
SYSTEM_CALLS = "system calls per array"


def members(count: int) -> str:
    """The part of the name of a case that gives the number of members."""
    return f"{count:,} members"


def members_in(case: str) -> int:
    """The number of members at the end of the name of a case."""
    return int(case.removesuffix(" members").rpartition(" ")[2].replace(",", ""))
