//! The process that serves a mount in the background, and how it reports to its caller.
//!
//! The caller waits on a socket until the server reports that the mount is live. If the server ends
//! before, its exit status becomes the caller's.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use crate::exit_status::{self, ExitStatus};
use crate::sys::process;

/// The process that continues after [`background`].
#[derive(Debug)]
pub enum Background {
    /// The caller, once the server is live.
    Caller(Server),
    /// The caller, if the server ended with this status before it was live.
    Ended(ExitStatus),
    /// The server, in the background.
    Server(Launch),
}

/// The server's end of the connection to its caller.
#[derive(Debug)]
pub struct Launch {
    caller: UnixStream,
}

/// The server, as its caller sees it.
#[derive(Debug)]
pub struct Server {
    /// Closed by the kernel when the server ends.
    connection: UnixStream,
    pid: Pid,
}

/// Forks the server. Until it is live it keeps the terminal for its error messages, but of all other
/// descriptors only `kept`. Returns in both processes.
///
/// # Errors
/// Those of fork(2) and socketpair(2).
pub fn background(kept: Option<&OwnedFd>) -> io::Result<Background> {
    let (connection, caller) = UnixStream::pair()?;
    match process::fork()? {
        ForkResult::Child => {
            // The caller's end must be open in the caller alone.
            drop(connection);
            let kept = kept.map(AsRawFd::as_raw_fd);
            process::close_inherited_descriptors(kept.into_iter().chain([caller.as_raw_fd()]));
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
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, status)) => Ok(Background::Ended(ExitStatus(status as u8))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Err(io::Error::other(format!(
                "the background process was ended by {signal}"
            ))),
            Ok(_) => Ok(Background::Ended(exit_status::FAILED)),
            Err(error) => Err(error.into()),
        };
    }
}

impl Server {
    /// Waits until the server has ended, but no longer than `timeout`.
    pub fn wait(mut self, timeout: Duration) {
        let is_bounded = self.connection.set_read_timeout(Some(timeout)).is_ok();
        if is_bounded && self.connection.read(&mut [0]).is_ok_and(|len| len == 0) {
            // It has closed everything already.
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Launch {
    /// Returns another descriptor of the connection to the caller. Nothing is sent over it; it ends
    /// when the caller ends, however that happens.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn connection(&self) -> io::Result<UnixStream> {
        self.caller.try_clone()
    }

    /// Leaves the caller's session, directory and terminal, and reports that the mount is live, upon
    /// which the caller ends.
    ///
    /// # Errors
    /// Those of setsid(2), chdir(2) and dup2(2).
    pub fn live(mut self) -> io::Result<()> {
        process::detach()?;
        self.caller.write_all(&[1])
    }
}
