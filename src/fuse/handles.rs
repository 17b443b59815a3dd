//! What is open: files and the listings of folders.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use fuser::{BackingId, FileHandle};

use crate::bytes::Slice;
use crate::tree::Ino;
use crate::volume::Volume;

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
    pub(super) volume: Arc<Volume>,
    /// Its inode there.
    pub(super) ino: Ino,
    pub(super) contents: Slice,
    /// By what the kernel gets at the contents without asking, if it does.
    pub(super) _backing: Option<Arc<BackingId>>,
}

/// The table of all handles of a mount.
#[derive(Debug, Default)]
pub(super) struct Handles {
    table: RwLock<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
    /// By inode: all opens of a file have to share one backing.
    backings: Mutex<HashMap<Ino, Weak<BackingId>>>,
}

impl Handles {
    pub(super) fn add(&self, handle: Handle) -> FileHandle {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(number, Arc::new(handle));
        FileHandle(number)
    }

    pub(super) fn find(&self, handle: FileHandle) -> Option<Arc<Handle>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&handle.0).cloned()
    }

    pub(super) fn remove(&self, handle: FileHandle) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let removed = table.remove(&handle.0);
        drop(table);
        // Closing may take its time, and the table must not be locked meanwhile.
        drop(removed);
    }

    /// The backing of a file of the mount: the one that it has, or else the one that `make` makes.
    pub(super) fn backing(
        &self,
        ino: Ino,
        make: impl FnOnce() -> io::Result<BackingId>,
    ) -> io::Result<Arc<BackingId>> {
        let mut backings = self.backings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backing) = backings.get(&ino).and_then(Weak::upgrade) {
            return Ok(backing);
        }
        backings.retain(|_, backing| backing.strong_count() > 0);
        let backing = Arc::new(make()?);
        backings.insert(ino, Arc::downgrade(&backing));
        Ok(backing)
    }
}
