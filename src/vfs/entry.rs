//! What the kernel is told of what it finds.

use std::sync::Arc;
use std::time::Duration;

use super::folder::FolderEntry;
use super::inode::Inode;
use super::slot::{ArchiveSlot, Origin};
use super::subtree::{Key, Subtree, SubtreeKind};
use super::{Vfs, VfsError};
use crate::archive::Archive;
use crate::tree::{Attr, Ino, Kind};

/// How long the kernel may keep names and attributes of members. They never change while mounted;
/// the number only has to be finite.
pub const STATIC_TTL: Duration = Duration::from_secs(365 * 86_400);

/// How long it may keep those of a folder, where archives come and go.
pub(super) const FOLDER_TTL: Duration = Duration::from_millis(500);

/// How deep archives are looked for inside archives.
const DEPTH_MAX: u8 = 8;

/// What the kernel is told of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes, with its number in the mount.
    pub attr: Attr,
    /// How long they may be relied on.
    pub ttl: Duration,
}

impl Vfs {
    /// What the kernel is told of a thing in the folder `unit`.
    pub(super) fn in_folder(
        &self,
        unit: &Subtree,
        key: Key,
        seen: FolderEntry,
    ) -> Result<Entry, VfsError> {
        let parent = Inode::root_of(unit).number();
        let make = || {
            let what = match seen.clone() {
                FolderEntry::Folder(folder) => SubtreeKind::Folder(folder),
                FolderEntry::Archive(seen) => {
                    let modified = seen.modified;
                    SubtreeKind::Archive(ArchiveSlot::new(Origin::File(seen), modified))
                }
            };
            (parent, 0, what)
        };
        let is = |what: &SubtreeKind| what.is(&seen);
        let child = self.units.held(key, is, make).ok_or(VfsError::Gone)?;
        self.of_held_unit(&child)
    }

    /// What the kernel is told of a file or directory of an archive: by it, too, a member may be an
    /// archive.
    pub(super) fn in_archive(
        &self,
        unit: &Arc<Subtree>,
        volume: &Archive,
        attr: Attr,
    ) -> Result<Entry, VfsError> {
        let is_archive = self.options.recursive
            && unit.depth < DEPTH_MAX
            && volume.tree.member(attr.ino).is_some_and(|member| {
                member.problem.is_none() && has_archive_name(volume.tree.name_of(member))
            });
        if !is_archive {
            unit.hold();
            return Ok(self.of_member(unit, attr));
        }
        let make = || {
            let local = volume.tree.parent(attr.ino).unwrap_or(Ino::ROOT);
            let inode = Inode {
                unit: unit.number,
                local,
            };
            let origin = Origin::Member {
                outer: unit.clone(),
                ino: attr.ino,
            };
            let what = SubtreeKind::Archive(ArchiveSlot::new(origin, attr.modified));
            (inode.number(), unit.depth + 1, what)
        };
        let key = Key::Member(unit.number, attr.ino);
        let child = self.units.held(key, |_| true, make);
        let child = child.ok_or(VfsError::Gone)?;
        self.of_held_unit(&child)
    }

    pub(super) fn of_held_unit(&self, unit: &Subtree) -> Result<Entry, VfsError> {
        self.of_unit(unit)
            .inspect_err(|_| self.forget(Inode::root_of(unit).number(), 1))
    }

    pub(super) fn of_unit(&self, unit: &Subtree) -> Result<Entry, VfsError> {
        // One link is what tells that nobody has counted.
        let (modified, links) = match &unit.what {
            SubtreeKind::Archive(archive) if self.options.recursive => (archive.modified, 1),
            SubtreeKind::Archive(archive) => (archive.modified, archive.links()),
            SubtreeKind::Folder(folder) => (folder.modified().map_err(VfsError::Folder)?, 1),
            SubtreeKind::Named(_) => (0, 1),
        };
        Ok(Entry {
            attr: Attr {
                ino: Inode::root_of(unit).number(),
                kind: Kind::Directory,
                size: 0,
                modified,
                links,
            },
            ttl: if unit.is_live() {
                FOLDER_TTL
            } else {
                STATIC_TTL
            },
        })
    }

    pub(super) fn of_member(&self, unit: &Subtree, mut attr: Attr) -> Entry {
        let inode = Inode {
            unit: unit.number,
            local: attr.ino,
        };
        attr.ino = inode.number();
        if self.options.recursive {
            // The tree has counted no archives.
            attr.links = 1;
        }
        Entry {
            attr,
            ttl: STATIC_TTL,
        }
    }
}

/// Whether the name of a member says that it is an archive.
fn has_archive_name(name: &[u8]) -> bool {
    [&b".npz"[..], b".zip"].iter().any(|suffix| {
        name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    })
}
