//! Errors of the ZIP layer: of an archive as a whole, of one member, and of a member's contents.

use std::error::Error;
use std::fmt;
use std::io;

use super::method::Method;
use crate::extent::Extent;
use crate::ui::human::error_text;

/// Why an archive cannot be indexed. Defects of one member are a [`MemberError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive could not be read.
    Read(io::Error),
    /// Nothing in the file looks like a ZIP archive.
    NotAnArchive,
    /// The file starts like an archive but has no end record.
    EndRecordMissing,
    /// An end record was found, but it does not end the file.
    EndRecordNotLast {
        /// Offset of the end record.
        offset: u64,
        /// Where the archive would end.
        ends_at: u64,
        /// Where the file ends.
        len: u64,
    },
    /// The file starts like an archive and ends with zeros, and there is no end record before them.
    ZeroTail,
    /// More than one end record ends the file.
    SeveralEndRecords {
        /// Offset of the first one.
        offset: u64,
        /// Offset of another one.
        other: u64,
    },
    /// The comment of the archive has an end record with a central directory.
    EndRecordInComment {
        /// Offset of the archive's own end record.
        offset: u64,
        /// Offset of the one in the comment.
        other: u64,
    },
    /// The archive is larger than 4 GiB, and its offsets are cut to 32 bits.
    OffsetsWrapped,
    /// The file is a truncated archive, and what was found is a member of it.
    InsideAnother {
        /// Bytes before the inner archive.
        prefix_len: u64,
    },
    /// A ZIP64 locator points to no ZIP64 end record.
    Zip64EndRecordMissing {
        /// Where the locator says that it is.
        declared_offset: u64,
    },
    /// The end record and the ZIP64 end record differ.
    EndRecordsDisagree {
        /// The field in which they do.
        field: &'static str,
    },
    /// The archive is one part of several.
    Split,
    /// The central directory is not where the end records say.
    CentralDirectoryOutside {
        /// Its declared offset.
        offset: u64,
        /// Its declared length in bytes.
        len: u64,
        /// Where it has to end.
        end: u64,
    },
    /// There is no central header where one must be.
    CentralHeader {
        /// Its offset in the file.
        offset: u64,
        /// Its number, from 0.
        entry: u64,
    },
    /// The end record declares more entries than the central directory has room for.
    NoRoomForEntries {
        /// Entries that the end record declares.
        declared: u64,
        /// Entries for which there would be room.
        room: u64,
    },
    /// The central directory holds more or fewer entries than the end record declares.
    EntryCount {
        /// Entries that the end record declares.
        declared: u64,
        /// Entries that there are.
        actual: u64,
    },
    /// The archive has more members, or longer names, than npzfs indexes.
    TooLarge,
    /// The archive was modified while it was indexed.
    Changed,
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {}", error_text(error)),
            Self::NotAnArchive => f.write_str("not a ZIP archive"),
            Self::EndRecordMissing => f.write_str(
                "the end of central directory record is missing: the file was truncated",
            ),
            Self::ZeroTail => f.write_str(
                "no end of central directory record in the last 64 KiB, which are mostly zeros: \
                 the file is incomplete, or has too much padding",
            ),
            Self::EndRecordNotLast {
                offset,
                ends_at,
                len,
            } => write!(
                f,
                "the end record at {offset} ends the archive at {ends_at}, but the file ends at \
                 {len}: {}",
                match ends_at > len {
                    true => "it was truncated",
                    false => "something was appended",
                }
            ),
            Self::SeveralEndRecords { offset, other } => write!(
                f,
                "the end records at {offset} and {other} both end the file"
            ),
            Self::EndRecordInComment { offset, other } => write!(
                f,
                "the comment of the end record at {offset} holds another one, at {other}: programs \
                 differ in which archive they read"
            ),
            Self::OffsetsWrapped => f.write_str(
                "larger than 4 GiB, but written without ZIP64, so its offsets are wrong: write it \
                 again with a program that knows ZIP64",
            ),
            Self::InsideAnother { prefix_len } => write!(
                f,
                "the first {prefix_len} bytes are the start of another archive, of which this is \
                 the last whole member: the file was truncated"
            ),
            Self::Zip64EndRecordMissing { declared_offset } => write!(
                f,
                "the ZIP64 end record is not at {declared_offset}, where its locator says"
            ),
            Self::EndRecordsDisagree { field } => {
                write!(f, "the end records disagree on {field}")
            }
            Self::Split => {
                f.write_str("one part of a split archive: join the parts first (zip -s 0)")
            }
            Self::CentralDirectoryOutside { offset, len, end } => write!(
                f,
                "the central directory (offset {offset}, {len} bytes) does not end at {end}, \
                 where the end records start"
            ),
            Self::CentralHeader { offset, entry } => write!(
                f,
                "entry {entry} of the central directory, at {offset}, is no central header"
            ),
            Self::NoRoomForEntries { declared, room } => write!(
                f,
                "the end record declares {declared} entries, the central directory has room for \
                 {room}"
            ),
            Self::EntryCount { declared, actual } => write!(
                f,
                "the end record declares {declared} entries, the central directory holds {actual}"
            ),
            Self::TooLarge => f.write_str(
                "more than npzfs can index, which is 1048576 members with 128 MiB of names: \
                 split it",
            ),
            Self::Changed => f.write_str("changed while it was read: try again"),
        }
    }
}

impl Error for ArchiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// Why one member cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberError {
    /// The data is encrypted (APPNOTE 4.4.4, bits 0, 6 and 13).
    Encrypted,
    /// The data is compressed by a method that npzfs does not read.
    Method(Method),
    /// The central header's ZIP64 field lacks a value that the header refers to.
    Zip64ValueMissing,
    /// The member is on another disk of a split archive.
    OtherDisk(u16),
    /// The local header does not lie between the archive's start and its central directory.
    LocalHeaderOutside {
        /// Where the central header says that it is.
        offset: u64,
    },
    /// There is no local header where the central header says.
    LocalHeaderMissing {
        /// Where the central header says that it is.
        offset: u64,
    },
    /// The local and the central header differ.
    HeadersDisagree {
        /// The field in which they do.
        field: &'static str,
    },
    /// The data runs into the central directory or past the end of the archive.
    DataOutside {
        /// The declared range of the data.
        extent: Extent,
        /// Where the members' part of the archive ends.
        limit: u64,
    },
    /// The data of a stored member has another length than the member.
    StoredSizesDiffer {
        /// Length of the data in the archive, in bytes.
        stored: u64,
        /// Length of the member, in bytes.
        size: u64,
    },
    /// Another member claims some of the same bytes.
    Overlap {
        /// Offset of the other member's local header.
        other: u64,
    },
}

/// The consequence of a [`MemberError`] for a reader of the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberErrorKind {
    /// The archive is damaged there.
    Damaged,
    /// npzfs does not read such members.
    Unsupported,
    /// The member is encrypted.
    Encrypted,
}

impl MemberError {
    /// Returns the kind of this error.
    pub fn kind(&self) -> MemberErrorKind {
        match self {
            Self::Encrypted => MemberErrorKind::Encrypted,
            Self::Method(_) => MemberErrorKind::Unsupported,
            Self::Zip64ValueMissing
            | Self::OtherDisk(_)
            | Self::LocalHeaderOutside { .. }
            | Self::LocalHeaderMissing { .. }
            | Self::HeadersDisagree { .. }
            | Self::DataOutside { .. }
            | Self::StoredSizesDiffer { .. }
            | Self::Overlap { .. } => MemberErrorKind::Damaged,
        }
    }
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str("encrypted"),
            Self::Method(method) => {
                write!(f, "compressed ({method}), and such members are not read")
            }
            Self::Zip64ValueMissing => f.write_str("ZIP64 field lacks a size or an offset"),
            Self::OtherDisk(disk) => write!(f, "lies on disk {disk} of a split archive"),
            Self::LocalHeaderOutside { offset } => write!(
                f,
                "local header at {offset} lies past the end of the archive's members"
            ),
            Self::LocalHeaderMissing { offset } => write!(f, "no local header at {offset}"),
            Self::HeadersDisagree { field } => {
                write!(f, "local and central header disagree on the {field}")
            }
            Self::DataOutside { extent, limit } => write!(
                f,
                "data ({} bytes at {}) runs past {limit}, where the archive's members end",
                extent.len, extent.start
            ),
            Self::StoredSizesDiffer { stored, size } => {
                write!(f, "stored as {stored} bytes but {size} bytes long")
            }
            Self::Overlap { other } => {
                write!(f, "overlaps the member whose local header is at {other}")
            }
        }
    }
}

impl Error for MemberError {}

/// Why the contents of a member are not what its headers say. Errors of a
/// [`Decoder`](crate::zip::Decoder) whose kind is `InvalidData` hold one.
#[derive(Debug)]
pub enum DecodeError {
    /// The compressed data is malformed.
    Data(io::Error),
    /// The decoder would need a window of more than 128 MiB.
    Window,
    /// There are fewer bytes than the member should have.
    TooShort {
        /// Bytes that there are.
        len: u64,
        /// Bytes that there should be.
        size: u64,
    },
    /// There are more bytes than the member should have.
    TooLong {
        /// Bytes that there should be.
        size: u64,
    },
    /// The bytes have another CRC-32.
    Crc {
        /// The CRC-32 in the central header.
        declared: u32,
        /// The CRC-32 of the bytes.
        actual: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => write!(f, "compressed data is damaged: {error}"),
            Self::Window => {
                f.write_str("compressed so that 128 MiB of memory do not suffice to read it")
            }
            Self::TooShort { len, size } => write!(f, "{len} bytes of data instead of {size}"),
            Self::TooLong { size } => write!(f, "more than {size} bytes of data"),
            Self::Crc { declared, actual } => {
                write!(
                    f,
                    "CRC-32 of the data is {actual:08x} instead of {declared:08x}"
                )
            }
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Data(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_shown_without_its_number() {
        let error = ArchiveError::Read(io::Error::from_raw_os_error(5));
        assert_eq!(error.to_string(), "cannot be read: Input/output error");
    }
}
