//! The members of an archive: each central header, checked against its local header.

use std::collections::HashMap;

use super::budget::{self, Lease};
use super::central_header::{self, CENTRAL_HEADER_LEN, CentralHeader};
use super::dos_time::DosTimes;
use super::eocd::{self, CentralDirectory};
use super::error::{ArchiveError, MemberError};
use super::extents::{self, HeaderNames};
use super::local_header::ENCRYPTED;
use super::member::{Member, Stamp};
use super::method::Method;
use super::names::{Name, Names};
use super::quirk::{ArchiveQuirk, MemberQuirk, MemberQuirks};
use super::read_at::ReadAt;
use super::window::{READ_AHEAD, Window};
use crate::extent::Extent;

/// The most members that an archive may have: each takes some 150 bytes of memory.
const MEMBERS_MAX: u64 = 1 << 20;
/// The longest central directory that is read, in bytes. That of a million members takes a fifth of
/// it; a sparse file could declare any length.
const DIRECTORY_LEN_MAX: u64 = 512 << 20;
/// Memory that the index and the tree take at most, in bytes for each byte of the central directory.
const GROWTH: u64 = 8;
/// The most members for which memory is reserved before they are parsed.
const RESERVED_MAX: u64 = 64 * 1024;

/// The members of an archive, in the order of its central directory.
#[derive(Debug)]
pub struct Index {
    /// The name of each member.
    pub names: Names,
    /// The members, directory entries among them.
    pub members: Vec<Member>,
    /// Deviations of the archive from the format that do not matter.
    pub quirks: Vec<ArchiveQuirk>,
    /// Where the members' part of the file ends and the central directory starts.
    pub members_end: u64,
    /// Accounts for the memory of the index, and of the tree that is built from it.
    pub(crate) lease: Lease<'static>,
}

impl Index {
    /// Marks each compressed member as one that cannot be read.
    pub fn refuse_compressed(&mut self) {
        for member in &mut self.members {
            if member.method != Method::STORED {
                let problem = MemberError::Method(member.method);
                member.problem.get_or_insert(Box::new(problem));
            }
        }
    }

    /// Returns of each member whether a later one has the same name: NumPy and a mount show only the
    /// last.
    pub fn repeated(&self) -> Vec<bool> {
        let mut last = HashMap::with_capacity(self.members.len());
        let mut repeated = vec![false; self.members.len()];
        for (number, member) in self.members.iter().enumerate() {
            if let Some(earlier) = last.insert(self.names.bytes(member.name), number) {
                repeated[earlier] = true;
            }
        }
        repeated
    }
}

/// Indexes the archive in `source`, which is `len` bytes long. Members without a time of their own
/// get `modified`, in seconds since 1970 (UTC).
///
/// # Errors
/// Any [`ArchiveError`] of the archive as a whole. Members that cannot be read are in the index, with
/// their [`MemberError`].
pub fn index<R: ReadAt + ?Sized>(
    source: &R,
    len: u64,
    modified: i64,
) -> Result<Index, ArchiveError> {
    let (directory, padding) = eocd::find(source, len)?;
    let directory_len = directory.end - directory.start;
    let lease = budget::INDEXES.take(directory_len.saturating_mul(GROWTH));
    let mut entries = Entries::read(source, &directory, modified)?;
    let mut quirks = Vec::from_iter(padding);
    quirks.extend(check_count(&directory, entries.members.len() as u64)?);
    let header_names = HeaderNames {
        names: &entries.names,
        renamed: &entries.header_names,
    };
    extents::find(source, &directory, header_names, &mut entries.members)?;
    Ok(Index {
        names: entries.names,
        members: entries.members,
        quirks,
        members_end: directory.start,
        lease,
    })
}

/// Compares the number of entries with the declared one. Writers that do not know ZIP64 wrap it.
fn check_count(
    directory: &CentralDirectory,
    actual: u64,
) -> Result<Option<ArchiveQuirk>, ArchiveError> {
    let declared = directory.entries;
    if actual == declared {
        Ok(None)
    } else if !directory.is_zip64 && actual & 0xFFFF == declared {
        Ok(Some(ArchiveQuirk::EntryCountWrapped { declared, actual }))
    } else {
        Err(ArchiveError::EntryCount { declared, actual })
    }
}

/// The central directory, parsed.
struct Entries {
    names: Names,
    /// The names in the headers of members that are named otherwise, by the number of the member.
    header_names: Vec<(u32, Name)>,
    members: Vec<Member>,
}

impl Entries {
    fn read<R: ReadAt + ?Sized>(
        source: &R,
        directory: &CentralDirectory,
        modified: i64,
    ) -> Result<Self, ArchiveError> {
        let directory_len = directory.end - directory.start;
        let room = directory_len / CENTRAL_HEADER_LEN as u64;
        let declared = directory.entries;
        if declared > MEMBERS_MAX && declared > room {
            return Err(ArchiveError::NoRoomForEntries { declared, room });
        }
        if declared > MEMBERS_MAX || directory_len > DIRECTORY_LEN_MAX {
            return Err(ArchiveError::TooLarge);
        }
        let mut entries = Self {
            names: Names::default(),
            header_names: Vec::new(),
            // No more than a small archive needs: the count may be wrong, however long the file is.
            members: Vec::with_capacity(declared.min(RESERVED_MAX) as usize),
        };
        let mut times = DosTimes::default();
        let mut window = Window::new(source, directory.end);
        let mut offset = directory.start;
        while offset < directory.end {
            let entry = entries.members.len() as u64;
            if entry == MEMBERS_MAX {
                return Err(ArchiveError::TooLarge);
            }
            let missing = || ArchiveError::CentralHeader { offset, entry };
            let bytes = window.at(offset, CENTRAL_HEADER_LEN, READ_AHEAD)?;
            let record_len = central_header::record_len(bytes).ok_or_else(missing)?;
            let bytes = window.at(offset, record_len, READ_AHEAD)?;
            let header = CentralHeader::parse(bytes).ok_or_else(missing)?;
            let own_time = header
                .modified
                .or_else(|| times.seconds(header.dos_date, header.dos_time));
            let mut member = entries.member(&header, directory)?;
            member.is_dated = own_time.is_some();
            member.modified = own_time.unwrap_or(modified);
            entries.members.push(member);
            if header.len as u64 > directory.end - offset {
                return Err(missing());
            }
            offset += header.len as u64;
        }
        entries.members.shrink_to_fit();
        Ok(entries)
    }

    /// Returns the member that a central header describes. Its time and the start of its data are not
    /// known yet.
    fn member(
        &mut self,
        header: &CentralHeader<'_>,
        directory: &CentralDirectory,
    ) -> Result<Member, ArchiveError> {
        let mut member = Member {
            name: self.push_name(header.name)?,
            method: Method(header.method),
            flags: header.flags,
            crc32: header.crc32,
            size: 0,
            extent: Extent { start: 0, len: 0 },
            local_header_offset: 0,
            is_symlink: header.is_symlink,
            modified: 0,
            is_dated: false,
            stamp: Stamp {
                date: header.dos_date,
                time: header.dos_time,
                is_extended: header.modified.is_some(),
            },
            quirks: MemberQuirks::default(),
            problem: problem(header).map(Box::new),
        };
        if let Some(name) = header.unicode_path.filter(|&name| name != header.name) {
            let number = self.members.len() as u32;
            self.header_names.push((number, member.name));
            member.name = self.push_name(name)?;
            member.quirks.insert(MemberQuirk::UnicodePath);
        }
        if let Some(wide) = header.wide {
            member.size = wide.size;
            member.extent.len = wide.compressed_len;
            member.local_header_offset = wide
                .local_header_offset
                .saturating_add(directory.prefix_len);
        }
        Ok(member)
    }

    fn push_name(&mut self, name: &[u8]) -> Result<Name, ArchiveError> {
        self.names.push(name).ok_or(ArchiveError::TooLarge)
    }
}

/// Returns why a member cannot be read, as far as its central header shows.
fn problem(header: &CentralHeader<'_>) -> Option<MemberError> {
    if header.wide.is_none() {
        Some(MemberError::Zip64ValueMissing)
    } else if header.disk != 0 && header.disk != u16::MAX {
        Some(MemberError::OtherDisk(header.disk))
    } else if header.flags & ENCRYPTED != 0 {
        Some(MemberError::Encrypted)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    const DATA: &[u8] = b"0123456789";

    /// The local header of a stored member `name`, and its data.
    fn local(name: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04\x14\0".to_vec();
        bytes.extend([0; 8]);
        bytes.extend(77u32.to_le_bytes());
        bytes.extend([10, 0, 0, 0, 10, 0, 0, 0, name.len() as u8, 0, 0, 0]);
        bytes.extend(name.bytes());
        bytes.extend(DATA);
        bytes
    }

    /// The central header of a stored member `name` whose local header is at `offset`.
    fn central(name: &str, offset: u32) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02\x14\0\x14\0".to_vec();
        bytes.extend([0; 8]);
        bytes.extend(77u32.to_le_bytes());
        bytes.extend([10, 0, 0, 0, 10, 0, 0, 0, name.len() as u8, 0]);
        bytes.extend([0; 12]);
        bytes.extend(offset.to_le_bytes());
        bytes.extend(name.bytes());
        bytes
    }

    fn archive(locals: &[u8], centrals: &[Vec<u8>]) -> Vec<u8> {
        let directory = centrals.concat();
        let mut bytes = [locals, &directory, b"PK\x05\x06\0\0\0\0"].concat();
        bytes.extend([centrals.len() as u8, 0].repeat(2));
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend((locals.len() as u32).to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }

    fn index_of(bytes: &[u8]) -> Result<Vec<Member>, String> {
        index(bytes, bytes.len() as u64, 5)
            .map(|index| index.members)
            .map_err(|error| error.to_string())
    }

    /// The one member of an archive after `change` was applied to its headers.
    fn member(change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Member {
        let (mut local, mut central) = (local("x"), central("x", 0));
        change(&mut local, &mut central);
        let members = index_of(&archive(&local, &[central])).unwrap();
        let [member] = members.try_into().unwrap();
        member
    }

    fn problem(change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Option<MemberError> {
        member(change).problem.map(|problem| *problem)
    }

    /// The quirks of a member that can be read.
    fn quirks(change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Vec<MemberQuirk> {
        let member = member(change);
        assert_eq!(member.problem, None);
        assert_eq!(member.extent, Extent { start: 31, len: 10 });
        member.quirks.iter().collect()
    }

    #[test]
    fn a_sound_member_is_where_its_local_header_ends() {
        let bytes = archive(
            &[local("x"), local("y")].concat(),
            &[central("y", 41), central("x", 0)],
        );
        let members = index_of(&bytes).unwrap();
        assert!(members.iter().all(|member| member.problem.is_none()));
        let extents = members.iter().map(|member| member.extent);
        assert_eq!(
            extents.collect::<Vec<_>>(),
            [Extent { start: 72, len: 10 }, Extent { start: 31, len: 10 }]
        );
        assert_eq!((members[0].crc32, members[0].size), (77, 10));
    }

    #[test]
    fn headers_that_disagree_are_reported_by_field() {
        let changed = |at: usize| match problem(|local, _| local[at] ^= 1) {
            Some(MemberError::HeadersDisagree { field }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(changed(6), "flags");
        assert_eq!(changed(8), "method");
        assert_eq!(changed(14), "CRC");
        assert_eq!(changed(18), "compressed size");
        assert_eq!(changed(22), "size");
        assert_eq!(changed(30), "name");
    }

    #[test]
    fn fields_that_change_no_byte_may_differ() {
        // Version, compression level, time and date.
        for at in [4, 10, 11, 12, 13] {
            assert_eq!(problem(|local, _| local[at] ^= 2), None, "{at}");
        }
        assert_eq!(problem(|local, _| local[6] ^= 2), None);
    }

    #[test]
    fn crc_and_sizes_may_be_0_in_the_local_header() {
        for range in [14..18, 18..22, 22..26, 14..26] {
            let described = quirks(|local, central| {
                local[range.clone()].fill(0);
                local[6] |= 8;
                central[8] |= 8;
            });
            assert_eq!(described, []);
            let missing = quirks(|local, _| local[range.clone()].fill(0));
            assert_eq!(missing, [MemberQuirk::LocalValueMissing]);
            let missing = problem(|_, central| central[range.start + 2..range.end + 2].fill(0));
            assert_ne!(missing, None);
        }
    }

    #[test]
    fn sizes_may_be_saturated_only_where_a_data_descriptor_follows() {
        for (range, field) in [
            (14..18, "CRC"),
            (18..22, "compressed size"),
            (22..26, "size"),
        ] {
            let saturated = |flags| {
                problem(|local, central| {
                    local[range.clone()].fill(0xFF);
                    local[6] |= flags;
                    central[8] |= flags;
                })
            };
            let disagree = Some(MemberError::HeadersDisagree { field });
            assert_eq!(saturated(0), disagree);
            assert_eq!(saturated(8), disagree.filter(|_| field == "CRC"));
        }
    }

    #[test]
    fn the_utf8_flag_of_an_ascii_name_may_be_set_in_one_header() {
        let utf8 = [MemberQuirk::Utf8Flag];
        assert_eq!(quirks(|local, _| local[7] |= 8), utf8);
        assert_eq!(quirks(|_, central| central[9] |= 8), utf8);
        let both = quirks(|local, central| {
            local[7] |= 8;
            central[9] |= 8;
        });
        assert_eq!(both, []);
        let not_ascii = problem(|local, central| {
            local[7] |= 8;
            local[30] = b'\xE4';
            central[46] = b'\xE4';
        });
        let disagree = MemberError::HeadersDisagree { field: "flags" };
        assert_eq!(not_ascii, Some(disagree));
    }

    /// The names and quirks of a member with a Unicode Path field in its central header.
    fn named(content: &[u8]) -> (Vec<u8>, Vec<MemberQuirk>) {
        let mut central = central("x", 0);
        central[30] = content.len() as u8 + 4;
        central.extend([0x75, 0x70, content.len() as u8, 0]);
        central.extend(content);
        let bytes = archive(&[local("x"), local("y")].concat(), &[central]);
        let index = index(&bytes[..], bytes.len() as u64, 5).unwrap();
        let [member] = &index.members[..] else {
            panic!("{index:?}");
        };
        assert_eq!(member.problem, None);
        let name = index.names.bytes(member.name).to_vec();
        (name, member.quirks.iter().collect())
    }

    #[test]
    fn a_unicode_path_that_fits_the_header_is_the_name() {
        let field = |crc32: u32, name: &str| {
            let content = [&[1][..], &crc32.to_le_bytes(), name.as_bytes()];
            named(&content.concat())
        };
        let crc32 = crc32fast::hash(b"x");
        let renamed = ("größe".into(), vec![MemberQuirk::UnicodePath]);
        assert_eq!(field(crc32, "größe"), renamed);
        assert_eq!(field(crc32, "x"), (b"x".into(), vec![]));
        assert_eq!(field(crc32 ^ 1, "größe"), (b"x".into(), vec![]));
    }

    #[test]
    fn a_missing_local_header_is_reported_by_offset() {
        assert_eq!(
            problem(|local, _| local[0] = b'Q'),
            Some(MemberError::LocalHeaderMissing { offset: 0 })
        );
        assert_eq!(
            problem(|_, central| central[42] = 1),
            Some(MemberError::LocalHeaderMissing { offset: 1 })
        );
        assert_eq!(
            problem(|_, central| central[42] = 41),
            Some(MemberError::LocalHeaderOutside { offset: 41 })
        );
        assert_eq!(
            problem(|_, central| central[42] = 30),
            Some(MemberError::LocalHeaderMissing { offset: 30 })
        );
    }

    #[test]
    fn data_that_runs_into_the_central_directory_is_refused() {
        let outside = problem(|local, central| {
            local[18] = 11;
            central[20] = 11;
        });
        let extent = Extent { start: 31, len: 11 };
        assert_eq!(
            outside,
            Some(MemberError::DataOutside { extent, limit: 41 })
        );
    }

    #[test]
    fn a_stored_member_has_the_length_of_its_data() {
        let shorter = problem(|local, central| {
            local[18] = 9;
            central[20] = 9;
        });
        assert_eq!(
            shorter,
            Some(MemberError::StoredSizesDiffer {
                stored: 9,
                size: 10
            })
        );
    }

    #[test]
    fn encryption_methods_and_other_disks_are_reported() {
        let flags = |flag: u8| problem(|_, central| central[8] = flag);
        assert_eq!(flags(1), Some(MemberError::Encrypted));
        assert_eq!(
            problem(|_, central| central[34] = 2),
            Some(MemberError::OtherDisk(2))
        );
        let method = |number| {
            problem(|local, central| {
                local[8] = number;
                central[10] = number;
            })
        };
        assert_eq!(method(8), None);
        assert_eq!(method(9), Some(MemberError::Method(Method(9))));
    }

    #[test]
    fn a_zip64_field_must_hold_each_saturated_value() {
        let missing = problem(|_, central| {
            central[24..28].fill(0xFF);
            central[30] = 4;
            central.extend([1, 0, 0, 0]);
        });
        assert_eq!(missing, Some(MemberError::Zip64ValueMissing));
    }

    #[test]
    fn members_that_share_bytes_are_all_refused() {
        let bytes = archive(&local("x"), &[central("x", 0), central("y", 0)]);
        for member in index_of(&bytes).unwrap() {
            assert_eq!(
                member.problem.as_deref(),
                Some(&MemberError::Overlap { other: 0 })
            );
        }
    }

    #[test]
    fn of_identical_entries_the_last_one_stays() {
        let locals = [local("x"), local("x"), local("y")].concat();
        let centrals = [0, 41, 0, 0, 41].map(|offset| central("x", offset));
        let mut centrals = centrals.to_vec();
        centrals.insert(1, central("y", 82));
        let members = index_of(&archive(&locals, &centrals)).unwrap();
        let found: Vec<_> = members
            .iter()
            .map(|member| {
                assert_eq!(member.problem, None);
                (member.local_header_offset, member.quirks.iter().collect())
            })
            .collect();
        let twice = vec![MemberQuirk::ListedTwice];
        assert_eq!(found, [(82, vec![]), (0, twice.clone()), (41, twice)]);
    }

    #[test]
    fn entries_that_differ_in_any_value_are_not_identical() {
        // Flags, time, date, CRC-32.
        for at in [8, 12, 14, 16] {
            let mut other = central("x", 0);
            other[at] ^= 2;
            let members = index_of(&archive(&local("x"), &[central("x", 0), other])).unwrap();
            assert_eq!(members.len(), 2, "{at}");
            assert!(members.iter().all(|member| member.problem.is_some()));
        }
    }

    struct Counting<'a> {
        bytes: &'a [u8],
        read: Cell<usize>,
    }

    impl ReadAt for Counting<'_> {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.read.set(self.read.get() + buffer.len());
            self.bytes.read_exact_at(buffer, offset)
        }
    }

    #[test]
    fn the_padding_of_local_headers_is_not_read() {
        let padded = |name: &str| {
            let mut record = local(name);
            record[28..30].fill(0xFF);
            let data = record.split_off(31);
            [record, vec![0; 0xFFFF], data].concat()
        };
        let len = padded("x").len();
        let names: Vec<String> = ('a'..='z').map(String::from).collect();
        let locals: Vec<u8> = names.iter().flat_map(|name| padded(name)).collect();
        let centrals = names.iter().enumerate();
        let centrals: Vec<_> = centrals
            .map(|(at, name)| central(name, (at * len) as u32))
            .collect();
        let bytes = archive(&locals, &centrals);
        let source = Counting {
            bytes: &bytes,
            read: Cell::new(0),
        };
        let index = index(&source, bytes.len() as u64, 5).unwrap();
        assert!(index.members.iter().all(|member| member.problem.is_none()));
        let last = index.members[25].extent.start as usize;
        assert_eq!(&bytes[last..][..10], DATA);
        // The tail that holds the end record, and one read ahead.
        assert!(source.read.get() < 22 + 0xFFFF + READ_AHEAD + (64 << 10));
    }

    #[test]
    fn a_number_of_entries_may_wrap_at_65_536() {
        let locals: Vec<u8> = (0..65_538).flat_map(|_| local("x")).collect();
        let centrals: Vec<_> = (0..65_538).map(|at| central("x", at * 41)).collect();
        let mut bytes = archive(&locals, &centrals);
        let end = bytes.len() - 22;
        bytes[end + 8..end + 12].copy_from_slice(&[2, 0, 2, 0]);
        let index = index(&bytes[..], bytes.len() as u64, 5).unwrap();
        assert_eq!(index.members.len(), 65_538);
        let wrapped = ArchiveQuirk::EntryCountWrapped {
            declared: 2,
            actual: 65_538,
        };
        assert_eq!(index.quirks, [wrapped]);
        bytes[end + 8..end + 12].copy_from_slice(&[3, 0, 3, 0]);
        assert_eq!(
            index_of(&bytes).unwrap_err(),
            "the end record declares 3 entries, the central directory holds 65538"
        );
    }

    #[test]
    fn the_number_of_entries_must_be_the_declared_one() {
        let mut bytes = archive(&local("x"), &[central("x", 0)]);
        let end = bytes.len() - 22;
        for (declared, actual) in [(0, 1), (2, 1)] {
            bytes[end + 8] = declared;
            bytes[end + 10] = declared;
            assert_eq!(
                index_of(&bytes).unwrap_err(),
                format!(
                    "the end record declares {declared} entries, the central directory holds \
                     {actual}"
                )
            );
        }
    }
}
