//! A connection to the kernel, with the mount that was made over it.

use std::fs::File;
use std::os::fd::OwnedFd;

use crate::mount::attach::{Attached, Attachment};
use crate::mount::auto_unmount::{self, Watched};
use crate::mount::daemon::Launch;
use crate::mount::error::{self, MountError, system};
use crate::mount::guard::MountGuard;
use crate::mount::mount_point::MountPoint;
use crate::sys::mountinfo::Place;

/// A connection to the kernel, with the mount that was made over it.
///
/// A mount is undone in the order of these fields, which is the order in which they are dropped.
/// First the connection is closed. Then requests fail that wait for an answer, so that none of them
/// keeps the unmount waiting. The guard unmounts, ends the watcher of `--auto-unmount`, and at last
/// removes the mount point, if npzfs has created that. What the connection turns into, a session and
/// the threads that serve it, stands in its place.
#[derive(Debug)]
pub struct Connection {
    /// The open `/dev/fuse`.
    pub device: OwnedFd,
    /// This process's own mount; `None` where another program has mounted, and will unmount.
    pub guard: Option<MountGuard>,
    /// Whether the kernel lets no client open a file for writing, not even after a remount.
    pub is_locked: bool,
}

impl Connection {
    /// Mounts. With `auto_unmount` a second process unmounts if this one is killed. That process
    /// drops its copy of `launch` and returns `None`, once this one has ended.
    ///
    /// # Errors
    /// [`MountError`]; then nothing is mounted.
    pub fn mount(
        mount_point: MountPoint,
        auto_unmount: bool,
        launch: &mut Option<Launch>,
        attachment: &Attachment<'_>,
    ) -> Result<Option<Self>, MountError> {
        let mut watcher = None;
        if auto_unmount {
            let watched = auto_unmount::watch(&mount_point.path, launch);
            match watched.map_err(system("start a process that watches"))? {
                Watched::Watcher => return Ok(None),
                Watched::Server(server) => watcher = Some(server),
            }
        }
        let spare = File::open("/").and_then(|first| Ok([first, File::open("/")?]));
        let spare = spare.map_err(system("open a descriptor"))?;
        let mut guard = MountGuard::new(mount_point, watcher, spare);
        let Attached { device, is_locked } = attachment.attach(&guard.mount_point.path)?;
        let place = Place::find(&guard.mount_point.path).map_err(error::session)?;
        guard.mounted(place.mount.device).map_err(error::session)?;
        Ok(Some(Self {
            device,
            guard: Some(guard),
            is_locked,
        }))
    }
}
