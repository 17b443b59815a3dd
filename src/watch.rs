//! Watches an archive for changes while it is mounted.
//!
//! Each READ looks whether the archive is still the one that was indexed. That says nothing about
//! what the kernel has cached before, which it serves without a request; so inotify(7) tells of
//! changes as they happen, and what is cached is dropped.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc::Receiver;
use std::thread;

use fuser::{INodeNo, Notifier};
use log::{error, warn};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::content::Content;
use crate::human::Escaped;

/// What it takes to watch a mounted archive.
#[derive(Debug)]
pub struct Watch {
    /// The archive's absolute path.
    pub archive: PathBuf,
    /// The archive. Not to be kept alive: it goes when the session ends, and then there is nothing
    /// left to watch.
    pub content: Weak<Content>,
    /// Receives a message when the archive is found changed, by a READ or by inotify.
    pub changed: Receiver<()>,
    /// The inodes of the mount are 1 to this.
    pub inodes: u64,
}

impl Watch {
    /// Starts to watch, in threads of its own. When the archive has changed, the log says so and
    /// the kernel forgets what it has cached of it.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn start(self, notifier: Notifier) -> io::Result<()> {
        let Self {
            archive,
            content,
            changed,
            inodes,
        } = self;
        let watched = archive.clone();
        let watch = move || {
            if let Err(error) = until_changed(&content) {
                let shown = Escaped(watched.as_os_str().as_encoded_bytes());
                warn!("{shown}: changes are noticed only by reads: {error}");
            }
        };
        let forget = move || {
            // An error says that the session has ended. Then the notifier must go, too: it keeps
            // the connection open, and whoever uses the mount would wait for ever.
            if changed.recv().is_ok() {
                let shown = Escaped(archive.as_os_str().as_encoded_bytes());
                error!("{shown}: changed while mounted; mount it again");
                forget_all(&notifier, inodes);
            }
        };
        let thread = |name: &str| thread::Builder::new().name(name.to_owned());
        thread("inotify").spawn(watch)?;
        thread("forget").spawn(forget)?;
        Ok(())
    }
}

fn forget_all(notifier: &Notifier, inodes: u64) {
    for inode in 1..=inodes {
        // An inode that the kernel does not know is no error; that there is no mount any more
        // is the end.
        if notifier.inval_inode(INodeNo(inode), 0, 0).is_err() {
            return;
        }
    }
}

/// Looks at the archive whenever it is written to, truncated or given other attributes, until it
/// has changed.
fn until_changed(content: &Weak<Content>) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    if let Some(content) = content.upgrade() {
        // By its descriptor, since the path may name another file by now.
        let opened = format!("/proc/self/fd/{}", content.file().as_raw_fd());
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        inotify.add_watch(opened.as_str(), events)?;
    }
    // Looked at first: what happened before the watch began has to be found, too.
    while content
        .upgrade()
        .is_some_and(|content| !content.has_changed())
    {
        match inotify.read_events() {
            Err(Errno::EINTR) => {}
            events => drop(events?),
        }
    }
    Ok(())
}
