//! The archives that are open, and what can be told of them all.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Vfs;
use super::inode::Inode;
use super::subtree::SubtreeKind;
use crate::archive::Archive;
use crate::archive::lane::Lanes;
use crate::tree::Ino;

/// An archive that is open.
#[derive(Debug)]
pub struct Open {
    /// The archive.
    pub volume: Arc<Archive>,
    /// The number of its root in the mount.
    pub root: Ino,
    /// Whether its file is in a folder, so that what comes in its place will be seen.
    pub is_followed: bool,
}

impl Vfs {
    /// The archives that are open.
    pub fn open_archives(&self) -> Vec<Open> {
        let units = self.units.all();
        let units = units.iter().chain([&self.root]);
        let open = units.filter_map(|unit| match &unit.what {
            SubtreeKind::Archive(archive) => Some(Open {
                volume: archive.if_open()?,
                root: Inode::root_of(unit).number(),
                is_followed: unit.is_followed(),
            }),
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => None,
        });
        open.collect()
    }

    /// The length of all files that are open as archives, in bytes, and the number of their inodes.
    pub fn size(&self) -> (u64, u64) {
        self.open_archives()
            .iter()
            .fold((0, 0), |(len, inodes), open| {
                let volume = &open.volume;
                let of_file = if volume.is_nested() {
                    0
                } else {
                    volume.data().len()
                };
                (len + of_file, inodes + volume.tree.len() as u64)
            })
    }

    /// What can be told of the state of the mount, by name.
    pub fn state(&self) -> Map<String, Value> {
        let open = self.open_archives();
        let is_stale = open.iter().any(|open| open.volume.is_stale());
        let inflated = self.shelf.inflater.usage();
        let mut lanes = Lanes::default();
        for open in &open {
            lanes.add(&open.volume.lanes(self.passes()));
        }
        let mut state = Map::new();
        state.insert("members".to_owned(), lanes.members().into());
        state.insert("lanes".to_owned(), lanes.to_json().into());
        state.insert("stale".to_owned(), is_stale.into());
        state.insert("open_archives".to_owned(), open.len().into());
        state.insert("inflated".to_owned(), inflated.count.into());
        state.insert("inflated_bytes".to_owned(), inflated.memory.into());
        state.insert("inflations".to_owned(), inflated.inflations.into());
        state
    }
}
