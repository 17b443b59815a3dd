//! Why a member was not inflated.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::archive::served_file::ReadError;
use crate::ui::human::error_text;
use crate::ui::human::{Escaped, Size};

/// Why a member was not inflated.
#[derive(Debug)]
pub enum InflateError {
    /// The archive has changed.
    Stale,
    /// The archive cannot be read, or the member is not what it should be.
    Data(io::Error),
    /// There is no room for so much, not even on the disk.
    NoRoom {
        /// What is needed, in bytes.
        size: u64,
        /// What may be used of the memory, in bytes.
        memory: u64,
        /// Where there is no room either.
        directory: PathBuf,
    },
    /// More contents are in use than there may be.
    TooMany,
    /// The contents could not be written.
    Write {
        /// Where; `None` for memory.
        directory: Option<PathBuf>,
        /// The cause.
        error: io::Error,
    },
    /// The decoder failed in a way in which it never should.
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

impl From<ReadError> for InflateError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stale => Self::Stale,
            ReadError::Io(error) => Self::Data(error),
        }
    }
}
