//! An archive that is open for a mount: its tree, and the bytes of its members.

pub mod file;
pub mod lane;
pub mod reflink;
pub mod served_file;
pub mod watch;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use log::warn;

use crate::commands::error::Error;
use crate::tree::{Ino, Tree};
use crate::ui::human::Escaped;
use crate::zip::decoder::Decoder;
use crate::zip::member::{Member, MemberError, Method};
use crate::zip::{self, ArchiveError};
use file::IndexedFile;
use lane::{Lane, Lanes};
use reflink::Reflinker;
use served_file::{FileSlice, ReadError, ServedFile};
use watch::Watch;

/// The most members of an archive of which the log tells why they cannot be read.
const REASONS_MAX: usize = 1000;

/// An archive that is open for a mount.
#[derive(Debug)]
pub struct Archive {
    /// What messages call it: its path, which for an archive inside another one goes on with the
    /// name that it has there.
    pub path: PathBuf,
    /// Its members as files and directories.
    pub tree: Tree,
    /// How the members are served, as long as none is cloned.
    lanes: Lanes,
    archive: FileSlice,
    /// The archive that this one is in.
    outer: Option<Arc<Archive>>,
    /// Clones members, if that is wanted, and those of the archives inside.
    cloner: Option<Arc<Reflinker>>,
    /// By inode: whether the log has the reason why a member cannot be read.
    told: Vec<AtomicBool>,
    /// Of how many members it was to be told.
    reasons: AtomicUsize,
}

/// How the contents of a member are to be had.
#[derive(Debug)]
pub enum Contents<'a> {
    /// They are in the archive as they are.
    Stored(FileSlice),
    /// They have to be inflated first.
    Compressed(&'a Member),
}

impl Archive {
    /// Opens and indexes the archive at `at`, and has it watched, if need be. Messages call it
    /// `given`; if both are the same, it is told of by its absolute path. If it `inflates` not,
    /// compressed members cannot be read.
    ///
    /// # Errors
    /// Those of [`IndexedFile::open`], and [`Error::System`].
    pub fn open(
        at: &Path,
        given: &Path,
        inflates: bool,
        watch: Option<&Watch>,
    ) -> Result<Self, Error> {
        let mut archive = if at == given {
            IndexedFile::open(at)?
        } else {
            IndexedFile::open_as(at, given)?
        };
        if !inflates {
            archive.index.refuse_compressed();
        }
        let modified = archive.modified();
        let tree = Tree::new(archive.index, modified).map_err(|_| Error::Archive {
            archive: given.to_owned(),
            defect: ArchiveError::TooLarge,
        })?;
        let bytes = ServedFile::of_file(archive.file, &archive.metadata, watch.map(Watch::changed));
        let bytes = Arc::new(bytes.map_err(|error| Error::System {
            what: "map the archive into memory",
            error,
        })?);
        if let Some(watch) = watch {
            watch.add(&bytes);
        }
        Ok(Self::new(archive.path, FileSlice::whole(bytes), tree, None))
    }

    /// The archive whose bytes are `archive`, a member of `outer` that was last modified at
    /// `modified`, in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// Any [`ArchiveError`].
    pub fn inside(
        outer: &Arc<Self>,
        path: PathBuf,
        archive: FileSlice,
        modified: i64,
        inflates: bool,
    ) -> Result<Self, ArchiveError> {
        let mut index = zip::index(&archive, archive.len(), modified)?;
        if !inflates {
            index.refuse_compressed();
        }
        let tree = Tree::new(index, modified).map_err(|_| ArchiveError::TooLarge)?;
        let mut volume = Self::new(path, archive, tree, Some(outer.clone()));
        if let Some(cloner) = &outer.cloner {
            // What speaks against it is in the log.
            let _ = volume.clone_members(cloner.clone());
        }
        Ok(volume)
    }

    fn new(path: PathBuf, archive: FileSlice, tree: Tree, outer: Option<Arc<Self>>) -> Self {
        let mut lanes = Lanes::default();
        for member in tree.files() {
            lanes.count(Lane::of(member));
        }
        // Room only where something may have to be told: next to no archive has such members.
        let told = if lanes.is_all_mapped() { 0 } else { tree.len() };
        Self {
            path,
            tree,
            lanes,
            archive,
            outer,
            cloner: None,
            told: std::iter::repeat_with(AtomicBool::default)
                .take(told)
                .collect(),
            reasons: AtomicUsize::new(0),
        }
    }

    /// Has members cloned from now on, as far as that is possible. Returns whether there is any that
    /// is fit for it.
    ///
    /// # Errors
    /// Those of [`Reflinker::make`].
    pub fn clone_members(&mut self, cloner: Arc<Reflinker>) -> io::Result<bool> {
        let stored = self.tree.files().filter_map(|member| self.stored(member));
        let tried = cloner.try_out(stored);
        if let Err(error) = &tried {
            reflink::tell(&self.path, None, error);
        } else {
            self.cloner = Some(cloner);
        }
        tried
    }

    /// What may clone a member. This never changes.
    pub fn cloner_of(&self, contents: &FileSlice) -> Option<&Reflinker> {
        let cloner = self.cloner.as_deref();
        cloner.filter(|cloner| cloner.suits(contents))
    }

    /// Whether a member is cloned.
    pub fn clones(&self, member: &Member) -> bool {
        let contents = self.stored(member);
        contents.is_some_and(|contents| {
            let cloner = self.cloner.as_deref();
            cloner.is_some_and(|cloner| cloner.clones(&contents))
        })
    }

    /// How a member is served as a file; `None` where it cannot be read.
    pub fn lane(&self, member: &Member) -> Option<Lane> {
        Lane::of(member).map(|lane| match lane {
            Lane::Mapped if self.clones(member) => Lane::Cloned,
            lane => lane,
        })
    }

    /// How many members are served in which way, if clones are `passed` to the kernel.
    pub fn lanes(&self, passed: bool) -> Lanes {
        if !passed || self.cloner.is_none() {
            return self.lanes;
        }
        let mut lanes = Lanes::default();
        for member in self.tree.files() {
            lanes.count(self.lane(member));
        }
        lanes
    }

    fn stored(&self, member: &Member) -> Option<FileSlice> {
        match self.contents(member) {
            Ok(Contents::Stored(contents)) => Some(contents),
            _ => None,
        }
    }

    /// What messages call the archive that is the member `name` of this one.
    pub fn inside_path(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Looks whether the archive is still what it was. What is inside another one is a part of it, or
    /// was made of it: only the outermost one can change.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn check(&self) -> Result<(), ReadError> {
        self.outermost().archive.bytes().check()
    }

    /// Whether that can be told without waiting for another machine or process.
    pub fn is_near(&self) -> bool {
        self.outermost().archive.bytes().is_near()
    }

    /// Whether the archive was found changed.
    pub fn is_stale(&self) -> bool {
        self.outermost().archive.bytes().is_stale()
    }

    /// Whether it is in another archive.
    pub fn is_inside(&self) -> bool {
        self.outer.is_some()
    }

    /// The archive that this one is in, at last: the one that is a file.
    pub fn outermost(&self) -> &Self {
        self.outer.as_ref().map_or(self, |outer| outer.outermost())
    }

    /// The archive's bytes.
    pub fn archive(&self) -> &FileSlice {
        &self.archive
    }

    /// How the contents of a member are to be had.
    ///
    /// # Errors
    /// The [`MemberError`] of a member that cannot be read.
    pub fn contents<'a>(&self, member: &'a Member) -> Result<Contents<'a>, &'a MemberError> {
        match &member.problem {
            Some(problem) => Err(problem),
            None if is_stored(member) => {
                let part = self.archive.part(member.extent.start, member.size);
                Ok(Contents::Stored(part))
            }
            None => Ok(Contents::Compressed(member)),
        }
    }

    /// Whether each member can be read right from the archive.
    pub fn is_all_stored(&self) -> bool {
        self.lanes.is_all_mapped()
    }

    /// The contents of a member, decompressed as they are read. What is read is only known to be
    /// right once the end was read, and the archive was not [found changed](ServedFile::check).
    ///
    /// # Errors
    /// Those of [`Decoder::new`].
    pub fn decoder(&self, member: &Member) -> io::Result<Decoder<'_>> {
        Decoder::new(&self.archive, member)
    }

    /// The first `len` bytes of a member, or all if there are fewer, and none of a member that cannot
    /// be read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn start_of(&self, member: &Member, len: u64) -> Result<Vec<u8>, ReadError> {
        match self.contents(member) {
            Ok(Contents::Stored(contents)) => contents.part(0, len).read(),
            Ok(Contents::Compressed(member)) => {
                let mut start = Vec::new();
                // One byte more, so that a short member is read to its end, and so checked.
                let read = self.decoder(member).and_then(|decoder| {
                    decoder.take(len.saturating_add(1)).read_to_end(&mut start)
                });
                start.truncate(len as usize);
                self.check()?;
                read.map_err(ReadError::Io)?;
                Ok(start)
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    /// A member could be read: should it ever fail, that is news again.
    pub fn could_read(&self, ino: Ino) {
        if let Some(told) = self.told.get(ino.0.wrapping_sub(1) as usize) {
            told.store(false, Ordering::Relaxed);
        }
    }

    /// Tells the log, once a member, why it cannot be read.
    pub fn tell_once(&self, ino: Ino, reason: &dyn fmt::Display) {
        let told = self.told.get(ino.0.wrapping_sub(1) as usize);
        if told.is_none_or(|told| !told.swap(true, Ordering::Relaxed)) {
            let archive = Escaped::path(&self.path);
            match self.reasons.fetch_add(1, Ordering::Relaxed) {
                ..REASONS_MAX => {}
                REASONS_MAX => return warn!("{archive}: more members cannot be read"),
                _ => return,
            }
            let name = self
                .tree
                .member(ino)
                .map(|member| self.tree.name_of(member));
            let name = Escaped::member(name.unwrap_or_default());
            warn!("{archive}: member '{name}': {reason}");
        }
    }
}

fn is_stored(member: &Member) -> bool {
    member.method == Method::STORED
}
