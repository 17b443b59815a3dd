//! The exit status for each error: npzfs's own, and the one for mount(8).

use std::io::ErrorKind;

use crate::archive::error::{OpenError, OpenErrorKind};
use crate::commands::error::Error;
use crate::commands::repack::error::RepackError;
use crate::exit_status::{self, ExitStatus, mount8};
use crate::mount::error::{FuseError, MountError, MountPointError};
use crate::zip::{ArchiveError, MemberErrorKind};

/// Returns the exit status of npzfs for an error.
pub fn of(error: &Error) -> ExitStatus {
    match error {
        Error::Open(error) => of_open(error),
        Error::Repack(error) => of_repack(error),
        Error::Mount(MountError::MountPoint { .. }) => exit_status::MOUNT_POINT,
        Error::Mount(MountError::Fuse(_)) => exit_status::FUSE,
        Error::Command { error, .. } if error.kind() == ErrorKind::NotFound => {
            exit_status::NOT_FOUND
        }
        Error::Command { .. } => exit_status::NOT_STARTED,
        Error::Mount(MountError::NoProc | MountError::System { .. })
        | Error::Unmount { .. }
        | Error::Log { .. }
        | Error::Output(_)
        | Error::CacheDirectory { .. } => exit_status::FAILED,
    }
}

/// Returns the exit status of a mount helper for an error, as mount(8) documents them.
pub fn of_helper(error: &Error) -> ExitStatus {
    let is_denied = |error: &std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    match error {
        Error::Mount(
            MountError::Fuse(FuseError::AllowOther)
            | MountError::MountPoint {
                error: MountPointError::Refused(_),
                ..
            },
        ) => mount8::USAGE,
        Error::Mount(MountError::Fuse(FuseError::Device(error) | FuseError::Mount(error)))
            if is_denied(error) =>
        {
            mount8::USAGE
        }
        Error::Mount(MountError::NoProc | MountError::System { .. }) => mount8::SYSTEM,
        _ => mount8::FAILED,
    }
}

fn of_open(error: &OpenError) -> ExitStatus {
    match &error.kind {
        OpenErrorKind::Io(_) | OpenErrorKind::NotAFile(_) => exit_status::ARCHIVE,
        OpenErrorKind::Archive(ArchiveError::Read(_) | ArchiveError::Changed) => {
            exit_status::ARCHIVE
        }
        OpenErrorKind::Archive(ArchiveError::NotAnArchive) => exit_status::NOT_AN_ARCHIVE,
        OpenErrorKind::Archive(_) => exit_status::DAMAGED,
        OpenErrorKind::Unreadable { error, strict, .. } => match error.kind() {
            MemberErrorKind::Damaged if !strict => exit_status::DAMAGED,
            _ => exit_status::UNREADABLE,
        },
        OpenErrorKind::Passthrough(_) => exit_status::FUSE,
    }
}

fn of_repack(error: &RepackError) -> ExitStatus {
    match error {
        RepackError::Contents { .. } if error.is_damage() => exit_status::DAMAGED,
        RepackError::Contents { .. } | RepackError::Read { .. } | RepackError::Changed { .. } => {
            exit_status::ARCHIVE
        }
        RepackError::NoFile { .. }
        | RepackError::LongName { .. }
        | RepackError::Exists { .. }
        | RepackError::NotReplaced { .. }
        | RepackError::Inside { .. }
        | RepackError::Write { .. }
        | RepackError::Verify { .. } => exit_status::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::mount::error::system;

    #[test]
    fn mount8_has_statuses_for_what_is_not_permitted_and_for_system_errors() {
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let other = || io::Error::from(ErrorKind::Other);
        for (error, status) in [
            (FuseError::AllowOther.into(), mount8::USAGE),
            (FuseError::Device(denied()).into(), mount8::USAGE),
            (FuseError::Mount(denied()).into(), mount8::USAGE),
            (FuseError::Mount(other()).into(), mount8::FAILED),
            (FuseError::NoDevice.into(), mount8::FAILED),
            (system("fork")(other()), mount8::SYSTEM),
        ] {
            let error = Error::Mount(error);
            assert_eq!(of_helper(&error), status, "{error}");
        }
        assert_eq!(of_helper(&Error::Output(other())), mount8::FAILED);
    }
}
