//! What the options of a mount come to, on this machine and for this user.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::sysinfo::sysinfo;
use nix::unistd::{geteuid, getgid, getuid};

use crate::archive::reflink;
use crate::cli::{Deflated, MountOptions, Passthrough};
use crate::commands::error::Error;
use crate::fuse::Ownership;
use crate::inflate::Limits;
use crate::sys::cgroup;
use crate::sys::process;
use crate::ui::logging::Destination;
use crate::vfs::VfsConfig;

/// The threads that answer requests, unless the user says how many.
const THREADS_MAX: usize = 8;

/// How many archives of folders may be open, unless the user says how many.
const MAX_OPEN_DEFAULT: usize = 4096;

/// How much is logged.
pub fn log_level(options: &MountOptions) -> LevelFilter {
    match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    }
}

/// Returns where the log goes.
///
/// # Errors
/// [`Error::Log`] where the file cannot be opened.
pub fn log_destination(options: &MountOptions, in_background: bool) -> Result<Destination, Error> {
    let Some(file) = &options.log else {
        return Ok(if in_background {
            Destination::Syslog
        } else {
            Destination::StandardError
        });
    };
    let opened = File::options().append(true).create(true).open(file);
    opened.map(Destination::File).map_err(|error| Error::Log {
        file: file.clone(),
        error,
    })
}

/// How archives are found and shown.
pub fn vfs_config(options: &MountOptions) -> VfsConfig {
    VfsConfig {
        recursive: options.recursive,
        inflate_enabled: options.deflated == Deflated::Inflate,
        strip_suffix: options.strip_suffix,
        max_open: max_open(options, 2),
        clone_min: clone_min(options),
    }
}

/// The least length of a member that is cloned, in bytes; `None` where none is. The kernel takes
/// clones from root only.
pub fn clone_min(options: &MountOptions) -> Option<u64> {
    let min = options.passthrough_min.unwrap_or(reflink::MIN_DEFAULT);
    (options.passthrough != Passthrough::Off && geteuid().is_root()).then_some(min)
}

/// Has this process open as many files as it may.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // What cannot be raised is as it was.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Who owns the files, and with which modes.
pub fn ownership(options: &MountOptions) -> Ownership {
    // The kernel cannot let root in and keep the others out; but the modes can, which root may
    // pass by.
    let umask = if options.allow_root { 0o077 } else { 0 };
    Ownership {
        uid: options.uid.unwrap_or(getuid().as_raw()),
        gid: options.gid.unwrap_or(getgid().as_raw()),
        umask: options.umask.unwrap_or(0) | umask,
    }
}

/// How many archives of folders, or inflated members, may be open: as many as the user says, but no
/// more than one of `share` descriptors that this process may have.
fn max_open(options: &MountOptions, share: u64) -> usize {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(most / share).unwrap_or(usize::MAX);
    options
        .max_open
        .map_or(MAX_OPEN_DEFAULT, |max| max as usize)
        .min(most)
}

/// The room that there is for what members are inflated to.
///
/// # Errors
/// [`Error::CacheDirectory`] where a directory that was asked for cannot be used.
pub fn limits(options: &MountOptions) -> Result<Limits, Error> {
    let memory = options.inflate_limit.unwrap_or_else(|| {
        let all = sysinfo().map_or(0, |info| info.ram_total());
        cgroup::memory_limit().map_or(all, |limit| limit.min(all)) / 4
    });
    let directory = options.cache_dir.clone().unwrap_or_else(|| {
        let from_environment = std::env::var_os("TMPDIR").map(PathBuf::from);
        from_environment.unwrap_or_else(|| PathBuf::from("/var/tmp"))
    });
    // The server leaves the directory that a relative path starts at.
    let absolute = std::path::absolute(&directory);
    // To find out now is better than when somebody reads.
    let directory = match absolute.and_then(|at| tempfile::tempfile_in(&at).map(|_| at)) {
        Err(error) if options.cache_dir.is_some() => {
            return Err(Error::CacheDirectory { directory, error });
        }
        Err(_) => directory,
        Ok(absolute) => absolute,
    };
    Ok(Limits {
        memory,
        directory,
        // Archives may have half of the descriptors; some are needed besides.
        count: max_open(options, 4),
    })
}

/// How many threads answer requests.
pub fn threads(options: &MountOptions) -> usize {
    let default = || process::processors().min(THREADS_MAX);
    options.threads.map_or_else(default, usize::from)
}

/// Returns how long a worker polls for the next request; `None` if it does not, because that is turned
/// off, or there is no second processor for the client.
pub fn poll_timeout(options: &MountOptions) -> Option<Duration> {
    let timeout = Duration::from_micros(options.poll_us.into());
    (!timeout.is_zero() && process::processors() > 1).then_some(timeout)
}
