//! One entry of the central directory.

use super::error::MemberError;
use super::local_header::UTF8;
use super::method::Method;
use super::names::Name;
use super::quirk::{MemberQuirk, MemberQuirks};
use crate::extent::Extent;

/// A member of an archive (APPNOTE 4.3.12): a file, or the entry of a directory.
#[derive(Debug)]
pub struct Member {
    /// The name as it is in the archive, byte by byte: in the Unicode Path field if there is a valid one,
    /// otherwise in the header.
    pub name: Name,
    /// Compression method of the data.
    pub method: Method,
    /// General purpose bit flag (APPNOTE 4.4.4).
    pub flags: u16,
    /// CRC-32 of the uncompressed data, from the central header.
    pub crc32: u32,
    /// Uncompressed length in bytes, from the central header.
    pub size: u64,
    /// Range of the data in the file, compressed or not. Its start is only known without a
    /// [`problem`](Self::problem).
    pub extent: Extent,
    /// Offset of the local header in the file.
    pub local_header_offset: u64,
    /// Whether the member is a symbolic link, whose contents are its target.
    pub is_symlink: bool,
    /// Time of last modification, in seconds since 1970 (UTC): the archive's where the member has none.
    pub modified: i64,
    /// Whether the member has a time of its own.
    pub is_dated: bool,
    /// Time of last modification as the central header has it.
    pub stamp: Stamp,
    /// Deviations of its headers from the format that do not matter.
    pub quirks: MemberQuirks,
    /// Why the member cannot be read; boxed, since hardly any member has one.
    pub problem: Option<Box<MemberError>>,
}

#[cfg(test)]
impl Member {
    /// Returns a sound stored member without a name, whose data is at `extent`.
    pub(crate) fn stored_at(extent: Extent) -> Self {
        Self {
            name: Name::default(),
            method: Method::STORED,
            flags: 0,
            crc32: 0,
            size: extent.len,
            extent,
            local_header_offset: 0,
            is_symlink: false,
            modified: 0,
            is_dated: false,
            stamp: Stamp::default(),
            quirks: Default::default(),
            problem: None,
        }
    }
}

impl Member {
    /// Returns whether the name is UTF-8 by the archive's own account. Readers decode any other name as
    /// code page 437.
    pub fn has_utf8_name(&self) -> bool {
        let has_unicode_path = self
            .quirks
            .iter()
            .any(|quirk| quirk == MemberQuirk::UnicodePath);
        self.flags & UTF8 != 0 || has_unicode_path
    }

    /// Returns the offset of the data in the file; `None` where it is not known, because the local
    /// header is damaged.
    pub fn data_offset(&self) -> Option<u64> {
        // Never at 0, where at the earliest a local header is.
        Some(self.extent.start).filter(|&start| start > 0)
    }
}

/// A time of last modification in the form of a ZIP header (APPNOTE 4.4.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The MS-DOS date.
    pub date: u16,
    /// The MS-DOS time, in local time.
    pub time: u16,
    /// Whether an extended timestamp has the time as well, in seconds since 1970 (UTC).
    pub is_extended: bool,
}
