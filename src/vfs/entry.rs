//! The answer to a lookup: attributes, and for how long the kernel may cache them.

use std::time::Duration;

use super::error::VfsError;
use super::inode::Inode;
use super::subtree::{Subtree, SubtreeKind};
use crate::tree::{Attr, Kind, Times};

/// The TTL of names and attributes of members, which never change while mounted. It only has to be
/// finite.
pub const STATIC_TTL: Duration = Duration::from_secs(365 * 86_400);

/// The TTL of names and attributes in a folder, where archives come and go.
pub(super) const FOLDER_TTL: Duration = Duration::from_millis(500);

/// The link count of directories whose subdirectories are not counted, as find(1) and fts(3)
/// understand it.
const LINKS_NOT_COUNTED: u32 = 1;

/// The attributes of an inode and their time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The attributes, with the inode number of the mount.
    pub attr: Attr,
    /// How long the kernel may cache name and attributes.
    pub ttl: Duration,
}

impl Entry {
    /// Returns the entry of a subtree's root directory. In a `recursive` mount no archive has
    /// counted its subdirectories, since members may be directories, too.
    pub(super) fn of_subtree(subtree: &Subtree, recursive: bool) -> Result<Self, VfsError> {
        let (times, links) = match &subtree.kind {
            SubtreeKind::Archive(archive) if recursive => (archive.times, LINKS_NOT_COUNTED),
            SubtreeKind::Archive(archive) => (archive.times, archive.links()),
            SubtreeKind::Folder(folder) => {
                let times = folder.times().map_err(VfsError::Folder)?;
                (times, LINKS_NOT_COUNTED)
            }
            SubtreeKind::Sources(_) => (Times::UNKNOWN, LINKS_NOT_COUNTED),
        };
        Ok(Self {
            attr: Attr {
                ino: Inode::root_of(subtree.id).ino(),
                kind: Kind::Directory,
                size: 0,
                times,
                links,
            },
            ttl: if subtree.is_replaceable() {
                FOLDER_TTL
            } else {
                STATIC_TTL
            },
        })
    }

    /// Returns the entry of a file or directory in the archive `subtree`, whose tree gives it
    /// `attr`.
    pub(super) fn of_member(subtree: &Subtree, mut attr: Attr, recursive: bool) -> Self {
        let inode = Inode {
            subtree: subtree.id,
            local: attr.ino,
        };
        attr.ino = inode.ino();
        if recursive {
            attr.links = LINKS_NOT_COUNTED;
        }
        Self {
            attr,
            ttl: STATIC_TTL,
        }
    }
}
