//! The exit statuses, as the manual page lists them.

/// Done.
pub const DONE: u8 = 0;
/// The command ran and failed, or found faults.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The mount point cannot be used.
pub const MOUNT_POINT: u8 = 10;
/// FUSE is not available or not permitted.
pub const FUSE: u8 = 11;
/// The archive cannot be opened or read.
pub const ARCHIVE: u8 = 20;
/// The archive is no ZIP archive.
pub const NOT_AN_ARCHIVE: u8 = 21;
/// The archive is damaged.
pub const DAMAGED: u8 = 22;
/// Refused because of members that cannot be read.
pub const UNREADABLE: u8 = 23;
/// The command of `npzfs run` cannot be started.
pub const NOT_STARTED: u8 = 126;
/// The command of `npzfs run` was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of a signal that has ended the command of `npzfs run`.
pub const SIGNALLED: u8 = 128;

/// The exit statuses to which mount(8) gives a meaning, as far as its helper uses them.
pub mod mount8 {
    /// The call is wrong, or not permitted.
    pub const USAGE: u8 = 1;
    /// The operating system refused something.
    pub const SYSTEM: u8 = 2;
    /// npzfs has a bug.
    pub const BUG: u8 = 4;
    /// Nothing was mounted.
    pub const FAILED: u8 = 32;
}
