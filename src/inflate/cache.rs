//! What members were inflated to, and who waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Inflated, Key};
use crate::archive::slice::FileSlice;
use crate::sys;

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many contents, wherever they are.
    pub count: usize,
    /// How many bytes of memory they take, those included that are being made.
    pub memory: u64,
    /// How often a member was inflated, or was to be.
    pub inflations: u64,
}

pub(super) type Waiter = Box<dyn FnOnce(Inflated) + Send>;

/// Where contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Memory,
    Disk,
}

enum Entry {
    /// Is being made; these want it.
    Pending(Vec<Waiter>),
    Ready {
        contents: FileSlice,
        home: Home,
        /// When it was last asked for: its key in `Cache::by_use`.
        used: u64,
    },
}

/// All contents, those that are being made included.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// What is ready, least recently used first.
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    /// Bytes in memory, what is being made included.
    in_memory: u64,
    /// How often a member was inflated, or was to be.
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

    /// The contents of `key`, which count as used just now; `None` where they are not there yet.
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

    /// Lets somebody wait for contents that are not there yet. Returns whether nobody did so far:
    /// then they have to be made.
    pub(super) fn wait(&mut self, key: Key, waiter: Waiter) -> bool {
        if let Some(Entry::Pending(waiters)) = self.entries.get_mut(&key) {
            waiters.push(waiter);
            return false;
        }
        self.inflations += 1;
        self.entries.insert(key, Entry::Pending(vec![waiter]));
        true
    }

    /// Ends the wait for contents; returns those who waited.
    pub(super) fn end_wait(&mut self, key: Key) -> Vec<Waiter> {
        match self.entries.remove(&key) {
            Some(Entry::Pending(waiters)) => waiters,
            _ => Vec::new(),
        }
    }

    /// Keeps contents that nobody waits for any more. The memory that they are in has been taken.
    pub(super) fn keep(&mut self, key: Key, contents: FileSlice, home: Home) {
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        let used = self.clock;
        let entry = Entry::Ready {
            contents,
            home,
            used,
        };
        self.entries.insert(key, entry);
    }

    /// Takes `size` bytes of memory, of which there are `limit`, if need be by dropping what nobody
    /// uses. Returns whether that was enough, and what was dropped, since to let go of it takes a
    /// while.
    pub(super) fn take_memory(&mut self, size: u64, limit: u64) -> (bool, Vec<FileSlice>) {
        let mut dropped = Vec::new();
        let Some(may_be_taken) = limit.checked_sub(size) else {
            return (false, dropped);
        };
        if self.in_memory > may_be_taken
            && self.in_memory - self.idle_bytes(Home::Memory) > may_be_taken
        {
            return (false, dropped);
        }
        while self.in_memory > may_be_taken {
            // What was idle before may be in use by a mapping now.
            match self.drop_oldest(Some(Home::Memory)) {
                Some(oldest) => dropped.push(oldest),
                None => return (false, dropped),
            }
        }
        self.in_memory += size;
        (true, dropped)
    }

    /// Gives back memory that was taken for contents that are not kept.
    pub(super) fn give_back(&mut self, size: u64) {
        self.in_memory -= size;
    }

    /// How many bytes there are at `home` that nobody uses.
    pub(super) fn idle_bytes(&self, home: Home) -> u64 {
        let entries = self.entries.values();
        entries.filter_map(|entry| entry.idle_at(Some(home))).sum()
    }

    /// Drops, of the contents that nobody uses, those that were not asked for longest. They are
    /// returned since to let go of them may take a while.
    pub(super) fn drop_oldest(&mut self, home: Option<Home>) -> Option<FileSlice> {
        let is_idle = |key: &Key| {
            let entry = self.entries.get(key);
            entry.is_some_and(|entry| entry.idle_at(home).is_some())
        };
        let (&used, &key) = self.by_use.iter().find(|(_, key)| is_idle(key))?;
        self.by_use.remove(&used);
        let Some(Entry::Ready { contents, home, .. }) = self.entries.remove(&key) else {
            return None;
        };
        if home == Home::Memory {
            self.in_memory -= contents.len();
        }
        Some(contents)
    }
}

impl Entry {
    /// The length of contents at `home`, or anywhere, that nobody uses: no file that is open, no
    /// archive inside, and no mapping that has outlived the file.
    fn idle_at(&self, home: Option<Home>) -> Option<u64> {
        match self {
            Self::Ready {
                contents, home: at, ..
            } if home.is_none_or(|home| home == *at)
                && Arc::strong_count(contents.file()) == 1
                && !sys::is_open_elsewhere(contents.file().as_file()) =>
            {
                Some(contents.len())
            }
            _ => None,
        }
    }
}
