//! The inodes that clients know.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tree::Ino;

/// A set of inodes, as a bitmap. None is ever removed: the kernel may still use an inode that it
/// has just forgotten.
#[derive(Debug)]
pub(super) struct KnownInodes(Vec<AtomicU64>);

impl KnownInodes {
    /// Returns an empty set of inodes up to `last`.
    pub(super) fn new(last: usize) -> Self {
        Self((0..=last / 64).map(|_| AtomicU64::new(0)).collect())
    }

    /// Returns whether a client may know an inode; one beyond the last counts as known.
    pub(super) fn contains(&self, ino: Ino) -> bool {
        let word = self.0.get((ino.0 / 64) as usize);
        word.is_none_or(|word| word.load(Ordering::Relaxed) & bit(ino) != 0)
    }

    pub(super) fn add(&self, ino: Ino) {
        if let Some(word) = self.0.get((ino.0 / 64) as usize) {
            word.fetch_or(bit(ino), Ordering::Relaxed);
        }
    }
}

fn bit(ino: Ino) -> u64 {
    1 << (ino.0 % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_inode_is_added_by_itself() {
        let known = KnownInodes::new(200);
        for ino in [1, 63, 64, 127, 200] {
            assert!(!known.contains(Ino(ino)));
            known.add(Ino(ino));
            assert!(known.contains(Ino(ino)));
        }
        let count = (0..=200).filter(|&ino| known.contains(Ino(ino))).count();
        assert_eq!(count, 5);
    }

    #[test]
    fn an_inode_beyond_the_last_counts_as_known() {
        let known = KnownInodes::new(10);
        known.add(Ino(1 << 40));
        assert!(known.contains(Ino(1 << 40)));
    }
}
