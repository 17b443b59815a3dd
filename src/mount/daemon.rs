//! The processes of a mount: the one that goes to the background, and the one that cleans up if
//! that one is killed.

use std::env;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::exit_status;
use crate::mount::unmount;
use crate::sys;
use crate::sys::mountinfo::{self, Place};

/// How long a killed process may take to let go of everything.
const DYING: Duration = Duration::from_secs(10);

/// Which process goes on after a fork.
#[derive(Debug)]
pub enum Background {
    /// The one that was called: the other one is live.
    Caller(Server),
    /// The one that was called: the other one has ended with this status and was never live.
    Ended(u8),
    /// The one in the background.
    Server(Launch),
}

/// The way in which a background process tells that it is live. If it ends before, its exit status
/// becomes that of the caller.
#[derive(Debug)]
pub struct Launch {
    caller: UnixStream,
}

/// The process in the background, as the one that was called sees it.
#[derive(Debug)]
pub struct Server {
    /// Closed by the kernel when that process ends.
    connection: UnixStream,
    pid: Pid,
}

/// Starts the process that is to go to the background. It keeps the terminal until it is live, so
/// that it can say why it fails, but of other descriptors only `kept`. Returns in both processes.
///
/// # Errors
/// Those of fork(2) and socketpair(2).
pub fn background(kept: Option<&OwnedFd>) -> io::Result<Background> {
    let (connection, caller) = UnixStream::pair()?;
    match sys::fork()? {
        ForkResult::Child => {
            // Also the caller's end: that process alone is to hold it.
            drop(connection);
            let kept = kept.map(AsRawFd::as_raw_fd);
            sys::close_inherited_descriptors(kept.into_iter().chain([caller.as_raw_fd()]));
            Ok(Background::Server(Launch { caller }))
        }
        ForkResult::Parent { child } => {
            drop(caller);
            let pid = child;
            wait_until_live(Server { connection, pid })
        }
    }
}

fn wait_until_live(mut server: Server) -> io::Result<Background> {
    let mut live = [0];
    if server.connection.read(&mut live)? == 1 {
        return Ok(Background::Caller(server));
    }
    loop {
        return match waitpid(server.pid, None) {
            Err(nix::errno::Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, status)) => Ok(Background::Ended(status as u8)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Err(io::Error::other(format!(
                "the background process was ended by {signal}"
            ))),
            Ok(_) => Ok(Background::Ended(exit_status::FAILED)),
            Err(error) => Err(error.into()),
        };
    }
}

impl Server {
    /// Waits until the process has ended, but no longer than `patience`.
    pub fn wait(mut self, patience: Duration) {
        let patient = self.connection.set_read_timeout(Some(patience)).is_ok();
        if patient && self.connection.read(&mut [0]).is_ok_and(|len| len == 0) {
            // It has closed everything already.
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Launch {
    /// The connection to the caller. Nothing comes over it, but its end when the caller ends,
    /// however that ends.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn connection(&self) -> io::Result<UnixStream> {
        self.caller.try_clone()
    }

    /// Leaves the caller's session, directory and terminal, and lets the caller go.
    ///
    /// # Errors
    /// Those of setsid(2), chdir(2) and dup2(2).
    pub fn live(mut self) -> io::Result<()> {
        leave()?;
        self.caller.write_all(&[1])
    }
}

/// Leaves the caller's session, directory and terminal.
///
/// # Errors
/// Those of setsid(2), chdir(2) and dup2(2).
pub fn leave() -> io::Result<()> {
    setsid()?;
    env::set_current_dir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Takes standard input into possession: whoever has the other end sees when it is closed.
///
/// # Errors
/// Those of dup(2) and dup2(2).
pub fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(stdin)
}

/// Which process goes on after [`watch`].
#[derive(Debug)]
pub enum Watched {
    /// The one that will mount.
    Server(Watcher),
    /// The one that watched; its work is done.
    Watcher,
}

/// A process that outlives this one, to unmount what it leaves behind.
#[derive(Debug)]
pub struct Watcher {
    /// Closed by the kernel when this process ends, however it ends.
    server: Option<PipeWriter>,
    pid: Pid,
}

/// Starts a process that waits for this one to end and then unmounts its mount at `mount_point`,
/// if that is left and dead. Returns in both processes; in the watcher at the end. The watcher drops
/// its copy of `launch`: it is not the one that the caller waits for.
///
/// # Errors
/// Those of fork(2) and pipe(2).
pub fn watch(mount_point: &Path, launch: &mut Option<Launch>) -> io::Result<Watched> {
    let (mut reader, server) = io::pipe()?;
    match sys::fork()? {
        ForkResult::Parent { child } => Ok(Watched::Server(Watcher {
            server: Some(server),
            pid: child,
        })),
        ForkResult::Child => {
            drop(server);
            drop(launch.take());
            leave()?;
            let mut device = Vec::new();
            reader.read_to_end(&mut device)?;
            if let Some(device) = parse_device(&device) {
                unmount_when_dead(mount_point, device);
            }
            Ok(Watched::Watcher)
        }
    }
}

impl Watcher {
    /// Tells the watcher which file system it is to unmount.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn mounted(&mut self, (major, minor): (u32, u32)) -> io::Result<()> {
        let numbers = [major.to_ne_bytes(), minor.to_ne_bytes()].concat();
        match &mut self.server {
            Some(server) => server.write_all(&numbers),
            None => Ok(()),
        }
    }
}

impl Drop for Watcher {
    /// Ends the watcher before this process ends, so that none is left.
    fn drop(&mut self) {
        self.server = None;
        // It has ended already, or does so at once.
        let _ = waitpid(self.pid, None);
    }
}

fn parse_device(bytes: &[u8]) -> Option<(u32, u32)> {
    let (major, rest) = bytes.split_first_chunk()?;
    let (minor, _) = rest.split_first_chunk()?;
    Some((u32::from_ne_bytes(*major), u32::from_ne_bytes(*minor)))
}

fn unmount_when_dead(mount_point: &Path, device: (u32, u32)) {
    let deadline = Instant::now() + DYING;
    // A process that is killed closes its descriptors one by one, this pipe perhaps first.
    while mountinfo::has_npzfs(mount_point).unwrap_or(false)
        && Place::find(mount_point).is_ok_and(|place| place.mount.device == device)
        && Instant::now() < deadline
    {
        // There is nobody left to tell of a failure.
        let _ = unmount::end_dead(mount_point);
        thread::sleep(Duration::from_millis(5));
    }
}
