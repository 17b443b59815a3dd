//! fusermount3, the setuid helper of the package fuse3, through which users mount and unmount.
//!
//! It ends with status 1 whatever went wrong, so only its message says what did.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::mount::descriptor;
use crate::mount::error::{FuseError, MountError, MountPointError, UnmountError, system};
use crate::ui::human::Escaped;

const FUSERMOUNT: &str = "fusermount3";

/// Mounts at `mount_point` and returns the connection to the kernel. `options` are those of `-o`.
///
/// # Errors
/// [`MountError`]; then nothing is mounted.
pub fn mount(options: &OsStr, mount_point: &Path) -> Result<OwnedFd, MountError> {
    let cannot_run = || system("run fusermount3");
    let (socket, theirs) = UnixStream::pair().map_err(cannot_run())?;
    let mut child = match spawn(options, mount_point, theirs.into()) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(FuseError::NoFusermount.into());
        }
        Err(error) => return Err(cannot_run()(error)),
    };
    let received = descriptor::receive(&socket);
    drop(socket);
    let mut message = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Without the message our own is merely less precise.
        let _ = stderr.read_to_end(&mut message);
    }
    child.wait().map_err(cannot_run())?;
    // It sends the connection once it has mounted, so a failure after that is none.
    match received {
        Ok(Some(device)) => Ok(device),
        _ => Err(mount_error(mount_point, reason(&message))),
    }
}

fn spawn(options: &OsStr, mount_point: &Path, socket: OwnedFd) -> io::Result<Child> {
    Command::new(FUSERMOUNT)
        .arg("-o")
        .arg(options)
        .arg("--")
        .arg(mount_point)
        // It sends the connection over the socket with this descriptor number.
        .env("_FUSE_COMMFD", "0")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A key at the terminal that interrupts npzfs must not interrupt a mount half done.
        .process_group(0)
        .spawn()
}

fn mount_error(mount_point: &Path, reason: String) -> MountError {
    if reason.contains("user_allow_other") {
        FuseError::AllowOther.into()
    } else if reason.contains("/dev/fuse") {
        FuseError::Device(io::ErrorKind::PermissionDenied.into()).into()
    } else if reason.contains("mountpoint") || reason.contains("mounting over") {
        MountPointError::Refused(reason).of(mount_point)
    } else {
        FuseError::Fusermount(reason).into()
    }
}

/// Unmounts a mount of this user, with `lazy` also one in use.
///
/// # Errors
/// Any [`UnmountError`]; [`UnmountError::Busy`] without the processes that use it.
pub fn unmount(path: &Path, lazy: bool) -> Result<(), UnmountError> {
    let output = Command::new(FUSERMOUNT)
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => UnmountError::NoFusermount,
            _ => UnmountError::Io(error),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = reason(&output.stderr);
    Err(if reason.contains("busy") {
        UnmountError::Busy {
            holders: Vec::new(),
        }
    } else if reason.contains("not found in") {
        UnmountError::NotYours
    } else {
        UnmountError::Fusermount(reason)
    })
}

/// Returns the last line of a message without the program's name, safe for a terminal.
fn reason(message: &[u8]) -> String {
    let line = message
        .split(|&byte| byte == b'\n')
        .rfind(|line| !line.is_empty());
    let line = line.unwrap_or(b"it gave no reason");
    let reason = line.strip_prefix(b"fusermount3: ").unwrap_or(line);
    Escaped(reason).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_message_is_the_reason() {
        let message = b"fusermount3: warning\nfusermount3: bad mount\x1b point\n\n";
        assert_eq!(reason(message), "bad mount\\u{1b} point");
        assert_eq!(reason(b"other: failed"), "other: failed");
        assert_eq!(reason(b""), "it gave no reason");
    }
}
