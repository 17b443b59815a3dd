//! Why a command failed, in words for its user, and the exit status that goes with it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::archive::file;
use crate::commands::repack::error::RepackError;
use crate::exit_status;
use crate::mount::holders::Holder;
use crate::ui::human::{Escaped, Size, error_text};
use crate::zip::{ArchiveError, MemberError, MemberErrorKind};

/// Why a command failed. The text is one line, lower case, and names what it is about.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The archive cannot be opened.
    Open {
        /// As given on the command line.
        archive: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// What was named is no regular file.
    NotAFile {
        /// As given on the command line.
        archive: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The archive as a whole cannot be used.
    Archive {
        /// As given on the command line.
        archive: PathBuf,
        /// What is wrong with it.
        defect: ArchiveError,
    },
    /// Too many members cannot be read.
    Unreadable {
        /// As given on the command line.
        archive: PathBuf,
        /// The first member that cannot be read, as the archive names it.
        member: Vec<u8>,
        /// Why.
        problem: MemberError,
        /// Whether one such member was enough.
        strict: bool,
    },
    /// The mount point cannot be used.
    MountPoint {
        /// As given on the command line.
        mount_point: PathBuf,
        /// Why not.
        defect: MountPointError,
    },
    /// FUSE cannot be used.
    Fuse(FuseError),
    /// Nothing of an archive can be passed through to the kernel, which was asked for.
    Passthrough {
        /// As given on the command line.
        archive: PathBuf,
        /// Why not.
        reason: PassthroughError,
    },
    /// A mount was not ended.
    Unmount {
        /// As given on the command line.
        mount_point: PathBuf,
        /// Why not.
        defect: UnmountError,
    },
    /// The command of `npzfs run` cannot be started.
    Command {
        /// Its name, as given on the command line.
        command: OsString,
        /// The cause.
        error: io::Error,
    },
    /// An archive was not repacked.
    Repack(RepackError),
    /// The log file cannot be opened.
    Log {
        /// As given on the command line.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Standard output cannot be written.
    Output(io::Error),
    /// Inflated members cannot be kept where they are to be.
    CacheDirectory {
        /// As given on the command line.
        directory: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The operating system refused something that it hardly ever refuses.
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        error: io::Error,
    },
}

/// Why nothing can be mounted at a place.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountPointError {
    /// Something failed there.
    Io(io::Error),
    /// It does not exist and cannot be made.
    CannotCreate(io::Error),
    /// It is no directory.
    NotADirectory,
    /// It holds files, which the mount would hide.
    NotEmpty,
    /// Something is mounted there.
    Mounted {
        /// Type of what is mounted.
        fs_type: String,
        /// Where that comes from.
        source: String,
    },
    /// What a killed npzfs left there cannot be cleaned up.
    LeftOver(UnmountError),
    /// fusermount3 does not let this user mount there.
    Refused(String),
    /// It is a descriptor that is not open.
    NotOpen,
    /// It is a descriptor of something else than the kernel's end of FUSE.
    NoConnection,
    /// It is a descriptor of the kernel's end of FUSE, with which nothing was mounted.
    NotMounted,
    /// It is mounted already, so that this option comes too late.
    MountedWithout(&'static str),
}

/// Why FUSE cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum FuseError {
    /// There is no `/dev/fuse`.
    NoDevice,
    /// `/dev/fuse` cannot be opened.
    Device(io::Error),
    /// This user needs fusermount3, which is not there.
    NoFusermount,
    /// `/etc/fuse.conf` does not let users share their mounts.
    AllowOther,
    /// mount(2) failed.
    Mount(io::Error),
    /// fusermount3 failed.
    Fusermount(String),
    /// The kernel takes no files to read by itself, which was asked for.
    Passthrough(io::Error),
    /// The kernel and fuser did not come to terms, or the session ended at once.
    Session(io::Error),
}

/// Why nothing of an archive can be passed through to the kernel.
#[derive(Debug)]
#[non_exhaustive]
pub enum PassthroughError {
    /// Members cannot be cloned.
    Clone(io::Error),
    /// No member is long enough, or none starts at a page boundary.
    NothingFit {
        /// What would be long enough, in bytes.
        min: u64,
    },
}

/// Why a mount was not ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnmountError {
    /// Something failed there.
    Io(io::Error),
    /// Nothing is mounted there.
    NotMounted,
    /// What is mounted there is not npzfs.
    NotNpzfs {
        /// Type of what is mounted.
        fs_type: String,
    },
    /// It is in use.
    Busy {
        /// By whom, as far as this user may know.
        holders: Vec<Holder>,
    },
    /// Something else is mounted inside it.
    MountInside {
        /// Where.
        inside: PathBuf,
    },
    /// Another user has mounted it.
    NotYours,
    /// The process behind it does not answer.
    NotAnswering,
    /// fusermount3 is needed but not there.
    NoFusermount,
    /// fusermount3 failed.
    Fusermount(String),
}

impl Error {
    /// The exit status for this error.
    pub fn status(&self) -> u8 {
        match self {
            Self::Open { .. } | Self::NotAFile { .. } => exit_status::ARCHIVE,
            Self::Archive { defect, .. } => match defect {
                ArchiveError::Read(_) | ArchiveError::Changed => exit_status::ARCHIVE,
                ArchiveError::NotAnArchive => exit_status::NOT_AN_ARCHIVE,
                _ => exit_status::DAMAGED,
            },
            Self::Unreadable {
                problem, strict, ..
            } => match problem.kind() {
                MemberErrorKind::Damaged if !strict => exit_status::DAMAGED,
                _ => exit_status::UNREADABLE,
            },
            Self::Repack(failure) => failure.status(),
            Self::MountPoint { .. } => exit_status::MOUNT_POINT,
            Self::Fuse(_) | Self::Passthrough { .. } => exit_status::FUSE,
            Self::Command { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => exit_status::NOT_FOUND,
                _ => exit_status::NOT_STARTED,
            },
            Self::Unmount { .. }
            | Self::Log { .. }
            | Self::Output(_)
            | Self::CacheDirectory { .. }
            | Self::System { .. } => exit_status::FAILED,
        }
    }
}

impl From<RepackError> for Error {
    fn from(failure: RepackError) -> Self {
        Self::Repack(failure)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { archive, error } => {
                write!(
                    f,
                    "{}: cannot be opened: {}",
                    Escaped::path(archive),
                    error_text(error)
                )
            }
            Self::NotAFile { archive, what } => {
                write!(f, "{}: is {what}, not an archive", Escaped::path(archive))?;
                if *what == file::DIRECTORY {
                    f.write_str(": name the archives in it")?;
                }
                Ok(())
            }
            Self::Archive { archive, defect } => write!(f, "{}: {defect}", Escaped::path(archive)),
            Self::Unreadable {
                archive,
                member,
                problem,
                strict,
            } => {
                let member = Escaped::member(member);
                write!(
                    f,
                    "{}: member '{member}': {problem}",
                    Escaped::path(archive)
                )?;
                if !strict {
                    f.write_str(" (no member of the archive can be read)")?;
                }
                Ok(())
            }
            Self::MountPoint {
                mount_point,
                defect,
            } => write!(f, "{}: {defect}", Escaped::path(mount_point)),
            Self::Fuse(defect) => defect.fmt(f),
            Self::Passthrough { archive, reason } => write!(
                f,
                "{}: --passthrough=on: {reason} (auto serves it all the same)",
                Escaped::path(archive)
            ),
            Self::Repack(failure) => failure.fmt(f),
            Self::Unmount {
                mount_point,
                defect,
            } => write!(f, "{}: {defect}", Escaped::path(mount_point)),
            Self::Command { command, error } => {
                let command = Escaped(command.as_encoded_bytes());
                write!(f, "{command}: cannot be run: {}", error_text(error))
            }
            Self::Log { file, error } => {
                write!(
                    f,
                    "{}: cannot log there: {}",
                    Escaped::path(file),
                    error_text(error)
                )
            }
            Self::Output(error) => {
                write!(
                    f,
                    "standard output cannot be written: {}",
                    error_text(error)
                )
            }
            Self::CacheDirectory { directory, error } => {
                write!(
                    f,
                    "{}: cannot inflate there: {}",
                    Escaped::path(directory),
                    error_text(error)
                )
            }
            Self::System { what, error } => write!(f, "cannot {what}: {}", error_text(error)),
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
            Self::LeftOver(defect) => {
                write!(f, "what a killed npzfs left there {defect}")
            }
            Self::Refused(reason) => write!(f, "mount point refused: {reason}"),
            Self::NotOpen => f.write_str("no such descriptor is open"),
            Self::NoConnection => f.write_str("not a descriptor of /dev/fuse"),
            Self::NotMounted => f.write_str(
                "nothing was mounted with this descriptor: mount with the option fd= first",
            ),
            Self::MountedWithout(option) => write!(
                f,
                "is mounted already: {option} can only be given by whoever mounts"
            ),
        }
    }
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
            Self::Session(error) => {
                write!(f, "the FUSE session could not begin: {}", error_text(error))
            }
        }
    }
}

impl fmt::Display for PassthroughError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clone(error) => write!(f, "members cannot be cloned: {}", error_text(error)),
            Self::NothingFit { min } => write!(
                f,
                "no member is at a page boundary and at least {} long (npzfs repack makes such \
                 archives)",
                Size(*min)
            ),
        }
    }
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
