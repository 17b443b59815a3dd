//! What can be found in an archive that has an index.

use std::fmt;
use std::io;

use crate::ui::human::{Escaped, error_text};
use crate::zip::{ArchiveQuirk, DecodeError, Gap, MemberError, MemberQuirk};

/// A reason why a mount or NumPy cannot read a member as it was written.
#[derive(Debug)]
pub(super) enum Fault {
    /// The headers or the place of the member are wrong, or npzfs cannot read such members.
    Member(MemberError),
    /// The contents differ from those that were written.
    Contents(DecodeError),
    /// The archive cannot be read at that place.
    Read(io::Error),
    /// The data descriptor is missing or disagrees with the central header.
    Descriptor,
    /// The name ends in `.npy`, but the contents do not start with the magic of npy files.
    NotNpy,
    /// NumPy cannot read the npy header.
    NpyHeader,
    /// NumPy knows no such dtype.
    Dtype(String),
    /// The dtype has Python objects, but there is no pickle of them.
    NoPickle,
    /// The array's data is shorter or longer than the npy header says.
    ArrayLen {
        /// The length that dtype and shape give, in bytes; `None` if it exceeds 64 bits.
        declared: Option<u64>,
        /// The number of bytes behind the npy header.
        actual: u64,
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
            Self::Member(MemberError::Encrypted) => f.write_str("encrypted: cannot be checked"),
            Self::Member(MemberError::Method(method)) => {
                write!(f, "compressed ({method}): cannot be checked")
            }
            Self::Member(problem) => problem.fmt(f),
            Self::Contents(fault) => fault.fmt(f),
            Self::Read(error) => write!(f, "cannot be read: {}", error_text(error)),
            Self::Descriptor => {
                f.write_str("the data descriptor is missing or disagrees with the central header")
            }
            Self::NotNpy => f.write_str("named .npy, but has no npy header"),
            Self::NpyHeader => f.write_str("npy header is damaged or of an unknown version"),
            Self::Dtype(descr) => {
                let descr = Escaped(descr.as_bytes());
                write!(f, "npy header has an unknown dtype: {descr}")
            }
            Self::NoPickle => {
                f.write_str("npy header has a dtype of Python objects, but no data follows it")
            }
            Self::ArrayLen { declared, actual } => {
                match declared {
                    Some(declared) => write!(f, "npy header tells of {declared} bytes of data")?,
                    None => f.write_str("npy header tells of over 2^64 bytes of data")?,
                }
                write!(f, ", but {actual} follow it")
            }
        }
    }
}

/// Something that is sound but may still surprise.
#[derive(Debug)]
pub(super) enum Note {
    /// The archive deviates from the format.
    Archive(ArchiveQuirk),
    /// The headers of the member deviate from the format.
    Member(MemberQuirk),
    /// The data descriptor has 0xFFFFFFFF for both sizes.
    SaturatedDescriptor,
    /// Bytes that belong to no member.
    Gap(Gap),
    /// A later member has the same name.
    Repeated,
    /// NumPy refuses the npy header by default, since it is so long.
    LongNpyHeader { len_chars: usize },
    /// The npy header was too long to be checked.
    UncheckedNpyHeader { len_bytes: u64 },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(gap) => {
                write!(f, "gap of {} bytes at {}", gap.extent.len, gap.extent.start)?;
                if gap.has_member {
                    f.write_str(", with a member that is not in the central directory,")?;
                }
                Ok(())
            }
            Self::Archive(quirk) => quirk.fmt(f),
            Self::Member(quirk) => quirk.fmt(f),
            Self::SaturatedDescriptor => {
                f.write_str("the data descriptor has 4294967295 for both sizes")
            }
            Self::Repeated => f.write_str("hidden by a later member of the same name"),
            Self::LongNpyHeader { len_chars } => write!(
                f,
                "npy header of {len_chars} characters: np.load refuses it unless max_header_size \
                 is raised"
            ),
            Self::UncheckedNpyHeader { len_bytes } => {
                write!(
                    f,
                    "npy header of {len_bytes} bytes is too long to be checked"
                )
            }
        }
    }
}
