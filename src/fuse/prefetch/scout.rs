//! Does beside the answers what would hold them up, or waits for some itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::gettid;

use crate::sys;
use crate::tree::Ino;

/// What the scout is to do.
#[derive(Debug)]
pub(super) enum Errand {
    /// List the beginning of a directory of the mount: what is listed is known to the kernel.
    List(PathBuf),
    /// Sort a directory by name.
    Sort(Ino),
}

/// A thread for errands.
#[derive(Debug)]
pub(super) struct Scout {
    errands: SyncSender<Errand>,
    thread: Arc<AtomicU32>,
}

impl Scout {
    /// Starts it. `finish` is called for each errand when the scout is back. It must not start
    /// threads, which would have the scout's descriptors.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub(super) fn start(finish: impl Fn(&Errand) + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(2);
        let number = Arc::new(AtomicU32::new(0));
        let told = number.clone();
        let thread = thread::Builder::new().name("scout".to_owned());
        thread.spawn(move || {
            // If this process is killed, the kernel ends its requests when the last descriptor of
            // the device is closed; and a thread whose own request is one of those cannot be among
            // those that keep it open.
            if sys::leave_descriptors().is_ok() {
                told.store(gettid().as_raw().cast_unsigned(), Ordering::Relaxed);
                run_errands(&receiver, finish);
            }
        })?;
        Ok(Self {
            errands: sender,
            thread: number,
        })
    }

    /// Sends it. Returns whether it goes.
    pub(super) fn send(&self, errand: Errand) -> bool {
        self.thread.load(Ordering::Relaxed) != 0 && self.errands.try_send(errand).is_ok()
    }

    /// Whether a request is the scout's own.
    pub(super) fn is(&self, thread: u32) -> bool {
        thread != 0 && thread == self.thread.load(Ordering::Relaxed)
    }
}

fn run_errands(errands: &Receiver<Errand>, finish: impl Fn(&Errand)) {
    while let Ok(errand) = errands.recv() {
        if let Errand::List(path) = &errand {
            list(path);
        }
        finish(&errand);
    }
}

fn list(path: &Path) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(mut directory) = Dir::open(path, flags, Mode::empty()) {
        // One entry takes one request, which gives as many as it has room for.
        let _ = directory.iter().next();
    }
}
