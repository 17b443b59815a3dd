//! Errors of an archive that is opened, and of one that is read while it is mounted.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::archive::file_kind::FileKind;
use crate::ui::human::{Escaped, Size, error_text};
use crate::zip::{ArchiveError, MemberError};

/// An archive, or a folder of archives, that cannot be mounted, listed, verified or repacked.
#[derive(Debug)]
pub struct OpenError {
    /// The path as given on the command line.
    pub archive: PathBuf,
    /// The reason.
    pub kind: OpenErrorKind,
}

/// The reason of an [`OpenError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The file cannot be opened.
    Io(io::Error),
    /// The path leads to something other than a regular file.
    NotAFile(FileKind),
    /// The archive as a whole cannot be used.
    Archive(ArchiveError),
    /// Too many members cannot be read.
    Unreadable {
        /// The name of the first such member, as in the archive.
        member: Vec<u8>,
        /// The reason why it cannot be read.
        error: MemberError,
        /// Whether one such member was enough.
        strict: bool,
    },
    /// No member can be passed through to the kernel, which `--passthrough=on` demands.
    Passthrough(PassthroughError),
}

impl OpenErrorKind {
    /// Names the archive that could not be opened.
    pub fn of(self, archive: impl Into<PathBuf>) -> OpenError {
        OpenError {
            archive: archive.into(),
            kind: self,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped::path(&self.archive), self.kind)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            OpenErrorKind::Io(error) => Some(error),
            OpenErrorKind::NotAFile(_) => None,
            OpenErrorKind::Archive(error) => Some(error),
            OpenErrorKind::Unreadable { error, .. } => Some(error),
            OpenErrorKind::Passthrough(error) => Some(error),
        }
    }
}

impl fmt::Display for OpenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be opened: {}", error_text(error)),
            Self::NotAFile(FileKind::Directory) => {
                f.write_str("is a directory, not an archive: name the archives in it")
            }
            Self::NotAFile(kind) => write!(f, "is {kind}, not an archive"),
            Self::Archive(error) => error.fmt(f),
            Self::Unreadable {
                member,
                error,
                strict,
            } => {
                write!(f, "member '{}': {error}", Escaped::member(member))?;
                if !strict {
                    f.write_str(" (no member of the archive can be read)")?;
                }
                Ok(())
            }
            Self::Passthrough(error) => {
                write!(f, "--passthrough=on: {error} (auto serves it all the same)")
            }
        }
    }
}

/// The reason why no member of an archive can be passed through to the kernel.
#[derive(Debug)]
#[non_exhaustive]
pub enum PassthroughError {
    /// Members cannot be cloned.
    Clone(io::Error),
    /// No member is long enough, or none starts at a page boundary.
    NothingFit {
        /// The least length of a member that is passed through, in bytes.
        min: u64,
    },
}

impl fmt::Display for PassthroughError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clone(error) => write!(f, "members cannot be cloned: {}", error_text(error)),
            Self::NothingFit { min } => write!(
                f,
                "no member is at a page boundary and at least {} long (npzfs repack makes such \
                 archives)",
                Size(*min)
            ),
        }
    }
}

impl Error for PassthroughError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Clone(error) => Some(error),
            Self::NothingFit { .. } => None,
        }
    }
}

/// The reason why bytes of an open archive cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file has changed since it was opened.
    Stale,
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the archive has changed since it was opened"),
            Self::Io(error) => f.write_str(&error_text(error)),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stale => None,
            Self::Io(error) => Some(error),
        }
    }
}
