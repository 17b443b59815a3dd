//! What can be wrong with an archive as a whole.

use std::fmt;
use std::io;

use crate::ui::human::error_text;

/// Why an archive cannot be indexed. Defects of one member are a [`MemberError`](crate::zip::member::MemberError).
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
    /// More than one end record ends the file.
    SeveralEndRecords {
        /// Offset of the first one.
        offset: u64,
        /// Offset of another one.
        other: u64,
    },
    /// The archive is what is left of another one, which held it as a member.
    InsideAnother {
        /// Bytes before the archive.
        prefix_len: u64,
    },
    /// A ZIP64 locator points to no ZIP64 end record.
    Zip64EndRecordMissing {
        /// Where the locator says that it is.
        told_offset: u64,
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
        /// Its offset as told.
        offset: u64,
        /// Its length as told, in bytes.
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
    /// The central directory holds more or fewer entries than the end record says.
    EntryCount {
        /// As the end record says.
        told: u64,
        /// How many fit, or were found, at the least.
        found: u64,
    },
    /// The archive has more members, or longer names, than npzfs can index.
    TooLarge,
    /// The archive is not the one any more that was indexed.
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
            Self::EndRecordNotLast {
                offset,
                ends_at,
                len,
            } => write!(
                f,
                "the end record at {offset} ends the archive at {ends_at}, but the file ends at \
                 {len}: it was truncated or something was appended"
            ),
            Self::SeveralEndRecords { offset, other } => write!(
                f,
                "the end records at {offset} and {other} both end the file"
            ),
            Self::InsideAnother { prefix_len } => write!(
                f,
                "the first {prefix_len} bytes are the start of another archive, of which this is \
                 the last whole member: the file was truncated"
            ),
            Self::Zip64EndRecordMissing { told_offset } => write!(
                f,
                "the ZIP64 end record is not at {told_offset}, where its locator says"
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
            Self::EntryCount { told, found } => write!(
                f,
                "the end record tells of {told} entries, the central directory holds {found}"
            ),
            Self::TooLarge => f.write_str(
                "more than npzfs can index, which is 1048576 members with 128 MiB of names: \
                 split it",
            ),
            Self::Changed => f.write_str("changed while it was read: try again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_without_its_number() {
        let error = ArchiveError::Read(io::Error::from_raw_os_error(5));
        assert_eq!(error.to_string(), "cannot be read: Input/output error");
    }
}
