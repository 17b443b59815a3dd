//! A slot for one archive, which may be open or not.
//!
//! An archive that is evicted while requests still use it stays reachable through a weak reference,
//! so that it is never open twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockWriteGuard, TryLockError, Weak};

use crate::archive::Archive;
use crate::sys::sync::write;

/// A slot for an archive.
#[derive(Debug, Default)]
pub(super) struct ArchiveSlot {
    /// Locked for writing while the archive is opened.
    state: RwLock<State>,
    /// The time of the last use, by the clock of [`OpenArchives`](super::open_archives).
    last_used: AtomicU64,
    /// The log has the reason why the archive cannot be opened.
    failure_logged: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    kept: Option<Arc<Archive>>,
    /// Finds the archive while it is used, even if it is no longer kept.
    used: Weak<Archive>,
}

impl State {
    pub(super) fn archive(&self) -> Option<Arc<Archive>> {
        self.kept.clone().or_else(|| self.used.upgrade())
    }

    pub(super) fn keep(&mut self, archive: Arc<Archive>) {
        self.used = Arc::downgrade(&archive);
        self.kept = Some(archive);
    }
}

impl ArchiveSlot {
    /// Returns a slot that keeps `archive`.
    pub(super) fn holding(archive: Arc<Archive>) -> Self {
        let slot = Self::default();
        slot.lock().keep(archive);
        slot
    }

    /// Returns the archive if it is open; `None` also while another thread opens it.
    pub(super) fn if_open(&self) -> Option<Arc<Archive>> {
        match self.state.try_read() {
            Ok(state) => state.archive(),
            Err(TryLockError::Poisoned(state)) => state.into_inner().archive(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Locks the slot: no other thread opens or closes the archive meanwhile.
    pub(super) fn lock(&self) -> RwLockWriteGuard<'_, State> {
        write(&self.state)
    }

    /// Takes the archive out, unless a request uses it.
    pub(super) fn take_unused(&self) -> Option<Arc<Archive>> {
        let mut state = self.state.try_write().ok()?;
        state
            .kept
            .take_if(|archive| Arc::strong_count(archive) == 1)
    }

    /// Lets go of the archive, which is closed once no request uses it.
    pub(super) fn close(&self) {
        let archive = self.lock().kept.take();
        // Closing may be slow, so the slot is unlocked first.
        drop(archive);
    }

    /// Sets the time of the last use.
    pub(super) fn touch(&self, time: u64) {
        self.last_used.store(time, Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Returns `true` the first time that it is called.
    pub(super) fn first_failure(&self) -> bool {
        !self.failure_logged.swap(true, Ordering::Relaxed)
    }
}
