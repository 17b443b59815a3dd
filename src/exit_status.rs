//! The exit statuses, as the manual page lists them.

use std::fmt;
use std::process::ExitCode;

/// The exit status of a process. Of several statuses the greatest is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExitStatus(pub u8);

/// Done.
pub const DONE: ExitStatus = ExitStatus(0);
/// The command ran and failed, or found faults.
pub const FAILED: ExitStatus = ExitStatus(1);
/// The command line is wrong.
pub const USAGE: ExitStatus = ExitStatus(2);
/// The mount point cannot be used.
pub const MOUNT_POINT: ExitStatus = ExitStatus(10);
/// FUSE is not available or not permitted.
pub const FUSE: ExitStatus = ExitStatus(11);
/// The archive cannot be opened or read.
pub const ARCHIVE: ExitStatus = ExitStatus(20);
/// The archive is not a ZIP archive.
pub const NOT_AN_ARCHIVE: ExitStatus = ExitStatus(21);
/// The archive is damaged.
pub const DAMAGED: ExitStatus = ExitStatus(22);
/// Refused because of members that cannot be read.
pub const UNREADABLE: ExitStatus = ExitStatus(23);
/// The command of `npzfs run` cannot be started.
pub const NOT_STARTED: ExitStatus = ExitStatus(126);
/// The command of `npzfs run` was not found.
pub const NOT_FOUND: ExitStatus = ExitStatus(127);

/// The exit statuses to which mount(8) gives a meaning, as far as its helper uses them.
pub mod mount8 {
    use super::ExitStatus;

    /// The call is wrong, or not permitted.
    pub const USAGE: ExitStatus = ExitStatus(1);
    /// The operating system refused something.
    pub const SYSTEM: ExitStatus = ExitStatus(2);
    /// npzfs has a bug.
    pub const BUG: ExitStatus = ExitStatus(4);
    /// Nothing was mounted.
    pub const FAILED: ExitStatus = ExitStatus(32);
}

impl ExitStatus {
    /// Returns the status by which a shell reports that a signal ended a command.
    pub fn of_signal(number: i32) -> Self {
        Self(128 + number as u8)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.0.into()
    }
}

impl From<ExitStatus> for i32 {
    fn from(status: ExitStatus) -> Self {
        status.0.into()
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
