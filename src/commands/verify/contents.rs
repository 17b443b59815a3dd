//! The contents of all members, read once, by several threads.

use std::cmp::Reverse;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::array;
use super::finding::{Fault, Note};
use crate::archive::file::IndexedFile;
use crate::extent::Extent;
use crate::ui::progress::Progress;
use crate::zip::decoder::{self, Decoder};
use crate::zip::member::{Member, Method};

/// How much is looked at at once, in bytes: what stays in a processor's own cache. Longer npy headers
/// are not checked.
const READ_LEN: usize = 256 << 10;

/// A stored member is shared out to the threads in parts of this length, in bytes.
const PART_LEN: u64 = 4 << 20;

/// Compressed members at least this long, in bytes, come first: one thread alone has to read each
/// of them, and should not be the last to end.
const LONG_MIN: u64 = 16 << 20;

/// The contents of all members of an archive, and how far they are read.
pub(super) struct Contents<'a> {
    archive: &'a IndexedFile,
    /// The members that can be read, in the order in which that is done.
    order: Vec<u32>,
    /// Which one of these is next, and from which byte on.
    next: Mutex<(usize, u64)>,
    progress: Progress,
}

/// What one thread does next.
enum Work<'a> {
    /// Stored members, one after the other, to be read together.
    Run(&'a [u32]),
    /// One member, or a part of it.
    Part(Part),
}

/// A part of the contents of a member: all of it, if it is compressed.
#[derive(Clone, Copy)]
struct Part {
    member: u32,
    range: Extent,
}

/// What was found, with the numbers of the members that it is about, in no order.
#[derive(Default)]
pub(super) struct Found {
    pub(super) faults: Vec<(u32, Fault)>,
    pub(super) notes: Vec<(u32, Note)>,
    /// The parts of members that were not read as a whole, each with its CRC.
    parts: Vec<(Part, crc32fast::Hasher)>,
}

impl Found {
    fn add(&mut self, at: u32, result: Result<Option<Note>, Fault>) {
        match result {
            Ok(note) => self.notes.extend(note.map(|note| (at, note))),
            Err(fault) => self.faults.push((at, fault)),
        }
    }
}

impl<'a> Contents<'a> {
    pub(super) fn new(archive: &'a IndexedFile, given: &Path) -> Self {
        let members = &archive.index.members;
        let mut order: Vec<u32> = (0..members.len() as u32)
            .filter(|&at| members[at as usize].problem.is_none())
            .collect();
        let total = order.iter().fold(0u64, |total, &at| {
            total.saturating_add(members[at as usize].size)
        });
        order.sort_by_key(|&at| {
            let member = &members[at as usize];
            let is_long = member.method != Method::STORED && member.size >= LONG_MIN;
            let first = if is_long { member.size } else { 0 };
            (Reverse(first), member.local_header_offset)
        });
        Self {
            archive,
            order,
            next: Mutex::new((0, 0)),
            progress: Progress::new(total, given.as_os_str().as_encoded_bytes()),
        }
    }

    /// Reads everything with `jobs` threads. A member has one fault at most: once its contents are
    /// wrong, the rest says nothing.
    pub(super) fn check(self, jobs: usize) -> Found {
        let work = || self.work();
        let mut all = thread::scope(|scope| {
            // This thread is one of them; fewer than wanted do as well.
            let others: Vec<_> = (1..jobs)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut all = work();
            for other in others {
                let found = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                all.faults.extend(found.faults);
                all.notes.extend(found.notes);
                all.parts.extend(found.parts);
            }
            all
        });
        let mut faults = self.combine(std::mem::take(&mut all.parts));
        faults.append(&mut all.faults);
        // The sort is stable: of a member's faults that of all its contents comes first.
        faults.sort_by_key(|(at, _)| *at);
        faults.dedup_by_key(|(at, _)| *at);
        Found { faults, ..all }
    }

    /// Puts the CRCs of members together that were read in parts.
    fn combine(&self, mut parts: Vec<(Part, crc32fast::Hasher)>) -> Vec<(u32, Fault)> {
        parts.sort_by_key(|(part, _)| (part.member, part.range.start));
        let same_member = |(a, _): &(Part, _), (b, _): &(Part, _)| a.member == b.member;
        let mut faults = Vec::new();
        for parts in parts.chunk_by(same_member) {
            let (Part { member: at, .. }, _) = parts[0];
            let member = self.member(at);
            let read: u64 = parts.iter().map(|(part, _)| part.range.len).sum();
            let mut crc = crc32fast::Hasher::new();
            for (_, part) in parts {
                crc.combine(part);
            }
            // Where a part could not be read, that is the fault.
            if read == member.size
                && let Err(fault) = check_crc(member, crc)
            {
                faults.push((at, fault));
            }
        }
        faults
    }

    fn member(&self, at: u32) -> &'a Member {
        &self.archive.index.members[at as usize]
    }

    /// The next work that nobody has taken.
    fn take(&self) -> Option<Work<'_>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, start) = *next;
        let left = self.order.get(place..)?;
        let run = self.run_len(left);
        if run > 0 {
            next.0 += run;
            return Some(Work::Run(&left[..run]));
        }
        let at = *left.first()?;
        let member = self.member(at);
        let rest = member.size - start;
        let len = match member.method {
            Method::STORED => rest.min(PART_LEN),
            _ => rest,
        };
        *next = if len < rest {
            (place, start + len)
        } else {
            (place + 1, 0)
        };
        let range = Extent { start, len };
        Some(Work::Part(Part { member: at, range }))
    }

    /// How many of the first members of `order` are stored and can be read together.
    fn run_len(&self, order: &[u32]) -> usize {
        let start = order.first().map_or(0, |&at| self.member(at).extent.start);
        let fits = |at: &&u32| {
            let member = self.member(**at);
            let end = member.extent.start + member.extent.len;
            member.method == Method::STORED && end - start <= READ_LEN as u64
        };
        order.iter().take_while(fits).count()
    }

    fn work(&self) -> Found {
        let mut found = Found::default();
        let mut buffer = vec![0; READ_LEN];
        while let Some(work) = self.take() {
            match work {
                Work::Run(run) => self.read_run(run, &mut buffer, &mut found),
                Work::Part(part) => {
                    let result = self.read(part, &mut buffer, &mut found);
                    found.add(part.member, result);
                }
            }
        }
        found
    }

    fn read_run(&self, run: &[u32], buffer: &mut [u8], found: &mut Found) {
        let extents = run.iter().map(|&at| self.member(at).extent);
        let start = extents.clone().next().map_or(0, |first| first.start);
        let end = extents.last().map_or(start, |last| last.start + last.len);
        let all = &mut buffer[..(end - start) as usize];
        let read = self.archive.file.read_exact_at(all, start);
        if read.is_ok() {
            let sizes = run.iter().map(|&at| self.member(at).size);
            self.progress.advance(sizes.sum());
        }
        for &at in run {
            let member = self.member(at);
            let Extent { start: data, len } = member.extent;
            let result = if read.is_ok() {
                let contents = &all[(data - start) as usize..][..len as usize];
                let mut crc = crc32fast::Hasher::new();
                crc.update(contents);
                check_crc(member, crc).and_then(|()| self.check_array(member, contents))
            } else {
                // Not all of them need be where the disk is bad.
                let range = Extent { start: 0, len };
                self.read(Part { member: at, range }, all, found)
            };
            found.add(at, result);
        }
    }

    fn read(
        &self,
        part: Part,
        buffer: &mut [u8],
        found: &mut Found,
    ) -> Result<Option<Note>, Fault> {
        let member = self.member(part.member);
        let file = &self.archive.file;
        let mut stored = StoredPart {
            archive: self.archive,
            rest: Extent {
                start: member.extent.start + part.range.start,
                len: part.range.len,
            },
            crc: crc32fast::Hasher::new(),
        };
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
            found.parts.push((part, stored.crc));
        } else if decoder.is_none() {
            check_crc(member, stored.crc)?;
        }
        array.unwrap_or(Ok(None))
    }

    /// Checks the npy header of a member whose contents start with `head`.
    fn check_array(&self, member: &Member, head: &[u8]) -> Result<Option<Note>, Fault> {
        let name = self.archive.index.names.bytes(member.name);
        array::check(name, head, member.size)
    }
}

/// What is stored of a member, and the CRC of what was read of it.
struct StoredPart<'a> {
    archive: &'a IndexedFile,
    rest: Extent,
    crc: crc32fast::Hasher,
}

impl Read for StoredPart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.rest.len.min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..len];
        self.archive.file.read_exact_at(buffer, self.rest.start)?;
        self.crc.update(buffer);
        self.rest.start += len as u64;
        self.rest.len -= len as u64;
        Ok(len)
    }
}

/// Reads until `buffer` is full, or nothing is left.
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
    let found = crc.finalize();
    if found == member.crc32 {
        return Ok(());
    }
    let told = member.crc32;
    Err(Fault::Contents(decoder::DecodeError::Crc { found, told }))
}
