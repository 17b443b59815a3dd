//! Attaches a FUSE connection to a mount point: with mount(2) where this process may call it,
//! otherwise with fusermount3.
//!
//! fuser could do this, but then it also unmounts. Its test whether its own mount is still there is
//! wrong in 0.18.0: it would unmount whatever was mounted at the same place afterwards.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use log::debug;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::unistd::{geteuid, getgid, getuid};

use crate::mount::error::{FuseError, MountError};
use crate::mount::fusermount;
use crate::mount::kernel_options::{self, KernelOptions};
use crate::mount::locked;
use crate::sys::mountinfo::FS_TYPE;

/// The source of a mount and its options.
#[derive(Debug)]
pub struct Attachment<'a> {
    /// The source that findmnt(8) shows: the archive's absolute path.
    pub source: &'a Path,
    /// Let users in other than the one who mounts.
    pub allow_other: bool,
    /// The options for the kernel.
    pub kernel: &'a KernelOptions,
}

/// A connection to the kernel, with which something is mounted.
#[derive(Debug)]
pub struct Attached {
    /// The open `/dev/fuse`.
    pub device: OwnedFd,
    /// Whether the kernel lets no client open a file for writing: because the mount cannot be made
    /// writable, or because only a user other than root may use it, who may not write by the modes.
    pub is_locked: bool,
}

impl Attachment<'_> {
    /// Mounts at `mount_point`, an absolute path without symbolic links, and returns the connection
    /// to the kernel. No request has been read from it yet.
    ///
    /// # Errors
    /// [`MountError`]; then nothing is mounted.
    pub fn attach(&self, mount_point: &Path) -> Result<Attached, MountError> {
        if geteuid().is_root()
            && let Ok(device) = open_device()
        {
            let mount = |at: &Path, flags| self.by_kernel(&device, at, flags);
            match locked::mount(mount_point, self.kernel.flags, mount) {
                Ok(()) => {
                    let device = device.into();
                    let is_locked = true;
                    return Ok(Attached { device, is_locked });
                }
                // If nothing can be mounted at all, the attempt below has the reason.
                Err(error) => debug!("the mount cannot be locked read-only: {error}"),
            }
        }
        self.attach_unlocked(mount_point).map(|device| Attached {
            device,
            is_locked: !geteuid().is_root() && !self.allow_other,
        })
    }

    fn attach_unlocked(&self, mount_point: &Path) -> Result<OwnedFd, MountError> {
        let by_fusermount = || fusermount::mount(&self.fusermount_options(), mount_point);
        let device = match open_device() {
            Ok(device) => device,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FuseError::NoDevice.into());
            }
            // fusermount3 can open it for users.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return by_fusermount();
            }
            Err(error) => return Err(FuseError::Device(error).into()),
        };
        match self.by_kernel(&device, mount_point, self.kernel.flags) {
            Ok(()) => Ok(device.into()),
            Err(Errno::EPERM) if !getuid().is_root() => by_fusermount(),
            Err(error) => Err(FuseError::Mount(error.into()).into()),
        }
    }

    fn by_kernel(&self, device: &File, mount_point: &Path, flags: MsFlags) -> nix::Result<()> {
        let mut data = OsString::from(format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
            device.as_raw_fd(),
            getuid(),
            getgid(),
        ));
        self.add_data(&mut data);
        nix::mount::mount(
            Some(self.source),
            mount_point,
            Some(FS_TYPE),
            flags,
            Some(data.as_os_str()),
        )
    }

    fn fusermount_options(&self) -> OsString {
        let mut options = OsString::from(self.kernel.words().join(","));
        options.push(",default_permissions,subtype=npzfs,fsname=");
        options.push(kernel_options::escape(self.source.as_os_str()));
        self.add_data(&mut options);
        options
    }

    fn add_data(&self, options: &mut OsString) {
        let allow_other = self.allow_other.then_some(OsStr::new("allow_other"));
        let data = self.kernel.data.iter().map(OsString::as_os_str);
        for option in allow_other.into_iter().chain(data) {
            options.push(",");
            options.push(option);
        }
    }
}

/// Opens `/dev/fuse`.
///
/// # Errors
/// Those of open(2).
pub fn open_device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/fuse")
}
