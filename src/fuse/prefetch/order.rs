//! The orders in which the files of a directory are read: as they are in the archive, or by name.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::tree::{DirEntry, Ino, Tree};

/// How many files in a row must have greater and greater names before a directory is sorted.
const ASCENDING_MIN: u32 = 8;

/// The largest directory that is sorted: it takes 8 bytes an entry.
const SORTED_MAX: usize = 1 << 18;

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderBy {
    Archive,
    Name,
}

/// A directory in one of the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadOrder {
    pub(super) directory: Ino,
    pub(super) by: OrderBy,
}

/// The directory that is sorted by name: the first one that somebody reads so.
#[derive(Debug, Default)]
pub(super) struct NameOrder {
    sorted: OnceLock<ByName>,
    /// The file that was looked up last, and how many had greater and greater names.
    last: AtomicU64,
    ascending: AtomicU32,
}

#[derive(Debug)]
struct ByName {
    directory: Ino,
    /// The places in the directory, sorted by name, and for each of those where it is among them.
    order: Vec<u32>,
    ranks: Vec<u32>,
}

impl NameOrder {
    /// Notes that a file was looked up. Returns whether its directory should be sorted.
    pub(super) fn looked_up(&self, tree: &Tree, directory: Ino, place: usize, ino: Ino) -> bool {
        if self.sorted.get().is_some() {
            return false;
        }
        let last = Ino(self.last.swap(ino.0, Ordering::Relaxed));
        let follows = tree
            .position_in_directory(last)
            .filter(|_| tree.parent(last) == Some(directory));
        let name = |place| {
            tree.entries(directory, place)?
                .next()
                .map(|entry| entry.name)
        };
        if follows.is_some_and(|last| last + 1 != place && name(last) < name(place)) {
            self.ascending.fetch_add(1, Ordering::Relaxed) + 1 == ASCENDING_MIN
        } else {
            self.ascending.store(0, Ordering::Relaxed);
            false
        }
    }

    /// Sorts a directory.
    pub(super) fn sort(&self, tree: &Tree, directory: Ino) {
        let Some(entries) = tree.entries(directory, 0) else {
            return;
        };
        let mut names: Vec<_> = entries.map(|entry| entry.name).zip(0..).collect();
        if names.len() > SORTED_MAX {
            return;
        }
        names.sort_unstable();
        let order: Vec<u32> = names.into_iter().map(|(_, place)| place).collect();
        let mut ranks = vec![0; order.len()];
        for (rank, &place) in (0..).zip(&order) {
            ranks[place as usize] = rank;
        }
        // Whoever was first has it.
        let _ = self.sorted.set(ByName {
            directory,
            order,
            ranks,
        });
    }

    /// Where the entry at `place` of a directory is in the order by name.
    pub(super) fn rank(&self, directory: Ino, place: usize) -> Option<usize> {
        let sorted = self.of(directory)?;
        sorted.ranks.get(place).map(|&rank| rank as usize)
    }

    /// The entries of a series from `start` on, at most `count`.
    pub(super) fn entries<'a>(
        &self,
        tree: &'a Tree,
        series: ReadOrder,
        start: usize,
        count: usize,
    ) -> Vec<DirEntry<'a>> {
        let from = |place| tree.entries(series.directory, place).into_iter().flatten();
        match series.by {
            OrderBy::Archive => from(start).take(count).collect(),
            OrderBy::Name => {
                let order = self.of(series.directory).map(|sorted| &*sorted.order);
                let places = order.unwrap_or_default().iter().skip(start).take(count);
                places
                    .filter_map(|&place| from(place as usize).next())
                    .collect()
            }
        }
    }

    fn of(&self, directory: Ino) -> Option<&ByName> {
        self.sorted
            .get()
            .filter(|sorted| sorted.directory == directory)
    }
}
