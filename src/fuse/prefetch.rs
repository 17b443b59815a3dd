//! Prefetching across files: names and contents of the next files of a sequential read are in the
//! kernel's caches before the client asks for them.
//!
//! FUSE_NOTIFY_STORE puts bytes into the page cache of an inode. It waits for pages that are being
//! read. If this process is killed meanwhile, it never ends: the readers wait for its answer, and
//! it waits for their pages. So FUSE_NOTIFY_STORE only targets inodes that no client knows:
//!
//! 1. The [`Warmer`], a thread of this process, lists the files that a stream will need next.
//!    Their entries have a TTL of 0, so no client can open one without a LOOKUP.
//! 2. While no request is in the queue, the files are stored one by one. A LOOKUP waits for the
//!    file that is being stored.
//! 3. The warmer lists the files again that were not looked up meanwhile, now with the TTL of
//!    static entries. A client that opens one of them sends no request and reads from the page
//!    cache.
//!
//! While the warmer lists the mount, the READ of a client is held back. So the mount is never busy
//! when no client uses it.

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

/// The maximum number of bytes that are stored for one batch.
const BATCH_MAX: u64 = 8 << 20;

/// The prefetcher of a mount. It does nothing until it is [started](Self::start).
#[derive(Debug, Default)]
pub struct Prefetch(OnceLock<Started>);

#[derive(Debug)]
struct Started {
    archive: Arc<Archive>,
    mount_point: PathBuf,
    device: OwnedFd,
    notifier: Notifier,
    warmer: Warmer,
    /// The inodes that clients know. They are added while `batch` is locked, so that no client
    /// learns of a file while it is stored.
    known: KnownInodes,
    name_order: NameOrder,
    streams: Mutex<Streams>,
    batch: Arc<Mutex<Batch>>,
}

impl Prefetch {
    /// Starts to prefetch from the only archive of the mount at `mount_point`. The connection to
    /// the kernel is `device`.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn start(
        &self,
        archive: Arc<Archive>,
        mount_point: PathBuf,
        device: OwnedFd,
        notifier: Notifier,
    ) -> io::Result<()> {
        let batch: Arc<Mutex<Batch>> = Arc::default();
        let sent = batch.clone();
        let known = KnownInodes::new(archive.tree.inode_count());
        // This is called once.
        let _ = self.0.set(Started {
            archive,
            mount_point,
            device,
            notifier,
            warmer: Warmer::start(move || lock(&sent).listed())?,
            known,
            name_order: NameOrder::default(),
            streams: Mutex::default(),
            batch,
        });
        Ok(())
    }

    /// Returns whether a request comes from the warmer.
    pub(super) fn is_warmer(&self, thread: u32) -> bool {
        self.started().is_some_and(|it| it.warmer.is(thread))
    }

    /// Notes that a client is about to learn of an inode: from now on nothing is stored there.
    pub(super) fn add_known(&self, ino: Ino) {
        if let Some(started) = self.started()
            && !started.known.contains(ino)
        {
            let _batch = lock(&started.batch);
            started.known.add(ino);
        }
    }

    /// Notes that a client has looked up a file. Returns whether the directory should be
    /// [sorted](Self::sort) now, in a thread that no client waits for.
    pub(super) fn looked_up(&self, directory: Ino, ino: Ino) -> bool {
        self.started()
            .is_some_and(|started| started.looked_up(directory, ino))
    }

    /// Sorts a directory by name.
    pub(super) fn sort(&self, directory: Ino) {
        if let Some(started) = self.started() {
            started.name_order.sort(&started.archive.tree, directory);
        }
    }

    /// Notes that a client reads a file up to the offset `end`. Returns the warm-up that the answer
    /// has to wait for.
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

    /// Notes another request of a client that has a file open. Returns the warm-up that the answer
    /// has to wait for.
    pub(super) fn requested(&self) -> Option<WarmUp> {
        self.started()?.send_again()
    }

    /// Answers the READDIRPLUS of the warmer with the files of the batch.
    pub(super) fn list(&self, mut listing: ReplyDirectoryPlus) {
        if let Some(started) = self.started() {
            lock(&started.batch).list(&mut listing, &started.known);
        }
        listing.ok();
    }

    /// Stores files of the batch until a request is in the queue.
    pub(super) fn store_until_request(&self, stats: &Stats) {
        if let Some(started) = self.started() {
            started.store_until_request(stats);
        }
    }

    fn started(&self) -> Option<&Started> {
        self.0.get()
    }
}

impl Started {
    fn looked_up(&self, directory: Ino, ino: Ino) -> bool {
        let tree = &self.archive.tree;
        let Some(place) = tree.position_in_directory(ino) else {
            return false;
        };
        let rank = self.name_order.rank(directory, place);
        let mut streams = lock(&self.streams);
        let mut looked_up = |by, place| streams.looked_up(ReadOrder { directory, by }, ino, place);
        looked_up(OrderBy::Archive, place);
        if let Some(rank) = rank {
            looked_up(OrderBy::Name, rank);
        }
        drop(streams);
        self.name_order.looked_up(tree, directory, place, ino)
    }

    /// Starts a batch: sends the warmer to list the files of `plan`, unless a batch is under way.
    fn prepare(&self, plan: &Plan, file_attr: impl Fn(&Attr) -> FileAttr) -> Option<WarmUp> {
        let mut batch = lock(&self.batch);
        if batch.step != Step::None {
            return None;
        }
        let tree = &self.archive.tree;
        let mut files = Vec::new();
        let mut end = plan.start;
        let mut len = 0;
        let entries = self
            .name_order
            .entries(tree, plan.order, plan.start, 2 * plan.count);
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
        // Leave two files unprefetched. Their READs reach us: the first shows how far the reader
        // has got and triggers the next batch, the second is held while the warmer lists the
        // directory again.
        let second = (files.len() > 3).then(|| files.remove(files.len() * 3 / 4));
        let first = (files.len() > 1).then(|| files.remove(files.len() / 4));
        let next = first.or(second).map_or(end, |(place, _)| place);
        lock(&self.streams).planned(plan, next, end);
        if files.is_empty() {
            return None;
        }
        let path = tree.path(plan.order.directory)?;
        *batch = Batch {
            directory: self.mount_point.join(path),
            files: files.into_iter().map(|(_, file)| file).collect(),
            reach: plan.reach,
            step: Step::Sent,
        };
        self.send(&mut batch)
    }

    /// Sends the warmer a second time, if the batch is stored.
    fn send_again(&self) -> Option<WarmUp> {
        // The lock is held while a file is stored; no READ waits for that.
        let mut batch = self.batch.try_lock().ok()?;
        if batch.step != Step::Stored {
            return None;
        }
        batch.step = Step::SentAgain;
        self.send(&mut batch)
    }

    fn send(&self, batch: &mut Batch) -> Option<WarmUp> {
        let sent = self.warmer.send(batch.directory.clone());
        if sent.is_none() {
            batch.step = Step::None;
        }
        sent
    }

    /// Returns the first `reach` bytes of a file if they may be stored: the kernel reads the file
    /// through this server, and no client knows it.
    fn storable(&self, ino: Ino, reach: u64) -> Option<FileSlice> {
        if self.known.contains(ino) {
            return None;
        }
        match self.archive.contents(self.archive.tree.member(ino)?) {
            Ok(Contents::Stored(contents)) if self.archive.reflinker_for(&contents).is_none() => {
                Some(contents.part(0, reach))
            }
            _ => None,
        }
    }

    fn store_until_request(&self, stats: &Stats) {
        // The lock is released before the queue is polled, so that the worker that takes the
        // request finds it free.
        while let Ok(mut batch) = self.batch.try_lock() {
            let Step::Storing(stored) = batch.step else {
                return;
            };
            let Some(file) = batch.files.get(stored) else {
                batch.step = Step::Stored;
                return;
            };
            if let Err(error) = self.store(file.ino(), batch.reach, stats) {
                debug!("prefetching ends: {error}");
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
