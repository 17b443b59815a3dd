//! How the kernel reads files: by asking for their bytes, or by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use fuser::BackingId;

use crate::sys::sync::lock;
use crate::tree::Ino;

/// How the kernel reads a file. While a file is open it does so in one way, whoever else opens it.
#[derive(Debug)]
pub(super) enum Backing {
    /// From a file of its own, without asking.
    Passthrough(BackingId),
    /// By asking, and then from its cache.
    Server,
}

/// What becomes of what was passed when nobody has it open any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// It stays for the next one who opens it, as long as there is room.
    Keep,
    /// It goes.
    Drop,
}

/// How files are read between which there is a choice, by inode of the mount.
#[derive(Debug)]
pub(super) struct BackingFiles {
    /// How many may stay.
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<Ino, Entry>,
    /// Those that stay, least recently used first.
    by_use: BTreeMap<u64, Ino>,
    clock: u64,
    /// How many files there may be before those are looked for that nobody has open any more.
    limit: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// Is locked by who chooses: nobody else may do so meanwhile.
    turn: Arc<Mutex<()>>,
    access: Weak<Backing>,
    /// The same, if it stays, and when it was last used: its key in `State::by_use`.
    stays: Option<(Arc<Backing>, u64)>,
}

impl BackingFiles {
    /// No files yet, of which `max` may stay.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    /// How many stay.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).by_use.len()
    }

    /// How a file is read already.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<Backing>> {
        let mut state = lock(&self.state);
        let access = state.files.get(&ino)?.access.upgrade()?;
        state.touch(ino);
        Some(access)
    }

    /// How a file is read: as it is already, or else as `choose` says, which is told whether there
    /// is room for one more.
    pub(super) fn find_or_choose(
        &self,
        ino: Ino,
        unused: Retention,
        choose: impl FnOnce(bool) -> Backing,
    ) -> Arc<Backing> {
        let mut state = lock(&self.state);
        state.clean();
        let turn = state.files.entry(ino).or_default().turn.clone();
        drop(state);
        let _turn = lock(&turn);
        if let Some(access) = self.find(ino) {
            return access;
        }
        let (has_room, dropped) = match unused {
            Retention::Keep => lock(&self.state).make_room(self.max),
            Retention::Drop => (true, None),
        };
        drop(dropped);
        let access = Arc::new(choose(has_room));
        let mut state = lock(&self.state);
        let entry = state.files.entry(ino).or_default();
        entry.access = Arc::downgrade(&access);
        if unused == Retention::Keep && matches!(*access, Backing::Passthrough(_)) {
            entry.stays = Some((access.clone(), 0));
            state.touch(ino);
        }
        access
    }
}

impl State {
    /// Marks what stays as used just now.
    fn touch(&mut self, ino: Ino) {
        let stays = self.files.get_mut(&ino).and_then(|it| it.stays.as_mut());
        if let Some((_, used)) = stays {
            self.clock += 1;
            self.by_use.remove(used);
            *used = self.clock;
            self.by_use.insert(self.clock, ino);
        }
    }

    /// Makes room for one more that stays, if need be by letting go of the one that was not used for
    /// longest; that is to be dropped when nothing is locked.
    fn make_room(&mut self, max: usize) -> (bool, Option<Arc<Backing>>) {
        if self.by_use.len() < max {
            return (true, None);
        }
        let is_idle = |ino: &Ino| {
            let stays = self.files.get(ino).and_then(|it| it.stays.as_ref());
            stays.is_some_and(|(access, _)| Arc::strong_count(access) == 1)
        };
        let oldest = self.by_use.iter().find(|(_, ino)| is_idle(ino));
        let Some((&used, &ino)) = oldest else {
            return (false, None);
        };
        self.by_use.remove(&used);
        let entry = self.files.get_mut(&ino);
        let stayed = entry.and_then(|entry| entry.stays.take());
        (true, stayed.map(|(access, _)| access))
    }

    /// Removes what is left of files that nobody has open, now and then; not where somebody has a
    /// turn.
    fn clean(&mut self) {
        if self.files.len() > self.limit {
            self.files.retain(|_, entry| {
                entry.access.strong_count() > 0 || Arc::strong_count(&entry.turn) > 1
            });
            self.limit = 2 * self.files.len() + 16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accesses: &BackingFiles, ino: u64) -> Arc<Backing> {
        accesses.find_or_choose(Ino(ino), Retention::Drop, |_| Backing::Server)
    }

    #[test]
    fn all_who_have_a_file_open_read_it_in_the_same_way() {
        let accesses = BackingFiles::new(16);
        let again = || accesses.find_or_choose(Ino(2), Retention::Keep, |_| unreachable!());
        let first = choose(&accesses, 2);
        let second = again();
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        let third = again();
        drop((second, third));
        assert!(accesses.find(Ino(2)).is_none());
    }

    #[test]
    fn files_that_nobody_has_open_are_forgotten() {
        let accesses = BackingFiles::new(16);
        (0..1000).for_each(|ino| drop(choose(&accesses, ino)));
        assert!(lock(&accesses.state).files.len() < 20);
        assert_eq!(accesses.len(), 0);
    }
}
