//! What is mounted, from its root down to the members of each archive.
//!
//! A mount is made of units: archives, folders that hold archives, and the list of what the command
//! line names. Each unit numbers its own inodes, and an inode of the mount is both numbers together.
//! The root is unit 0, so that the inodes of a single archive are those of its tree.
//!
//! The archives of a folder, and those inside other archives, are opened when somebody first looks
//! inside, and closed again when descriptors run short and nobody uses them.

mod archive;
mod folder;
mod shelf;
mod unit;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::inflate::{Inflated, Inflater};
use crate::lane::Lanes;
use crate::tree::{Attr, Ino, Kind};
use crate::volume::Volume;
use crate::watch::Watch;
use archive::{Archive, Origin};
pub use folder::Folder;
use folder::Seen;
use shelf::Shelf;
use unit::{Key, Unit, Units, What};

/// How long the kernel may keep names and attributes of members. They never change while mounted;
/// the number only has to be finite.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// How long it may keep those of a folder, where archives come and go.
const BRIEFLY: Duration = Duration::from_millis(500);

/// How deep archives are looked for inside archives.
const DEPTH_MAX: u8 = 8;

/// An inode of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    unit: u32,
    /// Within the unit.
    local: Ino,
}

impl Inode {
    fn of(number: Ino) -> Self {
        Self {
            unit: (number.0 >> 32) as u32,
            local: Ino(number.0 & u64::from(u32::MAX)),
        }
    }

    fn root_of(unit: &Unit) -> Self {
        Self {
            unit: unit.number,
            local: Ino::ROOT,
        }
    }

    fn number(self) -> Ino {
        Ino(u64::from(self.unit) << 32 | self.local.0)
    }
}

/// How archives are found and shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether members that are archives are directories.
    pub recursive: bool,
    /// Whether compressed members can be read.
    pub inflates: bool,
    /// Whether archives in a folder are shown without `.npz` behind their names.
    pub strip_suffix: bool,
    /// How many archives may be open at a time, besides those that the command line names.
    pub max_open: usize,
    /// The least length of a member that is cloned, in bytes; `None` where none is.
    pub clone_min: Option<u64>,
}

/// An archive or a folder that the command line names.
#[derive(Debug)]
pub enum Named {
    /// An archive, which stays open.
    Archive(Arc<Volume>),
    /// A folder.
    Folder(Folder),
}

impl Named {
    /// Its absolute path.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Archive(volume) => volume.path.clone(),
            Self::Folder(folder) => folder.shown_path(),
        }
    }
}

impl From<Named> for What {
    fn from(named: Named) -> Self {
        match named {
            Named::Archive(volume) => Self::Archive(Archive::pinned(volume)),
            Named::Folder(folder) => Self::Folder(folder),
        }
    }
}

/// What is mounted at the root.
#[derive(Debug)]
pub enum Root {
    /// The members of an archive, or what is in a folder.
    One(Named),
    /// Several of them, by the names that they are shown under.
    Several(BTreeMap<OsString, Named>),
}

/// What the kernel is told of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its attributes, with its number in the mount.
    pub attr: Attr,
    /// How long they may be relied on.
    pub ttl: Duration,
}

/// An archive that is open.
#[derive(Debug)]
pub struct Open {
    /// The archive.
    pub volume: Arc<Volume>,
    /// The number of its root in the mount.
    pub root: Ino,
    /// Whether its file is in a folder, so that what comes in its place will be seen.
    pub is_followed: bool,
}

/// Why nothing can be said of an inode.
#[derive(Debug)]
pub enum Unavailable {
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
pub struct Catalog {
    options: Options,
    root: Arc<Unit>,
    units: Units,
    shelf: Shelf,
    /// Whether the kernel may be given files that it reads by itself.
    passes: AtomicBool,
}

impl Catalog {
    /// The catalog of `root`, whose archives are watched by `watch`.
    pub fn new(root: Root, options: Options, inflater: Inflater, watch: Watch) -> Self {
        let units = Units::default();
        let what = match root {
            Root::One(named) => named.into(),
            Root::Several(several) => {
                let add = |(name, named): (OsString, Named)| {
                    Some((name, units.add(Ino::ROOT, named.into())?))
                };
                What::Named(several.into_iter().filter_map(add).collect())
            }
        };
        Self {
            shelf: Shelf::new(&options, inflater, watch),
            options,
            passes: AtomicBool::new(false),
            root: Arc::new(Unit::root(what)),
            units,
        }
    }

    /// What is in directory `parent` under `name`. The kernel holds it from now on, until it is
    /// [forgotten](Self::forget).
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Found>, Unavailable> {
        let inode = Inode::of(parent);
        let unit = self.unit(inode)?;
        match &unit.what {
            What::Named(named) => named
                .get(OsStr::from_bytes(name))
                .map(|child| {
                    child.hold();
                    self.of_held_unit(child)
                })
                .transpose(),
            What::Folder(folder) => {
                let seen = folder.find(OsStr::from_bytes(name), &self.options);
                let seen = seen.map_err(Unavailable::Folder)?;
                let key = Key::Name(unit.number, name.into());
                if let Some(known) = self.units.by_key(&key)
                    && !seen.as_ref().is_some_and(|seen| is_seen(&known.what, seen))
                {
                    self.shelf.close_with_inner(&known);
                }
                seen.map(|seen| self.in_folder(&unit, key, seen))
                    .transpose()
            }
            What::Archive(_) => {
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
    /// [`Unavailable`].
    pub fn attr(&self, ino: Ino) -> Result<Found, Unavailable> {
        let inode = Inode::of(ino);
        let unit = self.unit(inode)?;
        if inode.local == Ino::ROOT {
            return self.of_unit(&unit);
        }
        let attr = self.volume(&unit)?.tree.attr(inode.local);
        attr.map(|attr| self.of_member(&unit, attr))
            .ok_or(Unavailable::Gone)
    }

    /// How long the kernel may rely on there being nothing under a name in a directory.
    pub fn ttl_of_nothing(&self, parent: Ino) -> Duration {
        match self.unit(Inode::of(parent)) {
            Ok(unit) if !matches!(unit.what, What::Folder(_)) => FOREVER,
            _ => BRIEFLY,
        }
    }

    /// The directory that a directory is in; the root's is the root.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn parent(&self, ino: Ino) -> Result<Ino, Unavailable> {
        let inode = Inode::of(ino);
        let unit = self.unit(inode)?;
        if inode.local == Ino::ROOT {
            return Ok(unit.parent);
        }
        let local = self.volume(&unit)?.tree.parent(inode.local);
        let local = local.ok_or(Unavailable::Gone)?;
        Ok(Inode { local, ..inode }.number())
    }

    /// The names in a folder; `None` for what is no folder.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn folder_names(&self, ino: Ino) -> Result<Option<Vec<OsString>>, Unavailable> {
        match &self.unit(Inode::of(ino))?.what {
            What::Folder(folder) => folder
                .names(&self.options)
                .map(Some)
                .map_err(Unavailable::Folder),
            What::Named(_) | What::Archive(_) => Ok(None),
        }
    }

    /// Gives `take` the entries of a directory that is no folder, from the `skip`th on and without
    /// `.` and `..`, until it takes one no more. The kernel holds what was taken.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn entries(
        &self,
        ino: Ino,
        skip: usize,
        mut take: impl FnMut(&[u8], Found) -> bool,
    ) -> Result<(), Unavailable> {
        let inode = Inode::of(ino);
        let unit = self.unit(inode)?;
        let mut offer = |name: &[u8], found: Found| {
            let is_taken = take(name, found);
            if !is_taken {
                self.forget(found.attr.ino, 1);
            }
            is_taken
        };
        if let What::Named(named) = &unit.what {
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
        for entry in entries.ok_or(Unavailable::NotADirectory)? {
            if !offer(entry.name, self.in_archive(&unit, &volume, entry.attr)?) {
                break;
            }
        }
        Ok(())
    }

    /// Sees to it that a directory that is no folder can be listed.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn open_directory(&self, ino: Ino) -> Result<(), Unavailable> {
        let unit = self.unit(Inode::of(ino))?;
        match &unit.what {
            What::Archive(_) => self.volume(&unit).map(drop),
            What::Folder(_) | What::Named(_) => Ok(()),
        }
    }

    /// The archive or folder whose root an inode is, by its path.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn path_of_root(&self, ino: Ino) -> Result<Option<PathBuf>, Unavailable> {
        let inode = Inode::of(ino);
        if inode.local != Ino::ROOT {
            return Ok(None);
        }
        let unit = self.unit(inode)?;
        match &unit.what {
            What::Archive(_) => Ok(Some(self.volume(&unit)?.path.clone())),
            What::Folder(folder) => Ok(Some(folder.shown_path())),
            What::Named(_) => Ok(None),
        }
    }

    /// Whether the root is an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self.root.what, What::Archive(_))
    }

    /// Whether every file there will ever be can be read right from the archive, which is open.
    pub fn is_all_stored(&self) -> bool {
        match &self.root.what {
            What::Archive(archive) => {
                !self.options.recursive
                    && archive
                        .if_open()
                        .is_some_and(|volume| volume.is_all_stored())
            }
            What::Folder(_) | What::Named(_) => false,
        }
    }

    /// Whether the root is an archive of which members are cloned, if the kernel takes them.
    pub fn has_clones(&self) -> bool {
        match &self.root.what {
            What::Archive(archive) => archive.if_open().is_some_and(|volume| {
                let mut files = volume.tree.files();
                files.any(|member| volume.clones(member))
            }),
            What::Folder(_) | What::Named(_) => false,
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

    /// The length of all files that are open as archives, in bytes, and the number of their inodes.
    pub fn size(&self) -> (u64, u64) {
        self.open_archives()
            .iter()
            .fold((0, 0), |(len, inodes), open| {
                let volume = &open.volume;
                let of_file = if volume.is_inside() {
                    0
                } else {
                    volume.archive().len()
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

    /// The archive that an inode belongs to, and its number there.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn archive_of(&self, ino: Ino) -> Result<(Arc<Volume>, Ino), Unavailable> {
        let inode = Inode::of(ino);
        let volume = self.volume(&self.unit(inode)?)?;
        Ok((volume, inode.local))
    }

    /// Has `then` called with what the member `ino` of `volume` is inflated to: now, or by another
    /// thread once that is done.
    pub fn inflate(
        &self,
        ino: Ino,
        volume: &Arc<Volume>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let inode = Inode::of(ino);
        let key = (inode.unit, inode.local);
        self.shelf.inflater.with(key, volume.clone(), then);
    }

    /// Whether what is asked of an inode can be told without waiting for a disk.
    pub fn is_at_hand(&self, ino: Ino) -> bool {
        match self.unit(Inode::of(ino)).as_deref() {
            Ok(Unit {
                what: What::Archive(archive),
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

    /// The archives that are open.
    pub fn open_archives(&self) -> Vec<Open> {
        let units = self.units.all();
        let units = units.iter().chain([&self.root]);
        let open = units.filter_map(|unit| match &unit.what {
            What::Archive(archive) => Some(Open {
                volume: archive.if_open()?,
                root: Inode::root_of(unit).number(),
                is_followed: unit.is_followed(),
            }),
            What::Folder(_) | What::Named(_) => None,
        });
        open.collect()
    }

    /// What the kernel is told of a thing in the folder `unit`.
    fn in_folder(&self, unit: &Unit, key: Key, seen: Seen) -> Result<Found, Unavailable> {
        let parent = Inode::root_of(unit).number();
        let make = || {
            let what = match seen.clone() {
                Seen::Folder(folder) => What::Folder(folder),
                Seen::Archive(seen) => {
                    let modified = seen.modified;
                    What::Archive(Archive::new(Origin::File(seen), modified))
                }
            };
            (parent, 0, what)
        };
        let is = |what: &What| is_seen(what, &seen);
        let child = self.units.held(key, is, make).ok_or(Unavailable::Gone)?;
        self.of_held_unit(&child)
    }

    /// What the kernel is told of a file or directory of an archive: by it, too, a member may be an
    /// archive.
    fn in_archive(
        &self,
        unit: &Arc<Unit>,
        volume: &Volume,
        attr: Attr,
    ) -> Result<Found, Unavailable> {
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
            let what = What::Archive(Archive::new(origin, attr.modified));
            (inode.number(), unit.depth + 1, what)
        };
        let key = Key::Member(unit.number, attr.ino);
        let child = self.units.held(key, |_| true, make);
        let child = child.ok_or(Unavailable::Gone)?;
        self.of_held_unit(&child)
    }

    fn of_held_unit(&self, unit: &Unit) -> Result<Found, Unavailable> {
        self.of_unit(unit)
            .inspect_err(|_| self.forget(Inode::root_of(unit).number(), 1))
    }

    fn of_unit(&self, unit: &Unit) -> Result<Found, Unavailable> {
        // One link is what tells that nobody has counted.
        let (modified, links) = match &unit.what {
            What::Archive(archive) if self.options.recursive => (archive.modified, 1),
            What::Archive(archive) => (archive.modified, archive.links()),
            What::Folder(folder) => (folder.modified().map_err(Unavailable::Folder)?, 1),
            What::Named(_) => (0, 1),
        };
        Ok(Found {
            attr: Attr {
                ino: Inode::root_of(unit).number(),
                kind: Kind::Directory,
                size: 0,
                modified,
                links,
            },
            ttl: if unit.is_live() { BRIEFLY } else { FOREVER },
        })
    }

    fn of_member(&self, unit: &Unit, mut attr: Attr) -> Found {
        let inode = Inode {
            unit: unit.number,
            local: attr.ino,
        };
        attr.ino = inode.number();
        if self.options.recursive {
            // The tree has counted no archives.
            attr.links = 1;
        }
        Found { attr, ttl: FOREVER }
    }

    fn unit(&self, inode: Inode) -> Result<Arc<Unit>, Unavailable> {
        if inode.unit == 0 {
            return Ok(self.root.clone());
        }
        self.units.by_number(inode.unit).ok_or(Unavailable::Gone)
    }

    fn volume(&self, unit: &Arc<Unit>) -> Result<Arc<Volume>, Unavailable> {
        self.shelf.volume(unit)
    }
}

/// Whether what is known under a name in a folder is still what is seen there.
fn is_seen(known: &What, seen: &Seen) -> bool {
    match (known, seen) {
        (What::Folder(_), Seen::Folder(_)) => true,
        (What::Archive(archive), Seen::Archive(seen)) => archive.is(seen),
        _ => false,
    }
}

/// Whether the name of a member says that it is an archive.
fn has_archive_name(name: &[u8]) -> bool {
    [&b".npz"[..], b".zip"].iter().any(|suffix| {
        name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    })
}
