//! Watches archives for changes while they are mounted.
//!
//! Each READ looks whether its archive is still the one that was indexed. That says nothing about
//! what the kernel has cached before, which it serves without a request; so inotify(7) tells of
//! changes as they happen.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use log::warn;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::archive::served_file::ServedFile;

/// What watches archives.
#[derive(Debug)]
pub struct Watch {
    /// `None` where the system has no inotify to spare.
    shared: Option<Arc<Shared>>,
    changed: Sender<()>,
}

#[derive(Debug)]
struct Shared {
    inotify: Inotify,
    watched: Mutex<Watched>,
    /// Whether the log was told that not all archives are watched.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Watched {
    /// One file may be open more than once, and has one descriptor all the same.
    files: HashMap<WatchDescriptor, Vec<Weak<ServedFile>>>,
    /// How many files there may be before those are looked for that nobody has open any more.
    limit: usize,
}

impl Watch {
    /// Watches nothing yet. What is returned beside it receives a message for each archive that is
    /// found changed, by inotify or otherwise.
    pub fn new() -> (Self, Receiver<()>) {
        let (changed, receiver) = mpsc::channel();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).inspect_err(|&error| unwatched(error));
        let shared = |inotify| {
            Arc::new(Shared {
                inotify,
                watched: Mutex::default(),
                told: AtomicBool::new(false),
            })
        };
        let shared = inotify.ok().map(shared);
        (Self { shared, changed }, receiver)
    }

    /// Starts to look at what changes, in a thread of its own.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn start(&self) -> io::Result<()> {
        if let Some(shared) = self.shared.clone() {
            let thread = thread::Builder::new().name("inotify".to_owned());
            thread.spawn(move || shared.look_at_what_changes())?;
        }
        Ok(())
    }

    /// Where an archive that is found changed is to be told of.
    pub fn changed(&self) -> Sender<()> {
        self.changed.clone()
    }

    /// Watches an open archive, for as long as it is open.
    pub fn add(&self, bytes: &Arc<ServedFile>) {
        if let Some(shared) = &self.shared
            && let Err(error) = shared.add(bytes)
            && !shared.told.swap(true, Ordering::Relaxed)
        {
            unwatched(error);
        }
        // What happened before the watch began has to be found, too.
        bytes.has_changed();
    }
}

fn unwatched(error: Errno) {
    warn!(
        "changes of an archive are noticed only by reads: inotify: {}",
        error.desc()
    );
}

impl Shared {
    fn add(&self, bytes: &Arc<ServedFile>) -> Result<(), Errno> {
        // By its descriptor, since the path may name another file by now.
        let opened = format!("/proc/self/fd/{}", bytes.as_file().as_raw_fd());
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        let mut watched = self.lock();
        let descriptor = self.inotify.add_watch(opened.as_str(), events)?;
        let file = watched.files.entry(descriptor).or_default();
        file.push(Arc::downgrade(bytes));
        if watched.files.len() > watched.limit {
            self.stop_watching_what_is_closed(&mut watched);
            watched.limit = 2 * watched.files.len() + 16;
        }
        Ok(())
    }

    fn stop_watching_what_is_closed(&self, watched: &mut Watched) {
        watched.files.retain(|&descriptor, file| {
            file.retain(|bytes| bytes.strong_count() > 0);
            if file.is_empty() {
                // An error says that the file is gone, and the watch with it.
                let _ = self.inotify.rm_watch(descriptor);
            }
            !file.is_empty()
        });
    }

    /// Looks at each archive that is written to, truncated or given other attributes.
    fn look_at_what_changes(&self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        let watched = self.lock();
                        let files = watched.files.get(&event.wd).cloned();
                        drop(watched);
                        for bytes in files.iter().flatten().filter_map(Weak::upgrade) {
                            bytes.has_changed();
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return unwatched(error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
