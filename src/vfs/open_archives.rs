//! The archives that are opened on demand: as many at a time as there may be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use log::warn;

use super::folder::{ArchiveStat, Identity};
use super::slot::{ArchiveSlot, Origin};
use super::subtree::{Subtree, SubtreeKind};
use super::{Options, VfsError};
use crate::archive::reflink::Reflinker;
use crate::archive::slice::FileSlice;
use crate::archive::watch::Watch;
use crate::archive::{Archive, Contents};
use crate::inflate::Inflater;
use crate::sys;
use crate::sys::sync::lock;
use crate::tree::Ino;
use crate::ui::human::{Escaped, Size};

/// The last and longest of the pauses in which there may be room for an archive. Each is twice as
/// long as the one before it.
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// What the indexes of archives that are opened on demand may take together before some are closed,
/// in bytes.
const INDEXES_MAX: u64 = 128 << 20;

/// Opens archives, and closes those that were not used for longest.
#[derive(Debug)]
pub(super) struct OpenArchives {
    pub(super) inflater: Arc<Inflater>,
    pub(super) watch: Watch,
    inflates: bool,
    clone_min: Option<u64>,
    max: usize,
    state: Mutex<State>,
    clock: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By their numbers.
    open: HashMap<u32, Open>,
    /// How many are being opened.
    opening: usize,
    /// What the indexes of those that are open take, in bytes.
    index_bytes: u64,
}

impl State {
    fn add(&mut self, unit: Arc<Subtree>, volume: &Archive) {
        let index_bytes = volume.tree.memory_bytes();
        self.index_bytes += index_bytes;
        self.open.insert(unit.number, Open { unit, index_bytes });
    }

    fn remove(&mut self, number: u32) -> Option<Arc<Subtree>> {
        let open = self.open.remove(&number)?;
        self.index_bytes -= open.index_bytes;
        Some(open.unit)
    }

    fn has_room(&self, max: usize) -> bool {
        self.open.len() + self.opening < max && self.index_bytes <= INDEXES_MAX
    }
}

#[derive(Debug)]
struct Open {
    unit: Arc<Subtree>,
    index_bytes: u64,
}

impl OpenArchives {
    /// A shelf for as many archives as `options` say.
    pub(super) fn new(options: &Options, inflater: Inflater, watch: Watch) -> Self {
        Self {
            inflater: Arc::new(inflater),
            watch,
            inflates: options.inflates,
            clone_min: options.clone_min,
            max: options.max_open,
            state: Mutex::default(),
            clock: AtomicU64::default(),
        }
    }

    /// The archive that `unit` is, opened if it is not open.
    ///
    /// # Errors
    /// [`VfsError`].
    pub(super) fn volume(&self, unit: &Arc<Subtree>) -> Result<Arc<Archive>, VfsError> {
        let SubtreeKind::Archive(archive) = &unit.what else {
            return Err(VfsError::NotADirectory);
        };
        if !matches!(archive.origin, Origin::Pinned) {
            archive.use_at(self.clock.fetch_add(1, Ordering::Relaxed));
        }
        if let Some(volume) = archive.if_open() {
            return Ok(volume);
        }
        let mut slot = archive.lock();
        if let Some(volume) = slot.volume() {
            return Ok(volume);
        }
        // First of all: no room is to be taken up while more is waited for.
        let outer = match &archive.origin {
            Origin::Member { outer, ino } => Some((outer.number, self.volume(outer)?, *ino)),
            Origin::Pinned | Origin::File(_) => None,
        };
        if !self.wait_for_room() {
            let max = self.max;
            return Err(self.failed(archive, || {
                let indexes = Size(INDEXES_MAX);
                format!("more than {max} archives are in use (--max-open), or {indexes} of indexes")
            }));
        }
        let opened = match (outer, &archive.origin) {
            (Some((number, outer, ino)), _) => self.open_member(archive, number, &outer, ino),
            (None, Origin::File(seen)) => self.open_file(archive, seen),
            (None, _) => Err(VfsError::Gone),
        };
        let opened = opened.map(Arc::new);
        let mut state = lock(&self.state);
        state.opening -= 1;
        let opened = opened?;
        state.add(unit.clone(), &opened);
        // Now it is known how much its index takes, and others were opened meanwhile.
        let closed = if state.index_bytes > INDEXES_MAX {
            self.close_unused(&mut state, 0)
        } else {
            Vec::new()
        };
        drop(state);
        if !closed.is_empty() {
            drop(closed);
            sys::give_memory_back();
        }
        slot.keep(opened.clone());
        Ok(opened)
    }

    /// Makes room for one more archive. If there is none, the wait is short: until requests that are
    /// under way are answered, and the kernel has told of the files that were closed last.
    fn wait_for_room(&self) -> bool {
        let mut pause = Duration::from_millis(1);
        while !self.make_room() {
            if pause > LONGEST_PAUSE {
                return false;
            }
            thread::sleep(pause);
            pause *= 2;
        }
        true
    }

    /// Makes room for one more archive, if need be by closing some that nobody uses.
    fn make_room(&self) -> bool {
        let mut state = lock(&self.state);
        let closed = if state.has_room(self.max) {
            Vec::new()
        } else {
            // Several at once, since it takes a look at all to find them.
            self.close_unused(&mut state, self.max / 16 + 1)
        };
        let has_room = state.has_room(self.max);
        state.opening += usize::from(has_room);
        // While nobody else can count on the room yet.
        drop(closed);
        has_room
    }

    /// Closes archives that nobody uses, those first that were not used for longest: `wanted` of
    /// them, or more if there is no room yet.
    fn close_unused(&self, state: &mut State, wanted: usize) -> Vec<Arc<Archive>> {
        let archive = |open: &Open| match &open.unit.what {
            SubtreeKind::Archive(archive) => Some((archive.last_used(), open.unit.clone())),
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => None,
        };
        let mut by_use: Vec<_> = state.open.values().filter_map(archive).collect();
        by_use.sort_unstable_by_key(|&(last_used, _)| last_used);
        let mut closed = Vec::new();
        for (_, unit) in by_use {
            if closed.len() >= wanted && state.has_room(self.max) {
                break;
            }
            if let SubtreeKind::Archive(archive) = &unit.what
                && let Some(volume) = archive.take_unused()
            {
                closed.push(volume);
                state.remove(unit.number);
            }
        }
        closed
    }

    /// Closes an archive that the kernel has forgotten.
    pub(super) fn close(&self, unit: &Subtree) {
        let known = lock(&self.state).remove(unit.number);
        if let Some(SubtreeKind::Archive(archive)) = known.as_deref().map(|unit| &unit.what) {
            archive.close();
        }
    }

    /// Closes an archive that is not there any more, and those inside it, although the kernel may
    /// remember them for long.
    pub(super) fn close_with_inner(&self, unit: &Subtree) {
        let mut state = lock(&self.state);
        let within = |open: &&Open| open.unit.is_within(unit.number);
        let within: Vec<_> = state.open.values().filter(within).collect();
        let numbers: Vec<_> = within.into_iter().map(|open| open.unit.number).collect();
        let gone: Vec<_> = numbers
            .into_iter()
            .filter_map(|number| state.remove(number))
            .collect();
        drop(state);
        for unit in gone {
            if let SubtreeKind::Archive(archive) = &unit.what {
                archive.close();
            }
        }
    }

    fn open_file(&self, archive: &ArchiveSlot, seen: &ArchiveStat) -> Result<Archive, VfsError> {
        let volume = Archive::open(&seen.at, &seen.path, self.inflates, Some(&self.watch));
        let is_same = |metadata| Identity::of(&metadata) == seen.identity;
        match volume {
            Ok(mut volume) => {
                let opened = volume.data().file().as_file().metadata();
                if !opened.is_ok_and(is_same) {
                    return Err(VfsError::Gone);
                }
                if let (Some(min), Some(directory)) = (self.clone_min, seen.at.parent()) {
                    // What speaks against it is in the log.
                    let _ = volume.enable_reflinks(Arc::new(Reflinker::new(directory, min)));
                }
                Ok(volume)
            }
            // Broken, or replaced since it was seen.
            Err(error) if std::fs::metadata(&seen.at).is_ok_and(is_same) => {
                Err(self.failed(archive, || error.to_string()))
            }
            Err(_) => Err(VfsError::Gone),
        }
    }

    fn open_member(
        &self,
        archive: &ArchiveSlot,
        number: u32,
        outer: &Arc<Archive>,
        ino: Ino,
    ) -> Result<Archive, VfsError> {
        let member = outer.tree.member(ino).ok_or(VfsError::Gone)?;
        let name = outer.tree.name_of(member);
        let path = outer.nested_path(name);
        let failed = |reason: &dyn std::fmt::Display| {
            let shown = Escaped::path(&path).to_string();
            self.failed(archive, || format!("{shown}: {reason}"))
        };
        let contents = match outer.contents(member) {
            Ok(Contents::Stored(contents)) => contents,
            Ok(Contents::Compressed(_)) => self
                .inflated((number, ino), outer)
                .map_err(|reason| failed(&reason))?,
            Err(problem) => return Err(failed(problem)),
        };
        let modified = member.modified;
        let volume = Archive::nested(outer, path.clone(), contents, modified, self.inflates);
        volume.map_err(|defect| failed(&defect))
    }

    /// What a member is inflated to, waited for.
    fn inflated(&self, key: (u32, Ino), volume: &Arc<Archive>) -> Result<FileSlice, String> {
        let (done, inflated) = mpsc::channel();
        self.inflater
            .request(key, volume.clone(), move |result| drop(done.send(result)));
        match inflated.recv() {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells the log, once an archive, why it cannot be opened.
    fn failed(&self, archive: &ArchiveSlot, reason: impl FnOnce() -> String) -> VfsError {
        if archive.is_news() {
            warn!("{}", reason());
        }
        VfsError::Archive
    }
}
