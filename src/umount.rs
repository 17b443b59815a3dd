//! Ends mounts of npzfs, and nothing else.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;
use serde_json::Value;

use crate::attach::{self, FUSERMOUNT};
use crate::error::{Error, UnmountDefect};
use crate::holders;
use crate::mountinfo::Place;
use crate::sys;

/// How long to go on trying to unmount what is in use: a process that has just ended, or one that is
/// just starting another, holds a mount for a moment.
const BUSY_PATIENCE: Duration = Duration::from_millis(200);

/// How often to look again.
const POLL: Duration = Duration::from_millis(2);

/// How long to wait for the process behind a mount to end, once it is unmounted.
const PATIENCE: Duration = Duration::from_secs(5);

/// Unmounts the npzfs mount at `given` and waits for the process behind it to end. With `lazy` a
/// mount in use goes away at once, and its process when nobody uses it any more; so it is with a
/// mount whose process was killed.
///
/// # Errors
/// [`Error::Unmount`].
pub fn umount(given: &Path, lazy: bool) -> Result<(), Error> {
    umount_or_defect(given, lazy).map_err(|defect| Error::Unmount {
        mount_point: given.to_owned(),
        defect,
    })
}

fn umount_or_defect(given: &Path, lazy: bool) -> Result<(), UnmountDefect> {
    let place = Place::find(given).map_err(UnmountDefect::Io)?;
    if !place.is_mount_point() {
        return Err(UnmountDefect::NotMounted);
    }
    if !place.mount.is_npzfs() {
        let fs_type = place.mount.fs_type.to_string_lossy().into_owned();
        return Err(UnmountDefect::NotNpzfs { fs_type });
    }
    if lazy || is_dead(&place) {
        return detach(&place);
    }
    let server = server(&place);
    let deadline = Instant::now() + BUSY_PATIENCE;
    let (path, mount) = (place.path.clone(), place.mount.clone());
    // The kernel counts a pinned mount as in use.
    drop(place);
    while let Err(defect) = take_away(&path) {
        if !matches!(defect, UnmountDefect::Busy { .. }) {
            return Err(defect);
        }
        if Instant::now() >= deadline {
            let holders = holders::find(&mount);
            return Err(UnmountDefect::Busy { holders });
        }
        thread::sleep(POLL);
    }
    if let Some(pid) = server {
        wait_for_end(pid);
    }
    Ok(())
}

/// Whether the process behind a FUSE mount is gone: "Transport endpoint is not connected". Asked
/// with statfs(2), since the kernel answers nearly everything else from what it remembers.
pub fn is_dead(place: &Place) -> bool {
    // ECONNABORTED if it went while it was being asked.
    matches!(
        statvfs(&place.pinned_path()),
        Err(Errno::ENOTCONN | Errno::ECONNABORTED)
    )
}

/// Takes the mount at a place away at once, in use or not. As root no other mount can be hit, not
/// even one that has come over it meanwhile.
///
/// # Errors
/// Any [`UnmountDefect`] but that it is busy.
pub fn detach(place: &Place) -> Result<(), UnmountDefect> {
    match umount2(&place.pinned_path(), MntFlags::MNT_DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => by_fusermount(&place.path, &["-u", "-z"]),
        Err(error) => Err(UnmountDefect::Io(error.into())),
    }
}

/// Ends this process's own mount at `mount_point`, in use or not. `device` tells it from any other
/// that may have been mounted there since: while this process serves, no other has that number.
///
/// # Errors
/// Any [`UnmountDefect`] but that it is busy. That the mount is not there any more is no error.
pub fn end_own(mount_point: &Path, device: (u32, u32)) -> Result<(), UnmountDefect> {
    end_if(mount_point, device, |_| true).map(drop)
}

/// Ends what is left of a mount whose process does not serve it any more; returns whether anything
/// was. The device number may be another mount's by now, but not a dead one's.
///
/// # Errors
/// Any [`UnmountDefect`] but that it is busy.
pub fn end_dead(mount_point: &Path, device: (u32, u32)) -> Result<bool, UnmountDefect> {
    end_if(mount_point, device, is_dead)
}

fn end_if(
    mount_point: &Path,
    device: (u32, u32),
    condition: impl FnOnce(&Place) -> bool,
) -> Result<bool, UnmountDefect> {
    let place = Place::find(mount_point).map_err(UnmountDefect::Io)?;
    let is_it = place.is_mount_point() && place.mount.device == device && condition(&place);
    if is_it {
        detach(&place)?;
    }
    Ok(is_it)
}

/// Unmounts what is not in use; who uses it is for the caller to find out.
fn take_away(path: &Path) -> Result<(), UnmountDefect> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(UnmountDefect::Busy {
            holders: Vec::new(),
        }),
        Err(Errno::EPERM) => by_fusermount(path, &["-u"]),
        Err(error) => Err(UnmountDefect::Io(error.into())),
    }
}

/// Unmounts as a user can: fusermount3 checks that the mount is the user's own.
fn by_fusermount(path: &Path, options: &[&str]) -> Result<(), UnmountDefect> {
    let output = Command::new(FUSERMOUNT)
        .args(options)
        .arg("--")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => UnmountDefect::NoFusermount,
            _ => UnmountDefect::Io(error),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = attach::fusermount_reason(&output.stderr);
    Err(if reason.contains("busy") {
        UnmountDefect::Busy {
            holders: Vec::new(),
        }
    } else if reason.contains("not found in") {
        UnmountDefect::NotYours
    } else {
        UnmountDefect::Fusermount(reason)
    })
}

/// The process that serves a mount, which the mount itself tells.
fn server(place: &Place) -> Option<u64> {
    let stats = sys::getxattr(&place.pinned_path(), c"user.npzfs.stats").ok()?;
    let stats: Value = serde_json::from_slice(&stats).ok()?;
    stats.get("pid")?.as_u64()
}

fn wait_for_end(pid: u64) {
    let deadline = Instant::now() + PATIENCE;
    while is_running(pid) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
}

/// Whether the process has not ended; one that only waits for its parent to notice has.
fn is_running(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        umount(Path::new(path), false).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_npzfs_mount_is_left_alone() {
        assert_eq!(
            refused("/proc"),
            "/proc: not an npzfs mount but proc: left alone"
        );
        assert_eq!(
            refused("/proc/self"),
            "/proc/self: nothing is mounted there"
        );
        assert_eq!(
            refused("/no/such"),
            "/no/such: cannot be unmounted: No such file or directory"
        );
    }
}
