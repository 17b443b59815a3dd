//! How the kernel reads each open file: through this server, or from a backing file of its own.
//!
//! While a file is open, the kernel accepts only one way for it, no matter how many clients open
//! it, and one backing id. So the choice is made once, under a lock of the inode, and shared by all
//! who open the file meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, Weak};

use fuser::BackingId;

use crate::sys::file;
use crate::sys::sync::lock;
use crate::tree::Ino;

/// Tries whether the kernel accepts `backing` as a backing file.
///
/// # Errors EPERM if this process lacks the privilege or the kernel the feature, and ELOOP if the
/// file system cannot be below another one.
pub fn try_passthrough(device: impl AsFd, backing: impl AsFd) -> io::Result<()> {
    let id = BackingId::create_raw(&device, backing)?;
    file::close_backing(device, id)
}

/// The way in which the kernel reads a file.
#[derive(Debug)]
pub(super) enum Backing {
    /// From a backing file, without this server.
    Passthrough(BackingId),
    /// By READ, and then from its page cache.
    Server,
}

/// What happens to a backing file once no client has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// It is kept for the next open, as long as there is room.
    Keep,
    /// It is closed.
    Drop,
}

/// The backing of each open file, by inode of the mount, and an LRU cache of backing files.
#[derive(Debug)]
pub(super) struct BackingFiles {
    /// The maximum number of backing files that are kept.
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<Ino, Entry>,
    /// The files that are kept, least recently used first.
    by_use: BTreeMap<u64, Ino>,
    clock: u64,
    /// The number of entries above which those of closed files are removed.
    limit: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// Locked while a thread chooses.
    choosing: Arc<Mutex<()>>,
    backing: Weak<Backing>,
    kept: Option<Kept>,
}

/// A backing that is kept while no client has the file open.
#[derive(Debug)]
struct Kept {
    backing: Arc<Backing>,
    /// The time of the last use: the key in `State::by_use`.
    used: u64,
}

impl BackingFiles {
    /// Returns an empty table that keeps up to `max` backing files.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    /// Returns the number of backing files that are kept.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).by_use.len()
    }

    /// Returns the backing of a file that is open or kept.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<Backing>> {
        let mut state = lock(&self.state);
        let backing = state.files.get(&ino)?.backing.upgrade()?;
        state.touch(ino);
        Some(backing)
    }

    /// Returns the backing of a file that is open or kept, or else the one that `choose` returns.
    /// Its argument says whether there is room for one more backing file.
    pub(super) fn find_or_choose(
        &self,
        ino: Ino,
        retention: Retention,
        choose: impl FnOnce(bool) -> Backing,
    ) -> Arc<Backing> {
        let mut state = lock(&self.state);
        state.remove_closed();
        let choosing = state.files.entry(ino).or_default().choosing.clone();
        drop(state);
        let _choosing = lock(&choosing);
        if let Some(backing) = self.find(ino) {
            return backing;
        }
        let (has_room, evicted) = match retention {
            Retention::Keep => lock(&self.state).make_room(self.max),
            Retention::Drop => (true, None),
        };
        drop(evicted);
        let backing = Arc::new(choose(has_room));
        let mut state = lock(&self.state);
        let entry = state.files.entry(ino).or_default();
        entry.backing = Arc::downgrade(&backing);
        if retention == Retention::Keep && matches!(*backing, Backing::Passthrough(_)) {
            entry.kept = Some(Kept {
                backing: backing.clone(),
                used: 0,
            });
            state.touch(ino);
        }
        backing
    }
}

impl State {
    /// Marks a file as the most recently used one, if it is kept.
    fn touch(&mut self, ino: Ino) {
        let kept = self.files.get_mut(&ino).and_then(|it| it.kept.as_mut());
        if let Some(kept) = kept {
            self.clock += 1;
            self.by_use.remove(&kept.used);
            kept.used = self.clock;
            self.by_use.insert(self.clock, ino);
        }
    }

    /// Makes room for one more file to keep, if need be by evicting the least recently used one
    /// that no client has open. The caller drops that one when nothing is locked.
    fn make_room(&mut self, max: usize) -> (bool, Option<Arc<Backing>>) {
        if self.by_use.len() < max {
            return (true, None);
        }
        let is_unused = |ino: &Ino| {
            let kept = self.files.get(ino).and_then(|it| it.kept.as_ref());
            kept.is_some_and(|kept| Arc::strong_count(&kept.backing) == 1)
        };
        let oldest = self.by_use.iter().find(|(_, ino)| is_unused(ino));
        let Some((&used, &ino)) = oldest else {
            return (false, None);
        };
        self.by_use.remove(&used);
        let entry = self.files.get_mut(&ino);
        let evicted = entry.and_then(|entry| entry.kept.take());
        (true, evicted.map(|kept| kept.backing))
    }

    /// Removes the entries of files that are neither open, kept nor about to be opened, once there
    /// are twice as many entries as after the last time.
    fn remove_closed(&mut self) {
        if self.files.len() > self.limit {
            self.files.retain(|_, entry| {
                entry.backing.strong_count() > 0 || Arc::strong_count(&entry.choosing) > 1
            });
            self.limit = 2 * self.files.len() + 16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(files: &BackingFiles, ino: u64) -> Arc<Backing> {
        files.find_or_choose(Ino(ino), Retention::Drop, |_| Backing::Server)
    }

    #[test]
    fn all_who_have_a_file_open_share_its_backing() {
        let files = BackingFiles::new(16);
        let reopen = || files.find_or_choose(Ino(2), Retention::Keep, |_| unreachable!());
        let first = open(&files, 2);
        let second = reopen();
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        let third = reopen();
        drop((second, third));
        assert!(files.find(Ino(2)).is_none());
    }

    #[test]
    fn entries_of_closed_files_are_removed() {
        let files = BackingFiles::new(16);
        (0..1000).for_each(|ino| drop(open(&files, ino)));
        assert!(lock(&files.state).files.len() < 20);
        assert_eq!(files.len(), 0);
    }
}
