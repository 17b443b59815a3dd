//! What is mounted, from its root down to the members of each archive.
//!
//! A mount is made of units: archives, folders that hold archives, and the list of what the command
//! line names. Each unit numbers its own inodes, and an inode of the mount is both numbers together.
//! The root is unit 0, so that the inodes of a single archive are those of its tree.
//!
//! The archives of a folder, and those inside other archives, are opened when somebody first looks
//! inside, and closed again when descriptors run short and nobody uses them.

mod config;
mod entry;
mod folder;
mod inode;
mod open_archives;
mod root;
mod slot;
pub mod sources;
mod status;
mod subtree;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::archive::Archive;
use crate::archive::watch::Watch;
use crate::inflate::{Inflated, Inflater};
use crate::tree::Ino;
pub use config::Options;
use entry::FOLDER_TTL;
pub use entry::{Entry, STATIC_TTL};
pub use folder::Folder;
use inode::Inode;
use open_archives::OpenArchives;
pub use root::{Named, Root};
pub use status::Open;
use subtree::{Key, Subtree, SubtreeKind, Subtrees};

/// Why nothing can be said of an inode.
#[derive(Debug)]
pub enum VfsError {
    /// There is none of that number, any more.
    Gone,
    /// It is a file, and not a directory.
    NotADirectory,
    /// The archive cannot be opened; the log says why.
    Archive,
    /// The folder cannot be read.
    Folder(io::Error),
}

/// All that is mounted.
#[derive(Debug)]
pub struct Vfs {
    options: Options,
    root: Arc<Subtree>,
    units: Subtrees,
    shelf: OpenArchives,
    /// Whether the kernel may be given files that it reads by itself.
    passes: AtomicBool,
}

impl Vfs {
    /// The catalog of `root`, whose archives are watched by `watch`.
    pub fn new(root: Root, options: Options, inflater: Inflater, watch: Watch) -> Self {
        let units = Subtrees::default();
        let what = match root {
            Root::One(named) => named.into(),
            Root::Several(several) => {
                let add = |(name, named): (OsString, Named)| {
                    Some((name, units.add(Ino::ROOT, named.into())?))
                };
                SubtreeKind::Named(several.into_iter().filter_map(add).collect())
            }
        };
        Self {
            shelf: OpenArchives::new(&options, inflater, watch),
            options,
            passes: AtomicBool::new(false),
            root: Arc::new(Subtree::root(what)),
            units,
        }
    }

    /// What is in directory `parent` under `name`. The kernel holds it from now on, until it is
    /// [forgotten](Self::forget).
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Entry>, VfsError> {
        let inode = Inode::of(parent);
        let unit = self.unit(inode)?;
        match &unit.what {
            SubtreeKind::Named(named) => named
                .get(OsStr::from_bytes(name))
                .map(|child| {
                    child.hold();
                    self.of_held_unit(child)
                })
                .transpose(),
            SubtreeKind::Folder(folder) => {
                let seen = folder.find(OsStr::from_bytes(name), &self.options);
                let seen = seen.map_err(VfsError::Folder)?;
                let key = Key::Name(unit.number, name.into());
                if let Some(known) = self.units.by_key(&key)
                    && !seen.as_ref().is_some_and(|seen| known.what.is(seen))
                {
                    self.shelf.close_with_inner(&known);
                }
                seen.map(|seen| self.in_folder(&unit, key, seen))
                    .transpose()
            }
            SubtreeKind::Archive(_) => {
                let volume = self.volume(&unit)?;
                let found = volume.tree.lookup(inode.local, name);
                found
                    .map(|attr| self.in_archive(&unit, &volume, attr))
                    .transpose()
            }
        }
    }

    /// The attributes of an inode.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn attr(&self, ino: Ino) -> Result<Entry, VfsError> {
        let inode = Inode::of(ino);
        let unit = self.unit(inode)?;
        if inode.local == Ino::ROOT {
            return self.of_unit(&unit);
        }
        let attr = self.volume(&unit)?.tree.attr(inode.local);
        attr.map(|attr| self.of_member(&unit, attr))
            .ok_or(VfsError::Gone)
    }

    /// How long the kernel may rely on there being nothing under a name in a directory.
    pub fn ttl_of_nothing(&self, parent: Ino) -> Duration {
        match self.unit(Inode::of(parent)) {
            Ok(unit) if !matches!(unit.what, SubtreeKind::Folder(_)) => STATIC_TTL,
            _ => FOLDER_TTL,
        }
    }

    /// The directory that a directory is in; the root's is the root.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn parent(&self, ino: Ino) -> Result<Ino, VfsError> {
        let inode = Inode::of(ino);
        let unit = self.unit(inode)?;
        if inode.local == Ino::ROOT {
            return Ok(unit.parent);
        }
        let local = self.volume(&unit)?.tree.parent(inode.local);
        let local = local.ok_or(VfsError::Gone)?;
        Ok(Inode { local, ..inode }.number())
    }

    /// The names in a folder; `None` for what is no folder.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn folder_names(&self, ino: Ino) -> Result<Option<Vec<OsString>>, VfsError> {
        match &self.unit(Inode::of(ino))?.what {
            SubtreeKind::Folder(folder) => folder
                .names(&self.options)
                .map(Some)
                .map_err(VfsError::Folder),
            SubtreeKind::Named(_) | SubtreeKind::Archive(_) => Ok(None),
        }
    }

    /// Gives `take` the entries of a directory that is no folder, from the `skip`th on and without
    /// `.` and `..`, until it takes one no more. The kernel holds what was taken.
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
        let unit = self.unit(inode)?;
        let mut offer = |name: &[u8], found: Entry| {
            let is_taken = take(name, found);
            if !is_taken {
                self.forget(found.attr.ino, 1);
            }
            is_taken
        };
        if let SubtreeKind::Named(named) = &unit.what {
            for (name, child) in named.iter().skip(skip) {
                child.hold();
                if !offer(name.as_bytes(), self.of_held_unit(child)?) {
                    break;
                }
            }
            return Ok(());
        }
        let volume = self.volume(&unit)?;
        let entries = volume.tree.entries(inode.local, skip);
        for entry in entries.ok_or(VfsError::NotADirectory)? {
            if !offer(entry.name, self.in_archive(&unit, &volume, entry.attr)?) {
                break;
            }
        }
        Ok(())
    }

    /// Sees to it that a directory that is no folder can be listed.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn open_directory(&self, ino: Ino) -> Result<(), VfsError> {
        let unit = self.unit(Inode::of(ino))?;
        match &unit.what {
            SubtreeKind::Archive(_) => self.volume(&unit).map(drop),
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => Ok(()),
        }
    }

    /// The archive or folder whose root an inode is, by its path.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn path_of_root(&self, ino: Ino) -> Result<Option<PathBuf>, VfsError> {
        let inode = Inode::of(ino);
        if inode.local != Ino::ROOT {
            return Ok(None);
        }
        let unit = self.unit(inode)?;
        match &unit.what {
            SubtreeKind::Archive(_) => Ok(Some(self.volume(&unit)?.path.clone())),
            SubtreeKind::Folder(folder) => Ok(Some(folder.shown_path())),
            SubtreeKind::Named(_) => Ok(None),
        }
    }

    /// Whether the root is an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self.root.what, SubtreeKind::Archive(_))
    }

    /// Whether every file there will ever be can be read right from the archive, which is open.
    pub fn is_all_stored(&self) -> bool {
        match &self.root.what {
            SubtreeKind::Archive(archive) => {
                !self.options.recursive
                    && archive
                        .if_open()
                        .is_some_and(|volume| volume.is_all_stored())
            }
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => false,
        }
    }

    /// Whether the root is an archive of which members are cloned, if the kernel takes them.
    pub fn has_clones(&self) -> bool {
        match &self.root.what {
            SubtreeKind::Archive(archive) => archive.if_open().is_some_and(|volume| {
                let mut files = volume.tree.files();
                files.any(|member| volume.is_reflinked(member))
            }),
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => false,
        }
    }

    /// How many files there may be of a kind, because each is open.
    pub fn max_open(&self) -> usize {
        self.options.max_open
    }

    /// Whether the kernel may be given files that it reads by itself.
    pub fn passes(&self) -> bool {
        self.passes.load(Ordering::Relaxed)
    }

    /// Says whether it may, before anything is opened.
    pub fn set_passes(&self, passes: bool) {
        self.passes.store(passes, Ordering::Relaxed);
    }

    /// The archive that an inode belongs to, and its number there.
    ///
    /// # Errors
    /// [`VfsError`].
    pub fn archive_of(&self, ino: Ino) -> Result<(Arc<Archive>, Ino), VfsError> {
        let inode = Inode::of(ino);
        let volume = self.volume(&self.unit(inode)?)?;
        Ok((volume, inode.local))
    }

    /// Has `then` called with what the member `ino` of `volume` is inflated to: now, or by another
    /// thread once that is done.
    pub fn inflate(
        &self,
        ino: Ino,
        volume: &Arc<Archive>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let inode = Inode::of(ino);
        let key = (inode.unit, inode.local);
        self.shelf.inflater.request(key, volume.clone(), then);
    }

    /// Whether what is asked of an inode can be told without waiting for a disk.
    pub fn is_at_hand(&self, ino: Ino) -> bool {
        match self.unit(Inode::of(ino)).as_deref() {
            Ok(Subtree {
                what: SubtreeKind::Archive(archive),
                ..
            }) => archive.if_open().is_some(),
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// The kernel has let go of an inode `count` times.
    pub fn forget(&self, ino: Ino, count: u64) {
        let number = Inode::of(ino).unit;
        if number != 0
            && let Some(unit) = self.units.forget(number, count)
        {
            self.shelf.close(&unit);
        }
    }

    fn unit(&self, inode: Inode) -> Result<Arc<Subtree>, VfsError> {
        if inode.unit == 0 {
            return Ok(self.root.clone());
        }
        self.units.by_number(inode.unit).ok_or(VfsError::Gone)
    }

    fn volume(&self, unit: &Arc<Subtree>) -> Result<Arc<Archive>, VfsError> {
        self.shelf.volume(unit)
    }
}
