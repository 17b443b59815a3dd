//! The reasons why a member is not inflated.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::archive::error::ReadError;
use crate::ui::human::{Escaped, Size, error_text};

/// The reason why a member is not inflated.
#[derive(Debug)]
pub enum InflateError {
    /// The archive has changed.
    Stale,
    /// The archive cannot be read, or the member is not what it should be.
    Data(io::Error),
    /// There is no room for the contents, not even on the disk.
    NoRoom {
        /// The room that is needed, in bytes.
        size: u64,
        /// The limit for memory, in bytes.
        memory: u64,
        /// The directory on the disk.
        directory: PathBuf,
    },
    /// As many contents are in use as may be kept.
    TooMany,
    /// The contents could not be written.
    Write {
        /// The directory on the disk; `None` for memory.
        directory: Option<PathBuf>,
        /// The error of the system call.
        error: io::Error,
    },
    /// The decoder panicked.
    Decoder,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the archive changed while the member was inflated"),
            Self::Data(error) => f.write_str(&error_text(error)),
            Self::NoRoom {
                size,
                memory,
                directory,
            } => write!(
                f,
                "no room for {}: --inflate-limit is {}, and {} has not that much left",
                Size(*size),
                Size(*memory),
                Escaped::path(directory)
            ),
            Self::TooMany => {
                f.write_str("too many inflated members are in use (--max-open, ulimit -n)")
            }
            Self::Write { directory, error } => {
                f.write_str("inflated data cannot be written")?;
                if let Some(directory) = directory {
                    write!(f, " to {}", Escaped::path(directory))?;
                }
                write!(f, ": {}", error_text(error))
            }
            Self::Decoder => f.write_str("the decoder failed: please report it"),
        }
    }
}

impl Error for InflateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Data(error) | Self::Write { error, .. } => Some(error),
            Self::Stale | Self::NoRoom { .. } | Self::TooMany | Self::Decoder => None,
        }
    }
}

impl From<ReadError> for InflateError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stale => Self::Stale,
            ReadError::Io(error) => Self::Data(error),
        }
    }
}
