//! The headers of stored members and the end records, as npzfs writes them (APPNOTE 4.3.7, 4.3.12 and
//! 4.3.14 to 4.3.16). ZIP64 is used only for numbers that do not fit otherwise.

use super::central_header::CENTRAL_HEADER;
use super::eocd::{END_RECORD, ZIP64_END_RECORD, ZIP64_LOCATOR};
use super::extra_field::{EXTENDED_TIMESTAMP, ZIP64};
use super::local_header::{LOCAL_HEADER, LOCAL_HEADER_LEN, UTF8};
use super::member::Stamp;
use crate::extent::Extent;

/// The extra field that aligns the data behind it: the alignment, then zeros. It was introduced by
/// Android's zipalign.
const ALIGNMENT: u16 = 0xD935;
/// Length of that field without the zeros, in bytes.
const ALIGNMENT_LEN: u64 = 6;
/// The largest alignment that fits into the field, as a number and as zeros.
const FIELD_ALIGNMENT_MAX: u64 = 1 << 15;

/// The versions of the format that a reader needs: for directories, and for ZIP64 (APPNOTE 4.4.3.2).
const PLAIN_VERSION: u16 = 20;
const ZIP64_VERSION: u16 = 45;
/// External attributes are Unix modes (APPNOTE 4.4.2).
const MADE_ON_UNIX: u16 = 3 << 8;
const FILE_ATTRIBUTES: u32 = 0o100_644 << 16;
const SYMLINK_ATTRIBUTES: u32 = 0o120_777 << 16;
/// The mode, and the flag that MS-DOS has for directories.
const DIRECTORY_ATTRIBUTES: u32 = 0o040_755 << 16 | 0x10;

/// A stored member to be written: the values of its headers except for the CRC-32, which is known only
/// after the data.
#[derive(Debug)]
pub struct Record {
    /// The name, at most 65,535 bytes; that of a directory ends with a slash.
    pub name: Vec<u8>,
    /// Length of the data in bytes.
    pub size: u64,
    /// The MS-DOS time.
    pub stamp: Stamp,
    /// Time of last modification in seconds since 1970 (UTC), for an extended timestamp.
    pub timestamp: Option<i32>,
    /// Whether the name is flagged as UTF-8. Without the flag, readers may decode it as code page 437.
    pub is_utf8: bool,
    /// Whether the data is the target of a symbolic link.
    pub is_symlink: bool,
    /// Offset of its local header in the archive.
    offset: u64,
    /// The alignment and the length of the extra field for it, in bytes; 0 where there is none.
    alignment: u16,
    padding_len: u16,
}

impl Record {
    /// Returns a record at offset 0, with the UTF-8 flag if the name needs it;
    /// [`place`](Self::place) moves it.
    pub fn new(name: Vec<u8>, size: u64, stamp: Stamp, timestamp: Option<i32>) -> Self {
        Self {
            is_utf8: !name.is_ascii() && std::str::from_utf8(&name).is_ok(),
            name,
            size,
            stamp,
            timestamp,
            is_symlink: false,
            offset: 0,
            alignment: 0,
            padding_len: 0,
        }
    }

    /// Returns the record at the start of an archive whose first member is further on. Without it,
    /// programs would not recognise the file as an archive. It has no central header.
    pub fn placeholder() -> Self {
        Self::new(Vec::new(), 0, Stamp::default(), None)
    }

    /// Places the member behind `end`, where the previous one ends, so that its data starts at a
    /// multiple of `alignment`, a power of two. Returns the length of the padding in bytes.
    ///
    /// The padding goes into an extra field or, for alignments beyond what that can hold, before the
    /// local header. Readers start from the central directory and do not notice.
    pub fn place(&mut self, end: u64, alignment: u64) -> u64 {
        self.offset = end;
        self.padding_len = 0;
        let start = self.extent().start;
        let mut free = start.next_multiple_of(alignment) - start;
        if free == 0 {
            return 0;
        }
        let in_field = alignment <= FIELD_ALIGNMENT_MAX;
        let least = match end {
            _ if in_field => ALIGNMENT_LEN,
            0 => Self::placeholder().extent().start,
            _ => 0,
        };
        while free < least {
            free += alignment;
        }
        if in_field {
            self.alignment = alignment as u16;
            self.padding_len = free as u16;
        } else {
            self.offset += free;
        }
        free
    }

    /// Returns the offset of the local header in the archive.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the range of the data in the archive.
    pub fn extent(&self) -> Extent {
        let extra_len = self.local_extra().len() as u64 + u64::from(self.padding_len);
        Extent {
            start: self.offset + LOCAL_HEADER_LEN as u64 + self.name.len() as u64 + extra_len,
            len: self.size,
        }
    }

    /// Returns the local header, up to the first byte of the data.
    pub fn local_header(&self, crc32: u32) -> Vec<u8> {
        let mut extra = self.local_extra();
        if let Some(zeros) = usize::from(self.padding_len).checked_sub(ALIGNMENT_LEN as usize) {
            extra.extend(ALIGNMENT.to_le_bytes());
            extra.extend((self.padding_len - 4).to_le_bytes());
            extra.extend(self.alignment.to_le_bytes());
            extra.resize(extra.len() + zeros, 0);
        }
        let size = narrow(self.size);
        let mut bytes = LOCAL_HEADER.to_vec();
        bytes.extend(version(size == u32::MAX).to_le_bytes());
        self.push_common(&mut bytes, crc32, extra.len());
        bytes.extend(&self.name);
        bytes.extend(extra);
        bytes
    }

    /// Appends the central header to `bytes`.
    pub fn central_header(&self, crc32: u32, bytes: &mut Vec<u8>) {
        let (size, offset) = (narrow(self.size), narrow(self.offset));
        let mut wide = Vec::new();
        if size == u32::MAX {
            wide.extend([self.size, self.size]);
        }
        if offset == u32::MAX {
            wide.push(self.offset);
        }
        let mut extra = zip64_field(&wide);
        extra.extend(self.timestamp_field());
        let version = version(!wide.is_empty());
        bytes.extend(CENTRAL_HEADER);
        bytes.extend((MADE_ON_UNIX | version).to_le_bytes());
        bytes.extend(version.to_le_bytes());
        self.push_common(bytes, crc32, extra.len());
        let comment_len_disk_and_internal_attributes = [0; 6];
        bytes.extend(comment_len_disk_and_internal_attributes);
        let attributes = match (self.name.ends_with(b"/"), self.is_symlink) {
            (true, _) => DIRECTORY_ATTRIBUTES,
            (false, true) => SYMLINK_ATTRIBUTES,
            (false, false) => FILE_ATTRIBUTES,
        };
        bytes.extend(attributes.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(&self.name);
        bytes.extend(extra);
    }

    /// Appends the fields that both headers have, from the flags to the length of the extra fields.
    fn push_common(&self, bytes: &mut Vec<u8>, crc32: u32, extra_len: usize) {
        let flags = if self.is_utf8 { UTF8 } else { 0 };
        let stored = 0u16;
        for field in [flags, stored, self.stamp.time, self.stamp.date] {
            bytes.extend(field.to_le_bytes());
        }
        let size = narrow(self.size);
        for field in [crc32, size, size] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((extra_len as u16).to_le_bytes());
    }

    /// Returns the extra fields of the local header without the alignment.
    fn local_extra(&self) -> Vec<u8> {
        let wide = if narrow(self.size) == u32::MAX {
            &[self.size; 2][..]
        } else {
            &[]
        };
        let mut extra = zip64_field(wide);
        extra.extend(self.timestamp_field());
        extra
    }

    fn timestamp_field(&self) -> Vec<u8> {
        let mut field = Vec::new();
        if let Some(seconds) = self.timestamp {
            field.extend(EXTENDED_TIMESTAMP.to_le_bytes());
            let has_modified = 1;
            field.extend([5, 0, has_modified]);
            field.extend(seconds.to_le_bytes());
        }
        field
    }
}

/// Returns a 32-bit field, saturated where the value goes into a ZIP64 field.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn version(needs_zip64: bool) -> u16 {
    if needs_zip64 {
        ZIP64_VERSION
    } else {
        PLAIN_VERSION
    }
}

/// Returns a ZIP64 field with these values, or nothing where there are none.
fn zip64_field(values: &[u64]) -> Vec<u8> {
    let mut field = Vec::new();
    if !values.is_empty() {
        field.extend(ZIP64.to_le_bytes());
        field.extend((values.len() as u16 * 8).to_le_bytes());
        field.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    field
}

/// Returns the end records of an archive whose central directory is `directory` and has this many
/// entries.
pub fn end_records(entries: u64, directory: Extent) -> Vec<u8> {
    let mut bytes = Vec::new();
    let narrow_entries = u16::try_from(entries).unwrap_or(u16::MAX);
    let (len, start) = (narrow(directory.len), narrow(directory.start));
    if narrow_entries == u16::MAX || len == u32::MAX || start == u32::MAX {
        bytes.extend(ZIP64_END_RECORD);
        let rest_len = 44u64;
        bytes.extend(rest_len.to_le_bytes());
        bytes.extend((MADE_ON_UNIX | ZIP64_VERSION).to_le_bytes());
        bytes.extend(ZIP64_VERSION.to_le_bytes());
        let disks = [0; 8];
        bytes.extend(disks);
        for number in [entries, entries, directory.len, directory.start] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(ZIP64_LOCATOR);
        bytes.extend(0u32.to_le_bytes());
        bytes.extend((directory.start + directory.len).to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    bytes.extend(END_RECORD);
    let disks = [0; 4];
    bytes.extend(disks);
    bytes.extend(narrow_entries.to_le_bytes());
    bytes.extend(narrow_entries.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    let comment_len = 0u16;
    bytes.extend(comment_len.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::index::index;
    use crate::zip::method::Method;

    fn record(name: &[u8], size: u64) -> Record {
        Record::new(name.to_vec(), size, Stamp::default(), None)
    }

    /// The bytes before and behind the data in an archive of one member.
    fn around_data(record: &Record) -> (Vec<u8>, Vec<u8>) {
        let mut behind = Vec::new();
        record.central_header(77, &mut behind);
        let directory = Extent {
            start: record.extent().start + record.size,
            len: behind.len() as u64,
        };
        behind.extend(end_records(1, directory));
        (record.local_header(77), behind)
    }

    #[test]
    fn a_member_is_read_as_it_was_written() {
        let stamp = Stamp {
            date: 0x5a21,
            time: 0x1234,
            is_extended: true,
        };
        let mut record = Record::new(b"x.npy".to_vec(), 10, stamp, Some(-5));
        assert_eq!(record.place(0, 64), 20);
        let (mut bytes, behind) = around_data(&record);
        assert_eq!(bytes.len() as u64, record.extent().start);
        bytes.extend(b"0123456789");
        bytes.extend(behind);
        let index = index(&bytes[..], bytes.len() as u64, 5).unwrap();
        let [member] = &index.members[..] else {
            panic!("{index:?}");
        };
        assert_eq!(index.names.bytes(member.name), b"x.npy");
        assert_eq!((member.method, member.flags), (Method::STORED, 0));
        assert_eq!((member.crc32, member.size), (77, 10));
        assert_eq!(member.extent, Extent { start: 64, len: 10 });
        assert_eq!((member.modified, member.stamp), (-5, stamp));
        assert_eq!(member.problem, None);
    }

    #[test]
    fn a_name_that_is_not_ascii_is_flagged_as_utf8_if_it_is() {
        let flags = |name: &[u8]| {
            let header = record(name, 0).local_header(0);
            [header[6], header[7]]
        };
        assert_eq!(flags(b"x"), [0, 0]);
        assert_eq!(flags("ä".as_bytes()), [0, 8]);
        assert_eq!(flags(b"\xe4"), [0, 0]);
    }

    #[test]
    fn data_starts_at_a_multiple_of_every_alignment() {
        for alignment in (6..=21).map(|bits| 1 << bits) {
            for end in [0, 1, 1000, 1 << 21, (1 << 33) + 7] {
                for name_len in 1..200 {
                    let mut record = record(&vec![b'x'; name_len], 10);
                    let bare = end + 30 + name_len as u64;
                    let free = record.place(end, alignment);
                    let start = record.extent().start;
                    assert_eq!((start % alignment, start), (0, bare + free));
                    assert!(free < alignment + 30);
                    let header = record.local_header(0);
                    assert_eq!(record.offset() + header.len() as u64, start);
                    // At the start of the archive there is room for the placeholder, or no gap.
                    assert!(end > 0 || record.offset() == 0 || record.offset() >= 30);
                    let padding = &header[30 + name_len..];
                    if let Some((field, zeros)) = padding.split_at_checked(6) {
                        let (alignment, len) = (alignment as u16, padding.len() as u16 - 4);
                        assert_eq!(field[..2], [0x35, 0xD9]);
                        assert_eq!(field[2..4], len.to_le_bytes());
                        assert_eq!(field[4..], alignment.to_le_bytes());
                        assert!(zeros.iter().all(|&byte| byte == 0));
                    }
                    assert_eq!(padding.is_empty(), free == 0 || alignment > 1 << 15);
                }
            }
        }
    }

    #[test]
    fn zip64_is_used_from_the_first_number_that_needs_it() {
        let max = u64::from(u32::MAX);
        for (size, offset, local_len, central_len) in [
            (0, 0, 31, 47),
            (max - 1, 0, 31, 47),
            (max, 0, 51, 67),
            (0, max - 1, 31, 47),
            (0, max, 31, 59),
            (max, max, 51, 75),
        ] {
            let mut record = record(b"x", size);
            record.place(offset, 1);
            let local = record.local_header(0);
            let mut central = Vec::new();
            record.central_header(0, &mut central);
            assert_eq!((local.len(), central.len()), (local_len, central_len));
            assert_eq!(local[4], if local_len > 31 { 45 } else { 20 });
            assert_eq!(central[6], if central_len > 47 { 45 } else { 20 });
        }
        let end_len = |entries, start, len| end_records(entries, Extent { start, len }).len();
        assert_eq!(end_len(65_534, max - 1, max - 1), 22);
        assert_eq!(end_len(65_535, 0, 0), 98);
        assert_eq!(end_len(0, max, 0), 98);
        assert_eq!(end_len(0, 0, max), 98);
    }
}
