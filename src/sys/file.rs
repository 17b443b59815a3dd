//! Files and file descriptors.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::extent::Extent;

/// Lets `range` of one file share its blocks with another file, where it starts at `offset`.
///
/// # Errors
/// Those of ioctl_ficlonerange(2): most file systems cannot share blocks, and those that can share
/// whole blocks only.
pub fn clone_range(from: &File, range: Extent, to: &File, offset: u64) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: range.start,
        src_length: range.len,
        dest_offset: offset,
    };
    // SAFETY: both descriptors are open, and the last argument is what the request asks for.
    let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &range) };
    Errno::result(done)?;
    Ok(())
}

/// Closes a backing file of the FUSE connection `device`: the request FUSE_DEV_IOC_BACKING_CLOSE.
///
/// # Errors
/// ENOENT if there is none with this id.
pub fn close_backing(device: impl AsFd, id: u32) -> io::Result<()> {
    mod request {
        nix::ioctl_write_ptr!(backing_close, 229, 2, u32);
    }
    // SAFETY: the descriptor is open, and the pointer is to a live value, which is all that the request
    // reads.
    unsafe { request::backing_close(device.as_fd().as_raw_fd(), &id) }?;
    Ok(())
}

/// Returns the value of an extended attribute.
///
/// # Errors
/// Those of getxattr(2).
pub fn getxattr(path: &Path, name: &CStr) -> io::Result<Vec<u8>> {
    // XATTR_SIZE_MAX: no value is longer, so one call does.
    let mut value = vec![0u8; 65_536];
    let len = path.with_nix_path(|path| {
        // SAFETY: both strings end in NUL, and the kernel writes at most the length given.
        unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        }
    })?;
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    value.truncate(len);
    Ok(value)
}

/// Whether the byte at `offset` of a file is in the page cache, so that reading it does not wait for
/// a disk. A file system that cannot answer counts as not cached.
pub fn is_cached(file: &File, offset: u64) -> bool {
    read_cached(file, &mut [0], offset).is_ok()
}

/// Whether a file's file system supports [`is_cached`]: those on disks do, network file systems and
/// FUSE do not.
pub fn reports_cached(file: &File) -> bool {
    read_cached(file, &mut [0], 0) != Err(Errno::EOPNOTSUPP)
}

/// Reads the bytes from `offset` on that are in the page cache, as many as fit into `buffer`. Returns
/// their number.
///
/// # Errors
/// Those of preadv2(2) with RWF_NOWAIT: EAGAIN where the first byte is not in the page cache.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> nix::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    let buffer = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: the buffer is exclusively borrowed until the call returns.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &buffer, 1, offset, libc::RWF_NOWAIT) };
    Errno::result(read).map(isize::cast_unsigned)
}

/// Clears O_NONBLOCK, so that a read waits until there is something to read.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_blocking(file: impl AsFd) -> nix::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    flags.remove(OFlag::O_NONBLOCK);
    fcntl(&file, FcntlArg::F_SETFL(flags)).map(drop)
}

/// Returns the length of an open file in bytes, and its time of last modification in seconds and
/// nanoseconds since 1970 (UTC). A network file system is asked anew: the kernel may remember
/// attributes that another machine has changed since.
///
/// # Errors
/// Those of statx(2).
pub fn len_and_time(file: &File) -> io::Result<(u64, (i64, i64))> {
    // SAFETY: `statx` is a plain C struct, for which all zeroes are a valid value.
    let mut found: libc::statx = unsafe { mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    let wanted = libc::STATX_SIZE | libc::STATX_MTIME;
    // SAFETY: the path ends in NUL, and the last pointer is to a live, exclusively borrowed value.
    let done = unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, wanted, &mut found) };
    Errno::result(done)?;
    let modified = (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec.into());
    Ok((found.stx_size, modified))
}

/// Whether a file that this process has opened for reading is open a second time, or still mapped
/// from when it was. Where the file system cannot tell, the answer is no.
pub fn is_open_elsewhere(file: &File) -> bool {
    // The kernel grants a write lease only to the sole opener of a file.
    // SAFETY: these requests take a number, and change nothing but locks.
    let lease =
        |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if lease(libc::F_WRLCK) == 0 {
        lease(libc::F_UNLCK);
        return false;
    }
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// Duplicates an inherited descriptor. The copy is above those of the standard streams and is closed
/// by execve(2).
///
/// # Errors
/// EBADF where the inherited one is not open.
pub fn duplicate(inherited: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: this request takes numbers, whether or not they stand for something.
    let number = unsafe { libc::fcntl(inherited, libc::F_DUPFD_CLOEXEC, 3) };
    let number = Errno::result(number)?;
    // SAFETY: the kernel has just made the descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes ownership of a descriptor that a message has just brought (SCM_RIGHTS).
pub fn own_received(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the descriptor for this process when it received the message, so
    // nothing else owns it. Callers pass each one once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_elsewhere_as_long_as_it_is_open_or_mapped() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, "data").unwrap();
        let file = File::open(&path).unwrap();
        assert!(!is_open_elsewhere(&file));
        let other = File::open(&path).unwrap();
        assert!(is_open_elsewhere(&file));
        // SAFETY: the mapping is never read.
        let map = unsafe { memmap2::Mmap::map(&other) }.unwrap();
        drop(other);
        assert!(is_open_elsewhere(&file));
        drop(map);
        assert!(!is_open_elsewhere(&file));
    }

    #[test]
    fn a_missing_attribute_is_an_error() {
        let error = getxattr(Path::new("/"), c"user.npzfs.nothing").unwrap_err();
        assert!(error.raw_os_error().is_some());
    }
}
