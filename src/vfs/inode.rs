//! Inode numbers of the mount: the subtree's id in the upper half, its own inode number in the
//! lower.

use crate::tree::Ino;

/// An inode of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    /// The id of the subtree.
    pub(super) subtree: u32,
    /// The inode number within the subtree.
    pub(super) local: Ino,
}

impl Inode {
    /// Splits an inode number of the mount.
    pub(super) fn of(ino: Ino) -> Self {
        Self {
            subtree: (ino.0 >> 32) as u32,
            local: Ino(ino.0 & u64::from(u32::MAX)),
        }
    }

    /// Returns the root of the subtree with the id `subtree`.
    pub(super) fn root_of(subtree: u32) -> Self {
        Self {
            subtree,
            local: Ino::ROOT,
        }
    }

    /// Returns the inode number in the mount.
    pub(super) fn ino(self) -> Ino {
        Ino(u64::from(self.subtree) << 32 | self.local.0)
    }
}
