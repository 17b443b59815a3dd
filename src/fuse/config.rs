//! How a mount is served.

use super::busy_poll::PollConfig;

/// Who owns the files of a mount and what the modes leave out.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// Owner of every file and directory.
    pub uid: u32,
    /// Group of every file and directory.
    pub gid: u32,
    /// Permissions that are taken away from 0444 and 0555.
    pub umask: u16,
}

/// How a mount is served.
#[derive(Debug)]
pub struct FuseConfig {
    /// Who owns what.
    pub ownership: Ownership,
    /// Whether the kernel may be given files that it reads by itself, as far as the user goes.
    pub may_pass: bool,
    /// Whether the kernel may take the mount for one that can be written to.
    pub may_be_writable: bool,
    /// How many threads answer requests.
    pub threads: usize,
    /// How the next request is looked out for; `None` to sleep until it comes.
    pub polling: Option<PollConfig>,
    /// Whether files are prefetched for whoever reads one after the other.
    pub prefetches: bool,
}
