//! Unmounts npzfs, and nothing else.
//!
//! The kernel cannot look at a mount and unmount it in one step, and something else may come to the
//! same place in between. As root this module works on a pinned [`Place`], where that cannot happen;
//! where it must not pin, the time between the look and the unmount is kept short.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

use crate::mount::copies::Copies;
use crate::mount::error::UnmountError;
use crate::mount::fusermount;
use crate::mount::holders;
use crate::mount::server::{self, State, Target};
use crate::sys::mountinfo::{self, MountInfo, Pin, Place};

/// How long to retry a mount that is in use: a process that is ending, or about to call execve(2),
/// uses it for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// The interval between two tries. During each one something else might come to the same place, so
/// there are few.
const RETRY_INTERVAL: Duration = Duration::from_millis(40);

/// How long to wait for the server to answer, and to end once it is unmounted.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval between two looks whether the server has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The reason why the server of a mount has not ended, although the mount is unmounted.
#[derive(Debug)]
pub enum LivesOn {
    /// Copies of the mount are left.
    Copied(Copies),
    /// The server with this process number takes its time.
    Server(u32),
}

impl fmt::Display for LivesOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copied(copies) => write!(
                f,
                "unmounted, but the process behind it goes on: still mounted {copies}"
            ),
            Self::Server(pid) => {
                write!(
                    f,
                    "unmounted, but the process behind it (pid {pid}) has not ended yet"
                )
            }
        }
    }
}

/// Unmounts the npzfs mount at `given` and waits for its server to end. Returns the reason if it does
/// not. With `lazy` a mount in use is detached at once, and its
/// server ends when the last user has closed everything. So is a mount whose server was killed.
///
/// # Errors
/// Any [`UnmountError`].
pub fn unmount(given: &Path, lazy: bool) -> Result<Option<LivesOn>, UnmountError> {
    let place = find_npzfs(given)?;
    if lazy {
        return detach(&place).map(|()| None);
    }
    let server = match probe(&place) {
        State::NotAnswering => return Err(UnmountError::NotAnswering),
        State::Dead => return detach(&place).map(|()| None),
        state => state.stats().and_then(|stats| stats.pid),
    };
    let mount = place.mount.clone();
    match unmount_when_idle(given, place) {
        Err(UnmountError::Busy { .. }) => return Err(busy(&mount)),
        result => result?,
    }
    Ok(wait_for_end(server, mount.device))
}

/// Unmounts the npzfs mount at `mount_point`, or detaches it if it stays in use. Returns whether it
/// was no longer in use. A mount that is not there is no error.
///
/// # Errors
/// Any [`UnmountError`] other than [`UnmountError::Busy`].
pub fn unmount_after_use(mount_point: &Path) -> Result<bool, UnmountError> {
    let place = match find_npzfs(mount_point) {
        Ok(place) => place,
        Err(UnmountError::NotMounted) => return Ok(true),
        Err(UnmountError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    match unmount_when_idle(mount_point, place) {
        Err(UnmountError::Busy { .. }) => detach(&find_npzfs(mount_point)?).map(|()| false),
        result => result.map(|()| true),
    }
}

/// Unmounts the mount at `place`, to which `given` leads, unless it stays in use.
fn unmount_when_idle(given: &Path, place: Place) -> Result<(), UnmountError> {
    let mount = place.mount.clone();
    let deadline = Instant::now() + BUSY_TIMEOUT;
    let mut next = Some(place);
    while let Some(place) = next {
        let path = place.path.clone();
        // The kernel counts a pinned mount as in use.
        drop(place);
        // Much faster than finding the place again.
        if Pin::new(&path)
            .and_then(|pin| pin.mount_id())
            .is_ok_and(|id| id == mount.id)
        {
            match try_unmount(&path) {
                Err(UnmountError::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(RETRY_INTERVAL);
                }
                result => return result,
            }
        }
        // Something else may be mounted there by now, which must stay.
        next = Some(find_npzfs(given)?).filter(|place| place.mount == mount);
    }
    Ok(())
}

/// Finds the npzfs mount at `given`.
fn find_npzfs(given: &Path) -> Result<Place, UnmountError> {
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

/// Finds out why a mount is in use.
fn busy(mount: &MountInfo) -> UnmountError {
    match mounted_inside(mount) {
        Some(inside) => UnmountError::MountInside { inside },
        None => UnmountError::Busy {
            holders: holders::find(mount),
        },
    }
}

/// Returns the mount point of a file system that is mounted inside a mount, if there is one.
fn mounted_inside(mount: &MountInfo) -> Option<PathBuf> {
    let mounts = mountinfo::all().unwrap_or_default();
    let mut inside = mounts.into_iter().filter(|other| other.parent == mount.id);
    inside.next().map(|other| other.mount_point)
}

/// Whether the server of a FUSE mount has ended: ENOTCONN, "Transport endpoint is not connected".
/// statfs(2) always asks the server; most other calls are answered from the kernel's caches.
pub fn is_dead(place: &Place) -> bool {
    // ECONNABORTED if it ended while it was being asked.
    matches!(
        statvfs(&place.pin.path()),
        Err(Errno::ENOTCONN | Errno::ECONNABORTED)
    )
}

/// Detaches the mount at a place, in use or not, unless something is mounted inside it, which would
/// go with it. As root no other mount can be hit, not even one that has covered it meanwhile.
///
/// # Errors
/// Any [`UnmountError`] other than [`UnmountError::Busy`].
pub fn detach(place: &Place) -> Result<(), UnmountError> {
    if let Some(inside) = mounted_inside(&place.mount) {
        return Err(UnmountError::MountInside { inside });
    }
    match umount2(&place.pin.path(), MntFlags::MNT_DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => fusermount::unmount(&place.path, true),
        Err(error) => Err(UnmountError::Io(error.into())),
    }
}

/// Detaches this process's own mount at `mount_point`, which `device` tells from any other that may
/// have been mounted there since: no other mount has its device number while this process serves. A
/// mount that is no longer there is no error.
///
/// # Errors
/// Any [`UnmountError`] other than [`UnmountError::Busy`].
pub fn unmount_own(mount_point: &Path, device: (u32, u32)) -> Result<(), UnmountError> {
    unmount_if(mount_point, |place| place.mount.device == device).map(drop)
}

/// Detaches the npzfs mount at `mount_point` if it is dead; returns whether it was. No mount of a
/// living server can be hit, so no device number is needed.
///
/// # Errors
/// Any [`UnmountError`] other than [`UnmountError::Busy`].
pub fn unmount_dead(mount_point: &Path) -> Result<bool, UnmountError> {
    unmount_if(mount_point, |place| {
        place.mount.is_npzfs() && is_dead(place)
    })
}

fn unmount_if(
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
    let is_meant = place.is_mount_point() && condition(&place);
    if is_meant {
        detach(&place)?;
    }
    Ok(is_meant)
}

/// Unmounts what is not in use. The error [`UnmountError::Busy`] does not say who uses it.
fn try_unmount(path: &Path) -> Result<(), UnmountError> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(UnmountError::Busy {
            holders: Vec::new(),
        }),
        Err(Errno::EPERM) => fusermount::unmount(path, false),
        Err(error) => Err(UnmountError::Io(error.into())),
    }
}

/// Asks the server of the mount at a place for its state.
pub fn probe(place: &Place) -> State {
    let target = Target {
        path: place.pin.path(),
        id: place.mount.id,
    };
    let state = server::probe_all(&[target], SERVER_TIMEOUT).pop();
    state.unwrap_or(State::NotAnswering)
}

/// Waits for the server `pid` of the unmounted file system `device` to end, and returns the reason if
/// it does not. Copies are searched for only then, since processes that just start may have some for a
/// moment.
fn wait_for_end(pid: Option<u32>, device: (u32, u32)) -> Option<LivesOn> {
    let deadline = Instant::now() + SERVER_TIMEOUT;
    while let Some(pid) = pid
        && Instant::now() < deadline
    {
        if !is_running(pid) {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
    let copies = Copies::find(device);
    if copies.is_empty() {
        pid.map(LivesOn::Server)
    } else {
        Some(LivesOn::Copied(copies))
    }
}

/// Whether a process has not ended. A zombie has.
fn is_running(pid: u32) -> bool {
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
    fn only_npzfs_mounts_are_unmounted() {
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
