//! The state of a file, by which a later change is recognised.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::sys;

/// The length of a file and the time of its last modification.
///
/// The time of the last status change is no part of it: rename, unlink and chmod alter that time and
/// no byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    len: u64,
    modified: (i64, i64),
}

impl FileVersion {
    /// Returns the state that `metadata` describes.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Asks the file system for the present state of an open file. Cached attributes do not do:
    /// another machine may have written to the file.
    pub(super) fn now(file: &File) -> io::Result<Self> {
        match sys::file::len_and_time(file) {
            Ok((len, modified)) => Ok(Self { len, modified }),
            // Sandboxes that do not know statx(2) refuse it with one of these.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                Ok(Self::of(&file.metadata()?))
            }
            Err(error) => Err(error),
        }
    }
}
