//! A mount of this process's own, which is unmounted when its guard is dropped.

use std::fs::File;
use std::io;

use log::error;

use crate::mount::auto_unmount::Watcher;
use crate::mount::error::UnmountError;
use crate::mount::mount_point::MountPoint;
use crate::mount::unmount;
use crate::ui::human::Escaped;

/// Unmounts this process's own mount when it is dropped, and removes what was made for it.
#[derive(Debug)]
pub struct MountGuard {
    /// The device number of its file system, as soon as that is known.
    device: Option<(u32, u32)>,
    /// Two descriptors that are kept for the unmount, which needs as many to find its mount. There
    /// may be no others left by then.
    spare: Option<[File; 2]>,
    has_ended: bool,
    watcher: Option<Watcher>,
    /// The mount point. It is dropped last, since rmdir(2) removes no directory that is mounted on.
    pub mount_point: MountPoint,
}

impl MountGuard {
    /// Returns the guard of a mount that is about to be made.
    pub fn new(mount_point: MountPoint, watcher: Option<Watcher>, spare: [File; 2]) -> Self {
        Self {
            device: None,
            spare: Some(spare),
            has_ended: false,
            watcher,
            mount_point,
        }
    }

    /// Notes the device number of the file system that is mounted now, also for the watcher.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn mounted(&mut self, device: (u32, u32)) -> io::Result<()> {
        self.device = Some(device);
        self.watcher
            .as_mut()
            .map_or(Ok(()), |watcher| watcher.mounted(device))
    }

    /// Unmounts, if the mount is there, in use or not.
    ///
    /// # Errors
    /// Any [`UnmountError`] other than [`UnmountError::Busy`].
    pub fn unmount(&mut self) -> Result<(), UnmountError> {
        self.spare = None;
        match self.device {
            Some(device) => unmount::unmount_own(&self.mount_point.path, device),
            // The connection is closed already, so if there is a mount, it is dead.
            None => unmount::unmount_dead(&self.mount_point.path).map(drop),
        }
    }

    /// Cleans up after the session has ended. Returns whether that was because of an unmount. If the
    /// connection was aborted, a dead mount is left, which is unmounted now.
    pub fn session_ended(mut self) -> bool {
        self.spare = None;
        // The kernel may give the device number to another mount now, which must stay.
        self.has_ended = true;
        matches!(unmount::unmount_dead(&self.mount_point.path), Ok(false))
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if !self.has_ended
            && let Err(error) = self.unmount()
        {
            let shown = Escaped::path(&self.mount_point.path);
            error!("{shown}: {error}");
        }
    }
}
