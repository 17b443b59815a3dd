//! What is open: files and the listings of folders.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    /// How it is read, where there is a choice.
    pub(super) _access: Option<Arc<Access>>,
}

/// How the kernel reads a file. While a file is open it does so in one way, whoever else opens it.
#[derive(Debug)]
pub(super) enum Access {
    /// From the file that holds the contents, without asking.
    Passed(BackingId),
    /// By asking, and then from its cache.
    Asked,
}

/// The table of all handles of a mount.
#[derive(Debug, Default)]
pub(super) struct Handles {
    table: RwLock<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
    /// By inode of the mount.
    accesses: Mutex<HashMap<Ino, Weak<Access>>>,
    /// How many there may be of these before those are looked for that nobody has open any more.
    accesses_max: AtomicUsize,
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

    /// How a file of the mount is read: as it is already, or else as `choose` says.
    pub(super) fn access(&self, ino: Ino, choose: impl FnOnce() -> Access) -> Arc<Access> {
        let mut accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = accesses.get(&ino).and_then(Weak::upgrade) {
            return access;
        }
        let access = Arc::new(choose());
        accesses.insert(ino, Arc::downgrade(&access));
        if accesses.len() > self.accesses_max.load(Ordering::Relaxed) {
            accesses.retain(|_, access| access.strong_count() > 0);
            let max = 2 * accesses.len() + 16;
            self.accesses_max.store(max, Ordering::Relaxed);
        }
        access
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_have_a_file_open_read_it_in_the_same_way() {
        let handles = Handles::default();
        let ino = Ino(2);
        let first = handles.access(ino, || Access::Asked);
        let second = handles.access(ino, || unreachable!());
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        let third = handles.access(ino, || unreachable!());
        drop((second, third));
        let mut is_chosen_anew = false;
        handles.access(ino, || {
            is_chosen_anew = true;
            Access::Asked
        });
        assert!(is_chosen_anew);
    }

    #[test]
    fn files_that_nobody_has_open_are_forgotten() {
        let handles = Handles::default();
        for number in 0..1000 {
            handles.access(Ino(number), || Access::Asked);
        }
        assert!(handles.accesses.lock().unwrap().len() < 20);
    }
}
