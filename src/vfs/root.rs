//! What the command line names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::Folder;
use super::slot::ArchiveSlot;
use super::subtree::SubtreeKind;
use crate::archive::Archive;

/// An archive or a folder that the command line names.
#[derive(Debug)]
pub enum Named {
    /// An archive, which stays open.
    Archive(Arc<Archive>),
    /// A folder.
    Folder(Folder),
}

impl Named {
    /// Its absolute path.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Archive(volume) => volume.path.clone(),
            Self::Folder(folder) => folder.shown_path(),
        }
    }
}

impl From<Named> for SubtreeKind {
    fn from(named: Named) -> Self {
        match named {
            Named::Archive(volume) => Self::Archive(ArchiveSlot::pinned(volume)),
            Named::Folder(folder) => Self::Folder(folder),
        }
    }
}

/// What is mounted at the root.
#[derive(Debug)]
pub enum Root {
    /// The members of an archive, or what is in a folder.
    One(Named),
    /// Several of them, by the names that they are shown under.
    Several(BTreeMap<OsString, Named>),
}
