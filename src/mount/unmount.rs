//! Ends mounts of npzfs, and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;
use serde_json::Value;

use crate::mount::attach::{self, FUSERMOUNT};
use crate::mount::error::UnmountError;
use crate::mount::holders;
use crate::mount::probe;
use crate::sys::file;
use crate::sys::mountinfo::{self, MountInfo, Place};

/// How long to go on trying to unmount what is in use: a process that has just ended, or one that is
/// just starting another, holds a mount for a moment.
const BUSY_PATIENCE: Duration = Duration::from_millis(200);

/// How often to try again to unmount what is in use. Each try is a moment in which something else
/// might come to the same place.
const RETRY: Duration = Duration::from_millis(40);

/// How often to look again.
const POLL: Duration = Duration::from_millis(2);

/// How long to wait for the process behind a mount to answer, and to end once it is unmounted.
const PATIENCE: Duration = Duration::from_secs(5);

/// Unmounts the npzfs mount at `given` and waits for the process behind it to end. With `lazy` a
/// mount in use goes away at once, and its process when nobody uses it any more; so it is with a
/// mount whose process was killed.
///
/// # Errors
/// Any [`UnmountError`].
pub fn unmount(given: &Path, lazy: bool) -> Result<(), UnmountError> {
    let place = npzfs_at(given)?;
    if lazy {
        return detach(&place);
    }
    let server = match ask(&place).ok_or(UnmountError::NotAnswering)? {
        Server::Dead => return detach(&place),
        Server::Live(pid) => pid,
    };
    let mount = place.mount.clone();
    match take_away_when_idle(given, place) {
        Err(UnmountError::Busy { .. }) => return Err(busy(&mount)),
        result => result?,
    }
    if let Some(pid) = server {
        wait_for_end(pid);
    }
    Ok(())
}

/// Ends the npzfs mount at `mount_point`, at once if it stays in use. Returns whether nobody used it
/// any more. That it is not there is no error.
///
/// # Errors
/// Any [`UnmountError`] but that it is busy.
pub fn end_after_use(mount_point: &Path) -> Result<bool, UnmountError> {
    let place = match npzfs_at(mount_point) {
        Ok(place) => place,
        Err(UnmountError::NotMounted) => return Ok(true),
        Err(UnmountError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(true);
        }
        Err(defect) => return Err(defect),
    };
    match take_away_when_idle(mount_point, place) {
        Err(UnmountError::Busy { .. }) => detach(&npzfs_at(mount_point)?).map(|()| false),
        result => result.map(|()| true),
    }
}

/// Unmounts what is at `place`, which `given` leads to, unless it stays in use; by whom is for the
/// caller to find out.
fn take_away_when_idle(given: &Path, place: Place) -> Result<(), UnmountError> {
    let mount = place.mount.clone();
    let deadline = Instant::now() + BUSY_PATIENCE;
    let mut next = Some(place);
    while let Some(place) = next {
        let path = place.path.clone();
        // The kernel counts a pinned mount as in use.
        drop(place);
        // To look at all mounts takes its time, this does not; the kernel has nothing that both looks
        // and unmounts.
        if mountinfo::mount_id_at(&path).is_ok_and(|id| id == mount.id) {
            match take_away(&path) {
                Err(UnmountError::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(RETRY);
                }
                result => return result,
            }
        }
        // Something else may be mounted there by now, which must stay.
        next = Some(npzfs_at(given)?).filter(|place| place.mount == mount);
    }
    Ok(())
}

/// The npzfs mount at `given`.
fn npzfs_at(given: &Path) -> Result<Place, UnmountError> {
    let place = Place::find(given).map_err(UnmountError::Io)?;
    if !place.is_mount_point() {
        return Err(UnmountError::NotMounted);
    }
    if !place.mount.is_npzfs() {
        let fs_type = place.mount.fs_type.to_string_lossy().into_owned();
        return Err(UnmountError::NotNpzfs { fs_type });
    }
    Ok(place)
}

/// Why a mount is in use.
fn busy(mount: &MountInfo) -> UnmountError {
    match mounted_inside(mount) {
        Some(inside) => UnmountError::MountInside { inside },
        None => UnmountError::Busy {
            holders: holders::find(mount),
        },
    }
}

/// Where something else is mounted inside a mount, if anything is.
fn mounted_inside(mount: &MountInfo) -> Option<PathBuf> {
    let mounts = mountinfo::all().unwrap_or_default();
    let mut inside = mounts.into_iter().filter(|other| other.parent == mount.id);
    inside.next().map(|other| other.mount_point)
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

/// Takes the mount at a place away at once, in use or not, unless something is mounted inside it,
/// which would go with it. As root no other mount can be hit, not even one that has come over it
/// meanwhile.
///
/// # Errors
/// Any [`UnmountError`] but that it is busy.
pub fn detach(place: &Place) -> Result<(), UnmountError> {
    if let Some(inside) = mounted_inside(&place.mount) {
        return Err(UnmountError::MountInside { inside });
    }
    match umount2(&place.pinned_path(), MntFlags::MNT_DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => by_fusermount(&place.path, &["-u", "-z"]),
        Err(error) => Err(UnmountError::Io(error.into())),
    }
}

/// Ends this process's own mount at `mount_point`, in use or not. `device` tells it from any other
/// that may have been mounted there since: while this process serves, no other has that number.
///
/// # Errors
/// Any [`UnmountError`] but that it is busy. That the mount is not there any more is no error.
pub fn end_own(mount_point: &Path, device: (u32, u32)) -> Result<(), UnmountError> {
    end_if(mount_point, |place| place.mount.device == device).map(drop)
}

/// Ends what is left at `mount_point` of a mount that nobody serves any more; returns whether
/// anything was. Nothing that is alive can be meant, so no device number is needed.
///
/// # Errors
/// Any [`UnmountError`] but that it is busy.
pub fn end_dead(mount_point: &Path) -> Result<bool, UnmountError> {
    end_if(mount_point, |place| {
        place.mount.is_npzfs() && is_dead(place)
    })
}

fn end_if(
    mount_point: &Path,
    condition: impl FnOnce(&Place) -> bool,
) -> Result<bool, UnmountError> {
    if !mountinfo::has_npzfs(mount_point).map_err(UnmountError::Io)? {
        return Ok(false);
    }
    let place = match Place::find(mount_point) {
        Ok(place) => place,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(UnmountError::Io(error)),
    };
    let is_it = place.is_mount_point() && condition(&place);
    if is_it {
        detach(&place)?;
    }
    Ok(is_it)
}

/// Unmounts what is not in use; who uses it is for the caller to find out.
fn take_away(path: &Path) -> Result<(), UnmountError> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(UnmountError::Busy {
            holders: Vec::new(),
        }),
        Err(Errno::EPERM) => by_fusermount(path, &["-u"]),
        Err(error) => Err(UnmountError::Io(error.into())),
    }
}

/// Unmounts as a user can: fusermount3 checks that the mount is the user's own.
fn by_fusermount(path: &Path, options: &[&str]) -> Result<(), UnmountError> {
    let output = Command::new(FUSERMOUNT)
        .args(options)
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
    let reason = attach::fusermount_reason(&output.stderr);
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

/// The process behind a mount.
enum Server {
    Dead,
    /// Its number, if this user may ask for it.
    Live(Option<u64>),
}

/// Asks a mount for the process behind it; `None` if that does not answer.
fn ask(place: &Place) -> Option<Server> {
    let ask = |place: &&Place| {
        if is_dead(place) {
            return b"dead".to_vec();
        }
        let stats = file::getxattr(&place.pinned_path(), c"user.npzfs.stats");
        stats.unwrap_or_else(|_| b"live".to_vec())
    };
    let answer = probe::ask_all(PATIENCE, &[place], ask).pop()??;
    if answer == b"dead" {
        return Some(Server::Dead);
    }
    let stats: Option<Value> = serde_json::from_slice(&answer).ok();
    Some(Server::Live(
        stats.and_then(|stats| stats.get("pid")?.as_u64()),
    ))
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
        let error = unmount(Path::new(path), false).unwrap_err();
        format!("{path}: {error}")
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
