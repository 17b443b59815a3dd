//! Which inodes somebody knows besides the scout.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tree::Ino;

/// A bit for each inode. It is never cleared: what the kernel has let go of may still be on its way
/// to somebody.
#[derive(Debug)]
pub(super) struct KnownInodes(Vec<AtomicU64>);

impl KnownInodes {
    /// Of inodes up to `last`, nobody knows one.
    pub(super) fn new(last: usize) -> Self {
        Self((0..=last / 64).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether somebody knows an inode; what there is none of counts as known.
    pub(super) fn is(&self, ino: Ino) -> bool {
        let word = self.0.get((ino.0 / 64) as usize);
        word.is_none_or(|word| word.load(Ordering::Relaxed) & bit(ino) != 0)
    }

    /// Somebody is about to know it.
    pub(super) fn set(&self, ino: Ino) {
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
    fn each_inode_is_told_by_itself() {
        let told = KnownInodes::new(200);
        for ino in [1, 63, 64, 127, 200] {
            assert!(!told.is(Ino(ino)));
            told.set(Ino(ino));
            assert!(told.is(Ino(ino)));
        }
        let count = (0..=200).filter(|&ino| told.is(Ino(ino))).count();
        assert_eq!(count, 5);
    }

    #[test]
    fn an_inode_that_there_is_not_counts_as_told() {
        let told = KnownInodes::new(10);
        told.set(Ino(1 << 40));
        assert!(told.is(Ino(1 << 40)));
    }
}
