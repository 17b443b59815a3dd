//! The reasons why a request for an inode fails.

use std::error::Error;
use std::fmt;
use std::io;

/// The reason why a request for an inode fails.
#[derive(Debug)]
pub enum VfsError {
    /// The inode does not exist, or no longer does.
    Gone,
    /// The inode is a file, or the subtree is no archive.
    NotADirectory,
    /// The archive cannot be opened; the log has the reason.
    Archive,
    /// The folder cannot be read.
    Folder(io::Error),
}

impl fmt::Display for VfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "no such inode",
            Self::NotADirectory => "not a directory",
            Self::Archive => "archive cannot be opened",
            Self::Folder(_) => "folder cannot be read",
        })
    }
}

impl Error for VfsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Folder(error) => Some(error),
            Self::Gone | Self::NotADirectory | Self::Archive => None,
        }
    }
}
