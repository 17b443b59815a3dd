//! The contents of all members, each read once, by several threads.
//!
//! Threads take small stored members in runs, so that one read serves many of them, and long ones in
//! parts, whose CRCs are combined at the end. A compressed member has to be read by one thread alone;
//! long ones come first, so that no thread is left with one while the others are done.

use std::cmp::Reverse;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use super::array;
use super::finding::{Fault, Note};
use super::findings::Findings;
use super::part::{Part, PartReader};
use crate::archive::file::IndexedFile;
use crate::extent::Extent;
use crate::sys::sync::lock;
use crate::ui::progress::Progress;
use crate::zip::{DecodeError, Decoder, Member, Method};

/// Bytes to read at once: few enough to stay in a processor's own cache. Npy headers that are longer
/// are not checked.
const READ_LEN: usize = 256 << 10;

/// Length of the parts in which a stored member is read, in bytes.
const PART_LEN: u64 = 4 << 20;

/// Compressed members at least this long, in bytes, are read first.
const LONG_MIN: u64 = 16 << 20;

/// The contents of an archive's members, and how much of them threads have taken to read.
pub(super) struct Contents<'a> {
    archive: &'a IndexedFile,
    /// The readable members, in the order in which they are read.
    order: Vec<u32>,
    next: Mutex<Position>,
    progress: Progress,
}

/// The first byte that no thread has taken yet.
#[derive(Clone, Copy, Default)]
struct Position {
    /// Index into [`Contents::order`].
    place: usize,
    /// Offset in the contents of that member.
    offset: u64,
}

/// What a thread reads next.
enum Work<'a> {
    /// Several stored members that lie close together.
    Run(&'a [u32]),
    Part(Part),
}

impl<'a> Contents<'a> {
    pub(super) fn new(archive: &'a IndexedFile, given: &Path) -> Self {
        let members = &archive.index.members;
        let mut order: Vec<u32> = (0..members.len() as u32)
            .filter(|&number| members[number as usize].problem.is_none())
            .collect();
        let total = order.iter().fold(0u64, |total, &number| {
            total.saturating_add(members[number as usize].size)
        });
        order.sort_by_key(|&number| {
            let member = &members[number as usize];
            let is_long = member.method != Method::STORED && member.size >= LONG_MIN;
            let first = if is_long { member.size } else { 0 };
            (Reverse(first), member.local_header_offset)
        });
        Self {
            archive,
            order,
            next: Mutex::default(),
            progress: Progress::new(total, given.as_os_str().as_encoded_bytes()),
        }
    }

    /// Reads everything with `jobs` threads, this one among them. Returns at most one fault a member:
    /// if the contents are wrong, what the npy header says about them means nothing.
    pub(super) fn check(self, jobs: usize) -> Findings {
        let work = || self.work();
        let mut all = thread::scope(|scope| {
            // If the system refuses a thread, fewer do the work.
            let others: Vec<_> = (1..jobs)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut all = work();
            for other in others {
                all.append(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            all
        });
        let mut faults = self.combine(std::mem::take(&mut all.part_crcs));
        faults.append(&mut all.faults);
        // The sort is stable, so a CRC that is wrong precedes the member's other faults.
        faults.sort_by_key(|(number, _)| *number);
        faults.dedup_by_key(|(number, _)| *number);
        Findings { faults, ..all }
    }

    /// Combines the CRCs of parts, and returns the members whose CRC is wrong.
    fn combine(&self, mut part_crcs: Vec<(Part, crc32fast::Hasher)>) -> Vec<(u32, Fault)> {
        part_crcs.sort_by_key(|(part, _)| (part.member, part.range.start));
        let same_member = |(a, _): &(Part, _), (b, _): &(Part, _)| a.member == b.member;
        let mut faults = Vec::new();
        for parts in part_crcs.chunk_by(same_member) {
            let (Part { member: number, .. }, _) = parts[0];
            let member = self.member(number);
            let read: u64 = parts.iter().map(|(part, _)| part.range.len).sum();
            let mut crc = crc32fast::Hasher::new();
            for (_, part) in parts {
                crc.combine(part);
            }
            // If a part could not be read, that is already a fault of the member.
            if read == member.size
                && let Err(fault) = check_crc(member, crc)
            {
                faults.push((number, fault));
            }
        }
        faults
    }

    fn member(&self, number: u32) -> &'a Member {
        &self.archive.index.members[number as usize]
    }

    /// Takes the next work, until none is left.
    fn take(&self) -> Option<Work<'_>> {
        let mut next = lock(&self.next);
        let Position { place, offset } = *next;
        let left = self.order.get(place..)?;
        let run = self.run_len(left);
        if run > 0 {
            next.place += run;
            return Some(Work::Run(&left[..run]));
        }
        let number = *left.first()?;
        let member = self.member(number);
        let rest = member.size - offset;
        let len = match member.method {
            Method::STORED => rest.min(PART_LEN),
            _ => rest,
        };
        *next = if len < rest {
            Position {
                place,
                offset: offset + len,
            }
        } else {
            Position {
                place: place + 1,
                offset: 0,
            }
        };
        let range = Extent { start: offset, len };
        Some(Work::Part(Part {
            member: number,
            range,
        }))
    }

    /// The number of members at the start of `order` that fit into one read.
    fn run_len(&self, order: &[u32]) -> usize {
        let start = order
            .first()
            .map_or(0, |&number| self.member(number).extent.start);
        let fits = |number: &&u32| {
            let member = self.member(**number);
            let end = member.extent.start + member.extent.len;
            member.method == Method::STORED && end - start <= READ_LEN as u64
        };
        order.iter().take_while(fits).count()
    }

    fn work(&self) -> Findings {
        let mut findings = Findings::default();
        let mut buffer = vec![0; READ_LEN];
        while let Some(work) = self.take() {
            match work {
                Work::Run(run) => self.read_run(run, &mut buffer, &mut findings),
                Work::Part(part) => {
                    let result = self.read_part(part, &mut buffer, &mut findings);
                    findings.add(part.member, result);
                }
            }
        }
        findings
    }

    fn read_run(&self, run: &[u32], buffer: &mut [u8], findings: &mut Findings) {
        let extents = run.iter().map(|&number| self.member(number).extent);
        let start = extents.clone().next().map_or(0, |first| first.start);
        let end = extents.last().map_or(start, |last| last.start + last.len);
        let bytes = &mut buffer[..(end - start) as usize];
        let read = self.archive.file.read_exact_at(bytes, start);
        if read.is_ok() {
            let sizes = run.iter().map(|&number| self.member(number).size);
            self.progress.advance(sizes.sum());
        }
        for &number in run {
            let member = self.member(number);
            let Extent { start: data, len } = member.extent;
            let result = if read.is_ok() {
                let contents = &bytes[(data - start) as usize..][..len as usize];
                let mut crc = crc32fast::Hasher::new();
                crc.update(contents);
                check_crc(member, crc).and_then(|()| self.check_array(member, contents))
            } else {
                // Read one by one, since a bad disk block need not affect them all.
                let part = Part {
                    member: number,
                    range: Extent { start: 0, len },
                };
                self.read_part(part, bytes, findings)
            };
            findings.add(number, result);
        }
    }

    fn read_part(
        &self,
        part: Part,
        buffer: &mut [u8],
        findings: &mut Findings,
    ) -> Result<Option<Note>, Fault> {
        let member = self.member(part.member);
        let file = &self.archive.file;
        let extent = Extent {
            start: member.extent.start + part.range.start,
            len: part.range.len,
        };
        let mut stored = PartReader::new(file, extent);
        let mut decoder = None;
        if member.method != Method::STORED {
            decoder = Some(Decoder::new(file, member)?);
        }
        let mut array = None;
        loop {
            let len = match &mut decoder {
                Some(decoder) => fill(decoder, buffer)?,
                None => fill(&mut stored, buffer)?,
            };
            if part.range.start == 0 && array.is_none() {
                array = Some(self.check_array(member, &buffer[..len]));
            }
            self.progress.advance(len as u64);
            if len < buffer.len() {
                break;
            }
        }
        if part.range.len < member.size {
            findings.part_crcs.push((part, stored.into_crc()));
        } else if decoder.is_none() {
            check_crc(member, stored.into_crc())?;
        }
        array.unwrap_or(Ok(None))
    }

    /// Checks the npy header of a member whose contents start with `head`.
    fn check_array(&self, member: &Member, head: &[u8]) -> Result<Option<Note>, Fault> {
        if member.is_symlink {
            return Ok(None);
        }
        let name = self.archive.index.names.bytes(member.name);
        array::check(name, head, member.size)
    }
}

/// Reads until `buffer` is full or nothing is left; returns the number of bytes read.
fn fill(contents: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match contents.read(&mut buffer[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

fn check_crc(member: &Member, crc: crc32fast::Hasher) -> Result<(), Fault> {
    let (declared, actual) = (member.crc32, crc.finalize());
    if actual == declared {
        return Ok(());
    }
    Err(Fault::Contents(DecodeError::Crc { declared, actual }))
}
