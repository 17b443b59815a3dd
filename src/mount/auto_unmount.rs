//! `--auto-unmount`: a second process that outlives the server, and unmounts what a killed server
//! leaves behind.

use std::io::{self, PipeWriter, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use crate::mount::daemon::Launch;
use crate::mount::unmount;
use crate::sys::mountinfo::{self, Place};
use crate::sys::process;

/// The longest time that a killed process may take to close its descriptors.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the watcher looks whether the mount is dead.
const INTERVAL: Duration = Duration::from_millis(5);

/// The process that continues after [`watch`].
#[derive(Debug)]
pub enum Watched {
    /// The one that will mount.
    Server(Watcher),
    /// The watcher, whose work is done.
    Watcher,
}

/// The watcher, as the server sees it.
#[derive(Debug)]
pub struct Watcher {
    /// Closed by the kernel when the server ends, however it ends.
    server: Option<PipeWriter>,
    pid: Pid,
}

/// Starts a process that waits for this one to end, and then unmounts its mount at `mount_point` if
/// that is left and dead. Returns in both processes; in the watcher at the end. The watcher drops
/// its copy of `launch`, since the caller waits for the server and not for the watcher.
///
/// # Errors
/// Those of fork(2) and pipe(2).
pub fn watch(mount_point: &Path, launch: &mut Option<Launch>) -> io::Result<Watched> {
    let (mut reader, server) = io::pipe()?;
    match process::fork()? {
        ForkResult::Parent { child } => Ok(Watched::Server(Watcher {
            server: Some(server),
            pid: child,
        })),
        ForkResult::Child => {
            drop(server);
            drop(launch.take());
            process::detach()?;
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
    /// Sends the watcher the device number of the file system that it has to unmount.
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
    /// Ends the watcher before this process ends, so that no process is left.
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
    let deadline = Instant::now() + TIMEOUT;
    // A process that is killed closes its descriptors one by one, this pipe perhaps first.
    while mountinfo::has_npzfs(mount_point).unwrap_or(false)
        && Place::find(mount_point).is_ok_and(|place| place.mount.device == device)
        && Instant::now() < deadline
    {
        // The watcher has neither a log nor a terminal to report a failure to.
        let _ = unmount::unmount_dead(mount_point);
        thread::sleep(INTERVAL);
    }
}
