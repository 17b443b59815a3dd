//! An archive of the mount, open or not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockWriteGuard, TryLockError, Weak};

use super::folder::ArchiveStat;
use super::subtree::Subtree;
use crate::archive::Archive;
use crate::sys::sync::write;
use crate::tree::Ino;

/// An archive, open or not.
#[derive(Debug)]
pub(super) struct ArchiveSlot {
    pub(super) origin: Origin,
    /// Seconds since 1970 (UTC).
    pub(super) modified: i64,
    /// Locked also while it is being opened.
    volume: RwLock<Slot>,
    /// When it was last used, by the clock of those who close what is not used.
    used: AtomicU64,
    /// Whether the log has the reason why it cannot be opened.
    told: AtomicBool,
}

/// Where an archive that is open is kept.
#[derive(Debug, Default)]
pub(super) struct Slot {
    kept: Option<Arc<Archive>>,
    /// Once it is not kept any more, those who use it still do.
    used: Weak<Archive>,
}

impl Slot {
    pub(super) fn volume(&self) -> Option<Arc<Archive>> {
        self.kept.clone().or_else(|| self.used.upgrade())
    }

    pub(super) fn keep(&mut self, volume: Arc<Archive>) {
        self.used = Arc::downgrade(&volume);
        self.kept = Some(volume);
    }
}

/// Where an archive is.
#[derive(Debug)]
pub(super) enum Origin {
    /// On the command line: it was opened before anything was mounted, and stays open.
    Pinned,
    /// In a folder.
    File(ArchiveStat),
    /// In another archive.
    Member {
        /// The other archive.
        outer: Arc<Subtree>,
        /// Which member of it.
        ino: Ino,
    },
}

impl ArchiveSlot {
    pub(super) fn pinned(volume: Arc<Archive>) -> Self {
        let root = volume.tree.attr(Ino::ROOT);
        let modified = root.map_or(0, |root| root.modified);
        let archive = Self::new(Origin::Pinned, modified);
        archive.lock().keep(volume);
        archive
    }

    pub(super) fn new(origin: Origin, modified: i64) -> Self {
        Self {
            origin,
            modified,
            volume: RwLock::default(),
            used: AtomicU64::default(),
            told: AtomicBool::default(),
        }
    }

    /// Whether another archive may soon be under its name.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    /// The number of links to its root: 1 where nobody has counted, since it need not be open.
    pub(super) fn links(&self) -> u32 {
        match self.origin {
            Origin::Pinned => {
                let root = self
                    .if_open()
                    .and_then(|volume| volume.tree.attr(Ino::ROOT));
                root.map_or(1, |root| root.links)
            }
            Origin::File(_) | Origin::Member { .. } => 1,
        }
    }

    /// The archive that it is in, if it is in one.
    pub(super) fn outer(&self) -> Option<&Subtree> {
        match &self.origin {
            Origin::Member { outer, .. } => Some(outer),
            Origin::Pinned | Origin::File(_) => None,
        }
    }

    /// Whether this is the very file that was seen, in the same state.
    pub(super) fn is(&self, seen: &ArchiveStat) -> bool {
        matches!(&self.origin, Origin::File(own) if own.identity == seen.identity)
    }

    /// The archive, if it is open and nobody is about to open it.
    pub(super) fn if_open(&self) -> Option<Arc<Archive>> {
        match self.volume.try_read() {
            Ok(slot) => slot.volume(),
            Err(TryLockError::Poisoned(slot)) => slot.into_inner().volume(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Room for the archive, which nobody else opens or closes for as long as this is held.
    pub(super) fn lock(&self) -> RwLockWriteGuard<'_, Slot> {
        write(&self.volume)
    }

    /// Takes the archive out, unless somebody uses it just now.
    pub(super) fn take_unused(&self) -> Option<Arc<Archive>> {
        let mut slot = self.volume.try_write().ok()?;
        slot.kept.take_if(|volume| Arc::strong_count(volume) == 1)
    }

    /// Keeps the archive no more. It is closed as soon as nobody uses it.
    pub(super) fn close(&self) {
        let volume = self.lock().kept.take();
        // Unlocked: to close it may take its time.
        drop(volume);
    }

    pub(super) fn use_at(&self, time: u64) {
        self.used.store(time, Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the log was not told yet that it cannot be opened.
    pub(super) fn is_news(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}
