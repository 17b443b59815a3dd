//! What can be found in an archive that was indexed.

use std::fmt;
use std::io;

use crate::ui::human::Escaped;
use crate::ui::human::error_text;
use crate::zip::Gap;
use crate::zip::decoder;
use crate::zip::member::MemberError;

/// What is wrong with a member.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Its headers or its place in the archive are wrong, or nothing can read it.
    MemberError(MemberError),
    /// Its contents are not those that were put in.
    Contents(decoder::DecodeError),
    /// The archive could not be read there.
    Read(io::Error),
    /// Its data descriptor is missing, or disagrees with the central header.
    Descriptor,
    /// It is named `.npy` and is none.
    NotNpy,
    /// Its npy header is none that NumPy reads.
    NpyHeader,
    /// Its dtype is none that NumPy writes.
    Dtype(String),
    /// Its array is not as long as its npy header tells.
    ArrayLen {
        /// As the npy header tells, in bytes; `None` for more than 64 bits can hold.
        told: Option<u64>,
        /// How many bytes follow the npy header.
        found: u64,
    },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(fault) => Self::Contents(fault),
            Err(error) => Self::Read(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemberError(MemberError::Encrypted) => {
                f.write_str("encrypted: cannot be checked")
            }
            Self::MemberError(MemberError::Method(method)) => {
                write!(f, "compressed ({method}): cannot be checked")
            }
            Self::MemberError(problem) => problem.fmt(f),
            Self::Contents(fault) => fault.fmt(f),
            Self::Read(error) => write!(f, "cannot be read: {}", error_text(error)),
            Self::Descriptor => {
                f.write_str("the data descriptor is missing or disagrees with the central header")
            }
            Self::NotNpy => f.write_str("named .npy, but has no npy header"),
            Self::NpyHeader => f.write_str("npy header is damaged or of an unknown version"),
            Self::Dtype(descr) => {
                write!(
                    f,
                    "npy header has an unknown dtype: {}",
                    Escaped(descr.as_bytes())
                )
            }
            Self::ArrayLen { told, found } => {
                match told {
                    Some(told) => write!(f, "npy header tells of {told} bytes of data")?,
                    None => f.write_str("npy header tells of over 2^64 bytes of data")?,
                }
                write!(f, ", but {found} follow it")
            }
        }
    }
}

/// What is worth knowing of an archive, though it is sound.
#[derive(Debug)]
#[non_exhaustive]
pub enum Note {
    /// Bytes that no member claims.
    Gap(Gap),
    /// A later member has the same name.
    Repeated,
    /// The npy header is so long that what it says was not checked.
    LongNpyHeader {
        /// Its length in bytes.
        len_bytes: u64,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(gap) => {
                write!(f, "gap of {} bytes at {}", gap.extent.len, gap.extent.start)?;
                if gap.holds_member {
                    f.write_str(", with a member that is not in the central directory,")?;
                }
                Ok(())
            }
            Self::Repeated => f.write_str("hidden by a later member of the same name"),
            Self::LongNpyHeader { len_bytes } => {
                write!(
                    f,
                    "npy header of {len_bytes} bytes is too long to be checked"
                )
            }
        }
    }
}
