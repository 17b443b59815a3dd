//! Has the kernel know files before anybody asks for them, which it does if they are listed.

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

/// How long a reader waits for the scout, at most. It takes a fraction of a millisecond, unless
/// something else holds it up on the way to the mount.
const PATIENCE: Duration = Duration::from_millis(20);

/// A thread that lists directories of the mount.
///
/// It has no descriptors but those that it opens itself. If this process is killed, the kernel ends
/// requests that are not answered when the last descriptor of the device is closed; and a thread
/// whose own request is one of those must not be among those that keep it open. So it must neither
/// log, nor start threads, nor let go of what has a descriptor.
#[derive(Debug)]
pub(super) struct Warmer {
    directories: SyncSender<PathBuf>,
    thread: Arc<AtomicU32>,
    returns: Arc<Returns>,
}

/// How often the scout has come back.
#[derive(Debug, Default)]
struct Returns {
    count: Mutex<u64>,
    more: Condvar,
}

/// That the scout, who is under way, is back.
#[derive(Debug)]
pub(in super::super) struct WarmUp {
    returns: Arc<Returns>,
    /// How often it had come back before.
    before: u64,
}

impl WarmUp {
    /// Waits for it.
    pub(in super::super) fn wait(self) {
        let is_out = |count: &mut u64| *count == self.before;
        let count = lock(&self.returns.count);
        // If it has not come by then, the reader goes on all the same.
        let _ = self
            .returns
            .more
            .wait_timeout_while(count, PATIENCE, is_out);
    }
}

impl Warmer {
    /// Starts it. `is_back` is called each time that it is, and has to keep to what a scout must not
    /// do.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub(super) fn start(is_back: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let number = Arc::new(AtomicU32::new(0));
        let returns: Arc<Returns> = Arc::default();
        let (told, counted) = (number.clone(), returns.clone());
        let thread = thread::Builder::new().name("scout".to_owned());
        thread.spawn(move || {
            if sys::process::unshare_descriptors().is_ok() {
                told.store(gettid().as_raw().cast_unsigned(), Ordering::Relaxed);
                scout(&receiver, &counted, is_back);
            }
        })?;
        Ok(Self {
            directories: sender,
            thread: number,
            returns,
        })
    }

    /// Sends it to list the beginning of a directory. Returns what tells that it is back; `None` if
    /// it does not go.
    pub(super) fn send(&self, directory: PathBuf) -> Option<WarmUp> {
        let before = *lock(&self.returns.count);
        let is_there = self.thread.load(Ordering::Relaxed) != 0;
        let goes = is_there && self.directories.try_send(directory).is_ok();
        goes.then(|| WarmUp {
            returns: self.returns.clone(),
            before,
        })
    }

    /// Whether a request is the scout's own.
    pub(super) fn is(&self, thread: u32) -> bool {
        thread != 0 && thread == self.thread.load(Ordering::Relaxed)
    }
}

fn scout(directories: &Receiver<PathBuf>, returns: &Returns, is_back: impl Fn()) {
    while let Ok(directory) = directories.recv() {
        list(&directory);
        is_back();
        *lock(&returns.count) += 1;
        returns.more.notify_all();
    }
}

fn list(path: &Path) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(mut directory) = Dir::open(path, flags, Mode::empty()) {
        // One entry takes one request, which gives as many as it has room for.
        let _ = directory.iter().next();
    }
}
