"""The names that the panels and the bars both go by."""

DISK_COLD = "disk-cold"
MOUNT_COLD = "mount-cold"
WARM = "warm"
# Of what has no mount: it counts beside both of the two before.
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

IN_ORDER = "archive order"
LISTED = "archive order, listed"
LOOKED_AT = "archive order, each looked at"
SHUFFLED = "shuffled"

TIME = "time"
RATE = "rate"
MEMORY = "memory"
ALLOCATED = "allocated"
FAULT_TIME = "time a fault"
CPU = "server CPU"
CPU_A_GIB = "server CPU a GiB"
PRIVATE = "private memory of the server"
PAGE_CACHE = "page cache, of the length"
IOCTLS = "ioctls"
REQUESTS = "other requests"
CALLS = "system calls an array"


def members(count: int) -> str:
    """A number of members as part of the name of a case."""
    return f"{count:,} members"


def members_in(case: str) -> int:
    """The number of members that the name of a case ends with."""
    return int(case.removesuffix(" members").rpartition(" ")[2].replace(",", ""))
