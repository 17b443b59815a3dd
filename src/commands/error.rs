//! The error of a command: that of the layer in which it arose, or the command's own.

use std::error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::archive::error::OpenError;
use crate::commands::repack::error::RepackError;
use crate::mount::error::{MountError, UnmountError};
use crate::ui::human::{Escaped, error_text};

/// The error of a command. Its text is one line, in lower case, and names what it is about.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An archive cannot be opened.
    Open(OpenError),
    /// Nothing was mounted, or a mount failed.
    Mount(MountError),
    /// A mount was not unmounted.
    Unmount {
        /// The path as given on the command line.
        mount_point: PathBuf,
        /// The reason.
        error: UnmountError,
    },
    /// An archive was not repacked.
    Repack(RepackError),
    /// The command of `npzfs run` cannot be started.
    Command {
        /// Its name, as given on the command line.
        command: OsString,
        /// The cause.
        error: io::Error,
    },
    /// The log file cannot be opened.
    Log {
        /// The path as given on the command line.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Standard output cannot be written.
    Output(io::Error),
    /// `--cache-dir` cannot be used.
    CacheDirectory {
        /// The path as given on the command line.
        directory: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<MountError> for Error {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

impl From<RepackError> for Error {
    fn from(error: RepackError) -> Self {
        Self::Repack(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Mount(error) => error.fmt(f),
            Self::Repack(error) => error.fmt(f),
            Self::Unmount { mount_point, error } => {
                write!(f, "{}: {error}", Escaped::path(mount_point))
            }
            Self::Command { command, error } => {
                let command = Escaped(command.as_encoded_bytes());
                write!(f, "{command}: cannot be run: {}", error_text(error))
            }
            Self::Log { file, error } => {
                let (file, error) = (Escaped::path(file), error_text(error));
                write!(f, "{file}: cannot log there: {error}")
            }
            Self::Output(error) => {
                let error = error_text(error);
                write!(f, "standard output cannot be written: {error}")
            }
            Self::CacheDirectory { directory, error } => {
                let (directory, error) = (Escaped::path(directory), error_text(error));
                write!(f, "{directory}: cannot inflate there: {error}")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Mount(error) => error.source(),
            Self::Repack(error) => error.source(),
            Self::Unmount { error, .. } => Some(error),
            Self::Command { error, .. }
            | Self::Log { error, .. }
            | Self::Output(error)
            | Self::CacheDirectory { error, .. } => Some(error),
        }
    }
}
