//! Errors of mounting and unmounting.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::mount::holders::Holder;
use crate::sys::process;
use crate::ui::human::{Escaped, error_text};

/// The reason why nothing was mounted, or why a mount failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountError {
    /// The mount point cannot be used.
    MountPoint {
        /// The path as given on the command line.
        mount_point: PathBuf,
        /// The reason.
        error: MountPointError,
    },
    /// FUSE cannot be used.
    Fuse(FuseError),
    /// `/proc` is not mounted.
    NoProc,
    /// A system call failed that hardly ever fails.
    System {
        /// The action that failed, as an infinitive.
        action: &'static str,
        /// The cause.
        error: io::Error,
    },
}

/// Fails where `/proc` is not mounted, without which mounts cannot be found and processes not forked.
///
/// # Errors
/// [`MountError::NoProc`].
pub fn require_proc() -> Result<(), MountError> {
    if process::has_proc() {
        Ok(())
    } else {
        Err(MountError::NoProc)
    }
}

/// Turns the error of a system call that hardly ever fails into a [`MountError`].
pub fn system(action: &'static str) -> impl FnOnce(io::Error) -> MountError {
    move |error| MountError::System { action, error }
}

/// Turns the error of a FUSE session into a [`MountError`].
pub fn session(error: io::Error) -> MountError {
    FuseError::Session(error).into()
}

impl From<FuseError> for MountError {
    fn from(error: FuseError) -> Self {
        Self::Fuse(error)
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountPoint { mount_point, error } => {
                write!(f, "{}: {error}", Escaped::path(mount_point))
            }
            Self::Fuse(error) => error.fmt(f),
            Self::NoProc => {
                f.write_str("/proc is not mounted, and npzfs needs it: mount -t proc proc /proc")
            }
            Self::System { action, error } => write!(f, "cannot {action}: {}", error_text(error)),
        }
    }
}

impl Error for MountError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::MountPoint { error, .. } => Some(error),
            Self::Fuse(error) => error.source(),
            Self::NoProc => None,
            Self::System { error, .. } => Some(error),
        }
    }
}

/// The reason why nothing can be mounted on a directory.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountPointError {
    /// It cannot be examined.
    Io(io::Error),
    /// It does not exist and cannot be created.
    CannotCreate(io::Error),
    /// It is not a directory.
    NotADirectory,
    /// It holds files, which the mount would hide.
    NotEmpty,
    /// Another file system is mounted on it.
    Mounted {
        /// The type of that file system.
        fs_type: String,
        /// The source of that file system.
        source: String,
    },
    /// A npzfs mount is there, whose archive has changed.
    Stale {
        /// The source of that mount.
        source: String,
    },
    /// A npzfs mount is there, whose server does not answer.
    NotAnswering {
        /// The source of that mount.
        source: String,
    },
    /// The mount that a killed npzfs left there cannot be unmounted.
    LeftOver(UnmountError),
    /// fusermount3 does not let this user mount there.
    Refused(String),
    /// It is a descriptor that is not open.
    NotOpen,
    /// It is a descriptor of something other than `/dev/fuse`.
    NotFuse,
    /// It is a descriptor of `/dev/fuse` with which nothing was mounted.
    NotMounted,
    /// It is mounted already, so that this option comes too late.
    MountedWithout(&'static str),
}

impl MountPointError {
    /// Names the mount point that cannot be used.
    pub fn of(self, mount_point: impl Into<PathBuf>) -> MountError {
        MountError::MountPoint {
            mount_point: mount_point.into(),
            error: self,
        }
    }
}

impl fmt::Display for MountPointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "mount point cannot be used: {}", error_text(error)),
            Self::CannotCreate(error) => {
                write!(f, "mount point cannot be created: {}", error_text(error))
            }
            Self::NotADirectory => f.write_str("mount point is not a directory"),
            Self::NotEmpty => {
                f.write_str("mount point is not empty (-o nonempty mounts over what is there)")
            }
            Self::Mounted { fs_type, source } => write!(
                f,
                "mount point already carries a mount ({} of {})",
                Escaped(fs_type.as_bytes()),
                Escaped(source.as_bytes())
            ),
            Self::Stale { source } => write!(
                f,
                "mount point already carries a mount of {} that is stale, since its archive has \
                 changed (npzfs umount unmounts it)",
                Escaped(source.as_bytes())
            ),
            Self::NotAnswering { source } => write!(
                f,
                "mount point already carries a mount of {}, and the process behind it does not \
                 answer (npzfs umount --lazy unmounts it all the same)",
                Escaped(source.as_bytes())
            ),
            Self::LeftOver(error) => write!(f, "what a killed npzfs left there {error}"),
            Self::Refused(reason) => write!(f, "mount point refused: {reason}"),
            Self::NotOpen => f.write_str("no such descriptor is open"),
            Self::NotFuse => f.write_str("not a descriptor of /dev/fuse"),
            Self::NotMounted => f.write_str(
                "nothing was mounted with this descriptor: mount with the option fd= first",
            ),
            Self::MountedWithout(option) => write!(
                f,
                "is mounted already: {option} has to be given to the program that mounts"
            ),
        }
    }
}

impl Error for MountPointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) | Self::CannotCreate(error) => Some(error),
            Self::LeftOver(error) => Some(error),
            _ => None,
        }
    }
}

/// The reason why FUSE cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum FuseError {
    /// `/dev/fuse` does not exist.
    NoDevice,
    /// `/dev/fuse` cannot be opened.
    Device(io::Error),
    /// This user needs fusermount3, which is not installed.
    NoFusermount,
    /// `/etc/fuse.conf` does not let users share their mounts.
    AllowOther,
    /// mount(2) failed.
    Mount(io::Error),
    /// fusermount3 failed.
    Fusermount(String),
    /// The kernel has no passthrough, which `--passthrough=on` demands.
    Passthrough(io::Error),
    /// The kernel passes no files through from the directory of inflated members, which
    /// `--passthrough=on` demands.
    PassthroughFrom {
        /// The directory.
        directory: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The kernel and fuser did not agree on a protocol, or the session ended at once.
    Session(io::Error),
}

impl fmt::Display for FuseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str(
                "/dev/fuse does not exist: load the kernel's module (modprobe fuse), or let the \
                 container have the device",
            ),
            Self::Device(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("/dev/fuse cannot be opened: permission denied: it needs mode 0666")
            }
            Self::Device(error) => write!(f, "/dev/fuse cannot be opened: {}", error_text(error)),
            Self::NoFusermount => f.write_str(
                "mounting without root needs fusermount3, which was not found: install the \
                 package fuse3",
            ),
            Self::AllowOther => f.write_str(
                "--allow-other and --allow-root need a line 'user_allow_other' in /etc/fuse.conf",
            ),
            Self::Mount(error) if error.kind() == io::ErrorKind::PermissionDenied => f.write_str(
                "the kernel refused the mount: not permitted: root needs CAP_SYS_ADMIN, which \
                 containers often take away",
            ),
            Self::Mount(error) => write!(f, "the kernel refused the mount: {}", error_text(error)),
            Self::Fusermount(reason) => write!(f, "fusermount3 failed: {reason}"),
            Self::Passthrough(error) => write!(
                f,
                "--passthrough=on: the kernel takes no files to read by itself: {}: it takes root \
                 and Linux 6.9 (auto serves all members all the same)",
                error_text(error)
            ),
            Self::PassthroughFrom { directory, error } => {
                let reason = match error.raw_os_error() {
                    // "Too many levels of symbolic links" would mislead.
                    Some(libc::ELOOP) => "its file system is on top of another one".to_owned(),
                    _ => error_text(error),
                };
                write!(
                    f,
                    "--passthrough=on: the kernel takes no files in {}: {reason}: choose another \
                     --cache-dir (auto serves all members all the same)",
                    Escaped::path(directory)
                )
            }
            Self::Session(error) => {
                write!(f, "the FUSE session could not begin: {}", error_text(error))
            }
        }
    }
}

impl Error for FuseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Device(error)
            | Self::Mount(error)
            | Self::Passthrough(error)
            | Self::PassthroughFrom { error, .. }
            | Self::Session(error) => Some(error),
            Self::NoDevice | Self::NoFusermount | Self::AllowOther | Self::Fusermount(_) => None,
        }
    }
}

/// The reason why a mount was not unmounted.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnmountError {
    /// It cannot be examined, or the kernel refused.
    Io(io::Error),
    /// Nothing is mounted there.
    NotMounted,
    /// Another file system is mounted there.
    NotNpzfs {
        /// The type of that file system.
        fs_type: String,
    },
    /// It is in use.
    Busy {
        /// The processes that use it, as far as this user may see them.
        holders: Vec<Holder>,
    },
    /// Another file system is mounted inside it.
    MountInside {
        /// The mount point of that file system.
        inside: PathBuf,
    },
    /// Another user has mounted it.
    NotYours,
    /// The server does not answer.
    NotAnswering,
    /// fusermount3 is needed but not installed.
    NoFusermount,
    /// fusermount3 failed.
    Fusermount(String),
}

impl fmt::Display for UnmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be unmounted: {}", error_text(error)),
            Self::NotMounted => f.write_str("nothing is mounted there"),
            Self::NotNpzfs { fs_type } => write!(
                f,
                "not an npzfs mount but {}: left alone",
                Escaped(fs_type.as_bytes())
            ),
            Self::Busy { holders } if holders.is_empty() => {
                f.write_str("in use, by a process of another user (--lazy unmounts all the same)")
            }
            Self::Busy { holders } => {
                f.write_str("in use by ")?;
                for (at, holder) in holders.iter().enumerate() {
                    let separator = if at > 0 { ", " } else { "" };
                    write!(f, "{separator}{holder}")?;
                }
                f.write_str(" (--lazy unmounts all the same)")
            }
            Self::MountInside { inside } => write!(
                f,
                "something is mounted inside it, at {}: unmount that first",
                Escaped::path(inside)
            ),
            Self::NotYours => f.write_str("mounted by another user"),
            Self::NotAnswering => {
                f.write_str("the process behind it does not answer (--lazy unmounts all the same)")
            }
            Self::NoFusermount => f.write_str(
                "unmounting without root needs fusermount3, which was not found: install the \
                 package fuse3",
            ),
            Self::Fusermount(reason) => write!(f, "fusermount3 failed: {reason}"),
        }
    }
}

impl Error for UnmountError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
