//! The table of file handles: open files, and the listings of folders.

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

/// The handle of files and directories that are opened without state.
pub(super) const NONE: FileHandle = FileHandle(0);

/// The state behind a handle.
#[derive(Debug)]
pub(super) enum Handle {
    File(OpenFile),
    /// The names in a folder at the moment when it was opened.
    Folder(Vec<OsString>),
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// The archive, which stays open as long as the file.
    pub(super) archive: Arc<Archive>,
    /// The inode number in the archive.
    pub(super) ino: Ino,
    pub(super) contents: FileSlice,
    /// The kernel's way to the contents, for files that can be passed through.
    pub(super) backing: Option<Arc<Backing>>,
}

impl OpenFile {
    /// Returns a file that the kernel reads through this server.
    pub(super) fn new(archive: Arc<Archive>, ino: Ino, contents: FileSlice) -> Self {
        Self {
            archive,
            ino,
            contents,
            backing: None,
        }
    }
}

/// The table of file handles.
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
        // Closing may be slow, so the table is unlocked first.
        drop(removed);
    }
}
