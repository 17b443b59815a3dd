//! What is open: files and the listings of folders.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use fuser::FileHandle;

use super::backing::Backing;
use crate::archive::Archive;
use crate::archive::slice::FileSlice;
use crate::sys::sync::{read, write};
use crate::tree::Ino;

/// The handle of what needs none: the inode says it all.
pub(super) const NONE: FileHandle = FileHandle(0);

/// Something that is open.
#[derive(Debug)]
pub(super) enum Handle {
    File(OpenFile),
    /// The names in a folder at the moment when it was opened.
    Folder(Vec<OsString>),
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// The archive that it is in, which stays open as long as this.
    pub(super) volume: Arc<Archive>,
    /// Its inode there.
    pub(super) ino: Ino,
    pub(super) contents: FileSlice,
    /// How it is read, where there is a choice.
    pub(super) access: Option<Arc<Backing>>,
}

impl OpenFile {
    /// A file for whose bytes the kernel asks.
    pub(super) fn new(volume: Arc<Archive>, ino: Ino, contents: FileSlice) -> Self {
        Self {
            volume,
            ino,
            contents,
            access: None,
        }
    }
}

/// The table of all handles of a mount.
#[derive(Debug, Default)]
pub(super) struct Handles {
    table: RwLock<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
}

impl Handles {
    pub(super) fn add(&self, handle: Handle) -> FileHandle {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        write(&self.table).insert(number, Arc::new(handle));
        FileHandle(number)
    }

    pub(super) fn find(&self, handle: FileHandle) -> Option<Arc<Handle>> {
        read(&self.table).get(&handle.0).cloned()
    }

    pub(super) fn remove(&self, handle: FileHandle) {
        let removed = write(&self.table).remove(&handle.0);
        // Closing may take its time, and the table must not be locked meanwhile.
        drop(removed);
    }
}
