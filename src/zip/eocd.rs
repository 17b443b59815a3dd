//! The end records of an archive, which locate its central directory (APPNOTE 4.3.14 to 4.3.16).
//!
//! They are read strictly where other readers guess. The end record must end the file, but for padding;
//! the central directory must end where the end records start; and all numbers that are stored twice
//! must agree. A lenient reader opens a truncated archive as the archive that is one of its members.

use memchr::memmem;

use super::central_header::CENTRAL_HEADER;
use super::error::ArchiveError;
use super::fields::Fields;
use super::quirk::ArchiveQuirk;
use super::read_at::ReadAt;

const END_RECORD_LEN: usize = 22;
/// How much is searched for the end record, in bytes: as much as Python's `zipfile` searches, which
/// leaves room for the longest comment, or for as much padding.
const TAIL_LEN: u64 = END_RECORD_LEN as u64 + (1 << 16);
const ZIP64_END_RECORD_LEN: u64 = 56;
const ZIP64_LOCATOR_LEN: u64 = 20;
pub(super) const END_RECORD: [u8; 4] = *b"PK\x05\x06";
pub(super) const ZIP64_END_RECORD: [u8; 4] = *b"PK\x06\x06";
pub(super) const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";

/// The place of the central directory, from the end records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CentralDirectory {
    /// Offset of its first byte in the file.
    pub(super) start: u64,
    /// One past its last byte.
    pub(super) end: u64,
    /// The declared number of central headers.
    pub(super) entries: u64,
    /// Bytes before the archive, which its offsets do not count.
    pub(super) prefix_len: u64,
    /// Whether a ZIP64 end record has these numbers.
    pub(super) is_zip64: bool,
}

/// Finds the central directory of the archive in `source`, `len` bytes long, and the padding behind
/// the archive.
pub(super) fn find<R: ReadAt + ?Sized>(
    source: &R,
    len: u64,
) -> Result<(CentralDirectory, Option<ArchiveQuirk>), ArchiveError> {
    let tail = Tail::read(source, len)?;
    let mut found: Option<(u64, EndRecord, Option<ArchiveQuirk>)> = None;
    let mut not_last = None;
    // From the last to the first.
    for (offset, record) in tail.end_records() {
        let ends_at = offset + END_RECORD_LEN as u64 + u64::from(record.comment_len);
        match (tail.padding(ends_at), &found) {
            (Ok(_), Some((other, ..))) => {
                let other = *other;
                return Err(ArchiveError::SeveralEndRecords { offset, other });
            }
            (Ok(padding), None) => found = Some((offset, record, padding)),
            (Err(NotPadding), _) => {
                not_last.get_or_insert(ArchiveError::EndRecordNotLast {
                    offset,
                    ends_at,
                    len,
                });
            }
        }
    }
    let Some((offset, record, padding)) = found else {
        return Err(match not_last {
            Some(error) => error,
            None if !starts_like_an_archive(source, len)? => ArchiveError::NotAnArchive,
            None if tail.is_mostly_zeros() => ArchiveError::ZeroTail,
            None => ArchiveError::EndRecordMissing,
        });
    };
    let directory = record.locate(source, offset)?;
    // Other readers take the last end record, though it be in the comment of this one.
    for (other, record) in tail.end_records().take_while(|&(other, _)| other > offset) {
        if record.has_directory(source, other)? {
            return Err(ArchiveError::EndRecordInComment { offset, other });
        }
    }
    // A self-extracting program starts with anything but a local header.
    let prefix_len = directory.prefix_len;
    if prefix_len >= 4 && starts_like_an_archive(source, len)? {
        let is_too_long = prefix_len.is_multiple_of(1 << 32) || record.directory_offset == u32::MAX;
        return Err(match is_too_long && !directory.is_zip64 {
            true => ArchiveError::OffsetsWrapped,
            false => ArchiveError::InsideAnother { prefix_len },
        });
    }
    Ok((directory, padding))
}

/// The last bytes of a file, in which its end record is.
struct Tail {
    bytes: Vec<u8>,
    /// Offset of the first of them in the file.
    start: u64,
    /// Where in these bytes nothing but zeros follows.
    zeros_start: usize,
}

/// Something other than padding follows an end record, or its comment is cut off.
struct NotPadding;

impl Tail {
    fn read<R: ReadAt + ?Sized>(source: &R, len: u64) -> Result<Self, ArchiveError> {
        let start = len.saturating_sub(TAIL_LEN);
        let mut bytes = vec![0; (len - start) as usize];
        source.read_exact_at(&mut bytes, start)?;
        let last = bytes.iter().rposition(|&byte| byte != 0);
        Ok(Self {
            bytes,
            start,
            zeros_start: last.map_or(0, |last| last + 1),
        })
    }

    fn is_mostly_zeros(&self) -> bool {
        let zeros_len = (self.bytes.len() - self.zeros_start) as u64;
        zeros_len > TAIL_LEN / 2
    }

    /// Returns the end records with their offsets, the last one first.
    fn end_records(&self) -> impl Iterator<Item = (u64, EndRecord)> {
        memmem::rfind_iter(&self.bytes, &END_RECORD).filter_map(|at| {
            let record = EndRecord::parse(&self.bytes[at..])?;
            Some((self.start + at as u64, record))
        })
    }

    /// Returns the padding from `offset` to the end of the file: zeros, or one newline.
    fn padding(&self, offset: u64) -> Result<Option<ArchiveQuirk>, NotPadding> {
        let at = (offset - self.start) as usize;
        match self.bytes.get(at..) {
            Some([]) => Ok(None),
            Some(b"\n") => Ok(Some(ArchiveQuirk::Newline)),
            Some(zeros) if at >= self.zeros_start => Ok(Some(ArchiveQuirk::ZeroPadding {
                len: zeros.len() as u64,
            })),
            _ => Err(NotPadding),
        }
    }
}

fn starts_like_an_archive<R: ReadAt + ?Sized>(source: &R, len: u64) -> Result<bool, ArchiveError> {
    Ok(len >= 4 && starts_with(source, 0, LOCAL_HEADER)?)
}

fn starts_with<R: ReadAt + ?Sized>(
    source: &R,
    offset: u64,
    signature: [u8; 4],
) -> Result<bool, ArchiveError> {
    let mut start = [0; 4];
    source.read_exact_at(&mut start, offset)?;
    Ok(start == signature)
}

/// The end of central directory record (APPNOTE 4.3.16).
struct EndRecord {
    disk: u16,
    directory_disk: u16,
    entries_on_disk: u16,
    entries: u16,
    directory_len: u32,
    directory_offset: u32,
    comment_len: u16,
}

impl EndRecord {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        fields.signature(END_RECORD)?;
        Some(Self {
            disk: fields.u16()?,
            directory_disk: fields.u16()?,
            entries_on_disk: fields.u16()?,
            entries: fields.u16()?,
            directory_len: fields.u32()?,
            directory_offset: fields.u32()?,
            comment_len: fields.u16()?,
        })
    }

    /// Locates the central directory; `offset` is this record's own.
    fn locate<R: ReadAt + ?Sized>(
        &self,
        source: &R,
        offset: u64,
    ) -> Result<CentralDirectory, ArchiveError> {
        let (end, declared_end, numbers) = match Zip64EndRecord::find(source, offset)? {
            Some(found) => (
                found.offset,
                Some(found.declared_offset),
                found.record.checked_against(self)?,
            ),
            None => (offset, None, self.numbers()),
        };
        if numbers.disk != 0
            || numbers.directory_disk != 0
            || numbers.entries_on_disk != numbers.entries
        {
            return Err(ArchiveError::Split);
        }
        let outside = ArchiveError::CentralDirectoryOutside {
            offset: numbers.directory_offset,
            len: numbers.directory_len,
            end,
        };
        let Some(start) = end.checked_sub(numbers.directory_len) else {
            return Err(outside);
        };
        let Some(prefix_len) = start.checked_sub(numbers.directory_offset) else {
            return Err(outside);
        };
        if let Some(declared_offset) = declared_end
            && declared_offset.checked_add(prefix_len) != Some(end)
        {
            return Err(ArchiveError::Zip64EndRecordMissing { declared_offset });
        }
        Ok(CentralDirectory {
            start,
            end,
            entries: numbers.entries,
            prefix_len,
            is_zip64: declared_end.is_some(),
        })
    }

    /// Returns whether this record, at `offset`, has a central directory that is not empty.
    fn has_directory<R: ReadAt + ?Sized>(
        &self,
        source: &R,
        offset: u64,
    ) -> Result<bool, ArchiveError> {
        match self.locate(source, offset) {
            Ok(CentralDirectory { start, end, .. }) if end - start >= 4 => {
                starts_with(source, start, CENTRAL_HEADER)
            }
            Err(ArchiveError::Read(error)) => Err(error.into()),
            _ => Ok(false),
        }
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            disk: self.disk.into(),
            directory_disk: self.directory_disk.into(),
            entries_on_disk: self.entries_on_disk.into(),
            entries: self.entries.into(),
            directory_len: self.directory_len.into(),
            directory_offset: self.directory_offset.into(),
        }
    }
}

/// The numbers that both kinds of end record have.
struct Numbers {
    disk: u32,
    directory_disk: u32,
    entries_on_disk: u64,
    entries: u64,
    directory_len: u64,
    directory_offset: u64,
}

/// A ZIP64 end record and its place.
struct Zip64Found {
    record: Zip64EndRecord,
    offset: u64,
    /// Its offset as the locator has it, which does not count a prefix.
    declared_offset: u64,
}

/// The ZIP64 end of central directory record (APPNOTE 4.3.14).
struct Zip64EndRecord(Numbers);

impl Zip64EndRecord {
    /// Finds the record, if there is a locator (APPNOTE 4.3.15) before the end record.
    fn find<R: ReadAt + ?Sized>(
        source: &R,
        end_record_offset: u64,
    ) -> Result<Option<Zip64Found>, ArchiveError> {
        let Some(locator_offset) = end_record_offset.checked_sub(ZIP64_LOCATOR_LEN) else {
            return Ok(None);
        };
        let mut locator = [0; ZIP64_LOCATOR_LEN as usize];
        source.read_exact_at(&mut locator, locator_offset)?;
        let Some((declared_offset, disks)) = parse_locator(&locator) else {
            return Ok(None);
        };
        if disks > 1 {
            return Err(ArchiveError::Split);
        }
        let missing = ArchiveError::Zip64EndRecordMissing { declared_offset };
        let Some(directly_before) = locator_offset.checked_sub(ZIP64_END_RECORD_LEN) else {
            return Err(missing);
        };
        // The declared offset does not count a prefix. Every writer puts a record without an
        // extensible data sector directly before the locator.
        for offset in [directly_before, declared_offset] {
            if offset > directly_before {
                continue;
            }
            let mut bytes = [0; ZIP64_END_RECORD_LEN as usize];
            source.read_exact_at(&mut bytes, offset)?;
            if let Some((record, rest_len)) = Self::parse(&bytes)
                && rest_len.checked_add(offset + 12) == Some(locator_offset)
            {
                return Ok(Some(Zip64Found {
                    record,
                    offset,
                    declared_offset,
                }));
            }
        }
        Err(missing)
    }

    fn parse(bytes: &[u8]) -> Option<(Self, u64)> {
        let mut fields = Fields::new(bytes);
        fields.signature(ZIP64_END_RECORD)?;
        let rest_len = fields.u64()?;
        let _made_by_and_needed = fields.u32()?;
        let numbers = Numbers {
            disk: fields.u32()?,
            directory_disk: fields.u32()?,
            entries_on_disk: fields.u64()?,
            entries: fields.u64()?,
            directory_len: fields.u64()?,
            directory_offset: fields.u64()?,
        };
        Some((Self(numbers), rest_len))
    }

    /// Returns the numbers if each agrees with the end record's, which is the same or saturated.
    fn checked_against(self, narrow: &EndRecord) -> Result<Numbers, ArchiveError> {
        let Self(wide) = self;
        let agree16 = |narrow: u16, wide: u64| narrow == u16::MAX || u64::from(narrow) == wide;
        let agree32 = |narrow: u32, wide: u64| narrow == u32::MAX || u64::from(narrow) == wide;
        for (agree, field) in [
            (agree16(narrow.disk, wide.disk.into()), "disk number"),
            (
                agree16(narrow.directory_disk, wide.directory_disk.into()),
                "central directory disk",
            ),
            (
                agree16(narrow.entries_on_disk, wide.entries_on_disk),
                "entries on this disk",
            ),
            (agree16(narrow.entries, wide.entries), "entries"),
            (
                agree32(narrow.directory_len, wide.directory_len),
                "central directory size",
            ),
            (
                agree32(narrow.directory_offset, wide.directory_offset),
                "central directory offset",
            ),
        ] {
            if !agree {
                return Err(ArchiveError::EndRecordsDisagree { field });
            }
        }
        Ok(wide)
    }
}

/// Returns the offset of the ZIP64 end record and the number of disks.
fn parse_locator(bytes: &[u8]) -> Option<(u64, u32)> {
    let mut fields = Fields::new(bytes);
    fields.signature(ZIP64_LOCATOR)?;
    let _disk = fields.u32()?;
    Some((fields.u64()?, fields.u32()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_record(entries: u16, len: u32, offset: u32, comment: &[u8]) -> Vec<u8> {
        let mut bytes = END_RECORD.to_vec();
        bytes.extend([0; 4]);
        bytes.extend(entries.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend((comment.len() as u16).to_le_bytes());
        bytes.extend(comment);
        bytes
    }

    fn zip64_end(entries: u64, len: u64, offset: u64, declared_offset: u64) -> Vec<u8> {
        let mut bytes = ZIP64_END_RECORD.to_vec();
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0]);
        bytes.extend([0; 8]);
        for number in [entries, entries, len, offset] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(ZIP64_LOCATOR);
        bytes.extend([0; 4]);
        bytes.extend(declared_offset.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes
    }

    fn find_in(bytes: &[u8]) -> Result<CentralDirectory, String> {
        let (directory, padding) = find_padded(bytes)?;
        assert_eq!(padding, None);
        Ok(directory)
    }

    fn find_padded(bytes: &[u8]) -> Result<(CentralDirectory, Option<ArchiveQuirk>), String> {
        find(bytes, bytes.len() as u64).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_archive_has_an_empty_central_directory() {
        assert_eq!(
            find_in(&end_record(0, 0, 0, b"")),
            Ok(CentralDirectory {
                start: 0,
                end: 0,
                entries: 0,
                prefix_len: 0,
                is_zip64: false,
            })
        );
    }

    #[test]
    fn a_comment_and_a_prefix_are_skipped() {
        let bytes = [
            b"#!/bin/sh\n".to_vec(),
            vec![0; 60],
            end_record(1, 50, 10, b"hello"),
        ]
        .concat();
        assert_eq!(
            find_in(&bytes),
            Ok(CentralDirectory {
                start: 20,
                end: 70,
                entries: 1,
                prefix_len: 10,
                is_zip64: false,
            })
        );
    }

    #[test]
    fn a_comment_may_hold_the_signature_of_an_end_record() {
        let bytes = end_record(0, 0, 0, b"see PK\x05\x06 and PK\x05\x06 above, all of it");
        assert!(find_in(&bytes).is_ok());
    }

    #[test]
    fn two_end_records_that_both_end_the_file_are_refused() {
        let inner = end_record(0, 0, 0, b"");
        let outer = end_record(0, 0, 0, &inner);
        let refused = Err("the end records at 0 and 22 both end the file".to_string());
        assert_eq!(find_in(&outer), refused);
        // The zeros may be padding or belong to the comment.
        let outer = end_record(0, 0, 0, &[&inner[..], &[0; 9]].concat());
        assert_eq!(find_in(&outer), refused);
        let padded = [&end_record(0, 0, 0, &inner)[..], &[0; 9]].concat();
        assert_eq!(find_in(&padded), refused);
    }

    #[test]
    fn an_archive_in_the_comment_is_refused() {
        let central = [&CENTRAL_HEADER[..], &[0; 46]].concat();
        for comment in [&b""[..], b"its own comment"] {
            let inner = [&central[..], &end_record(1, 50, 0, comment)].concat();
            let outer = end_record(0, 0, 0, &[&inner[..], b"more"].concat());
            assert_eq!(
                find_in(&outer),
                Err(
                    "the comment of the end record at 0 holds another one, at 72: programs differ \
                     in which archive they read"
                        .to_string()
                )
            );
        }
        // Without a central header no program reads it.
        let inner = end_record(1, 50, 0, b"");
        let outer = end_record(0, 0, 0, &[&[0; 50], &inner[..], b"more"].concat());
        assert!(find_in(&outer).is_ok());
    }

    #[test]
    fn zeros_or_one_newline_behind_the_archive_are_padding() {
        let padded = |padding: &[u8]| {
            let bytes = [&end_record(0, 0, 0, b"a comment")[..], padding].concat();
            find_padded(&bytes).map(|(_, padding)| padding)
        };
        for len in [1, 512, (1 << 16) - 9] {
            let quirk = ArchiveQuirk::ZeroPadding { len: len as u64 };
            assert_eq!(padded(&vec![0; len]), Ok(Some(quirk)));
        }
        assert_eq!(padded(b"\n"), Ok(Some(ArchiveQuirk::Newline)));
        // Only the comment is left of the last bytes.
        assert!(padded(&[0; (1 << 16) - 8]).is_err());
        for more in [
            &b"x"[..],
            b" ",
            b"\r\n",
            b"\n\n",
            b"\0\n",
            b"\n\0",
            b"\0\0x\0",
        ] {
            let ends_at = 31 + more.len();
            assert_eq!(
                padded(more),
                Err(format!(
                    "the end record at 0 ends the archive at 31, but the file ends at {ends_at}: \
                     something was appended"
                ))
            );
        }
    }

    #[test]
    fn an_archive_behind_which_all_is_zeros_is_not_called_truncated() {
        let len = 1 << 17;
        let mut bytes = LOCAL_HEADER.to_vec();
        bytes.resize(len, 0);
        let all_zeros = "no end of central directory record in the last 64 KiB, which are mostly \
                         zeros: the file is incomplete, or has too much padding";
        assert_eq!(find_in(&bytes), Err(all_zeros.to_string()));
        bytes[len - 1] = 1;
        assert_eq!(
            find_in(&bytes),
            Err("the end of central directory record is missing: the file was truncated".into())
        );
    }

    #[test]
    fn a_comment_that_is_cut_off_is_a_truncation() {
        let mut bytes = end_record(0, 0, 0, b"a comment");
        bytes.pop();
        assert_eq!(
            find_in(&bytes),
            Err(
                "the end record at 0 ends the archive at 31, but the file ends at 30: it was \
                 truncated"
                    .to_string()
            )
        );
    }

    #[test]
    fn offsets_that_wrapped_at_4_gib_are_not_called_a_truncation() {
        /// A file of which only the start and the end are in memory.
        struct Sparse<'a> {
            end: &'a [u8],
            end_offset: u64,
        }
        impl ReadAt for Sparse<'_> {
            fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
                for (at, byte) in (offset..).zip(buffer) {
                    let in_end = at.checked_sub(self.end_offset);
                    *byte = match in_end {
                        Some(at) => self.end[at as usize],
                        None => LOCAL_HEADER.get(at as usize).copied().unwrap_or(0),
                    };
                }
                Ok(())
            }
        }
        for (end_offset, declared) in [(1 << 32, 0), ((1 << 33) + 9, 9), ((1 << 32) + 9, u32::MAX)]
        {
            let end = end_record(0, 0, declared, b"");
            let file = Sparse {
                end: &end,
                end_offset,
            };
            let error = find(&file, end_offset + 22).unwrap_err();
            assert!(matches!(error, ArchiveError::OffsetsWrapped), "{error}");
        }
    }

    #[test]
    fn a_truncated_archive_does_not_open_as_its_member() {
        let bytes = [
            LOCAL_HEADER.to_vec(),
            vec![0; 96],
            end_record(1, 50, 10, b""),
        ]
        .concat();
        assert_eq!(
            find_in(&bytes),
            Err(
                "the first 40 bytes are the start of another archive, of which this is \
                 the last whole member: the file was truncated"
                    .to_string()
            )
        );
    }

    #[test]
    fn a_file_without_end_record_is_truncated_or_no_archive() {
        assert_eq!(find_in(b""), Err("not a ZIP archive".to_string()));
        assert_eq!(
            find_in(b"\x93NUMPY\x01\x00 and so on, for a while"),
            Err("not a ZIP archive".to_string())
        );
        assert_eq!(
            find_in(b"PK\x03\x04 and so on, for a while"),
            Err("the end of central directory record is missing: the file was truncated".into())
        );
    }

    #[test]
    fn zip64_numbers_replace_saturated_ones() {
        let bytes = [
            vec![0; 100],
            zip64_end(1, 50, 50, 100),
            end_record(u16::MAX, u32::MAX, u32::MAX, b""),
        ]
        .concat();
        assert_eq!(
            find_in(&bytes),
            Ok(CentralDirectory {
                start: 50,
                end: 100,
                entries: 1,
                prefix_len: 0,
                is_zip64: true,
            })
        );
    }

    #[test]
    fn end_records_that_disagree_are_refused() {
        let bytes = [
            vec![0; 100],
            zip64_end(1, 50, 50, 100),
            end_record(2, u32::MAX, u32::MAX, b""),
        ]
        .concat();
        assert_eq!(
            find_in(&bytes),
            Err("the end records disagree on entries on this disk".to_string())
        );
    }

    #[test]
    fn a_zip64_locator_that_points_nowhere_is_refused() {
        let mut zip64 = zip64_end(1, 50, 50, u64::MAX);
        zip64[0] = b'Q';
        let bytes = [vec![0; 100], zip64, end_record(1, 50, 50, b"")].concat();
        assert_eq!(
            find_in(&bytes),
            Err(
                "the ZIP64 end record is not at 18446744073709551615, where its locator says"
                    .to_string()
            )
        );
    }

    #[test]
    fn a_central_directory_outside_the_file_is_refused() {
        assert_eq!(
            find_in(&end_record(1, 50, 0, b"")),
            Err(
                "the central directory (offset 0, 50 bytes) does not end at 0, where the end \
                 records start"
                    .to_string()
            )
        );
    }

    #[test]
    fn one_part_of_a_split_archive_is_refused() {
        let mut bytes = end_record(0, 0, 0, b"");
        bytes[4] = 1;
        assert_eq!(
            find_in(&bytes),
            Err("one part of a split archive: join the parts first (zip -s 0)".to_string())
        );
    }
}
