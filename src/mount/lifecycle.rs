//! A live mount: how it is served, and the ways in which it ends.
//!
//! It ends when it is unmounted, by a signal, or with the process that it was made for.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use log::{error, info};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::statvfs::statvfs;

use crate::mount::error::{self, MountError, UnmountError, system};
use crate::mount::guard::MountGuard;
use crate::mount::session::Session;
use crate::sys::process;
use crate::ui::human::Escaped;

/// How long the users of a mount may go on after a signal has ended it.
const GRACE: Duration = Duration::from_secs(1);

/// Blocks the signals that end a mount, until [`Mount::serve`] waits for them. Returns them.
///
/// # Errors
/// [`MountError::System`].
pub fn block_signals() -> Result<SigSet, MountError> {
    let signals: SigSet = process::TERMINATION_SIGNALS.into_iter().collect();
    let mut blocked = signals;
    // The kernel sends it to the holder of a lease, which sys::file takes for a moment.
    blocked.add(Signal::SIGIO);
    let result = blocked.thread_block().map_err(io::Error::from);
    result.map_err(system("block signals"))?;
    Ok(signals)
}

/// A live mount. Its fields are in the order of those of a
/// [`Connection`](super::connection::Connection).
#[derive(Debug)]
pub struct Mount {
    events: Receiver<Event>,
    guard: Option<MountGuard>,
}

/// An event that may end a mount.
#[derive(Debug)]
enum Event {
    /// The session has ended: it was unmounted, or the connection was aborted.
    SessionEnded(io::Result<()>),
    Signal(Signal),
    /// The process that the mount is for has ended, or has closed its end. It may wait for this end
    /// to be closed, which says that the mount has ended.
    OwnerEnded(File),
}

impl Mount {
    /// Serves a session in threads of its own. `signals` end the mount, and so does the end of
    /// `owner`, a pipe or a socket of the process that it is for.
    ///
    /// # Errors
    /// [`MountError::System`]; then the mount is undone.
    pub fn serve(
        session: Session,
        signals: SigSet,
        owner: Option<File>,
    ) -> Result<Self, MountError> {
        let Session { guard, fuse } = session;
        let (events, receiver) = mpsc::channel();
        let mount = Self {
            events: receiver,
            guard,
        };
        let sender = events.clone();
        // Sending fails once this process is about to end, which is no matter.
        spawn("session", move || {
            drop(sender.send(Event::SessionEnded(fuse.run())));
        })?;
        if let Some(mut owner) = owner {
            let sender = events.clone();
            spawn("owner", move || {
                // A failure also means that the owner has ended.
                let _ = io::copy(&mut owner, &mut io::sink());
                drop(sender.send(Event::OwnerEnded(owner)));
            })?;
        }
        spawn("signals", move || send_signals(&signals, &events))?;
        Ok(mount)
    }

    /// Waits until the mount answers a request.
    ///
    /// # Errors
    /// [`FuseError::Session`](super::error::FuseError::Session).
    pub fn wait_until_live(&self) -> Result<(), MountError> {
        match &self.guard {
            Some(guard) => request(&guard.mount_point.path).map_err(error::session),
            // Another program's mount may be anywhere.
            None => Ok(()),
        }
    }

    /// Returns this process's own mount; `None` where another program has mounted.
    pub fn guard(&self) -> Option<&MountGuard> {
        self.guard.as_ref()
    }

    /// Waits until the mount has ended.
    ///
    /// # Errors
    /// [`MountError::System`] where the session has failed.
    pub fn wait(mut self) -> Result<(), MountError> {
        // An error would mean that all threads have ended.
        while let Ok(event) = self.events.recv() {
            match event {
                Event::SessionEnded(result) => return self.session_ended(result),
                Event::OwnerEnded(owner) => {
                    // Its other users may go on: the session ends with the last of them.
                    if self.unmount("the process that it is for has ended")
                        && let Some(guard) = &self.guard
                    {
                        guard.mount_point.remove();
                    }
                    drop(owner);
                }
                Event::Signal(signal) => {
                    // Before the session ends: afterwards its device number may be another's.
                    if !self.unmount(signal.as_str()) {
                        continue;
                    }
                    // Users may finish what they are doing; a second signal cuts that short.
                    let _ = self.events.recv_timeout(GRACE);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn session_ended(self, result: io::Result<()>) -> Result<(), MountError> {
        let was_unmounted = self.guard.is_none_or(MountGuard::session_ended);
        result.map_err(system("serve"))?;
        if !was_unmounted {
            return Err(system("serve")(io::ErrorKind::ConnectionAborted.into()));
        }
        info!("unmounted");
        Ok(())
    }

    /// Unmounts, if the mount is this process's own. Returns whether this process may end: not while
    /// another mount is inside.
    fn unmount(&mut self, reason: &str) -> bool {
        let Some(guard) = &mut self.guard else {
            info!("{reason}: left mounted, for the program that has mounted it");
            return true;
        };
        info!("{reason}: unmounting");
        let ended = guard.unmount();
        if let Err(error) = &ended {
            error!("{}: {error}", Escaped::path(&guard.mount_point.path));
        }
        !matches!(ended, Err(UnmountError::MountInside { .. }))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), MountError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(system("start a thread"))
}

fn send_signals(signals: &SigSet, events: &Sender<Event>) {
    while let Ok(signal) = signals.wait() {
        if events.send(Event::Signal(signal)).is_err() {
            return;
        }
    }
}

/// Sends a request to the mount itself, and waits for the answer.
fn request(mount_point: &Path) -> io::Result<()> {
    // The thread must not keep the connection open: if this process is killed, closing it is what
    // ends the request.
    let ask = || {
        // Before Linux 5.9 it keeps it open.
        let _ = process::unshare_descriptors();
        statvfs(mount_point)
    };
    thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, ask)?;
        match asking.join() {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(io::Error::other("the thread that asks has failed")),
        }
    })
}
