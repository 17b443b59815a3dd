//! The archives that are opened on demand: as many at a time as there may be.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use log::warn;

use super::Unavailable;
use super::archive::{Archive, Origin};
use super::folder::{Identity, SeenArchive};
use super::unit::{Unit, What};
use crate::bytes::Slice;
use crate::human::Escaped;
use crate::inflate::Inflater;
use crate::tree::Ino;
use crate::volume::{Contents, Volume};
use crate::watch::Watch;

/// Opens archives, and closes those that were not used for longest.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) inflater: Arc<Inflater>,
    pub(super) watch: Watch,
    inflates: bool,
    max: usize,
    state: Mutex<State>,
    clock: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Arc<Unit>>,
    /// How many are being opened.
    opening: usize,
}

impl Shelf {
    /// A shelf for at most `max` archives.
    pub(super) fn new(max: usize, inflates: bool, inflater: Inflater, watch: Watch) -> Self {
        Self {
            inflater: Arc::new(inflater),
            watch,
            inflates,
            max,
            state: Mutex::default(),
            clock: AtomicU64::default(),
        }
    }

    /// The archive that `unit` is, opened if it is not open.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(super) fn volume(&self, unit: &Arc<Unit>) -> Result<Arc<Volume>, Unavailable> {
        let What::Archive(archive) = &unit.what else {
            return Err(Unavailable::NotADirectory);
        };
        if !matches!(archive.origin, Origin::Pinned) {
            archive.use_at(self.clock.fetch_add(1, Ordering::Relaxed));
        }
        if let Some(volume) = archive.if_open() {
            return Ok(volume);
        }
        let mut volume = archive.lock();
        if let Some(volume) = &*volume {
            return Ok(volume.clone());
        }
        if !self.make_room() {
            let max = self.max;
            return Err(self.failed(archive, || {
                format!("more than {max} archives are in use (--max-open)")
            }));
        }
        let opened = self.open(archive).map(Arc::new);
        let mut state = self.lock();
        state.opening -= 1;
        let opened = opened?;
        state.open.push(unit.clone());
        drop(state);
        *volume = Some(opened.clone());
        Ok(opened)
    }

    /// Makes room for one more archive, if need be by closing some that nobody uses.
    fn make_room(&self) -> bool {
        let mut state = self.lock();
        let mut closed = Vec::new();
        if state.open.len() + state.opening >= self.max {
            let last_used = |unit: &Arc<Unit>| match &unit.what {
                What::Archive(archive) => archive.last_used(),
                What::Folder(_) | What::Named(_) => 0,
            };
            state
                .open
                .sort_by_cached_key(|unit| Reverse(last_used(unit)));
            // Several at once, since it takes a look at all to find them.
            let wanted = self.max / 16 + 1;
            for at in (0..state.open.len()).rev() {
                if closed.len() == wanted {
                    break;
                }
                if let What::Archive(archive) = &state.open[at].what
                    && let Some(volume) = archive.take_unused()
                {
                    closed.push(volume);
                    state.open.swap_remove(at);
                }
            }
        }
        let has_room = state.open.len() + state.opening < self.max;
        state.opening += usize::from(has_room);
        has_room
    }

    fn open(&self, archive: &Archive) -> Result<Volume, Unavailable> {
        match &archive.origin {
            Origin::Pinned => Err(Unavailable::Gone),
            Origin::File(seen) => self.open_file(archive, seen),
            Origin::Member { outer, ino } => self.open_member(archive, outer, *ino),
        }
    }

    fn open_file(&self, archive: &Archive, seen: &SeenArchive) -> Result<Volume, Unavailable> {
        let volume = Volume::open(&seen.at, &seen.path, self.inflates, Some(&self.watch));
        let is_same = |metadata| Identity::of(&metadata) == seen.identity;
        match volume {
            Ok(volume) => {
                let opened = volume.archive().bytes().file().metadata();
                opened
                    .is_ok_and(is_same)
                    .then_some(volume)
                    .ok_or(Unavailable::Gone)
            }
            // Broken, or replaced since it was seen.
            Err(error) if std::fs::metadata(&seen.at).is_ok_and(is_same) => {
                Err(self.failed(archive, || error.to_string()))
            }
            Err(_) => Err(Unavailable::Gone),
        }
    }

    fn open_member(
        &self,
        archive: &Archive,
        outer: &Arc<Unit>,
        ino: Ino,
    ) -> Result<Volume, Unavailable> {
        let outer_volume = self.volume(outer)?;
        let member = outer_volume.tree.member(ino).ok_or(Unavailable::Gone)?;
        let name = outer_volume.tree.name_of(member);
        let path = outer_volume.inside_path(name);
        let failed = |reason: &dyn std::fmt::Display| {
            let shown = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
            self.failed(archive, || format!("{shown}: {reason}"))
        };
        let contents = match outer_volume.contents(member) {
            Ok(Contents::Stored(contents)) => contents,
            Ok(Contents::Compressed(_)) => self
                .inflated((outer.number, ino), &outer_volume)
                .map_err(|reason| failed(&reason))?,
            Err(problem) => return Err(failed(problem)),
        };
        let modified = member.modified;
        Volume::inside(
            &outer_volume,
            path.clone(),
            contents,
            modified,
            self.inflates,
        )
        .map_err(|defect| failed(&defect))
    }

    /// What a member is inflated to, waited for.
    fn inflated(&self, key: (u32, Ino), volume: &Arc<Volume>) -> Result<Slice, String> {
        let (done, inflated) = mpsc::channel();
        self.inflater
            .with(key, volume.clone(), move |result| drop(done.send(result)));
        match inflated.recv() {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells the log, once an archive, why it cannot be opened.
    fn failed(&self, archive: &Archive, reason: impl FnOnce() -> String) -> Unavailable {
        if archive.is_news() {
            warn!("{}", reason());
        }
        Unavailable::Archive
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
