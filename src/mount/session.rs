//! The FUSE session of a mount, and the threads that belong to it.
//!
//! This is the only module outside `fuse/` that uses the crate `fuser`. A session is set up in
//! phases: the handshake with the kernel, passthrough, and the prefetcher. Requests are answered once
//! [`Mount::serve`](super::lifecycle::Mount::serve) runs it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fuser::{Config, SessionACL};
use log::debug;

use crate::fuse::{self, FuseConfig, Npzfs, Ownership, PollConfig, Prefetch};
use crate::inflate;
use crate::mount::attach;
use crate::mount::connection::Connection;
use crate::mount::error::{self, FuseError, MountError, system};
use crate::mount::guard::MountGuard;
use crate::tree::Ino;
use crate::vfs::Vfs;

/// The users whose requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The user who mounts.
    Owner,
    /// The user who mounts, and root.
    OwnerAndRoot,
    /// All users.
    All,
}

/// Whether files are passed through to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passthrough {
    /// If the kernel supports it.
    Auto,
    /// The session fails if the kernel does not.
    Required,
    /// Never.
    Disabled,
}

/// The settings of a session.
#[derive(Debug)]
pub struct SessionConfig {
    /// The users whose requests are answered.
    pub access: Access,
    /// The owner and the umask of all files.
    pub ownership: Ownership,
    /// The number of worker threads.
    pub threads: usize,
    /// How long a worker polls for the next request before it sleeps; `None` for not at all.
    pub poll_timeout: Option<Duration>,
    /// Whether files are passed through to the kernel.
    pub passthrough: Passthrough,
    /// The directory of inflated members that do not fit into memory.
    pub cache_directory: PathBuf,
    /// Preload the next files of a sequential read, where the mount allows it.
    pub prefetch: bool,
}

/// A session that is ready to serve. Its fields are in the order of those of a [`Connection`].
pub struct Session {
    pub(super) fuse: fuser::Session<Npzfs>,
    pub(super) guard: Option<MountGuard>,
}

impl Session {
    /// Sets up a session that serves `vfs`.
    ///
    /// # Errors
    /// [`MountError`]; then the mount is undone.
    pub fn start(
        connection: Connection,
        vfs: Arc<Vfs>,
        config: &SessionConfig,
    ) -> Result<Self, MountError> {
        let weak_vfs = Arc::downgrade(&vfs);
        let is_prefetched =
            config.prefetch && connection.guard.is_some() && vfs.is_single_archive();
        let fuse_config = fuse_config(&connection, config, is_prefetched)?;
        let npzfs = Npzfs::new(vfs, fuse_config);
        let prefetch = npzfs.prefetch();
        let device = duplicate(&connection.device)?;
        let access = match connection.guard {
            Some(_) => config.access,
            // The program that has mounted has chosen the users in the options of its mount.
            None => Access::All,
        };
        let fuse = handshake(npzfs, connection.device, access, config.threads)?;
        negotiate_passthrough(&device, &weak_vfs, config)?;
        if is_prefetched && let Some(guard) = &connection.guard {
            start_prefetch(&prefetch, &fuse, device, guard, &weak_vfs)?;
        }
        // On an error above, all locals are dropped before the parameter with the guard.
        Ok(Self {
            fuse,
            guard: connection.guard,
        })
    }
}

fn start_prefetch(
    prefetch: &Prefetch,
    fuse: &fuser::Session<Npzfs>,
    device: OwnedFd,
    guard: &MountGuard,
    vfs: &Weak<Vfs>,
) -> Result<(), MountError> {
    let archive = vfs.upgrade().and_then(|vfs| vfs.archive_of(Ino::ROOT).ok());
    let Some((archive, _)) = archive else {
        return Ok(());
    };
    let mount_point = guard.mount_point.path.clone();
    let started = prefetch.start(archive, mount_point, device, fuse.notifier());
    started.map_err(system("start a thread"))
}

fn fuse_config(
    connection: &Connection,
    config: &SessionConfig,
    prefetch_enabled: bool,
) -> Result<FuseConfig, MountError> {
    let poll = match config.poll_timeout {
        Some(timeout) => Some(PollConfig {
            device: duplicate(&connection.device)?,
            timeout,
        }),
        None => None,
    };
    Ok(FuseConfig {
        ownership: config.ownership,
        passthrough_allowed: config.passthrough != Passthrough::Disabled,
        may_be_writable: !connection.is_locked,
        threads: config.threads,
        poll,
        prefetch_enabled,
    })
}

fn duplicate(device: &OwnedFd) -> Result<OwnedFd, MountError> {
    device.try_clone().map_err(system("open a descriptor"))
}

/// Agrees with the kernel on a protocol, after which the mount is live.
fn handshake(
    npzfs: Npzfs,
    device: OwnedFd,
    access: Access,
    threads: usize,
) -> Result<fuser::Session<Npzfs>, MountError> {
    let mut config = Config::default();
    config.n_threads = Some(threads);
    // Each worker opens /dev/fuse again, which a user who mounts with fusermount3 may not be able to.
    config.clone_fd = attach::open_device().is_ok();
    let acl = match access {
        Access::Owner => SessionACL::Owner,
        Access::OwnerAndRoot => SessionACL::RootAndOwner,
        Access::All => SessionACL::All,
    };
    fuser::Session::from_fd(npzfs, device, acl, config).map_err(error::session)
}

/// Disables passthrough if the kernel accepts no backing files. Where passthrough is required that
/// is an error, also for the directory of inflated members if there may be any.
fn negotiate_passthrough(
    device: &OwnedFd,
    vfs: &Weak<Vfs>,
    config: &SessionConfig,
) -> Result<(), FuseError> {
    let Some(vfs) = vfs.upgrade() else {
        return Ok(());
    };
    let is_required = config.passthrough == Passthrough::Required;
    let is_wanted = config.passthrough == Passthrough::Auto && vfs.passthrough_enabled();
    if !is_required && !is_wanted {
        return Ok(());
    }
    let tried = inflate::memory_file().and_then(|file| fuse::try_passthrough(device, file));
    if let Err(error) = tried {
        vfs.set_passthrough_enabled(false);
        debug!("no passthrough: {error}");
        return if is_required {
            Err(FuseError::Passthrough(error))
        } else {
            Ok(())
        };
    }
    if is_required && vfs.may_inflate() {
        let file = inflate::disk_file(&config.cache_directory);
        let tried = file.and_then(|file| fuse::try_passthrough(device, file));
        return tried.map_err(|error| FuseError::PassthroughFrom {
            directory: config.cache_directory.clone(),
            error,
        });
    }
    Ok(())
}
