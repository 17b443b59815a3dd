//! The orders in which clients read the files of a directory: that of the archive, or by name.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::tree::{DirEntry, Ino, Tree};

/// The number of lookups in a row with ascending names after which a directory is sorted.
const ASCENDING_MIN: u32 = 8;

/// The maximum number of entries of a directory that is sorted. Each takes 8 bytes.
const SORTED_MAX: usize = 1 << 18;

/// The key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderBy {
    Archive,
    Name,
}

/// A directory, read in one of the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadOrder {
    pub(super) directory: Ino,
    pub(super) by: OrderBy,
}

/// A directory sorted by name: the first one that a client reads in this order.
#[derive(Debug, Default)]
pub(super) struct NameOrder {
    sorted: OnceLock<ByName>,
    /// The file looked up last, and the number of lookups in a row with ascending names.
    last: AtomicU64,
    ascending: AtomicU32,
}

#[derive(Debug)]
struct ByName {
    directory: Ino,
    /// The positions in the directory, sorted by name, and the rank of each position.
    order: Vec<u32>,
    ranks: Vec<u32>,
}

impl NameOrder {
    /// Notes that a file was looked up. Returns whether its directory should be sorted now.
    pub(super) fn looked_up(&self, tree: &Tree, directory: Ino, position: usize, ino: Ino) -> bool {
        if self.sorted.get().is_some() {
            return false;
        }
        let last = Ino(self.last.swap(ino.0, Ordering::Relaxed));
        let follows = tree
            .position_in_directory(last)
            .filter(|_| tree.parent(last) == Some(directory));
        let name = |position| {
            tree.entries(directory, position)?
                .next()
                .map(|entry| entry.name)
        };
        if follows.is_some_and(|last| last + 1 != position && name(last) < name(position)) {
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
        let order: Vec<u32> = names.into_iter().map(|(_, position)| position).collect();
        let mut ranks = vec![0; order.len()];
        for (rank, &position) in (0..).zip(&order) {
            ranks[position as usize] = rank;
        }
        // Another thread may have been faster with another directory.
        let _ = self.sorted.set(ByName {
            directory,
            order,
            ranks,
        });
    }

    /// Returns the rank by name of the entry at a position of a directory.
    pub(super) fn rank(&self, directory: Ino, position: usize) -> Option<usize> {
        let sorted = self.of(directory)?;
        sorted.ranks.get(position).map(|&rank| rank as usize)
    }

    /// Returns up to `count` entries of a directory in the given order, from `start` on.
    pub(super) fn entries<'a>(
        &self,
        tree: &'a Tree,
        read_order: ReadOrder,
        start: usize,
        count: usize,
    ) -> Vec<DirEntry<'a>> {
        let from = |position| {
            tree.entries(read_order.directory, position)
                .into_iter()
                .flatten()
        };
        match read_order.by {
            OrderBy::Archive => from(start).take(count).collect(),
            OrderBy::Name => {
                let order = self.of(read_order.directory).map(|sorted| &*sorted.order);
                let positions = order.unwrap_or_default().iter().skip(start).take(count);
                positions
                    .filter_map(|&position| from(position as usize).next())
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
