//! The range of each member's data. Its start is known from the local header alone: the extra fields
//! there may be longer or shorter than in the central header.

use std::io;

use super::eocd::CentralDirectory;
use super::error::{ArchiveError, MemberError};
use super::local_header::{self, Expected, LOCAL_HEADER_LEN, Mismatch};
use super::member::Member;
use super::method::Method;
use super::names::{Name, Names};
use super::quirk::{MemberQuirk, MemberQuirks};
use super::read_at::ReadAt;
use super::window::{READ_AHEAD, Window};
use crate::extent::Extent;

/// Local headers at most this far apart, in bytes, are read together.
const CLOSE: u64 = 16 * 1024;
/// How much is read for a local header that stands alone, in bytes: enough for nearly all.
const ALONE: usize = 256;

/// The names of members in their headers.
pub(super) struct HeaderNames<'a> {
    pub(super) names: &'a Names,
    /// The numbers of the members that are named otherwise, in order, and their names in the headers.
    pub(super) renamed: &'a [(u32, Name)],
}

impl HeaderNames<'_> {
    fn of(&self, number: usize, member: &Member) -> &[u8] {
        let key = |&(number, _): &(u32, Name)| number as usize;
        let found = self.renamed.binary_search_by_key(&number, key);
        let name = found.map_or(member.name, |at| self.renamed[at].1);
        self.names.bytes(name)
    }
}

/// Checks each member against its local header and its neighbours, and fills in where its data
/// starts. Of members that are listed twice the first ones are removed.
pub(super) fn find<R: ReadAt + ?Sized>(
    source: &R,
    directory: &CentralDirectory,
    header_names: HeaderNames<'_>,
    members: &mut Vec<Member>,
) -> Result<(), ArchiveError> {
    let mut order: Vec<u32> = (0..members.len() as u32)
        .filter(|&at| has_local_header(&members[at as usize]))
        .collect();
    // Nearly always sorted already, which takes the sort one pass.
    order.sort_by_key(|&at| members[at as usize].local_header_offset);
    let repeated = find_repeated(&mut order, header_names.names, members);

    let mut window = Window::new(source, directory.start);
    // The member that ends furthest so far, and one past its last byte.
    let mut furthest: Option<(usize, u64)> = None;
    let mut order = order.into_iter().map(|at| at as usize).peekable();
    while let Some(at) = order.next() {
        let offset = members[at].local_header_offset;
        let next = order.peek().map(|&next| members[next].local_header_offset);
        let ahead = if next.is_some_and(|next| next - offset <= CLOSE) {
            READ_AHEAD
        } else {
            ALONE
        };
        let header = match find_local_header(&mut window, ahead, directory, offset)? {
            Ok(header) => header,
            Err(problem) => {
                members[at].problem.get_or_insert(Box::new(problem));
                continue;
            }
        };
        let end = if let Some((other, reach)) = furthest
            && offset < reach
        {
            // Not checked any further: millions of headers may claim the same bytes.
            overlap(members, at, other);
            overlap(members, other, at);
            header.end
        } else {
            let name = header_names.of(at, &members[at]);
            let checked_len = local_header::checked_len(header.len_bytes(), name);
            let bytes = window.at(offset, checked_len, ahead)?;
            match header.check(bytes, name, &members[at], directory.start) {
                Ok((extent, quirks)) => {
                    members[at].extent = extent;
                    members[at].quirks.extend(quirks);
                    extent.start + extent.len
                }
                Err(problem) => {
                    members[at].problem.get_or_insert(Box::new(problem));
                    header.end
                }
            }
        };
        if furthest.is_none_or(|(_, reach)| end > reach) {
            furthest = Some((at, end));
        }
        let member = &mut members[at];
        if member.problem.is_none() {
            member.problem = unreadable(member).map(Box::new);
        }
    }
    remove(members, &repeated);
    Ok(())
}

/// Takes the members out of `order`, which is sorted by offset, that are listed again with the same
/// values, and returns them in ascending order. The last one stays, as the last of equal names does.
fn find_repeated(order: &mut Vec<u32>, names: &Names, members: &mut [Member]) -> Vec<u32> {
    let mut repeated = Vec::new();
    for at in 1..order.len() {
        let [number, next] = [order[at - 1], order[at]].map(|number| number as usize);
        if is_same(&members[number], &members[next], names) {
            repeated.push(number as u32);
            members[next].quirks.insert(MemberQuirk::ListedTwice);
        }
    }
    if !repeated.is_empty() {
        repeated.sort_unstable();
        order.retain(|number| repeated.binary_search(number).is_err());
    }
    repeated
}

fn is_same(one: &Member, other: &Member, names: &Names) -> bool {
    let values = |member: &Member| {
        let Extent { len, .. } = member.extent;
        let (method, flags, crc32) = (member.method.0, member.flags, member.crc32);
        (
            method,
            flags,
            crc32,
            member.size,
            len,
            member.modified,
            member.stamp,
        )
    };
    one.local_header_offset == other.local_header_offset
        && values(one) == values(other)
        && names.bytes(one.name) == names.bytes(other.name)
}

/// Removes the members with these numbers, which are in ascending order.
fn remove(members: &mut Vec<Member>, numbers: &[u32]) {
    if numbers.is_empty() {
        return;
    }
    let mut numbers = numbers.iter().peekable();
    let mut number = 0;
    members.retain(|_| {
        let is_removed = numbers.next_if_eq(&&number).is_some();
        number += 1;
        !is_removed
    });
}

/// Returns whether the place of a member's local header is known.
pub(super) fn has_local_header(member: &Member) -> bool {
    !matches!(
        member.problem.as_deref(),
        Some(MemberError::Zip64ValueMissing | MemberError::OtherDisk(_))
    )
}

fn overlap(members: &mut [Member], at: usize, other: usize) {
    let other = members[other].local_header_offset;
    members[at].problem = Some(Box::new(MemberError::Overlap { other }));
}

/// The range of a local header, its name and extra fields included.
struct LocalHeader {
    start: u64,
    /// Offset of the data.
    end: u64,
}

/// Finds the local header at `offset`, whichever member's it is. The outer error is one of reading
/// the archive.
fn find_local_header<R: ReadAt + ?Sized>(
    window: &mut Window<'_, R>,
    ahead: usize,
    directory: &CentralDirectory,
    offset: u64,
) -> io::Result<Result<LocalHeader, MemberError>> {
    if offset >= directory.start {
        return Ok(Err(MemberError::LocalHeaderOutside { offset }));
    }
    let bytes = window.at(offset, LOCAL_HEADER_LEN, ahead)?;
    Ok(match local_header::record_len(bytes) {
        Some(record_len) => Ok(LocalHeader {
            start: offset,
            end: offset + record_len as u64,
        }),
        None => Err(MemberError::LocalHeaderMissing { offset }),
    })
}

impl LocalHeader {
    fn len_bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns the range of the member's data, which must end before `limit`, and the quirks of the
    /// local header.
    fn check(
        &self,
        bytes: &[u8],
        name: &[u8],
        member: &Member,
        limit: u64,
    ) -> Result<(Extent, MemberQuirks), MemberError> {
        let expected = Expected {
            name,
            flags: member.flags,
            method: member.method.0,
            crc32: member.crc32,
            size: member.size,
            compressed_len: member.extent.len,
        };
        let checked = local_header::check(bytes, &expected);
        let quirks = checked.map_err(|mismatch| match mismatch {
            Mismatch::Missing => MemberError::LocalHeaderMissing { offset: self.start },
            Mismatch::Field(field) => MemberError::HeadersDisagree { field },
        })?;
        let extent = Extent {
            start: self.end,
            len: member.extent.len,
        };
        match extent.start.checked_add(extent.len) {
            Some(end) if end <= limit => Ok((extent, quirks)),
            _ => Err(MemberError::DataOutside { extent, limit }),
        }
    }
}

/// Returns why a member with sound headers cannot be served.
fn unreadable(member: &Member) -> Option<MemberError> {
    if !member.method.is_known() {
        Some(MemberError::Method(member.method))
    } else if member.method == Method::STORED && member.extent.len != member.size {
        Some(MemberError::StoredSizesDiffer {
            stored: member.extent.len,
            size: member.size,
        })
    } else {
        None
    }
}
