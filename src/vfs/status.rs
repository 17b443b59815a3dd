//! What holds for the mount as a whole: the kinds of members that it has, the archives that are
//! open, and figures about them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Vfs;
use super::subtree::{Subtree, SubtreeKind};
use crate::archive::Archive;
use crate::archive::lane::Lanes;

impl Vfs {
    /// Returns whether the root is an archive.
    pub fn is_single_archive(&self) -> bool {
        matches!(self.root.kind, SubtreeKind::Archive(_))
    }

    /// Returns whether each file of the mount, now and later, is a stored member of an archive that
    /// stays open.
    pub fn is_all_stored(&self) -> bool {
        !self.config.recursive
            && self
                .root_archive()
                .is_some_and(|archive| archive.is_all_stored())
    }

    /// Returns whether there are compressed members that are inflated when they are opened, or may
    /// be later, in a folder or an archive inside another one.
    pub fn may_inflate(&self) -> bool {
        let is_stored = |subtree: &Subtree| match &subtree.kind {
            SubtreeKind::Archive(archive) => archive
                .slot
                .if_open()
                .is_some_and(|archive| archive.is_all_stored()),
            SubtreeKind::Folder(_) | SubtreeKind::Sources(_) => false,
        };
        let is_all_stored = match &self.root.kind {
            SubtreeKind::Sources(sources) => sources.values().all(|source| is_stored(source)),
            _ => is_stored(&self.root),
        };
        self.config.inflate_enabled && (self.config.recursive || !is_all_stored)
    }

    /// Returns whether the root is an archive with members that are cloned if the kernel takes
    /// them.
    pub fn has_clones(&self) -> bool {
        self.root_archive().is_some_and(|archive| {
            let mut files = archive.tree.files();
            files.any(|member| archive.is_reflinked(member))
        })
    }

    /// Returns the archives that are open.
    fn open_archives(&self) -> Vec<Arc<Archive>> {
        let subtrees = self.subtrees.all();
        let subtrees = subtrees.iter().chain([&self.root]);
        let open = subtrees.filter_map(|subtree| match &subtree.kind {
            SubtreeKind::Archive(archive) => archive.slot.if_open(),
            SubtreeKind::Folder(_) | SubtreeKind::Sources(_) => None,
        });
        open.collect()
    }

    /// Returns the length of all files that are open as archives, in bytes, and the number of
    /// inodes. Archives inside others are parts of the outer file.
    pub fn len_and_inodes(&self) -> (u64, u64) {
        self.open_archives()
            .iter()
            .fold((0, 0), |(len, inodes), archive| {
                let file_len = if archive.is_nested() {
                    0
                } else {
                    archive.data().len()
                };
                (len + file_len, inodes + archive.tree.inode_count() as u64)
            })
    }

    /// Returns the state of the mount as a JSON object.
    pub fn status(&self) -> Map<String, Value> {
        let open = self.open_archives();
        let is_stale = open.iter().any(|archive| archive.is_stale());
        let inflated = self.archives.inflater.usage();
        let mut lanes = Lanes::default();
        for archive in &open {
            lanes.add(&archive.lanes(self.passthrough_enabled()));
        }
        let mut status = Map::new();
        status.insert("members".to_owned(), lanes.members().into());
        status.insert("lanes".to_owned(), lanes.to_json().into());
        status.insert("stale".to_owned(), is_stale.into());
        status.insert("open_archives".to_owned(), open.len().into());
        status.insert("inflated".to_owned(), inflated.count.into());
        status.insert("inflated_bytes".to_owned(), inflated.memory.into());
        status.insert("inflations".to_owned(), inflated.inflations.into());
        status
    }

    fn root_archive(&self) -> Option<Arc<Archive>> {
        match &self.root.kind {
            SubtreeKind::Archive(archive) => archive.slot.if_open(),
            SubtreeKind::Folder(_) | SubtreeKind::Sources(_) => None,
        }
    }
}
