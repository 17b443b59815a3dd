//! An archive in the file system, opened and indexed but not yet served.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::archive::error::{OpenError, OpenErrorKind};
use crate::archive::file_kind::FileKind;
use crate::zip::{self, Index};

/// An archive that is open and indexed.
#[derive(Debug)]
pub struct IndexedFile {
    /// The absolute path, without symbolic links, or the name that it was opened under.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// The attributes of the file before it was indexed.
    pub metadata: Metadata,
    /// The members.
    pub index: Index,
}

impl IndexedFile {
    /// Opens the archive at `given` and indexes it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(given: &Path) -> Result<Self, OpenError> {
        let mut archive = Self::open_as(given, given)?;
        archive.path =
            fs::canonicalize(given).map_err(|error| OpenErrorKind::Io(error).of(given))?;
        Ok(archive)
    }

    /// Opens the archive at `at` and indexes it; messages call it `given`, which becomes its path.
    ///
    /// `at` is given to the kernel as it is. Resolving it first, as realpath(3) does, may lead to
    /// another place: a mount may cover the target of a link.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(at: &Path, given: &Path) -> Result<Self, OpenError> {
        let cannot_open = |error| OpenErrorKind::Io(error).of(given);
        // Without O_NONBLOCK, opening a FIFO waits for a writer.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(at)
            .map_err(cannot_open)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        if !metadata.is_file() {
            let kind = FileKind::of(metadata.file_type());
            return Err(OpenErrorKind::NotAFile(kind).of(given));
        }
        let index = zip::index(&file, metadata.len(), metadata.mtime())
            .map_err(|error| OpenErrorKind::Archive(error).of(given))?;
        Ok(Self {
            path: given.to_owned(),
            file,
            metadata,
            index,
        })
    }
}
