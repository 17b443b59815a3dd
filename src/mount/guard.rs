//! A mount of this process's own, which ends with it.

use std::fs::File;
use std::os::fd::OwnedFd;

use log::error;

use crate::mount::attach::Attachment;
use crate::mount::auto_unmount::{self, Watched, Watcher};
use crate::mount::daemon::Launch;
use crate::mount::error::{self, MountError, UnmountError, system};
use crate::mount::mount_point::MountPoint;
use crate::mount::unmount;
use crate::sys::mountinfo::Place;
use crate::ui::human::Escaped;

/// This process's own mount, which is ended when this is dropped, with all that was made for it.
#[derive(Debug)]
pub struct MountGuard {
    /// The number of its file system, as soon as it is known.
    device: Option<(u32, u32)>,
    /// Descriptors that are kept for the end: to look at a place takes two, and there may be no
    /// others left by then.
    spare: Option<[File; 2]>,
    is_over: bool,
    watcher: Option<Watcher>,
    /// Where it is. Goes last: what was made can be removed when nothing is mounted there.
    pub mount_point: MountPoint,
}

impl MountGuard {
    /// Mounts, and returns the connection to the kernel with the mount. With `auto_unmount` another
    /// process ends the mount if this one is killed; in that one nothing is returned, and not before
    /// the end. It drops its copy of `launch`.
    ///
    /// # Errors
    /// [`MountError`]; then nothing is mounted.
    pub fn make(
        mount_point: MountPoint,
        auto_unmount: bool,
        launch: &mut Option<Launch>,
        attachment: &Attachment<'_>,
    ) -> Result<Option<(Self, OwnedFd)>, MountError> {
        let mut watcher = None;
        if auto_unmount {
            let watched = auto_unmount::watch(&mount_point.path, launch);
            match watched.map_err(system("start a process that watches"))? {
                Watched::Watcher => return Ok(None),
                Watched::Server(server) => watcher = Some(server),
            }
        }
        let spare = File::open("/").and_then(|first| Ok([first, File::open("/")?]));
        let mut own = Self {
            device: None,
            spare: Some(spare.map_err(system("open a descriptor"))?),
            is_over: false,
            watcher,
            mount_point,
        };
        let connection = attachment.attach(&own.mount_point.path)?;
        let place = Place::find(&own.mount_point.path).map_err(error::session)?;
        own.device = Some(place.mount.device);
        if let Some(watcher) = &mut own.watcher {
            watcher
                .mounted(place.mount.device)
                .map_err(error::session)?;
        }
        Ok(Some((own, connection)))
    }

    /// Ends the mount, if it is there.
    ///
    /// # Errors
    /// Any [`UnmountError`] but that it is busy.
    pub fn end(&mut self) -> Result<(), UnmountError> {
        self.spare = None;
        match self.device {
            Some(device) => unmount::end_own(&self.mount_point.path, device),
            // The connection is closed already, so if there is a mount, it is dead.
            None => unmount::end_dead(&self.mount_point.path).map(drop),
        }
    }

    /// What to do once the session has ended: nothing if that was because the mount was gone.
    /// Otherwise the connection was aborted, and what is left of the mount is ended. Returns whether
    /// it was gone.
    pub fn session_ended(mut self) -> bool {
        self.spare = None;
        // Its device number may be another mount's now, which must not be ended.
        self.is_over = true;
        matches!(unmount::end_dead(&self.mount_point.path), Ok(false))
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(defect) = self.end()
        {
            let shown = Escaped::path(&self.mount_point.path);
            error!("{shown}: {defect}");
        }
    }
}
