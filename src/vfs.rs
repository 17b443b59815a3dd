//! Everything that is mounted, from the root down to the members of each archive, without FUSE.
//!
//! A mount is made of subtrees: archives, folders that hold archives, and the list of several
//! sources on the command line. Each numbers its own inodes, and an inode of the mount is the
//! subtree's id and the inode there together. The root is subtree 0, so that the inodes of a mount
//! of one archive are those of its tree.
//!
//! Archives in folders and inside other archives are opened on first use, and closed again when
//! descriptors or memory run short and no request uses them. So a folder of ten thousand archives
//! costs nothing until it is read, at the price of indexing an archive anew after it was closed.

mod config;
mod entry;
mod error;
mod folder;
mod inode;
mod open_archives;
mod root;
mod slot;
pub mod sources;
pub mod status;
mod subtree;
mod subtrees;
pub mod summary;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::archive::Archive;
use crate::inflate::{Inflated, Inflater};
use crate::tree::{Attr, Ino};
pub use config::VfsConfig;
use entry::FOLDER_TTL;
pub use entry::{Entry, STATIC_TTL};
pub use error::VfsError;
use folder::FolderEntry;
use inode::Inode;
use open_archives::OpenArchives;
use root::{Root, Source};
use subtree::{MountedArchive, Origin, Subtree, SubtreeKind};
use subtrees::{Key, Subtrees};

/// The maximum depth of archives inside archives.
const DEPTH_MAX: u8 = 8;

/// Everything that is mounted.
#[derive(Debug)]
pub struct Vfs {
    config: VfsConfig,
    root: Arc<Subtree>,
    subtrees: Subtrees,
    archives: OpenArchives,
    passthrough_enabled: AtomicBool,
}

impl Vfs {
    /// Returns the file system below `root`.
    pub fn new(root: Root, config: VfsConfig, inflater: Inflater) -> Self {
        let subtrees = Subtrees::default();
        let kind = match root {
            Root::One(source) => source.into(),
            Root::Several(several) => {
                let add = |(name, source): (OsString, Source)| {
                    Some((name, subtrees.add(Ino::ROOT, source.into())?))
                };
                SubtreeKind::Sources(several.into_iter().filter_map(add).collect())
            }
        };
        Self {
            archives: OpenArchives::new(&config, inflater),
            config,
            root: Arc::new(Subtree::root(kind)),
            subtrees,
            passthrough_enabled: AtomicBool::new(false),
        }
    }

    /// Looks up `name` in the directory `parent`. An entry that is found gets one more lookup,
    /// which
    /// [`forget`](Self::forget) takes off.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Entry>, VfsError> {
        let inode = Inode::of(parent);
        let subtree = self.subtree(inode)?;
        match &subtree.kind {
            SubtreeKind::Sources(sources) => sources
                .get(OsStr::from_bytes(name))
                .map(|child| {
                    child.add_lookup();
                    self.looked_up(child)
                })
                .transpose(),
            SubtreeKind::Folder(folder) => {
                let found = folder.find(OsStr::from_bytes(name), &self.config);
                let found = found.map_err(VfsError::Folder)?;
                let key = Key::Name(subtree.id, name.into());
                if let Some(known) = self.subtrees.find(&key)
                    && !found.as_ref().is_some_and(|it| known.kind.matches(it))
                {
                    self.archives.close_with_inner(&known);
                }
                found
                    .map(|found| self.look_up_in_folder(&subtree, key, found))
                    .transpose()
            }
            SubtreeKind::Archive(_) => {
                let archive = self.archives.get(&subtree)?;
                let attr = archive.tree.lookup(inode.local, name);
                attr.map(|attr| self.look_up_in_archive(&subtree, &archive, attr))
                    .transpose()
            }
        }
    }

    /// Returns the attributes of an inode.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn attr(&self, ino: Ino) -> Result<Entry, VfsError> {
        let inode = Inode::of(ino);
        let subtree = self.subtree(inode)?;
        if inode.local == Ino::ROOT {
            return Entry::of_subtree(&subtree, self.config.recursive);
        }
        let attr = self.archives.get(&subtree)?.tree.attr(inode.local);
        attr.map(|attr| Entry::of_member(&subtree, attr, self.config.recursive))
            .ok_or(VfsError::Gone)
    }

    /// Returns the TTL of a name that does not exist in a directory.
    pub fn negative_ttl(&self, parent: Ino) -> Duration {
        match self.subtree(Inode::of(parent)) {
            Ok(subtree) if !matches!(subtree.kind, SubtreeKind::Folder(_)) => STATIC_TTL,
            _ => FOLDER_TTL,
        }
    }

    /// Returns the directory above a directory; the root's is the root.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn parent(&self, ino: Ino) -> Result<Ino, VfsError> {
        let inode = Inode::of(ino);
        let subtree = self.subtree(inode)?;
        if inode.local == Ino::ROOT {
            return Ok(subtree.parent);
        }
        let local = self.archives.get(&subtree)?.tree.parent(inode.local);
        let local = local.ok_or(VfsError::Gone)?;
        Ok(Inode { local, ..inode }.ino())
    }

    /// Returns the names in a folder; `None` if the inode is no folder.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn folder_names(&self, ino: Ino) -> Result<Option<Vec<OsString>>, VfsError> {
        match &self.subtree(Inode::of(ino))?.kind {
            SubtreeKind::Folder(folder) => folder
                .names(&self.config)
                .map(Some)
                .map_err(VfsError::Folder),
            SubtreeKind::Sources(_) | SubtreeKind::Archive(_) => Ok(None),
        }
    }

    /// Passes the entries of a directory that is no folder to `take`, without `.` and `..` and
    /// after the first `skip` of them, until it returns `false`. Each entry taken gets one more
    /// lookup.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn entries(
        &self,
        ino: Ino,
        skip: usize,
        mut take: impl FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), VfsError> {
        let inode = Inode::of(ino);
        let subtree = self.subtree(inode)?;
        let mut offer = |name: &[u8], entry: Entry| {
            let is_taken = take(name, entry);
            if !is_taken {
                self.forget(entry.attr.ino, 1);
            }
            is_taken
        };
        if let SubtreeKind::Sources(sources) = &subtree.kind {
            for (name, child) in sources.iter().skip(skip) {
                child.add_lookup();
                if !offer(name.as_bytes(), self.looked_up(child)?) {
                    break;
                }
            }
            return Ok(());
        }
        let archive = self.archives.get(&subtree)?;
        let entries = archive.tree.entries(inode.local, skip);
        for entry in entries.ok_or(VfsError::NotADirectory)? {
            let found = self.look_up_in_archive(&subtree, &archive, entry.attr)?;
            if !offer(entry.name, found) {
                break;
            }
        }
        Ok(())
    }

    /// Opens the archive that a directory belongs to, so that it can be listed.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn open_directory(&self, ino: Ino) -> Result<(), VfsError> {
        let subtree = self.subtree(Inode::of(ino))?;
        match &subtree.kind {
            SubtreeKind::Archive(_) => self.archives.get(&subtree).map(drop),
            SubtreeKind::Folder(_) | SubtreeKind::Sources(_) => Ok(()),
        }
    }

    /// Returns the path of the archive or folder whose root directory the inode is.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn source_path(&self, ino: Ino) -> Result<Option<PathBuf>, VfsError> {
        let inode = Inode::of(ino);
        if inode.local != Ino::ROOT {
            return Ok(None);
        }
        let subtree = self.subtree(inode)?;
        match &subtree.kind {
            SubtreeKind::Archive(_) => Ok(Some(self.archives.get(&subtree)?.path.clone())),
            SubtreeKind::Folder(folder) => Ok(Some(folder.shown_path())),
            SubtreeKind::Sources(_) => Ok(None),
        }
    }

    /// Returns the maximum number of archives, and of clones, that may be open.
    pub fn max_open(&self) -> usize {
        self.config.max_open
    }

    /// Returns whether files are passed through to the kernel.
    pub fn passthrough_enabled(&self) -> bool {
        self.passthrough_enabled.load(Ordering::Relaxed)
    }

    /// Enables or disables passthrough, before any file is opened.
    pub fn set_passthrough_enabled(&self, enabled: bool) {
        self.passthrough_enabled.store(enabled, Ordering::Relaxed);
    }

    /// Returns the archive that an inode belongs to, and the inode number there.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn archive_of(&self, ino: Ino) -> Result<(Arc<Archive>, Ino), VfsError> {
        let inode = Inode::of(ino);
        let archive = self.archives.get(&self.subtree(inode)?)?;
        Ok((archive, inode.local))
    }

    /// Inflates the member `ino` of `archive` and passes the contents to `then`: in this thread if
    /// they are cached, otherwise in another one.
    pub fn inflate(
        &self,
        ino: Ino,
        archive: &Arc<Archive>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let inode = Inode::of(ino);
        let key = (inode.subtree, inode.local);
        self.archives.inflater.request(key, archive.clone(), then);
    }

    /// Returns whether requests for an inode are answered without waiting for a disk.
    pub fn is_loaded(&self, ino: Ino) -> bool {
        match self.subtree(Inode::of(ino)).as_deref() {
            Ok(Subtree {
                kind: SubtreeKind::Archive(archive),
                ..
            }) => archive.slot.if_open().is_some(),
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// Takes `count` lookups off an inode, as FUSE_FORGET asks for.
    pub fn forget(&self, ino: Ino, count: u64) {
        let id = Inode::of(ino).subtree;
        if id != 0
            && let Some(subtree) = self.subtrees.forget(id, count)
        {
            self.archives.close(&subtree);
        }
    }

    /// Looks up `found`, which the folder `subtree` has under the name in `key`.
    fn look_up_in_folder(
        &self,
        subtree: &Subtree,
        key: Key,
        found: FolderEntry,
    ) -> Result<Entry, VfsError> {
        let parent = Inode::root_of(subtree.id).ino();
        let make = || {
            let kind = match found.clone() {
                FolderEntry::Folder(folder) => SubtreeKind::Folder(folder),
                FolderEntry::Archive(stat) => {
                    let times = stat.times;
                    SubtreeKind::Archive(MountedArchive::closed(Origin::File(stat), times))
                }
            };
            (parent, 0, kind)
        };
        let is_current = |kind: &SubtreeKind| kind.matches(&found);
        let child = self.subtrees.look_up(key, is_current, make);
        self.looked_up(&*child.ok_or(VfsError::Gone)?)
    }

    /// Looks up the inode of `archive`, the one of `subtree`, that has the attributes `attr`. In a
    /// recursive mount it may be an archive itself.
    fn look_up_in_archive(
        &self,
        subtree: &Arc<Subtree>,
        archive: &Archive,
        attr: Attr,
    ) -> Result<Entry, VfsError> {
        let is_archive = self.config.recursive
            && subtree.depth < DEPTH_MAX
            && archive.tree.member(attr.ino).is_some_and(|member| {
                member.problem.is_none() && has_archive_name(archive.tree.name_of(member))
            });
        if !is_archive {
            subtree.add_lookup();
            return Ok(Entry::of_member(subtree, attr, self.config.recursive));
        }
        let make = || {
            let parent = Inode {
                subtree: subtree.id,
                local: archive.tree.parent(attr.ino).unwrap_or(Ino::ROOT),
            };
            let origin = Origin::Member {
                outer: subtree.clone(),
                ino: attr.ino,
            };
            let kind = SubtreeKind::Archive(MountedArchive::closed(origin, attr.times));
            (parent.ino(), subtree.depth + 1, kind)
        };
        let key = Key::Member(subtree.id, attr.ino);
        let child = self.subtrees.look_up(key, |_| true, make);
        self.looked_up(&*child.ok_or(VfsError::Gone)?)
    }

    /// Returns the entry of a subtree that has just been given one more lookup, which it loses
    /// again if this fails.
    fn looked_up(&self, subtree: &Subtree) -> Result<Entry, VfsError> {
        Entry::of_subtree(subtree, self.config.recursive)
            .inspect_err(|_| self.forget(Inode::root_of(subtree.id).ino(), 1))
    }

    fn subtree(&self, inode: Inode) -> Result<Arc<Subtree>, VfsError> {
        if inode.subtree == 0 {
            return Ok(self.root.clone());
        }
        self.subtrees.get(inode.subtree).ok_or(VfsError::Gone)
    }
}

/// Returns whether the name of a member has the extension of an archive.
fn has_archive_name(name: &[u8]) -> bool {
    [&b".npz"[..], b".zip"].iter().any(|suffix| {
        name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    })
}
