//! The settings of a FUSE server.

use super::busy_poll::PollConfig;

/// The owner, the group and the umask of all files and directories.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permissions taken away from 0444 and 0555.
    pub umask: u16,
}

/// The settings of a FUSE server.
#[derive(Debug)]
pub struct FuseConfig {
    /// The owner of everything.
    pub ownership: Ownership,
    /// Pass files through to the kernel, where it can.
    pub passthrough_allowed: bool,
    /// Clients may be able to open files for writing, so that OPEN must be answered: another
    /// program has made the mount, or root may make it writable.
    pub may_be_writable: bool,
    /// The number of worker threads, which answer requests.
    pub threads: usize,
    /// Poll for the next request; `None` to sleep until it comes.
    pub poll: Option<PollConfig>,
    /// Preload the next files of a sequential read into the page cache.
    pub prefetch_enabled: bool,
}
