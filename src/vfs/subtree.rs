//! A part of the mount with inode numbers of its own, as a btrfs subvolume has them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::folder::{ArchiveStat, Folder, FolderEntry};
use super::slot::ArchiveSlot;
use crate::archive::Archive;
use crate::tree::{Ino, Times};

/// A subtree: an archive, a folder, or the list of the sources on the command line.
#[derive(Debug)]
pub(super) struct Subtree {
    /// The id, never reused within a mount; 0 is the root's.
    pub(super) id: u32,
    /// The directory above, by its inode number in the mount.
    pub(super) parent: Ino,
    /// The number of archives around this one.
    pub(super) depth: u8,
    pub(super) kind: SubtreeKind,
    /// FUSE's lookup count, summed over the inodes of the subtree.
    lookup_count: AtomicU64,
}

#[derive(Debug)]
pub(super) enum SubtreeKind {
    Archive(MountedArchive),
    Folder(Folder),
    /// Several archives and folders, by the names under which they are shown.
    Sources(BTreeMap<OsString, Arc<Subtree>>),
}

/// An archive of the mount, open or not.
#[derive(Debug)]
pub(super) struct MountedArchive {
    pub(super) origin: Origin,
    pub(super) times: Times,
    pub(super) slot: ArchiveSlot,
}

/// The place that an archive is opened from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The command line: opened before the mount was made, and never closed.
    Pinned,
    /// A folder.
    File(ArchiveStat),
    /// Another archive.
    Member {
        /// The outer archive.
        outer: Arc<Subtree>,
        /// The member's inode number there.
        ino: Ino,
    },
}

impl Subtree {
    /// Returns a subtree with a lookup count of 1.
    pub(super) fn new(id: u32, parent: Ino, depth: u8, kind: SubtreeKind) -> Self {
        Self {
            id,
            parent,
            depth,
            kind,
            lookup_count: AtomicU64::new(1),
        }
    }

    /// Returns the root of a mount.
    pub(super) fn root(kind: SubtreeKind) -> Self {
        Self::new(0, Ino::ROOT, 0, kind)
    }

    /// Returns whether the name of the subtree may soon stand for something else, since it is a
    /// folder or in one.
    pub(super) fn is_replaceable(&self) -> bool {
        match &self.kind {
            SubtreeKind::Archive(archive) => matches!(archive.origin, Origin::File(_)),
            SubtreeKind::Folder(_) => true,
            SubtreeKind::Sources(_) => false,
        }
    }

    /// Returns whether this is the subtree `id`, or an archive inside it.
    pub(super) fn is_within(&self, id: u32) -> bool {
        self.id == id
            || match &self.kind {
                SubtreeKind::Archive(MountedArchive {
                    origin: Origin::Member { outer, .. },
                    ..
                }) => outer.is_within(id),
                _ => false,
            }
    }

    /// Counts one more lookup. The subtree must be known to the kernel or protected by the lock of
    /// [`Subtrees`](super::subtrees): one whose count has fallen to 0 may be removed at any time.
    pub(super) fn add_lookup(&self) {
        self.lookup_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `count` lookups off. Returns whether none are left.
    pub(super) fn remove_lookups(&self, count: u64) -> bool {
        self.lookup_count.fetch_sub(count, Ordering::Relaxed) == count
    }

    pub(super) fn has_lookups(&self) -> bool {
        self.lookup_count.load(Ordering::Relaxed) > 0
    }
}

impl SubtreeKind {
    /// Returns whether this is still what a folder has under its name.
    pub(super) fn matches(&self, found: &FolderEntry) -> bool {
        match (self, found) {
            (Self::Folder(_), FolderEntry::Folder(_)) => true,
            (Self::Archive(archive), FolderEntry::Archive(found)) => {
                matches!(&archive.origin, Origin::File(own) if own.identity == found.identity)
            }
            _ => false,
        }
    }
}

impl MountedArchive {
    pub(super) fn pinned(archive: Arc<Archive>) -> Self {
        let root = archive.tree.attr(Ino::ROOT);
        Self {
            origin: Origin::Pinned,
            times: root.map_or(Times::UNKNOWN, |root| root.times),
            slot: ArchiveSlot::holding(archive),
        }
    }

    pub(super) fn closed(origin: Origin, times: Times) -> Self {
        Self {
            origin,
            times,
            slot: ArchiveSlot::default(),
        }
    }

    /// Returns the link count of the root directory: 1, "subdirectories not counted", unless the
    /// archive is sure to be open.
    pub(super) fn links(&self) -> u32 {
        match self.origin {
            Origin::Pinned => {
                let archive = self.slot.if_open();
                let root = archive.and_then(|archive| archive.tree.attr(Ino::ROOT));
                root.map_or(1, |root| root.links)
            }
            Origin::File(_) | Origin::Member { .. } => 1,
        }
    }
}
