//! npzfs as the helper by which mount(8) mounts archives.

use std::fs::File;
use std::io;

use nix::sched::{CloneFlags, setns};

use crate::cli::HelperArgs;
use crate::commands::error::{Error, FuseError, MountPointError};
use crate::commands::mount::{self, system};
use crate::exit_status;

/// The exit statuses that mount(8) gives a meaning, as far as npzfs has a use for them.
pub mod status {
    /// The call is wrong, or not permitted.
    pub const USAGE: u8 = 1;
    /// The operating system refused something.
    pub const SYSTEM: u8 = 2;
    /// npzfs has a bug.
    pub const BUG: u8 = 4;
    /// Nothing was mounted.
    pub const FAILED: u8 = 32;
}

/// Mounts an archive as mount(8) wants it. Returns the exit status of this process.
///
/// # Errors
/// Those of [`mount::mount`].
pub fn mount(arguments: &HelperArgs) -> Result<u8, Error> {
    if let Some(namespace) = &arguments.namespace {
        let entered = File::open(namespace)
            .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?));
        entered.map_err(system("enter the mount namespace"))?;
    }
    let result = if arguments.fake {
        mount::check(&arguments.mount).map(|()| exit_status::DONE)
    } else {
        mount::mount(&arguments.mount)
    };
    match result {
        // As with other file systems, whose devices may be unplugged.
        Err(Error::Open { error, .. })
            if arguments.nofail && error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(exit_status::DONE)
        }
        result => result,
    }
}

/// The exit status by which mount(8) is told of an error.
pub fn status_of(error: &Error) -> u8 {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match error {
        Error::Fuse(FuseError::AllowOther)
        | Error::MountPoint {
            defect: MountPointError::Refused(_),
            ..
        } => status::USAGE,
        Error::Fuse(FuseError::Device(error) | FuseError::Mount(error)) if is_denied(error) => {
            status::USAGE
        }
        Error::System { .. } => status::SYSTEM,
        _ => status::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_told_what_is_not_permitted_and_what_the_system_refused() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let other = || io::Error::from(io::ErrorKind::Other);
        for (error, status) in [
            (Error::Fuse(FuseError::AllowOther), status::USAGE),
            (Error::Fuse(FuseError::Device(denied())), status::USAGE),
            (Error::Fuse(FuseError::Mount(denied())), status::USAGE),
            (Error::Fuse(FuseError::Mount(other())), status::FAILED),
            (Error::Fuse(FuseError::NoDevice), status::FAILED),
            (system("fork")(other()), status::SYSTEM),
            (Error::Output(other()), status::FAILED),
        ] {
            assert_eq!(status_of(&error), status, "{error}");
        }
    }
}
