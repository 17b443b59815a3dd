//! Why a repack failed, where no other command fails so.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::exit_status;
use crate::ui::human::Escaped;
use crate::ui::human::error_text;
use crate::zip::decoder::DecodeError;

/// Why a repack failed. Nothing is left of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum RepackError {
    /// The contents of a member cannot be had.
    Contents {
        /// The archive as given on the command line.
        archive: PathBuf,
        /// The member, as the archive names it.
        member: Vec<u8>,
        /// The cause; `InvalidData` with a [`DecodeError`] where it is the archive's.
        error: io::Error,
    },
    /// A file or a directory cannot be read.
    Read {
        /// Which one.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// What is to be packed changed meanwhile.
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// What is to be packed has something in it that an archive cannot hold.
    NoFile {
        /// Which one.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A path is longer than the name of a member can be.
    LongName {
        /// The path.
        name: Vec<u8>,
    },
    /// The result exists already.
    Exists {
        /// As given on the command line.
        output: PathBuf,
    },
    /// What has the name of the result is no regular file, and so is not replaced.
    NotReplaced {
        /// As given on the command line.
        output: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The result would be in the directory that is packed.
    Inside {
        /// As given on the command line.
        output: PathBuf,
    },
    /// The result cannot be written.
    Write {
        /// As given on the command line.
        output: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// What was written is not what is read back.
    Verify {
        /// As given on the command line.
        output: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl RepackError {
    /// The exit status for this failure.
    pub fn status(&self) -> u8 {
        match self {
            Self::Contents { error, .. } if is_fault(error) => exit_status::DAMAGED,
            Self::Contents { .. } | Self::Read { .. } | Self::Changed { .. } => {
                exit_status::ARCHIVE
            }
            Self::NoFile { .. }
            | Self::LongName { .. }
            | Self::Exists { .. }
            | Self::NotReplaced { .. }
            | Self::Inside { .. }
            | Self::Write { .. }
            | Self::Verify { .. } => exit_status::FAILED,
        }
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
