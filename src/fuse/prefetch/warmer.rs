//! A thread that lists directories of the mount, so that the kernel caches their entries.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::gettid;

use crate::sys;
use crate::sys::sync::lock;

/// The longest time that a READ is held back for the warmer. It takes a fraction of a millisecond,
/// unless the path to the mount leads through a slow file system.
const TIMEOUT: Duration = Duration::from_millis(20);

/// A thread that lists directories of the mount.
///
/// It has a descriptor table of its own, with nothing in it but what it opens itself. If this
/// process is killed, the kernel ends unanswered requests when the last descriptor of the device is
/// closed. A thread that waits for such a request must not keep the device open itself. So the
/// warmer must not log, start threads, or drop anything that has a descriptor.
#[derive(Debug)]
pub(super) struct Warmer {
    directories: SyncSender<PathBuf>,
    thread: Arc<AtomicU32>,
    listings: Arc<Listings>,
}

/// Counts the listings that are finished.
#[derive(Debug, Default)]
struct Listings {
    count: Mutex<u64>,
    grown: Condvar,
}

/// A listing of the warmer that is under way.
#[derive(Debug)]
pub(in super::super) struct WarmUp {
    listings: Arc<Listings>,
    /// The number of listings finished before.
    before: u64,
}

impl WarmUp {
    /// Waits until it is finished.
    pub(in super::super) fn wait(self) {
        let is_under_way = |count: &mut u64| *count == self.before;
        let count = lock(&self.listings.count);
        // After the timeout the READ is answered all the same.
        let _ = self
            .listings
            .grown
            .wait_timeout_while(count, TIMEOUT, is_under_way);
    }
}

impl Warmer {
    /// Starts the thread. It calls `listed` after each listing, which must keep to the rules above.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub(super) fn start(listed: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let number = Arc::new(AtomicU32::new(0));
        let listings: Arc<Listings> = Arc::default();
        let (announced, counted) = (number.clone(), listings.clone());
        let thread = thread::Builder::new().name("warmer".to_owned());
        thread.spawn(move || {
            if sys::process::unshare_descriptors().is_ok() {
                announced.store(gettid().as_raw().cast_unsigned(), Ordering::Relaxed);
                serve(&receiver, &counted, listed);
            }
        })?;
        Ok(Self {
            directories: sender,
            thread: number,
            listings,
        })
    }

    /// Has the thread list the beginning of a directory. Returns `None` if it cannot, or is busy.
    pub(super) fn send(&self, directory: PathBuf) -> Option<WarmUp> {
        let before = *lock(&self.listings.count);
        let is_there = self.thread.load(Ordering::Relaxed) != 0;
        let goes = is_there && self.directories.try_send(directory).is_ok();
        goes.then(|| WarmUp {
            listings: self.listings.clone(),
            before,
        })
    }

    /// Returns whether a request of that thread comes from the warmer.
    pub(super) fn is(&self, thread: u32) -> bool {
        thread != 0 && thread == self.thread.load(Ordering::Relaxed)
    }
}

fn serve(directories: &Receiver<PathBuf>, listings: &Listings, listed: impl Fn()) {
    while let Ok(directory) = directories.recv() {
        list(&directory);
        listed();
        *lock(&listings.count) += 1;
        listings.grown.notify_all();
    }
}

fn list(path: &Path) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(mut directory) = Dir::open(path, flags, Mode::empty()) {
        // The first entry takes one READDIRPLUS, which is answered with as many as there is room
        // for.
        let _ = directory.iter().next();
    }
}
