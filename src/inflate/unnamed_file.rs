//! The unnamed files that hold inflated contents.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Creates an empty file in memory.
///
/// # Errors
/// Those of memfd_create(2).
pub fn memory_file() -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC;
    // With vm.memfd_noexec=2 only files that cannot be executed are created; kernels before 6.3 do
    // not know the flag.
    let no_exec = flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let file = memfd_create(c"npzfs", no_exec).or_else(|_| memfd_create(c"npzfs", flags));
    Ok(file?.into())
}

/// Creates an empty unnamed file in `directory`.
///
/// # Errors
/// Those of open(2).
pub fn disk_file(directory: &Path) -> io::Result<File> {
    tempfile::tempfile_in(directory)
}

/// Creates an unnamed file in `directory`, and allocates `size` bytes of the disk for it where the
/// file system can do that.
pub(super) fn allocate(directory: &Path, size: u64) -> io::Result<File> {
    let file = disk_file(directory)?;
    let len = size.try_into().map_err(|_| Errno::EFBIG)?;
    match fallocate(&file, FallocateFlags::empty(), 0, len) {
        Err(Errno::EOPNOTSUPP) | Ok(()) => Ok(file),
        // fallocate(2) refuses a length of 0.
        Err(Errno::EINVAL) if size == 0 => Ok(file),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file anew for reading. Once `file` is closed there is no writer, without which the kernel
/// does not grant the lease that shows whether the file is open elsewhere.
pub(super) fn read_only(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
