//! Inodes of a tree: their numbers and attributes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use crate::sys::time::system_time;

/// An inode number. The root is 1, as in FUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: a member.
    File,
    /// A directory.
    Directory,
}

/// The attributes of an inode that come from the archive. Owner and mode do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// The inode number.
    pub ino: Ino,
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Times of last modification and change.
    pub times: Times,
    /// Number of links: 1 for a file; for a directory 2 and one for each subdirectory.
    pub links: u32,
}

/// The times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Time of last modification of the contents.
    pub modified: SystemTime,
    /// Time of last change of contents or attributes. Unlike the other one, no program can set it, so
    /// backup programs go by it.
    pub changed: SystemTime,
}

impl Times {
    /// The start of 1970 (UTC), for what has no times.
    pub const UNKNOWN: Self = Self {
        modified: SystemTime::UNIX_EPOCH,
        changed: SystemTime::UNIX_EPOCH,
    };
}

impl From<&Metadata> for Times {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: system_time(metadata.mtime(), metadata.mtime_nsec()),
            changed: system_time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// One entry of a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name: at most [`NAME_MAX`](crate::tree::NAME_MAX) bytes, without slash or NUL.
    pub name: &'a [u8],
    /// The attributes of the inode with this name.
    pub attr: Attr,
}
