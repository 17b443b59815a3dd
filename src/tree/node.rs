//! The nodes of a tree, and the table that finds them by name.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use crate::zip::{Name, Names};

/// A file or a directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Name,
    /// Position of its directory in the nodes; the root's is its own.
    pub(super) parent: u32,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum NodeKind {
    /// `member` is an index into `Tree::members`.
    File { member: u32 },
    /// `number` is an index into `Tree::directories`.
    Directory { number: u32 },
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Its entries, as a range of `Tree::children`.
    pub(super) children: Range<u32>,
    pub(super) subdirectories: u32,
}

/// A hash table from (parent, name) to a position in the nodes. The archive chooses the names, so
/// the hash is keyed at random.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    positions: HashTable<u32>,
    hasher: RandomState,
}

impl NameTable {
    /// Returns an empty table with room for so many nodes: growth would rehash all names again.
    pub(super) fn with_capacity(nodes: usize) -> Self {
        Self {
            positions: HashTable::with_capacity(nodes),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn find(
        &self,
        parent: u32,
        name: &[u8],
        nodes: &[Node],
        names: &Names,
    ) -> Option<u32> {
        let is_match = |&at: &u32| {
            let node = &nodes[at as usize];
            node.parent == parent && names.bytes(node.name) == name
        };
        let hash = self.hasher.hash_one((parent, name));
        self.positions.find(hash, is_match).copied()
    }

    /// Adds the node at position `at` and returns true, or returns false where its name is taken.
    pub(super) fn insert(&mut self, at: u32, nodes: &[Node], names: &Names) -> bool {
        let key = |at: u32| {
            let node = &nodes[at as usize];
            (node.parent, names.bytes(node.name))
        };
        let hash = |&at: &u32| self.hasher.hash_one(key(at));
        let is_match = |&other: &u32| key(other) == key(at);
        match self.positions.entry(hash(&at), is_match, hash) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert(at);
                true
            }
        }
    }
}
