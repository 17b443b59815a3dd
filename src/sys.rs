//! The system calls for which neither the standard library nor `nix` has a safe form.
#![allow(unsafe_code)]

pub mod cgroup;
pub mod map;
pub mod mountinfo;
pub mod sync;
pub mod thread_pool;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::ForkResult;

use crate::extent::Extent;

/// When an hour of local time begins, in seconds since 1970 (UTC); `None` for days that no calendar
/// has. Months count from 1.
pub fn local_hour(year: u16, month: u16, day: u16, hour: u16) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // SAFETY: `tm` is a plain C struct, for which all zeroes are a valid value.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    time.tm_year = i32::from(year) - 1900;
    time.tm_mon = i32::from(month) - 1;
    time.tm_mday = day.into();
    time.tm_hour = hour.into();
    // Whether summer time was in force is for the time zone to say.
    time.tm_isdst = -1;
    // SAFETY: the pointer is to a live, exclusively borrowed `tm`.
    let seconds = unsafe { libc::mktime(&mut time) };
    (seconds != -1).then_some(seconds)
}

/// How many characters a line of a terminal has; `None` where it does not tell.
pub fn terminal_width(terminal: &impl AsRawFd) -> Option<usize> {
    // SAFETY: `winsize` is a plain C struct, for which all zeroes are a valid value.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed `winsize`, which is what this request
    // fills in.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}

/// A time in seconds since 1970 (UTC) as local time: year, month, day, hour, minute and second, of
/// which month and day count from 1; `None` for years that do not fit.
pub fn local_time(seconds: i64) -> Option<[i32; 6]> {
    // SAFETY: `tm` is a plain C struct, for which all zeroes are a valid value.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to live values, the second one exclusively borrowed.
    let done = unsafe { libc::localtime_r(&seconds, &mut time) };
    (!done.is_null()).then_some([
        time.tm_year.checked_add(1900)?,
        time.tm_mon + 1,
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
    ])
}

/// Lets a range of one file share its blocks with another one, from `offset` on, as FICLONERANGE of
/// ioctl(2).
///
/// # Errors
/// Those of ioctl_ficlonerange(2): most file systems cannot do this, and those that can need whole
/// blocks.
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

/// Whether this process ignores a signal.
pub fn is_ignored(signal: Signal) -> bool {
    // SAFETY: `sigaction` is a plain C struct, for which all zeroes are a valid value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is changed, and the last pointer is to a live, exclusively borrowed value.
    let asked = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Splits this process in two, as fork(2) does.
///
/// # Errors
/// Those of fork(2), and `Unsupported` where this process runs other threads: their locks would
/// stay locked in the child.
pub fn fork() -> io::Result<ForkResult> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: this is the only thread, so the child may go on as the parent would.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Closes every descriptor that the process inherited, but for the standard streams. `own` are those
/// that it has opened itself.
pub fn close_inherited_descriptors(own: impl IntoIterator<Item = RawFd>) {
    let mut own: Vec<_> = own.into_iter().map(|own| own as libc::c_uint).collect();
    own.sort_unstable();
    let mut first = 3;
    for last in own.iter().map(|own| own - 1).chain([libc::c_uint::MAX]) {
        // SAFETY: called before npzfs opens anything else, so no live object owns one of them. A
        // kernel without this call (before 5.9) leaves them open, which is no error; nor is an
        // empty range.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        first = last.saturating_add(2);
    }
}

/// Leaves the calling thread with descriptors of its own, and none at first: what the other threads
/// have open is not kept open by it.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn leave_descriptors() -> io::Result<()> {
    let first: libc::c_uint = 0;
    // SAFETY: the descriptors that are closed are the copies that this very call has made; the other
    // threads, and what they own, have the originals.
    let left = unsafe {
        let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
        libc::syscall(libc::SYS_close_range, first, last, flags)
    };
    Ok(Errno::result(left).map(drop)?)
}

/// Another descriptor for what an inherited one stands for, above those of the standard streams and
/// closed by execve(2).
///
/// # Errors
/// EBADF where it is not open.
pub fn duplicate(inherited: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: this request takes numbers, whether or not they stand for something.
    let number = unsafe { libc::fcntl(inherited, libc::F_DUPFD_CLOEXEC, 3) };
    let number = Errno::result(number)?;
    // SAFETY: the kernel has just made the descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the kernel tell of children that end. Whoever started this process may have had it ignore
/// SIGCHLD, and then their exit statuses would be lost.
pub fn notice_children() {
    // SAFETY: no handler of npzfs's is replaced, since there is none; to fail it takes a signal
    // that does not exist.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Lets a command start with its own signal mask, in place of that of this process.
pub fn set_mask_of(command: &mut Command, mask: SigSet) {
    // SAFETY: between fork and exec only async-signal-safe functions may be called, which
    // sigprocmask(2) is; nothing is allocated, not even for an error.
    unsafe { command.pre_exec(move || Ok(mask.thread_set_mask()?)) };
}

/// Takes a descriptor that a message has just brought (SCM_RIGHTS) into possession.
pub fn own_received(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the descriptor for this process when it received the message, so
    // nothing else owns it. Callers pass each one once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The value of an extended attribute, as getxattr(2).
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

/// The signals by which processes are asked to end.
pub const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Has the allocator keep the memory of all threads together: each for itself would keep as much as
/// any of them ever had.
pub fn keep_memory_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting of the allocator, which takes any number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Has the allocator give back what it keeps of memory that was freed: after millions of small
/// pieces it may be all of it.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches nothing that is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether the byte at `offset` of a file can surely be read without waiting for a disk. Not all
/// file systems can tell.
pub fn is_cached(file: &File, offset: u64) -> bool {
    read_at_once(file, offset).is_ok()
}

/// Whether a file is on a file system that can tell what is cached: those on disks can, and those
/// that ask another machine or process cannot.
pub fn tells_what_is_cached(file: &File) -> bool {
    read_at_once(file, 0) != Err(Errno::EOPNOTSUPP)
}

/// Reads the byte at `offset` of a file and drops it; an error if that would wait for a disk.
fn read_at_once(file: &File, offset: u64) -> nix::Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    let mut byte = 0u8;
    let buffer = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: the buffer is one byte that lives until the call returns.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &buffer, 1, offset, libc::RWF_NOWAIT) };
    Errno::result(read).map(drop)
}

/// Has reads of a file wait until there is something to read, however it was opened.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_blocking(file: impl AsFd) -> nix::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    flags.remove(OFlag::O_NONBLOCK);
    fcntl(&file, FcntlArg::F_SETFL(flags)).map(drop)
}

/// The length of an open file in bytes, and when it was modified, in seconds and nanoseconds since
/// 1970 (UTC): as its file system tells them now, however long the kernel might rely on what it was
/// told of a file that is elsewhere.
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

/// Whether a file that was opened for reading only is open a second time, or a mapping is left from
/// when it was. Where the file system cannot tell, it is not.
pub fn is_open_elsewhere(file: &File) -> bool {
    // A lease for writing is given to the only one who has the file open.
    // SAFETY: these requests take a number, and change nothing but locks.
    let lease =
        |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if lease(libc::F_WRLCK) == 0 {
        lease(libc::F_UNLCK);
        return false;
    }
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_dates_are_no_times() {
        assert_eq!(local_hour(2024, 0, 1, 0), None);
        assert_eq!(local_hour(2024, 13, 1, 0), None);
        assert_eq!(local_hour(2024, 1, 0, 0), None);
        let noon = local_hour(2024, 6, 1, 12).unwrap();
        let next_noon = local_hour(2024, 6, 2, 12).unwrap();
        assert_eq!(next_noon - noon, 86_400);
    }

    #[test]
    fn a_file_is_open_elsewhere_as_long_as_it_is_open_or_mapped() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, "data").unwrap();
        let file = File::open(&path).unwrap();
        assert!(!is_open_elsewhere(&file));
        let other = File::open(&path).unwrap();
        assert!(is_open_elsewhere(&file));
        let map = crate::sys::map::Map::new(&other, 4).unwrap();
        drop(other);
        assert!(is_open_elsewhere(&file));
        drop(map);
        assert!(!is_open_elsewhere(&file));
    }

    #[test]
    fn an_attribute_that_is_not_there_is_an_error() {
        let error = getxattr(Path::new("/"), c"user.npzfs.nothing").unwrap_err();
        assert!(error.raw_os_error().is_some());
    }
}
