//! Why a repack failed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::ui::human::{Escaped, error_text};
use crate::zip::DecodeError;

/// Why a repack failed. Nothing is left of its result.
#[derive(Debug)]
#[non_exhaustive]
pub enum RepackError {
    /// The contents of a member cannot be read.
    Contents {
        /// The archive as given on the command line.
        archive: PathBuf,
        /// The member's name in the archive.
        member: Vec<u8>,
        /// The cause: `InvalidData` with a [`DecodeError`] if the archive is damaged.
        error: io::Error,
    },
    /// A file or a directory cannot be read.
    Read {
        /// The path of the file or directory.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The input changed while it was read.
    Changed {
        /// The path of the file that changed.
        path: PathBuf,
    },
    /// The input has something in it that an archive cannot hold.
    NoFile {
        /// Its path.
        path: PathBuf,
        /// Its kind, such as "a FIFO".
        what: &'static str,
    },
    /// A path is longer than the name of a member can be.
    LongName {
        /// The path.
        name: Vec<u8>,
    },
    /// The output already exists.
    Exists {
        /// The path as given on the command line.
        output: PathBuf,
    },
    /// The output exists and is not a regular file, so it is not replaced.
    NotReplaced {
        /// The path as given on the command line.
        output: PathBuf,
        /// Its kind, such as "a FIFO".
        what: &'static str,
    },
    /// The output would lie in the directory that is packed.
    Inside {
        /// The path as given on the command line.
        output: PathBuf,
    },
    /// The output cannot be written.
    Write {
        /// The path as given on the command line.
        output: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The result differs from the input when it is read back.
    Verify {
        /// The path as given on the command line.
        output: PathBuf,
        /// The difference.
        what: String,
    },
}

impl RepackError {
    /// Whether the archive is damaged, as opposed to unreadable.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Contents { error, .. } if is_fault(error))
    }
}

fn is_fault(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|cause| cause.is::<DecodeError>())
}

impl fmt::Display for RepackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contents {
                archive,
                member,
                error,
            } => {
                let (archive, member) = (Escaped::path(archive), Escaped::member(member));
                if is_fault(error) {
                    write!(f, "{archive}: member '{member}': {error}")
                } else {
                    let error = error_text(error);
                    write!(f, "{archive}: member '{member}': cannot be read: {error}")
                }
            }
            Self::Read { path, error } => {
                write!(
                    f,
                    "{}: cannot be read: {}",
                    Escaped::path(path),
                    error_text(error)
                )
            }
            Self::Changed { path } => {
                write!(
                    f,
                    "{}: changed while it was read: try again",
                    Escaped::path(path)
                )
            }
            Self::NoFile { path, what } => {
                write!(
                    f,
                    "{}: is {what}, which an archive cannot hold",
                    Escaped::path(path)
                )
            }
            Self::LongName { name } => write!(
                f,
                "{}: path is longer than the 65535 bytes that an archive can hold",
                Escaped::member(name)
            ),
            Self::Exists { output } => {
                write!(
                    f,
                    "{}: exists already (--force replaces it)",
                    Escaped::path(output)
                )
            }
            Self::NotReplaced { output, what } => {
                write!(
                    f,
                    "{}: is {what}, and only files are replaced",
                    Escaped::path(output)
                )
            }
            Self::Inside { output } => write!(
                f,
                "{}: lies in the directory that is packed: write it somewhere else",
                Escaped::path(output)
            ),
            Self::Write { output, error } => {
                write!(
                    f,
                    "{}: cannot be written: {}",
                    Escaped::path(output),
                    error_text(error)
                )
            }
            Self::Verify { output, what } => write!(
                f,
                "{}: not written: what was read back differs: {what}",
                Escaped::path(output)
            ),
        }
    }
}

impl Error for RepackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Contents { error, .. } | Self::Read { error, .. } | Self::Write { error, .. } => {
                Some(error)
            }
            Self::Changed { .. }
            | Self::NoFile { .. }
            | Self::LongName { .. }
            | Self::Exists { .. }
            | Self::NotReplaced { .. }
            | Self::Inside { .. }
            | Self::Verify { .. } => None,
        }
    }
}
