//! The root of a mount: what the command line names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::Folder;
use super::subtree::{MountedArchive, SubtreeKind};
use crate::archive::Archive;

/// An archive or a folder on the command line.
#[derive(Debug)]
pub enum Source {
    /// An archive, which stays open.
    Archive(Arc<Archive>),
    /// A folder.
    Folder(Folder),
}

impl Source {
    /// Returns the absolute path.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Archive(archive) => archive.path.clone(),
            Self::Folder(folder) => folder.shown_path(),
        }
    }
}

impl From<Source> for SubtreeKind {
    fn from(source: Source) -> Self {
        match source {
            Source::Archive(archive) => Self::Archive(MountedArchive::pinned(archive)),
            Source::Folder(folder) => Self::Folder(folder),
        }
    }
}

/// The contents of the root directory.
#[derive(Debug)]
pub enum Root {
    /// The members of an archive, or the contents of a folder.
    One(Source),
    /// Several archives and folders, by the names under which they are shown.
    Several(BTreeMap<OsString, Source>),
}
