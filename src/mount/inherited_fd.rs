//! A connection to the kernel that somebody else has mounted, and hands over as an open descriptor:
//! the mount point is `/dev/fd/N` then.

use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use crate::cli::MountArgs;
use crate::mount::error::{MountError, MountPointError};
use crate::mount::kernel_options::KernelOptions;
use crate::sys::file;

/// Major and minor number of `/dev/fuse`.
const FUSE: (u64, u64) = (10, 229);

/// The connection that a mount point stands for, if it is not one in the file system.
///
/// # Errors
/// [`MountError::MountPoint`] where the descriptor is no connection, or an option is given that only
/// whoever mounts can keep.
pub fn find(arguments: &MountArgs) -> Result<Option<OwnedFd>, MountError> {
    let Some(number) = number(&arguments.mount_point) else {
        return Ok(None);
    };
    let taken = match option_of_the_mounter(arguments) {
        Some(option) => Err(MountPointError::MountedWithout(option)),
        None => take(number),
    };
    taken
        .map(Some)
        .map_err(|error| error.of(&arguments.mount_point))
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

/// An option that says how to mount or to unmount, as far as it changes anything.
fn option_of_the_mounter(arguments: &MountArgs) -> Option<&'static str> {
    let options = &arguments.options;
    [
        (arguments.until_eof, "--until-eof"),
        (options.allow_other, "--allow-other"),
        (options.allow_root, "--allow-root"),
        (options.auto_unmount, "--auto-unmount"),
        (
            options.kernel != KernelOptions::default(),
            "the options behind -o",
        ),
    ]
    .into_iter()
    .find_map(|(is_given, option)| is_given.then_some(option))
}

fn take(number: RawFd) -> Result<OwnedFd, MountPointError> {
    let connection = match file::duplicate(number) {
        Ok(connection) => File::from(connection),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            return Err(MountPointError::NotOpen);
        }
        Err(error) => return Err(MountPointError::Io(error)),
    };
    let metadata = connection.metadata().map_err(MountPointError::Io)?;
    let device = metadata.rdev();
    if !metadata.file_type().is_char_device() || (major(device), minor(device)) != FUSE {
        return Err(MountPointError::NotFuse);
    }
    let blocks = file::set_blocking(&connection);
    blocks.map_err(|error| MountPointError::Io(error.into()))?;
    Ok(connection.into())
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
    fn reads_wait_though_the_descriptor_was_opened_not_to() {
        let connection = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/null")
            .unwrap();
        let flags = || OFlag::from_bits_retain(fcntl(&connection, FcntlArg::F_GETFL).unwrap());
        assert!(flags().contains(OFlag::O_NONBLOCK));
        file::set_blocking(&connection).unwrap();
        assert!(!flags().contains(OFlag::O_NONBLOCK));
    }
}
