//! A FUSE connection that another program has mounted, and hands over as an open descriptor: the
//! mount point `/dev/fd/N`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};

use crate::mount::error::{MountError, MountPointError};
use crate::sys::file;

/// The major and minor number of `/dev/fuse`.
const FUSE: (u64, u64) = (10, 229);

/// Returns the connection that `mount_point` stands for, or `None` if it is a directory. An option
/// that only the program can give that mounts is `late`.
///
/// # Errors
/// [`MountError::MountPoint`] where the descriptor is not a connection, or an option is late.
pub fn find(mount_point: &Path, late: Option<&'static str>) -> Result<Option<OwnedFd>, MountError> {
    let Some(number) = number(mount_point) else {
        return Ok(None);
    };
    let device = match late {
        Some(option) => Err(MountPointError::MountedWithout(option)),
        None => take(number),
    };
    device.map(Some).map_err(|error| error.of(mount_point))
}

fn number(mount_point: &Path) -> Option<RawFd> {
    let digits = mount_point
        .as_os_str()
        .as_bytes()
        .strip_prefix(b"/dev/fd/")?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

fn take(number: RawFd) -> Result<OwnedFd, MountPointError> {
    let device = match file::duplicate(number) {
        Ok(device) => File::from(device),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            return Err(MountPointError::NotOpen);
        }
        Err(error) => return Err(MountPointError::Io(error)),
    };
    let metadata = device.metadata().map_err(MountPointError::Io)?;
    let numbers = (major(metadata.rdev()), minor(metadata.rdev()));
    if !metadata.file_type().is_char_device() || numbers != FUSE {
        return Err(MountPointError::NotFuse);
    }
    if !is_mounted(&device) {
        return Err(MountPointError::NotMounted);
    }
    let set = file::set_blocking(&device);
    set.map_err(|error| MountPointError::Io(error.into()))?;
    Ok(device.into())
}

/// Whether a file system is mounted over a connection: poll(2) reports an error where none is.
fn is_mounted(device: impl AsFd) -> bool {
    let mut polled = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    let is_polled = poll(&mut polled, PollTimeout::ZERO).is_ok();
    let events = polled[0].revents().unwrap_or(PollFlags::empty());
    is_polled && !events.contains(PollFlags::POLLERR)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn only_a_plain_number_is_a_descriptor() {
        let number = |path: &str| super::number(Path::new(path));
        assert_eq!(number("/dev/fd/5"), Some(5));
        assert_eq!(number("/dev/fd/1023"), Some(1023));
        for path in [
            "/dev/fd",
            "/dev/fd/",
            "/dev/fd/+5",
            "/dev/fd/5/x",
            "/dev/fd/99999999999",
            "5",
        ] {
            assert_eq!(number(path), None, "{path}");
        }
    }

    #[test]
    fn reads_wait_although_the_descriptor_was_opened_nonblocking() {
        let device = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/null")
            .unwrap();
        let flags = || OFlag::from_bits_retain(fcntl(&device, FcntlArg::F_GETFL).unwrap());
        assert!(flags().contains(OFlag::O_NONBLOCK));
        file::set_blocking(&device).unwrap();
        assert!(!flags().contains(OFlag::O_NONBLOCK));
    }
}
