//! An LRU cache of the archives that are opened on demand.
//!
//! Two limits hold: the number of archives, since each has a descriptor open, and the memory of
//! their indexes. An archive that a request uses is never closed, so opening may have to wait, and
//! fails if all stay in use.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use log::warn;

use super::config::VfsConfig;
use super::error::VfsError;
use super::folder::{ArchiveStat, Identity};
use super::subtree::{MountedArchive, Origin, Subtree, SubtreeKind};
use crate::archive::reflink::Reflinker;
use crate::archive::slice::FileSlice;
use crate::archive::{Archive, Contents, Purpose};
use crate::inflate::Inflater;
use crate::sys;
use crate::sys::sync::lock;
use crate::tree::Ino;
use crate::ui::human::{Escaped, Size};

/// The first and the last pause while waiting for room. Each is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(128));

/// The memory of the indexes, in bytes, above which archives are closed.
const INDEXES_MAX: u64 = 128 << 20;

/// Opens archives, and closes those least recently used.
#[derive(Debug)]
pub(super) struct OpenArchives {
    pub(super) inflater: Arc<Inflater>,
    inflate_enabled: bool,
    clone_min: Option<u64>,
    max: usize,
    state: Mutex<State>,
    clock: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The open archives, by the ids of their subtrees.
    open: HashMap<u32, Open>,
    /// The number of archives that are being opened.
    opening: usize,
    /// The memory of the indexes of open archives.
    index_bytes: u64,
}

impl State {
    fn add(&mut self, subtree: Arc<Subtree>, archive: &Archive) {
        let index_bytes = archive.tree.memory_bytes();
        self.index_bytes += index_bytes;
        let id = subtree.id;
        self.open.insert(
            id,
            Open {
                subtree,
                index_bytes,
            },
        );
    }

    fn remove(&mut self, id: u32) -> Option<Arc<Subtree>> {
        let open = self.open.remove(&id)?;
        self.index_bytes -= open.index_bytes;
        Some(open.subtree)
    }

    fn has_room(&self, max: usize) -> bool {
        self.open.len() + self.opening < max && self.index_bytes <= INDEXES_MAX
    }
}

#[derive(Debug)]
struct Open {
    subtree: Arc<Subtree>,
    index_bytes: u64,
}

impl OpenArchives {
    pub(super) fn new(config: &VfsConfig, inflater: Inflater) -> Self {
        Self {
            inflater: Arc::new(inflater),
            inflate_enabled: config.inflate_enabled,
            clone_min: config.clone_min,
            max: config.max_open,
            state: Mutex::default(),
            clock: AtomicU64::default(),
        }
    }

    /// Returns the archive of `subtree`, and opens it if need be.
    ///
    /// # Errors
    /// [`VfsError`].
    pub(super) fn get(&self, subtree: &Arc<Subtree>) -> Result<Arc<Archive>, VfsError> {
        let SubtreeKind::Archive(wanted) = &subtree.kind else {
            return Err(VfsError::NotADirectory);
        };
        if !matches!(wanted.origin, Origin::Pinned) {
            let now = self.clock.fetch_add(1, Ordering::Relaxed);
            wanted.slot.touch(now);
        }
        if let Some(archive) = wanted.slot.if_open() {
            return Ok(archive);
        }
        let mut slot = wanted.slot.lock();
        if let Some(archive) = slot.archive() {
            return Ok(archive);
        }
        // The outer archive comes first: a thread that waits for it must not occupy room.
        let outer = match &wanted.origin {
            Origin::Member { outer, ino } => Some((outer.id, self.get(outer)?, *ino)),
            Origin::Pinned | Origin::File(_) => None,
        };
        if !self.wait_for_room() {
            let max = self.max;
            return Err(self.failed(wanted, || {
                let indexes = Size(INDEXES_MAX);
                format!("more than {max} archives are in use (--max-open), or {indexes} of indexes")
            }));
        }
        let opened = match (outer, &wanted.origin) {
            (Some((id, outer, ino)), _) => self.open_member(wanted, id, &outer, ino),
            (None, Origin::File(stat)) => self.open_file(wanted, stat),
            (None, _) => Err(VfsError::Gone),
        };
        let opened = opened.map(Arc::new);
        let mut state = lock(&self.state);
        state.opening -= 1;
        let opened = opened?;
        state.add(subtree.clone(), &opened);
        // The size of its index is only known now, and others were opened meanwhile.
        let closed = if state.index_bytes > INDEXES_MAX {
            self.close_unused(&mut state, 0)
        } else {
            Vec::new()
        };
        drop(state);
        if !closed.is_empty() {
            drop(closed);
            sys::memory::trim();
        }
        slot.keep(opened.clone());
        Ok(opened)
    }

    /// Makes room for one more archive. If all are in use, waits a quarter of a second in all:
    /// until current requests are answered, and the kernel has released the files closed last.
    fn wait_for_room(&self) -> bool {
        let (mut pause, longest) = PAUSES;
        while !self.make_room() {
            if pause > longest {
                return false;
            }
            thread::sleep(pause);
            pause *= 2;
        }
        true
    }

    /// Makes room for one more archive, if need be by closing some that are unused.
    fn make_room(&self) -> bool {
        let mut state = lock(&self.state);
        let closed = if state.has_room(self.max) {
            Vec::new()
        } else {
            // Finding them takes a look at all archives, so several are closed at once.
            self.close_unused(&mut state, self.max / 16 + 1)
        };
        let has_room = state.has_room(self.max);
        state.opening += usize::from(has_room);
        // Descriptors are closed while the lock is held: no other thread counts on the room before
        // it is there.
        drop(closed);
        has_room
    }

    /// Closes unused archives, least recently used first: `wanted` of them, or more if that does
    /// not make room.
    fn close_unused(&self, state: &mut State, wanted: usize) -> Vec<Arc<Archive>> {
        let archive = |open: &Open| match &open.subtree.kind {
            SubtreeKind::Archive(archive) => Some((archive.slot.last_used(), open.subtree.clone())),
            SubtreeKind::Folder(_) | SubtreeKind::Sources(_) => None,
        };
        let mut by_use: Vec<_> = state.open.values().filter_map(archive).collect();
        by_use.sort_unstable_by_key(|&(last_used, _)| last_used);
        let mut closed = Vec::new();
        for (_, subtree) in by_use {
            if closed.len() >= wanted && state.has_room(self.max) {
                break;
            }
            if let SubtreeKind::Archive(unused) = &subtree.kind
                && let Some(archive) = unused.slot.take_unused()
            {
                closed.push(archive);
                state.remove(subtree.id);
            }
        }
        closed
    }

    /// Closes the archive of a subtree that the kernel has forgotten.
    pub(super) fn close(&self, subtree: &Subtree) {
        let known = lock(&self.state).remove(subtree.id);
        if let Some(SubtreeKind::Archive(archive)) = known.as_deref().map(|it| &it.kind) {
            archive.slot.close();
        }
    }

    /// Closes an archive whose file is gone, and those inside it, although the kernel may not
    /// forget them for a long time.
    pub(super) fn close_with_inner(&self, subtree: &Subtree) {
        let mut state = lock(&self.state);
        let within = |open: &&Open| open.subtree.is_within(subtree.id);
        let within: Vec<_> = state.open.values().filter(within).collect();
        let ids: Vec<_> = within.into_iter().map(|open| open.subtree.id).collect();
        let gone: Vec<_> = ids.into_iter().filter_map(|id| state.remove(id)).collect();
        drop(state);
        for subtree in gone {
            if let SubtreeKind::Archive(archive) = &subtree.kind {
                archive.slot.close();
            }
        }
    }

    fn open_file(&self, wanted: &MountedArchive, stat: &ArchiveStat) -> Result<Archive, VfsError> {
        let opened = Archive::open(&stat.at, &stat.path, self.inflate_enabled, Purpose::Folder);
        let is_same = |metadata| Identity::of(&metadata) == stat.identity;
        match opened {
            Ok(mut archive) => {
                let metadata = archive.data().file().as_file().metadata();
                if !metadata.is_ok_and(is_same) {
                    return Err(VfsError::Gone);
                }
                if let (Some(min), Some(directory)) = (self.clone_min, stat.at.parent()) {
                    // If it fails, the log has the reason and members are mapped.
                    let _ = archive.enable_reflinks(Arc::new(Reflinker::new(directory, min)));
                }
                Ok(archive)
            }
            // Damaged, unless it was replaced since the lookup.
            Err(error) if std::fs::metadata(&stat.at).is_ok_and(is_same) => {
                Err(self.failed(wanted, || error.to_string()))
            }
            Err(_) => Err(VfsError::Gone),
        }
    }

    fn open_member(
        &self,
        wanted: &MountedArchive,
        outer_id: u32,
        outer: &Arc<Archive>,
        ino: Ino,
    ) -> Result<Archive, VfsError> {
        let member = outer.tree.member(ino).ok_or(VfsError::Gone)?;
        let path = outer.nested_path(outer.tree.name_of(member));
        let failed = |reason: &dyn Display| {
            let shown = Escaped::path(&path).to_string();
            self.failed(wanted, || format!("{shown}: {reason}"))
        };
        let contents = match outer.contents(member) {
            Ok(Contents::Stored(contents)) => contents,
            Ok(Contents::Compressed(_)) => self
                .inflate((outer_id, ino), outer)
                .map_err(|reason| failed(&reason))?,
            Err(problem) => return Err(failed(problem)),
        };
        let opened = Archive::nested(outer, path.clone(), contents, member, self.inflate_enabled);
        opened.map_err(|error| failed(&error))
    }

    /// Inflates a member, and waits until that is done.
    fn inflate(&self, key: (u32, Ino), archive: &Arc<Archive>) -> Result<FileSlice, String> {
        let (sender, inflated) = mpsc::channel();
        let then = move |result| drop(sender.send(result));
        self.inflater.request(key, archive.clone(), then);
        match inflated.recv() {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Logs, once an archive, why it cannot be opened.
    fn failed(&self, wanted: &MountedArchive, reason: impl FnOnce() -> String) -> VfsError {
        if wanted.slot.first_failure() {
            warn!("{}", reason());
        }
        VfsError::Archive
    }
}
