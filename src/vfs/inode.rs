//! The inodes of a mount, each that of a unit and one within it.

use super::subtree::Subtree;
use crate::tree::Ino;

/// An inode of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) unit: u32,
    /// Within the unit.
    pub(super) local: Ino,
}

impl Inode {
    pub(super) fn of(number: Ino) -> Self {
        Self {
            unit: (number.0 >> 32) as u32,
            local: Ino(number.0 & u64::from(u32::MAX)),
        }
    }

    pub(super) fn root_of(unit: &Subtree) -> Self {
        Self {
            unit: unit.number,
            local: Ino::ROOT,
        }
    }

    pub(super) fn number(self) -> Ino {
        Ino(u64::from(self.unit) << 32 | self.local.0)
    }
}
