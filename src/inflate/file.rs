//! The files without a name that inflated bytes are in.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// An empty file in memory.
///
/// # Errors
/// Those of memfd_create(2).
pub fn memory_file() -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC;
    // Some systems want to be told that it is no program; older kernels do not understand.
    let no_program = flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let file = memfd_create(c"npzfs", no_program).or_else(|_| memfd_create(c"npzfs", flags));
    Ok(file?.into())
}

/// A new file without a name in `directory`, which has `size` bytes of the disk, where the file
/// system can give them beforehand.
pub(super) fn allocate(directory: &Path, size: u64) -> io::Result<File> {
    let file = tempfile::tempfile_in(directory)?;
    let len = size.try_into().map_err(|_| Errno::EFBIG)?;
    match fallocate(&file, FallocateFlags::empty(), 0, len) {
        Err(Errno::EOPNOTSUPP) | Ok(()) => Ok(file),
        // Nothing is to be given.
        Err(Errno::EINVAL) if size == 0 => Ok(file),
        Err(error) => Err(error.into()),
    }
}

/// The same file, opened anew: nobody writes to it any more once `file` is closed, and only so it
/// can be told whether anybody else has it open.
pub(super) fn read_only(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
