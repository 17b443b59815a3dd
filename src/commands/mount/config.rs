//! The settings of a mount: the options of the command line, with the defaults for this machine and
//! this user.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::sysinfo::sysinfo;
use nix::unistd::{geteuid, getgid, getuid};

use crate::archive::reflink;
use crate::cli::{self, Deflated, MountOptions, Prefetching};
use crate::commands::error::Error;
use crate::fuse::Ownership;
use crate::inflate::Limits;
use crate::mount::session::{Access, Passthrough, SessionConfig};
use crate::sys::cgroup;
use crate::sys::process;
use crate::ui::logging::Destination;
use crate::vfs::VfsConfig;

/// The default of the number of worker threads, where there are as many processors.
const THREADS_MAX: usize = 8;

/// The default of the number of open archives of folders.
const MAX_OPEN_DEFAULT: usize = 4096;

/// The shares of the descriptors that this process may open. The rest is for the server itself.
const ARCHIVES_SHARE: u64 = 2;
const INFLATED_SHARE: u64 = 4;

/// Returns the log level.
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

/// Returns the settings of the file tree.
pub fn vfs_config(options: &MountOptions) -> VfsConfig {
    VfsConfig {
        recursive: options.recursive,
        inflate_enabled: options.deflated == Deflated::Inflate,
        strip_suffix: options.strip_suffix,
        max_open: max_open(options, ARCHIVES_SHARE),
        clone_min: clone_min(options),
    }
}

/// Returns the settings of the FUSE session.
pub fn session_config(options: &MountOptions, limits: &Limits) -> SessionConfig {
    SessionConfig {
        access: access(options),
        ownership: ownership(options),
        threads: threads(options),
        poll_timeout: poll_timeout(options),
        passthrough: match options.passthrough {
            cli::Passthrough::Auto => Passthrough::Auto,
            cli::Passthrough::On => Passthrough::Required,
            cli::Passthrough::Off => Passthrough::Disabled,
        },
        cache_directory: limits.directory.clone(),
        // The prefetcher knows one archive, and none inside it.
        prefetch: options.prefetch == Prefetching::On && !options.recursive,
    }
}

/// Returns the users that the mount lets in.
pub fn access(options: &MountOptions) -> Access {
    if options.allow_root {
        Access::OwnerAndRoot
    } else if options.allow_other {
        Access::All
    } else {
        Access::Owner
    }
}

/// Returns the least length of a member that is cloned, in bytes; `None` where none is. The kernel
/// passes files through for root only.
pub fn clone_min(options: &MountOptions) -> Option<u64> {
    let min = options.passthrough_min.unwrap_or(reflink::MIN_DEFAULT);
    (options.passthrough != cli::Passthrough::Off && geteuid().is_root()).then_some(min)
}

/// Raises the soft limit of open descriptors to the hard limit.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // On failure the soft limit stays.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn ownership(options: &MountOptions) -> Ownership {
    // The kernel lets in either the owner alone or all users. Root ignores modes, so they keep the
    // other users out where only root is to be let in.
    let umask = if options.allow_root { 0o077 } else { 0 };
    Ownership {
        uid: options.uid.unwrap_or(getuid().as_raw()),
        gid: options.gid.unwrap_or(getgid().as_raw()),
        umask: options.umask.unwrap_or(0) | umask,
    }
}

/// Returns how many archives of folders, or inflated members, may be open: the user's number, but no
/// more than one `share`th of the descriptors that this process may open.
fn max_open(options: &MountOptions, share: u64) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(hard / share).unwrap_or(usize::MAX);
    options
        .max_open
        .map_or(MAX_OPEN_DEFAULT, |max| max as usize)
        .min(most)
}

/// Returns the limits of inflated members.
///
/// # Errors
/// [`Error::CacheDirectory`] where the directory of `--cache-dir` cannot be used.
pub fn limits(options: &MountOptions) -> Result<Limits, Error> {
    let memory = options.inflate_limit.unwrap_or_else(|| {
        let all = sysinfo().map_or(0, |info| info.ram_total());
        cgroup::memory_limit().map_or(all, |limit| limit.min(all)) / 4
    });
    let directory = options.cache_dir.clone().unwrap_or_else(|| {
        let from_environment = std::env::var_os("TMPDIR").map(PathBuf::from);
        from_environment.unwrap_or_else(|| PathBuf::from("/var/tmp"))
    });
    // The server leaves the working directory.
    let absolute = std::path::absolute(&directory);
    // An error now is better than one when a file is opened.
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
        count: max_open(options, INFLATED_SHARE),
    })
}

fn threads(options: &MountOptions) -> usize {
    let default = || process::processors().min(THREADS_MAX);
    options.threads.map_or_else(default, usize::from)
}

/// Returns how long a worker polls; `None` for not at all, also where the only processor would be
/// taken from the users of the mount.
fn poll_timeout(options: &MountOptions) -> Option<Duration> {
    let timeout = Duration::from_micros(options.poll_us.into());
    (!timeout.is_zero() && process::processors() > 1).then_some(timeout)
}
