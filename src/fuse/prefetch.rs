//! Files that the kernel knows, and has in its cache, before their reader asks for them.
//!
//! FUSE_NOTIFY_STORE puts bytes into the page cache of an inode. It waits for pages that somebody is
//! reading, and a process that is killed meanwhile would never end: its readers wait for it, and it
//! for them. So nothing is ever stored in an inode that anybody could have open. That is known of
//! those that were told to nobody yet:
//!
//! 1. The [`Warmer`] lists the files that a stream is going to need, and is given entries that hold
//!    for no time at all: nobody opens one of them without a LOOKUP.
//! 2. When no request waits, they are stored, one after the other. A LOOKUP waits for that.
//! 3. The scout lists those again that were not looked up meanwhile, and now the entries hold:
//!    whoever opens one sends no request, and reads what is in the cache.
//!
//! While the scout is in the mount, a reader is kept waiting who is in it, too, so that the mount is
//! never busy when nobody uses it.

mod batch;
mod known_inodes;
mod order;
mod streams;
mod warmer;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use fuser::{FileAttr, INodeNo, Notifier, ReplyDirectoryPlus};
use log::debug;

use super::busy_poll::has_request;
use super::stats::Stats;
use crate::archive::slice::FileSlice;
use crate::archive::{Archive, Contents};
use crate::sys::buffer::Buffer;
use crate::sys::sync::lock;
use crate::tree::{Attr, Ino};
use batch::{Batch, File, Step};
use known_inodes::KnownInodes;
use order::{NameOrder, OrderBy, ReadOrder};
use streams::{Plan, Streams};
pub(super) use warmer::WarmUp;
use warmer::Warmer;

/// How much is stored for one listing, in bytes.
const BATCH_MAX: u64 = 8 << 20;

/// What is prefetched for whom; nothing until [started](Self::start).
#[derive(Debug, Default)]
pub struct Prefetch(OnceLock<Started>);

#[derive(Debug)]
struct Started {
    volume: Arc<Archive>,
    mount_point: PathBuf,
    device: OwnedFd,
    notifier: Notifier,
    scout: Warmer,
    /// Those are set while `batch` is locked: so nobody is told of a file while it is stored.
    told: KnownInodes,
    sorted: NameOrder,
    streams: Mutex<Streams>,
    batch: Arc<Mutex<Batch>>,
}

impl Prefetch {
    /// Begins to prefetch from the only archive of the mount at `mount_point`, whose connection to
    /// the kernel is `device`.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn start(
        &self,
        volume: Arc<Archive>,
        mount_point: PathBuf,
        device: OwnedFd,
        notifier: Notifier,
    ) -> io::Result<()> {
        let batch: Arc<Mutex<Batch>> = Arc::default();
        let sent = batch.clone();
        let told = KnownInodes::new(volume.tree.inode_count());
        // It is started once.
        let _ = self.0.set(Started {
            volume,
            mount_point,
            device,
            notifier,
            scout: Warmer::start(move || lock(&sent).scout_is_back())?,
            told,
            sorted: NameOrder::default(),
            streams: Mutex::default(),
            batch,
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
            && !started.told.is(ino)
        {
            let _batch = lock(&started.batch);
            started.told.set(ino);
        }
    }

    /// Somebody else has looked up a file. Returns whether the directory should be
    /// [sorted](Self::sort), where that holds nobody up.
    pub(super) fn looked_up(&self, directory: Ino, ino: Ino) -> bool {
        self.started()
            .is_some_and(|started| started.looked_up(directory, ino))
    }

    /// Sorts a directory by name.
    pub(super) fn sort(&self, directory: Ino) {
        if let Some(started) = self.started() {
            started.sorted.sort(&started.volume.tree, directory);
        }
    }

    /// Somebody is reading a file up to `end`, in bytes. Returns what to wait for before that is
    /// answered.
    pub(super) fn read(
        &self,
        ino: Ino,
        end: u64,
        file_attr: impl Fn(&Attr) -> FileAttr,
    ) -> Option<WarmUp> {
        let started = self.started()?;
        let plan = lock(&started.streams).read(ino, end);
        let sent = plan.and_then(|plan| started.prepare(&plan, file_attr));
        sent.or_else(|| started.send_again())
    }

    /// Somebody who has a file open asks for something else. Returns what to wait for before that
    /// is answered.
    pub(super) fn asked(&self) -> Option<WarmUp> {
        self.started()?.send_again()
    }

    /// The scout lists the files of the batch.
    pub(super) fn list(&self, mut listing: ReplyDirectoryPlus) {
        if let Some(started) = self.started() {
            lock(&started.batch).list(&mut listing, &started.told);
        }
        listing.ok();
    }

    /// Stores what is to be stored, until a request waits.
    pub(super) fn go_on(&self, stats: &Stats) {
        if let Some(started) = self.started() {
            started.go_on(stats);
        }
    }

    fn started(&self) -> Option<&Started> {
        self.0.get()
    }
}

impl Started {
    fn looked_up(&self, directory: Ino, ino: Ino) -> bool {
        let tree = &self.volume.tree;
        let Some(place) = tree.position_in_directory(ino) else {
            return false;
        };
        let rank = self.sorted.rank(directory, place);
        let mut streams = lock(&self.streams);
        let mut looked_up = |by, place| streams.looked_up(ReadOrder { directory, by }, ino, place);
        looked_up(OrderBy::Archive, place);
        if let Some(rank) = rank {
            looked_up(OrderBy::Name, rank);
        }
        drop(streams);
        self.sorted.looked_up(tree, directory, place, ino)
    }

    /// Sends the scout for the files of `plan`, if there are any and it is not under way.
    fn prepare(&self, plan: &Plan, file_attr: impl Fn(&Attr) -> FileAttr) -> Option<WarmUp> {
        let mut batch = lock(&self.batch);
        if batch.step != Step::None {
            return None;
        }
        let tree = &self.volume.tree;
        let mut files = Vec::new();
        let mut end = plan.start;
        let mut len = 0;
        let entries = self
            .sorted
            .entries(tree, plan.series, plan.start, 2 * plan.count);
        for entry in entries {
            if let Some(contents) = self.storable(entry.attr.ino, plan.reach) {
                if !contents.is_cached() {
                    break;
                }
                len += contents.len();
                let file = File {
                    name: entry.name.to_owned(),
                    attr: file_attr(&entry.attr),
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
        let path = tree.path(plan.series.directory)?;
        *batch = Batch {
            directory: self.mount_point.join(path),
            files: files.into_iter().map(|(_, file)| file).collect(),
            reach: plan.reach,
            step: Step::Sent,
        };
        self.send(&mut batch)
    }

    /// Sends the scout a second time, if that is what comes next.
    fn send_again(&self) -> Option<WarmUp> {
        // While something is stored it is locked.
        let mut batch = self.batch.try_lock().ok()?;
        if batch.step != Step::Stored {
            return None;
        }
        batch.step = Step::SentAgain;
        self.send(&mut batch)
    }

    fn send(&self, batch: &mut Batch) -> Option<WarmUp> {
        let sent = self.scout.send(batch.directory.clone());
        if sent.is_none() {
            batch.step = Step::None;
        }
        sent
    }

    /// What there is to store of a file, at most `reach` bytes: something if the kernel asks for its
    /// contents, and nobody could have it open.
    fn storable(&self, ino: Ino, reach: u64) -> Option<FileSlice> {
        if self.told.is(ino) {
            return None;
        }
        match self.volume.contents(self.volume.tree.member(ino)?) {
            Ok(Contents::Stored(contents)) if self.volume.reflinker_for(&contents).is_none() => {
                Some(contents.part(0, reach))
            }
            _ => None,
        }
    }

    fn go_on(&self, stats: &Stats) {
        // Whether a request waits is looked for when the lock is free again: whoever is to answer it
        // then finds it so.
        while let Ok(mut batch) = self.batch.try_lock() {
            let Step::Storing(stored) = batch.step else {
                return;
            };
            let Some(file) = batch.files.get(stored) else {
                batch.step = Step::Stored;
                return;
            };
            if let Err(error) = self.store(file.ino(), batch.reach, stats) {
                debug!("nothing is prefetched any more: {error}");
                batch.step = Step::Lost;
                return;
            }
            batch.step = Step::Storing(stored + 1);
            drop(batch);
            if has_request(&self.device) {
                return;
            }
        }
    }

    fn store(&self, ino: Ino, reach: u64, stats: &Stats) -> io::Result<()> {
        let Some(contents) = self.storable(ino, reach) else {
            return Ok(());
        };
        let mut buffer = Buffer::take()?;
        let bytes = contents
            .read_cached(&mut buffer)
            .map_err(|_| io::Error::other("the archive has changed"))?;
        if let Some(bytes) = bytes {
            self.notifier.store(INodeNo(ino.0), 0, bytes)?;
            stats.count_prefetched(contents.len());
        }
        Ok(())
    }
}
