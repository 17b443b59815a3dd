//! An archive in the file system: opened, looked at and indexed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::commands::error::Error;
use crate::zip::{self, Index};

/// An archive that is open and indexed.
#[derive(Debug)]
pub struct IndexedFile {
    /// Its absolute path: without symbolic links, unless it was opened under another name.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// What the file was like before it was indexed.
    pub metadata: Metadata,
    /// Its members.
    pub index: Index,
}

impl IndexedFile {
    /// Opens the archive at `given` and indexes it.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotAFile`] or [`Error::Archive`].
    pub fn open(given: &Path) -> Result<Self, Error> {
        let mut archive = Self::open_as(given, given)?;
        archive.path = fs::canonicalize(given).map_err(|error| Error::Open {
            archive: given.to_owned(),
            error,
        })?;
        Ok(archive)
    }

    /// Opens the archive at `at` and indexes it; messages call it `given`, and this becomes its path.
    ///
    /// `at` is given to the kernel as it is. Whoever takes it apart, as realpath(3) does, may come
    /// to another place: a mount may cover what it leads to.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(at: &Path, given: &Path) -> Result<Self, Error> {
        let cannot_open = |error| Error::Open {
            archive: given.to_owned(),
            error,
        };
        // Without O_NONBLOCK a FIFO that nobody writes to would never open.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(at)
            .map_err(cannot_open)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile {
                archive: given.to_owned(),
                what: kind(&metadata),
            });
        }
        let index = zip::index(&file, metadata.len(), metadata.mtime()).map_err(|defect| {
            Error::Archive {
                archive: given.to_owned(),
                defect,
            }
        })?;
        Ok(Self {
            path: given.to_owned(),
            file,
            metadata,
            index,
        })
    }

    /// The archive's own time of last modification, in seconds since 1970 (UTC).
    pub fn modified(&self) -> i64 {
        self.metadata.mtime()
    }
}

/// What a directory is called.
pub(crate) const DIRECTORY: &str = "a directory";

/// What something is that is no regular file.
pub(crate) fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        DIRECTORY
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
