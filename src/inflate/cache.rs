//! The contents that are kept, and the waiters for those that are being inflated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Inflated, Key};
use crate::archive::slice::FileSlice;
use crate::sys;

/// What the kept contents take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The number of contents, in memory and on the disk.
    pub count: usize,
    /// The bytes of memory that they take, also those that are being inflated.
    pub memory: u64,
    /// How often the inflation of a member was started.
    pub inflations: u64,
}

pub(super) type Waiter = Box<dyn FnOnce(Inflated) + Send>;

/// The place of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    Memory,
    Disk,
}

enum Entry {
    /// Being inflated.
    Pending(Vec<Waiter>),
    Ready {
        contents: FileSlice,
        storage: Storage,
        /// The time of the last request: the key in `Cache::by_use`.
        used: u64,
    },
}

/// All contents, also those that are being inflated.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// The contents that are ready, least recently used first.
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    /// The bytes of memory in use or reserved.
    in_memory: u64,
    inflations: u64,
}

impl Cache {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            count: self.by_use.len(),
            memory: self.in_memory,
            inflations: self.inflations,
        }
    }

    /// Returns the contents of `key`, and marks them as used; `None` where they are not ready.
    pub(super) fn ready(&mut self, key: Key) -> Option<FileSlice> {
        let Some(Entry::Ready { contents, used, .. }) = self.entries.get_mut(&key) else {
            return None;
        };
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, key);
        *used = self.clock;
        Some(contents.clone())
    }

    /// Adds a waiter for contents that are not ready. Returns whether it is the first one, who has
    /// them inflated.
    pub(super) fn add_waiter(&mut self, key: Key, waiter: Waiter) -> bool {
        if let Some(Entry::Pending(waiters)) = self.entries.get_mut(&key) {
            waiters.push(waiter);
            return false;
        }
        self.inflations += 1;
        self.entries.insert(key, Entry::Pending(vec![waiter]));
        true
    }

    /// Ends the wait for contents, and returns the waiters.
    pub(super) fn take_waiters(&mut self, key: Key) -> Vec<Waiter> {
        match self.entries.remove(&key) {
            Some(Entry::Pending(waiters)) => waiters,
            _ => Vec::new(),
        }
    }

    /// Keeps contents whose waiters were taken, and whose memory was reserved.
    pub(super) fn keep(&mut self, key: Key, contents: FileSlice, storage: Storage) {
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        let used = self.clock;
        let entry = Entry::Ready {
            contents,
            storage,
            used,
        };
        self.entries.insert(key, entry);
    }

    /// Reserves `size` bytes of memory, of which there are `limit`, and drops unused contents for it.
    /// Returns whether that was enough, and the dropped contents, which take a while to free.
    pub(super) fn reserve_memory(&mut self, size: u64, limit: u64) -> (bool, Vec<FileSlice>) {
        let mut dropped = Vec::new();
        let Some(available) = limit.checked_sub(size) else {
            return (false, dropped);
        };
        if self.in_memory > available
            && self.in_memory - self.unused_bytes(Storage::Memory) > available
        {
            return (false, dropped);
        }
        while self.in_memory > available {
            // A mapping may have come to use contents that were counted as unused.
            match self.drop_oldest(Some(Storage::Memory)) {
                Some(oldest) => dropped.push(oldest),
                None => return (false, dropped),
            }
        }
        self.in_memory += size;
        (true, dropped)
    }

    /// Releases memory that was reserved for contents that are not kept.
    pub(super) fn release_memory(&mut self, size: u64) {
        self.in_memory -= size;
    }

    /// Counts the bytes in `storage` that are not in use.
    pub(super) fn unused_bytes(&self, storage: Storage) -> u64 {
        let entries = self.entries.values();
        entries
            .filter_map(|entry| entry.unused_len(Some(storage)))
            .sum()
    }

    /// Drops the least recently used contents of those in `storage`, or anywhere, that are not in
    /// use. They are returned, since they may take a while to free.
    pub(super) fn drop_oldest(&mut self, storage: Option<Storage>) -> Option<FileSlice> {
        let is_unused = |key: &Key| {
            let entry = self.entries.get(key);
            entry.is_some_and(|entry| entry.unused_len(storage).is_some())
        };
        let (&used, &key) = self.by_use.iter().find(|(_, key)| is_unused(key))?;
        self.by_use.remove(&used);
        let Some(Entry::Ready {
            contents, storage, ..
        }) = self.entries.remove(&key)
        else {
            return None;
        };
        if storage == Storage::Memory {
            self.in_memory -= contents.len();
        }
        Some(contents)
    }
}

impl Entry {
    /// Returns the length of contents in `storage`, or anywhere, that are not in use: by an open
    /// file, by an archive inside, or by a mapping that has outlived its file.
    fn unused_len(&self, storage: Option<Storage>) -> Option<u64> {
        match self {
            Self::Ready {
                contents,
                storage: place,
                ..
            } if storage.is_none_or(|storage| storage == *place)
                && Arc::strong_count(contents.file()) == 1
                && !sys::file::is_open_elsewhere(contents.file().as_file()) =>
            {
                Some(contents.len())
            }
            _ => None,
        }
    }
}
