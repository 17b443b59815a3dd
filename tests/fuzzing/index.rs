//! Invariants of the index of arbitrary bytes, and of the tree that is built from it.

use std::collections::{BTreeSet, HashSet};
use std::io::{Cursor, Read};

use npzfs::tree::{Ino, Kind, NAME_MAX, Times, Tree};
use npzfs::zip::{ArchiveError, Decoder, Gaps, Index, Member, MemberQuirk, Method, index};
use zip::ZipArchive;

use crate::mutate::Format;

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const CENTRAL_HEADER: &[u8] = b"PK\x01\x02";
const END_RECORD: &[u8] = b"PK\x05\x06";

/// How much of a member is decompressed, in bytes.
const CONTENTS_MAX: u64 = 1 << 20;

/// Indexes `bytes` and panics where the index or the tree breaks an invariant.
pub fn check(bytes: &[u8]) {
    let index = match index(bytes, bytes.len() as u64, 0) {
        Ok(index) => index,
        Err(error) => {
            // All bytes can be read, so an I/O error means a read past the end.
            assert!(!matches!(error, ArchiveError::Read(_)), "{error:?}");
            assert_one_line(&error.to_string());
            return;
        }
    };
    check_extents(bytes, &index);
    check_against_zip(bytes, &index);
    let members = index.members.len();
    let tree = Tree::new(index, Times::UNKNOWN).expect("a small archive makes a tree");
    check_tree(&tree, members);
}

fn assert_one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
}

/// Returns the members that are served; the errors of all others are single lines.
fn sound(index: &Index) -> impl Iterator<Item = &Member> {
    index.members.iter().filter(|member| {
        if let Some(problem) = &member.problem {
            assert_one_line(&problem.to_string());
        }
        member.problem.is_none()
    })
}

/// Checks that each sound member starts with its local header and shares no byte with another one or
/// with the central directory.
fn check_extents(bytes: &[u8], index: &Index) {
    let central = |member: &Member| 46 + index.names.bytes(member.name).len();
    let directory_and_end: usize = index.members.iter().map(central).sum::<usize>() + 22;
    let mut records = Vec::new();
    for member in sound(index) {
        let at = member.local_header_offset as usize;
        let name = index.names.bytes(member.name);
        let header = &bytes[at..at + 30];
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        assert!(header.starts_with(LOCAL_HEADER));
        if !is_renamed(member) {
            assert!(bytes[at + 30..].starts_with(name));
        }
        let start = at + 30 + u16_at(26) + u16_at(28);
        assert_eq!(member.extent.start, start as u64);
        if member.method == Method::STORED {
            assert_eq!(member.extent.len, member.size);
        }
        check_contents(bytes, member);
        records.push((at as u64, member.extent.start + member.extent.len));
    }
    records.sort_unstable();
    check_gaps(bytes, index, &records);
    let limit = index.members_end;
    let room = (bytes.len() as u64).checked_sub(limit);
    let room = room.expect("the central directory is in the file");
    assert!(room >= directory_and_end as u64);
    let starts = records[1.min(records.len())..]
        .iter()
        .map(|&(start, _)| start);
    for (&(_, end), next) in records.iter().zip(starts.chain([limit])) {
        assert!(end <= next, "{records:?}, limit {limit}");
    }
}

fn is_renamed(member: &Member) -> bool {
    let mut quirks = member.quirks.iter();
    quirks.any(|quirk| quirk == MemberQuirk::UnicodePath)
}

/// Checks that gaps are in order, before the central directory and outside of each sound member.
fn check_gaps(bytes: &[u8], index: &Index, records: &[(u64, u64)]) {
    let found = Gaps::find(bytes, index).expect("nothing is read past the end");
    let mut reach = 0;
    for gap in found.gaps {
        let (start, end) = (gap.extent.start, gap.extent.start + gap.extent.len);
        assert!(reach <= start && start < end, "{gap:?}");
        reach = end;
        let touches = |&(from, to): &(u64, u64)| from < end && start < to;
        assert!(!records.iter().any(touches), "{gap:?}, {records:?}");
    }
    assert!(reach <= index.members_end);
}

/// Checks that the contents of a member have the declared size and CRC-32, or are an error.
fn check_contents(bytes: &[u8], member: &Member) {
    let mut contents = Vec::new();
    let decoder = Decoder::new(bytes, member);
    // A few bytes may stand for gigabytes.
    let read = decoder.and_then(|decoder| decoder.take(CONTENTS_MAX).read_to_end(&mut contents));
    assert!(contents.len() as u64 <= member.size);
    match read {
        Ok(len) if (len as u64) < CONTENTS_MAX => {
            assert_eq!(len as u64, member.size);
            assert_eq!(crc32fast::hash(&contents), member.crc32);
        }
        Ok(_) => {}
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// Checks what a client finds that walks the tree.
fn check_tree(tree: &Tree, members: usize) {
    let mut seen = BTreeSet::from([Ino::ROOT]);
    let mut pending = vec![Ino::ROOT];
    let mut files = 0;
    assert_eq!(tree.parent(Ino::ROOT), Some(Ino::ROOT));
    while let Some(directory) = pending.pop() {
        let mut names = HashSet::new();
        let mut subdirectories = 0;
        for entry in tree.entries(directory, 0).expect("it is a directory") {
            let name = entry.name;
            assert!((1..=NAME_MAX).contains(&name.len()), "{name:?}");
            assert!(!name.contains(&b'/') && !name.contains(&0), "{name:?}");
            assert!(!matches!(name, b"." | b".."));
            assert!(names.insert(name), "{name:?} comes twice");
            let ino = entry.attr.ino;
            assert!(seen.insert(ino), "{ino:?} has two names");
            assert_eq!(tree.lookup(directory, name), Some(entry.attr));
            assert_eq!(tree.attr(ino), Some(entry.attr));
            assert_eq!(tree.parent(ino), Some(directory));
            match entry.attr.kind {
                Kind::Directory => {
                    assert_eq!(tree.member(ino).map(|member| member.size), None);
                    subdirectories += 1;
                    pending.push(ino);
                }
                Kind::File => {
                    let member = tree.member(ino).expect("a file is a member");
                    assert_eq!(entry.attr.size, member.size.min(i64::MAX as u64));
                    assert_eq!(entry.attr.links, 1);
                    assert!(tree.entries(ino, 0).is_none());
                    files += 1;
                }
            }
        }
        let links = tree.attr(directory).expect("it is there").links;
        assert_eq!(links, 2 + subdirectories);
    }
    assert_eq!(seen.len(), tree.inode_count(), "all inodes have a name");
    assert_eq!(files, tree.files().count());
    assert!(files <= members);
    check_paths(tree, members, files);
}

/// Checks that the path of each visible member leads to it.
fn check_paths(tree: &Tree, members: usize, files: usize) {
    assert_eq!(tree.members().count(), members);
    let mut shown_files = 0;
    for (member, ino) in tree.members() {
        let Some(ino) = ino else { continue };
        let path = tree.path(ino).expect("it is there");
        let mut names = path.split_terminator('/');
        let found = names.try_fold(Ino::ROOT, |directory, name| {
            let found = tree.lookup(directory, name.as_bytes())?;
            Some(found.ino)
        });
        assert_eq!(found, Some(ino), "{path:?}");
        match tree.member(ino) {
            Some(file) => {
                assert!(std::ptr::eq(file, member) && !path.ends_with('/'));
                shown_files += 1;
            }
            None => assert!(path.ends_with('/') && tree.name_of(member).ends_with(b"/")),
        }
    }
    assert_eq!(shown_files, files);
}

/// Compares place, size and CRC-32 of each member with those that the crate `zip` finds.
fn check_against_zip(bytes: &[u8], index: &Index) {
    let Ok(mut theirs) = ZipArchive::new(Cursor::new(bytes)) else {
        return;
    };
    // Where it rejects the last end record it falls back to an earlier one, and it may read that of
    // an empty archive in the comment.
    let start = theirs.central_directory_start().min(index.members_end);
    let from_directory = &bytes[start as usize..];
    let ends = from_directory.windows(4).filter(|&it| it == END_RECORD);
    // Of members with the same name it has only the last, and it prefers the name in a Unicode path
    // field.
    let may_rename = bytes.windows(2).any(|id| id == b"up");
    if ends.count() > 1 || theirs.has_duplicate_names() || may_rename {
        return;
    }
    for member in sound(index) {
        let name = index.names.bytes(member.name);
        let at = theirs.index_for_name_raw(name).expect("name is there");
        let file = theirs.by_index_raw(at).expect("member is there");
        assert_eq!(
            (file.data_start(), file.size(), file.crc32()),
            (Some(member.extent.start), member.size, member.crc32),
            "{member:?}"
        );
    }
}

/// The format of archives, for random damage.
pub const ARCHIVE: Format = Format {
    starts_part: |bytes| bytes.starts_with(b"PK"),
    tokens: &[
        LOCAL_HEADER,
        CENTRAL_HEADER,
        END_RECORD,
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"\x01\0\x08\0\x01\0\0\0\0\0\0\0",
        b"\x01\0\x10\0",
        b"UT\x05\0\x01",
        b"up\x06\0\x01",
        b"/",
        b"../",
        b"./",
        b"//",
        b"a",
        b" (1)",
        b".npy",
        b"\0",
        b"\x81",
        b"\xC3\xA9",
    ],
    mend,
};

/// Makes the end record match the central headers, and each local header its central header.
fn mend(bytes: &mut [u8]) {
    let all = |signature| {
        let windows = bytes.windows(4).enumerate();
        windows.filter_map(move |(at, window)| (window == signature).then_some(at))
    };
    let centrals: Vec<usize> = all(CENTRAL_HEADER).collect();
    let first_local = all(LOCAL_HEADER).next().unwrap_or_default();
    let end = all(END_RECORD).next_back();
    for &central in &centrals {
        let Some(header) = bytes.get(central..central + 46) else {
            continue;
        };
        let header = header.to_vec();
        let name_len = usize::from(header[28]) | usize::from(header[29]) << 8;
        let offset = u32::from_le_bytes([header[42], header[43], header[44], header[45]]);
        let local = first_local + offset as usize;
        let name = central + 46..central + 46 + name_len;
        let Some(fixed) = bytes.get_mut(local..local + 30) else {
            continue;
        };
        if !fixed.starts_with(LOCAL_HEADER) {
            continue;
        }
        fixed[4..26].copy_from_slice(&header[6..28]);
        if fixed[26..28] == header[28..30] && name.end.max(local + 30 + name_len) <= bytes.len() {
            bytes.copy_within(name, local + 30);
        }
    }
    let (Some(&start), Some(end)) = (centrals.first(), end) else {
        return;
    };
    if let Some(record) = bytes.get_mut(end..end + 22)
        && start < end
    {
        let entries = (centrals.len() as u16).to_le_bytes();
        record[4..8].fill(0);
        record[8..10].copy_from_slice(&entries);
        record[10..12].copy_from_slice(&entries);
        record[12..16].copy_from_slice(&((end - start) as u32).to_le_bytes());
        record[16..20].copy_from_slice(&(start.saturating_sub(first_local) as u32).to_le_bytes());
    }
    let comment_len = (bytes.len() - end).saturating_sub(22) as u16;
    if let Some(len) = bytes.get_mut(end + 20..end + 22) {
        len.copy_from_slice(&comment_len.to_le_bytes());
    }
}
