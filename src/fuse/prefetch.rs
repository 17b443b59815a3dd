//! Files that the kernel knows, and has in its cache, before their reader asks for them.
//!
//! FUSE_NOTIFY_STORE puts bytes into the page cache of an inode. It waits for pages that somebody is
//! reading, and a process that is killed meanwhile would never end: its readers wait for it, and it
//! for them. So nothing is ever stored in an inode that anybody could have open. That is known of
//! those that were told to nobody yet:
//!
//! 1. The [`Scout`] lists the files that a stream is going to need, and is given entries that hold
//!    for no time at all: nobody opens one of them without a LOOKUP.
//! 2. When no request waits, they are stored, one after the other. A LOOKUP waits for that.
//! 3. The scout lists those again that were not looked up meanwhile, and now the entries hold:
//!    whoever opens one sends no request, and reads what is in the cache.
//!
//! While the scout is in the mount, a reader is kept waiting who is in it, too, so that the mount is
//! never busy when nobody uses it.

mod scout;
mod series;
mod streams;

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use std::{io, mem};

use fuser::{FileAttr, Generation, INodeNo, Notifier, ReplyDirectoryPlus};
use log::debug;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::bytes::Slice;
use crate::catalog::FOREVER;
use crate::stats::Stats;
use crate::tree::{Attr, Ino, Kind};
use crate::volume::{Contents, Volume};
use scout::{Errand, Scout};
use series::{By, Series, Sorted};
use streams::{Plan, Streams};

/// How much is stored for one listing, in bytes.
const BATCH_MAX: u64 = 8 << 20;

/// How long a reader waits for the scout, at most. It takes a fraction of a millisecond, unless
/// something else holds it up on the way to the mount.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is prefetched for whom; nothing until [started](Self::start).
#[derive(Debug, Default)]
pub struct Prefetch(OnceLock<Started>);

#[derive(Debug)]
struct Started {
    volume: Arc<Volume>,
    mount_point: PathBuf,
    device: OwnedFd,
    notifier: Notifier,
    scout: Scout,
    /// A bit for each inode that somebody besides the scout knows. Those are set while `batch` is
    /// locked, and never cleared.
    told: Vec<AtomicU64>,
    sorted: Sorted,
    streams: Mutex<Streams>,
    batch: Mutex<Batch>,
    /// How often the scout has come back. Not in `batch`, which is locked most of the time while
    /// files are stored.
    returns: Mutex<u64>,
    returned: Condvar,
    /// Whether the batch is to be stored, and whether it is stored and to be listed again.
    is_known: AtomicBool,
    is_stored: AtomicBool,
    /// Whether it has been found that this does not work here.
    is_off: AtomicBool,
}

/// The files that are prefetched.
#[derive(Debug, Default)]
struct Batch {
    files: Vec<File>,
    step: Step,
}

/// What becomes of a batch next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is none.
    #[default]
    None,
    /// The scout is under way to list the files for the first time, and has it answered.
    Sent,
    Listed,
    /// So many are stored.
    Storing(usize),
    /// The scout is under way to list them again, and has it answered.
    SentAgain,
    ListedAgain,
}

#[derive(Debug)]
struct File {
    name: Vec<u8>,
    attr: FileAttr,
    contents: Slice,
}

/// What a reader waits for: that the scout, who is under way, is back.
#[derive(Debug)]
pub(super) struct Return {
    prefetch: Arc<Prefetch>,
    /// How often it had come back before.
    before: u64,
}

impl Prefetch {
    /// Begins to prefetch from the only archive of the mount at `mount_point`, whose connection to
    /// the kernel is `device`.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn start(
        self: &Arc<Self>,
        volume: Arc<Volume>,
        mount_point: PathBuf,
        device: OwnedFd,
        notifier: Notifier,
    ) -> io::Result<()> {
        let weak: Weak<Self> = Arc::downgrade(self);
        let done = move |errand: &Errand| {
            if let Some(started) = weak.upgrade().as_deref().and_then(Self::started) {
                match errand {
                    Errand::List(_) => started.scout_is_back(),
                    Errand::Sort(directory) => {
                        started.sorted.sort(&started.volume.tree, *directory);
                    }
                }
            }
        };
        let words = volume.tree.len() / 64 + 1;
        // It is started once.
        let _ = self.0.set(Started {
            volume,
            mount_point,
            device,
            notifier,
            scout: Scout::start(done)?,
            told: (0..words).map(|_| AtomicU64::new(0)).collect(),
            sorted: Sorted::default(),
            streams: Mutex::default(),
            batch: Mutex::default(),
            returns: Mutex::default(),
            returned: Condvar::new(),
            is_known: AtomicBool::new(false),
            is_stored: AtomicBool::new(false),
            is_off: AtomicBool::new(false),
        });
        Ok(())
    }

    /// Whether a request is the scout's own.
    pub(super) fn is_scout(&self, thread: u32) -> bool {
        self.started().is_some_and(|it| it.scout.is(thread))
    }

    /// An inode is about to be told to somebody else: from now on nothing is stored there.
    pub(super) fn tell(&self, ino: Ino) {
        if let Some(started) = self.started()
            && !started.is_told(ino)
        {
            let _batch = lock(&started.batch);
            started.set_told(ino);
        }
    }

    /// Somebody else has looked up a file.
    pub(super) fn looked_up(&self, directory: Ino, ino: Ino) {
        if let Some(started) = self.started() {
            started.looked_up(directory, ino);
        }
    }

    /// Somebody is reading a file up to `end`, in bytes. Returns what to wait for before that is
    /// answered.
    pub(super) fn read(
        self: &Arc<Self>,
        ino: Ino,
        end: u64,
        file_attr: impl Fn(&Attr) -> FileAttr,
    ) -> Option<Return> {
        let started = self.started()?;
        let plan = lock(&started.streams).read(ino, end);
        let before = match plan {
            Some(plan) => started.prepare(&plan, file_attr),
            None => None,
        };
        let before = before.or_else(|| started.send_again())?;
        Some(self.back_after(before))
    }

    /// Somebody who has a file open asks for something else. Returns what to wait for before that
    /// is answered.
    pub(super) fn asked(self: &Arc<Self>) -> Option<Return> {
        let before = self.started()?.send_again()?;
        Some(self.back_after(before))
    }

    /// The scout lists the files of the batch.
    pub(super) fn list(&self, mut listing: ReplyDirectoryPlus) {
        if let Some(started) = self.started() {
            started.list(&mut listing);
        }
        listing.ok();
    }

    /// Stores what is to be stored, until a request waits.
    pub(super) fn go_on(&self, stats: &Stats) {
        if let Some(started) = self.started()
            && started.is_known.load(Ordering::Relaxed)
        {
            started.go_on(stats);
        }
    }

    fn back_after(self: &Arc<Self>, before: u64) -> Return {
        Return {
            prefetch: self.clone(),
            before,
        }
    }

    fn started(&self) -> Option<&Started> {
        self.0.get()
    }
}

impl Return {
    /// Waits for it.
    pub(super) fn wait(self) {
        if let Some(started) = self.prefetch.started() {
            let is_out = |returns: &mut u64| *returns == self.before;
            // What the result says does not matter: the reader goes on.
            let _ = started
                .returned
                .wait_timeout_while(lock(&started.returns), PATIENCE, is_out);
        }
    }
}

impl Started {
    fn looked_up(&self, directory: Ino, ino: Ino) {
        let tree = &self.volume.tree;
        let Some(place) = tree.place(ino) else { return };
        if self.sorted.looked_up(tree, directory, place, ino) {
            self.scout.send(Errand::Sort(directory));
        }
        let rank = self.sorted.rank(directory, place);
        let mut streams = lock(&self.streams);
        let mut looked_up = |by, place| streams.looked_up(Series { directory, by }, ino, place);
        looked_up(By::Archive, place);
        if let Some(rank) = rank {
            looked_up(By::Name, rank);
        }
    }

    /// Sends the scout for the files of `plan`, if there are any and it is not under way. Returns
    /// how often it had come back before.
    fn prepare(&self, plan: &Plan, file_attr: impl Fn(&Attr) -> FileAttr) -> Option<u64> {
        if lock(&self.batch).step != Step::None || self.is_off.load(Ordering::Relaxed) {
            return None;
        }
        let tree = &self.volume.tree;
        let mut files = Vec::new();
        let mut end = plan.start;
        let mut len = 0;
        for entry in self
            .sorted
            .entries(tree, plan.series, plan.start, 2 * plan.count)
        {
            let contents = self.storable(&entry.attr);
            let contents = contents.map(|contents| contents.part(0, plan.reach));
            if contents
                .as_ref()
                .is_some_and(|contents| !contents.is_cached())
            {
                break;
            }
            if let Some(contents) = contents {
                len += contents.len();
                let file = File {
                    name: entry.name.to_owned(),
                    attr: file_attr(&entry.attr),
                    contents,
                };
                files.push((end, file));
            }
            end += 1;
            if files.len() == plan.count || len >= BATCH_MAX {
                break;
            }
        }
        // Two are left out. That the first one is read tells how far the stream has got, and that
        // more is worth the while; and he who reads the second one can wait for the scout.
        let second = (files.len() > 3).then(|| files.remove(files.len() * 3 / 4));
        let first = (files.len() > 1).then(|| files.remove(files.len() / 4));
        let next = first.or(second).map_or(end, |(place, _)| place);
        lock(&self.streams).planned(plan, next, end);
        if files.is_empty() {
            return None;
        }
        let errand = Errand::List(self.mount_point.join(tree.path(plan.series.directory)?));
        let mut batch = lock(&self.batch);
        if batch.step != Step::None {
            return None;
        }
        batch.files = files.into_iter().map(|(_, file)| file).collect();
        batch.step = Step::Sent;
        self.send(&mut batch, errand)
    }

    /// Sends the scout a second time, if that is what comes next. Returns how often it had come back
    /// before.
    fn send_again(&self) -> Option<u64> {
        if !self.is_stored.swap(false, Ordering::Relaxed) {
            return None;
        }
        let mut batch = lock(&self.batch);
        let directory = self.volume.tree.parent(batch.files.first()?.ino())?;
        let path = self.volume.tree.path(directory)?;
        batch.step = Step::SentAgain;
        self.send(&mut batch, Errand::List(self.mount_point.join(path)))
    }

    fn send(&self, batch: &mut Batch, errand: Errand) -> Option<u64> {
        let before = *lock(&self.returns);
        if self.scout.send(errand) {
            return Some(before);
        }
        batch.step = Step::None;
        None
    }

    /// The contents of a file, if they can be stored: the kernel asks for them, and nobody could
    /// have it open.
    fn storable(&self, attr: &Attr) -> Option<Slice> {
        if attr.kind != Kind::File || self.is_told(attr.ino) {
            return None;
        }
        let member = self.volume.tree.member(attr.ino)?;
        match self.volume.contents(member) {
            Ok(Contents::Stored(contents)) if self.volume.cloner_of(&contents).is_none() => {
                Some(contents)
            }
            _ => None,
        }
    }

    fn list(&self, listing: &mut ReplyDirectoryPlus) {
        let mut batch = lock(&self.batch);
        let (ttl, step) = match batch.step {
            Step::Sent => (Duration::ZERO, Step::Listed),
            Step::SentAgain => (FOREVER, Step::ListedAgain),
            _ => return,
        };
        batch.step = step;
        batch.files.retain(|file| !self.is_told(file.ino()));
        let mut count = 0;
        for (file, next) in batch.files.iter().zip(1..) {
            let (attr, name) = (&file.attr, OsStr::from_bytes(&file.name));
            if listing.add(attr.ino, next, name, &ttl, attr, Generation(0)) {
                break;
            }
            count += 1;
            if step == Step::ListedAgain {
                self.set_told(file.ino());
            }
        }
        batch.files.truncate(count);
    }

    fn go_on(&self, stats: &Stats) {
        // Whether a request waits is looked for when the lock is free again: whoever is to answer it
        // then finds it so.
        while let Ok(mut batch) = self.batch.try_lock() {
            let Step::Storing(stored) = batch.step else {
                return;
            };
            let Some(file) = batch.files.get(stored) else {
                self.is_known.store(false, Ordering::Relaxed);
                self.is_stored.store(true, Ordering::Relaxed);
                return;
            };
            if !self.is_told(file.ino()) {
                self.store(file, stats);
            }
            batch.step = Step::Storing(stored + 1);
            drop(batch);
            if self.is_waiting() {
                return;
            }
        }
    }

    fn store(&self, file: &File, stats: &Stats) {
        let stored = file
            .contents
            .mapped()
            .map_err(|_| io::ErrorKind::InvalidData.into())
            .and_then(|bytes| self.notifier.store(INodeNo(file.ino().0), 0, bytes));
        match stored {
            Ok(()) => stats.count_prefetched(file.contents.len()),
            Err(error) => self.turn_off(&error),
        }
    }

    fn scout_is_back(&self) {
        let mut batch = lock(&self.batch);
        batch.step = match batch.step {
            Step::Listed if !batch.files.is_empty() => {
                self.is_known.store(true, Ordering::Relaxed);
                Step::Storing(0)
            }
            Step::Listed | Step::ListedAgain => Step::None,
            _ => {
                self.turn_off(&"the mount cannot be listed");
                Step::None
            }
        };
        let files = if batch.step == Step::None {
            mem::take(&mut batch.files)
        } else {
            Vec::new()
        };
        drop(batch);
        drop(files);
        *lock(&self.returns) += 1;
        self.returned.notify_all();
    }

    fn turn_off(&self, reason: &dyn Display) {
        if !self.is_off.swap(true, Ordering::Relaxed) {
            debug!("nothing is prefetched any more: {reason}");
        }
    }

    /// Whether a request waits to be answered.
    fn is_waiting(&self) -> bool {
        let mut device = [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)];
        !matches!(poll(&mut device, PollTimeout::ZERO), Ok(0))
    }

    fn is_told(&self, ino: Ino) -> bool {
        let (word, bit) = word_of(ino);
        self.told
            .get(word)
            .is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn set_told(&self, ino: Ino) {
        let (word, bit) = word_of(ino);
        if let Some(word) = self.told.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

impl File {
    fn ino(&self) -> Ino {
        Ino(self.attr.ino.0)
    }
}

fn word_of(ino: Ino) -> (usize, u64) {
    ((ino.0 / 64) as usize, 1 << (ino.0 % 64))
}

/// Nothing that can panic is done while a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
