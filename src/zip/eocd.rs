//! The end records of an archive, which locate its central directory (APPNOTE 4.3.14 to 4.3.16).
//!
//! They are read strictly where other readers guess. The end record must end the file, the central
//! directory must end where the end records start, and all numbers that are stored twice must agree.
//! A lenient reader opens a truncated archive as the archive that is one of its members.

use memchr::memmem;

use super::error::ArchiveError;
use super::fields::Fields;
use super::read_at::ReadAt;

const END_RECORD_LEN: usize = 22;
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
}

/// Finds the central directory of the archive in `source`, `len` bytes long.
pub(super) fn find<R: ReadAt + ?Sized>(
    source: &R,
    len: u64,
) -> Result<CentralDirectory, ArchiveError> {
    let tail_len = len.min(END_RECORD_LEN as u64 + u64::from(u16::MAX));
    let tail_start = len - tail_len;
    let mut tail = vec![0; tail_len as usize];
    source.read_exact_at(&mut tail, tail_start)?;

    let mut found = None;
    let mut not_last = None;
    for at in memmem::rfind_iter(&tail, &END_RECORD) {
        let Some(record) = EndRecord::parse(&tail[at..]) else {
            continue;
        };
        let offset = tail_start + at as u64;
        let ends_at = offset + END_RECORD_LEN as u64 + u64::from(record.comment_len);
        if ends_at != len {
            not_last.get_or_insert(ArchiveError::EndRecordNotLast {
                offset,
                ends_at,
                len,
            });
        } else if let Some((other, _)) = found.replace((offset, record)) {
            return Err(ArchiveError::SeveralEndRecords { offset, other });
        }
    }
    let Some((offset, record)) = found else {
        return Err(match not_last {
            Some(error) => error,
            None if starts_like_an_archive(source, len)? => ArchiveError::EndRecordMissing,
            None => ArchiveError::NotAnArchive,
        });
    };
    let directory = record.locate(source, offset)?;
    // A self-extracting program starts with anything but a local header.
    if directory.prefix_len >= 4 && starts_like_an_archive(source, len)? {
        return Err(ArchiveError::InsideAnother {
            prefix_len: directory.prefix_len,
        });
    }
    Ok(directory)
}

fn starts_like_an_archive<R: ReadAt + ?Sized>(source: &R, len: u64) -> Result<bool, ArchiveError> {
    let mut start = [0; 4];
    if len < start.len() as u64 {
        return Ok(false);
    }
    source.read_exact_at(&mut start, 0)?;
    Ok(start == LOCAL_HEADER)
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
        })
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
                prefix_len: 0
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
                prefix_len: 10
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
        let bytes = end_record(0, 0, 0, &inner);
        assert_eq!(
            find_in(&bytes),
            Err("the end records at 0 and 22 both end the file".to_string())
        );
    }

    #[test]
    fn bytes_after_the_end_record_are_refused() {
        let mut bytes = end_record(0, 0, 0, b"");
        bytes.push(0);
        assert_eq!(
            find_in(&bytes),
            Err(
                "the end record at 0 ends the archive at 22, but the file ends at 23: \
                 it was truncated or something was appended"
                    .to_string()
            )
        );
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
                prefix_len: 0
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
