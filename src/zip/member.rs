//! One file in an archive, as plain data.

use std::fmt;

use crate::extent::Extent;
use crate::zip::names::Name;

/// A compression method by its number (APPNOTE 4.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// The member's bytes are in the archive as they are.
    pub const STORED: Self = Self(0);
    /// The member is compressed with DEFLATE.
    pub const DEFLATED: Self = Self(8);
    /// The member is compressed with bzip2.
    pub const BZIP2: Self = Self(12);
    /// The member is compressed with LZMA.
    pub const LZMA: Self = Self(14);
    /// The member is compressed with Zstandard.
    pub const ZSTD: Self = Self(93);

    /// Whether npzfs can read what is compressed so: all methods that Python's `zipfile` writes.
    pub fn is_known(self) -> bool {
        [
            Self::STORED,
            Self::DEFLATED,
            Self::BZIP2,
            Self::LZMA,
            Self::ZSTD,
        ]
        .contains(&self)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::STORED => f.write_str("stored"),
            Self::DEFLATED => f.write_str("deflated"),
            Self(9) => f.write_str("deflate64"),
            Self::BZIP2 => f.write_str("bzip2"),
            Self::LZMA => f.write_str("lzma"),
            Self::ZSTD => f.write_str("zstd"),
            Self(95) => f.write_str("xz"),
            Self(number) => write!(f, "method {number}"),
        }
    }
}

/// A file of an archive (APPNOTE 4.3.12).
#[derive(Debug)]
pub struct Member {
    /// The name as it is in the archive, byte by byte.
    pub name: Name,
    /// How the data is compressed.
    pub method: Method,
    /// General purpose bit flag (APPNOTE 4.4.4).
    pub flags: u16,
    /// CRC-32 of the uncompressed data, as the central directory tells it.
    pub crc32: u32,
    /// Uncompressed length in bytes, as the central directory tells it.
    pub size: u64,
    /// Where the data is in the file, compressed as it is. Meaningful only without a damage.
    pub extent: Extent,
    /// Offset of the local header in the file.
    pub local_header_offset: u64,
    /// Time of last modification, in seconds since 1970 (UTC).
    pub modified: i64,
    /// The time of last modification as its central header tells it.
    pub stamp: Stamp,
    /// Why the member cannot be read; boxed, since next to no member has one.
    pub problem: Option<Box<MemberError>>,
}

impl Member {
    /// Where the data starts in the file; `None` where that is not known, because the local header
    /// is damaged.
    pub fn data_offset(&self) -> Option<u64> {
        // Never at 0, where at the earliest a local header is.
        Some(self.extent.start).filter(|&start| start > 0)
    }
}

/// A time as a ZIP header tells it (APPNOTE 4.4.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The MS-DOS date.
    pub date: u16,
    /// The MS-DOS time, in local time.
    pub time: u16,
    /// Whether an extended timestamp tells it as well, in seconds since 1970 (UTC).
    pub is_extended: bool,
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
        /// Where it starts and how long it would be.
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

/// What a [`MemberError`] means to who wants to read the member.
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
    /// The kind of problem that this is.
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
