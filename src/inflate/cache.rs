//! The contents that are kept, and the waiters for those that are being inflated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Inflated, Key};
use crate::archive::slice::FileSlice;
use crate::sys::file::is_open_elsewhere;

/// Contents that are smaller, in bytes, are charged for more than their bytes.
const SMALL: u64 = 1 << 20;

/// The unit in which files in memory grow, in bytes.
const PAGE: u64 = 4096;

/// The memory that an empty file takes, in bytes: in the kernel its inode, its entry and its open
/// description, here its entry in the cache.
const OVERHEAD: u64 = 2048;

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
    /// The bytes of contents in memory, or reserved for them.
    in_memory: u64,
    /// What they take in all.
    charged: u64,
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

    /// Reserves memory for contents of `size` bytes, within `limit`, and drops unused contents for it.
    /// Returns the dropped contents, which take a while to free; `None` where that would not be
    /// enough.
    pub(super) fn reserve_memory(&mut self, size: u64, limit: u64) -> Option<Vec<FileSlice>> {
        let charge = charge(size);
        let available = limit.checked_sub(charge)?;
        let excess = self.charged.saturating_sub(available);
        let dropped = self.drop_unused(Storage::Memory, excess)?;
        self.in_memory += size;
        self.charged += charge;
        Some(dropped)
    }

    /// Releases memory that was reserved for contents that are not kept.
    pub(super) fn release_memory(&mut self, size: u64) {
        self.in_memory -= size;
        self.charged -= charge(size);
    }

    /// Drops the least recently used contents of those that are not in use.
    pub(super) fn drop_oldest(&mut self) -> Option<FileSlice> {
        let mut unused = self.by_use.iter().filter(|(_, key)| self.is_unused(key));
        let (&used, _) = unused.next()?;
        self.remove(used)
    }

    /// Drops the least recently used contents in `storage` that are not in use, until they have taken
    /// `bytes` or more; `None`, and nothing is dropped, where that is not to be had.
    pub(super) fn drop_unused(&mut self, storage: Storage, bytes: u64) -> Option<Vec<FileSlice>> {
        let mut found = Vec::new();
        let mut found_bytes = 0;
        for (&used, key) in &self.by_use {
            if found_bytes >= bytes {
                break;
            }
            if let Some(Entry::Ready {
                contents,
                storage: place,
                ..
            }) = self.entries.get(key)
                && *place == storage
                && self.is_unused(key)
            {
                found_bytes += match storage {
                    Storage::Memory => charge(contents.len()),
                    Storage::Disk => contents.len(),
                };
                found.push(used);
            }
        }
        (found_bytes >= bytes).then(|| found.iter().filter_map(|&used| self.remove(used)).collect())
    }

    fn remove(&mut self, used: u64) -> Option<FileSlice> {
        let key = self.by_use.remove(&used)?;
        let Some(Entry::Ready {
            contents, storage, ..
        }) = self.entries.remove(&key)
        else {
            return None;
        };
        if storage == Storage::Memory {
            self.release_memory(contents.len());
        }
        Some(contents)
    }

    /// Whether contents are not in use: by an open file, by an archive inside, or by a mapping that
    /// has outlived its file.
    fn is_unused(&self, key: &Key) -> bool {
        match self.entries.get(key) {
            Some(Entry::Ready { contents, .. }) => {
                let file = contents.file();
                Arc::strong_count(file) == 1 && !is_open_elsewhere(file.as_file())
            }
            Some(Entry::Pending(_)) | None => false,
        }
    }
}

/// Returns the memory that contents of `size` bytes take: whole pages, a file in the kernel, and their
/// entries here. From 1 MiB on that is less than a hundredth, and not counted, so that a limit of 2 MiB
/// has room for two contents of 1 MiB.
pub(super) fn charge(size: u64) -> u64 {
    if size < SMALL {
        size.next_multiple_of(PAGE) + OVERHEAD
    } else {
        size
    }
}
