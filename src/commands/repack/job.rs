//! Writes the result, and compares it with the input.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::error::RepackError;
use super::input::{Input, Item};
use super::layout::Layout;
use crate::extent::Extent;
use crate::sys;
use crate::ui::human::Escaped;
use crate::ui::progress::Progress;
use crate::zip::{self, Decoder, Record, end_records};

/// Bytes to read and write at once.
const BUFFER_LEN: usize = 1 << 20;
/// File systems that share blocks between files share them in multiples of this, in bytes.
const BLOCK_LEN: u64 = 4096;

/// A result that is being written.
pub(super) struct Job<'a> {
    input: &'a Input,
    items: &'a [Item],
    layout: &'a Layout,
    /// The CRC-32 of each item, once it is written.
    crcs: Vec<AtomicU32>,
    out: &'a File,
    /// The path of the result as given on the command line.
    output: &'a Path,
    progress: Progress,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        input: &'a Input,
        items: &'a [Item],
        layout: &'a Layout,
        out: &'a File,
        output: &'a Path,
        progress: Progress,
    ) -> Self {
        Self {
            input,
            items,
            layout,
            crcs: items.iter().map(|_| AtomicU32::new(0)).collect(),
            out,
            output,
            progress,
        }
    }

    /// Writes all items with `threads` threads, then the central directory.
    pub(super) fn write(&self, threads: usize) -> Result<(), RepackError> {
        self.for_each(threads, |at, buffer| self.write_item(at, buffer))?;
        let cannot_write = |error| self.cannot_write(error);
        let first = self.items.first();
        if first.is_some_and(|item| item.record.offset() > 0) {
            // Programs that recognise archives look for a local header at the start of the file.
            let nothing = Record::placeholder().local_header(0);
            self.out.write_all_at(&nothing, 0).map_err(cannot_write)?;
        }
        let mut directory = Extent {
            start: self.layout.end,
            len: 0,
        };
        let mut bytes = Vec::new();
        for (item, crc32) in self.items.iter().zip(&self.crcs) {
            item.record
                .central_header(crc32.load(Ordering::Relaxed), &mut bytes);
            if bytes.len() >= BUFFER_LEN {
                self.out
                    .write_all_at(&bytes, directory.start + directory.len)
                    .map_err(cannot_write)?;
                directory.len += bytes.len() as u64;
                bytes.clear();
            }
        }
        let at = directory.start + directory.len;
        directory.len += bytes.len() as u64;
        bytes.extend(end_records(self.items.len() as u64, directory));
        self.out.write_all_at(&bytes, at).map_err(cannot_write)
    }

    /// Removes the progress bar.
    pub(super) fn finish(self) {
        self.progress.finish();
    }

    /// Has threads take the next item until none is left, each with a buffer of its own. Returns the
    /// error of the first item that has one.
    fn for_each(
        &self,
        threads: usize,
        work: impl Fn(usize, &mut [u8]) -> Result<(), RepackError> + Sync,
    ) -> Result<(), RepackError> {
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let run = || {
            let mut buffer = vec![0; BUFFER_LEN];
            while !has_failed.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= self.items.len() {
                    break;
                }
                if let Err(error) = work(at, &mut buffer) {
                    has_failed.store(true, Ordering::Relaxed);
                    return Some((at, error));
                }
            }
            None
        };
        let errors = thread::scope(|scope| {
            // If the system refuses a thread, fewer do the work.
            let others: Vec<_> = (1..threads.min(self.items.len()))
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
                .collect();
            let mut errors = vec![run()];
            for other in others {
                errors.push(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            errors
        });
        let first = errors.into_iter().flatten().min_by_key(|&(at, _)| at);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Writes the contents of an item, and then its local header, which needs their CRC-32.
    fn write_item(&self, at: usize, buffer: &mut [u8]) -> Result<(), RepackError> {
        let item = &self.items[at];
        let unreadable = |error| self.input.unreadable(item, error);
        let Extent { start, len: size } = item.record.extent();
        let mut contents = self.input.contents(item).map_err(unreadable)?;
        let shared = contents.stored.as_ref().map_or(0, |(file, extent)| {
            share_blocks(file, *extent, self.out, start)
        });
        let mut crc = crc32fast::Hasher::new();
        let mut done = 0;
        loop {
            let len = match contents.bytes.read(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            if done + len as u64 > size || len == 0 && done < size {
                return Err(self.input.changed(item));
            }
            if len == 0 {
                break;
            }
            let bytes = &buffer[..len];
            if contents.crc32.is_none() {
                crc.update(bytes);
            }
            let skip = shared.saturating_sub(done).min(len as u64);
            self.out
                .write_all_at(&bytes[skip as usize..], start + done + skip)
                .map_err(|error| self.cannot_write(error))?;
            done += len as u64;
            self.progress.advance(len as u64);
        }
        if contents.has_changed().map_err(unreadable)? {
            return Err(self.input.changed(item));
        }
        let crc32 = contents.crc32.unwrap_or_else(|| crc.finalize());
        self.crcs[at].store(crc32, Ordering::Relaxed);
        self.out
            .write_all_at(&item.record.local_header(crc32), item.record.offset())
            .map_err(|error| self.cannot_write(error))
    }

    fn cannot_write(&self, error: io::Error) -> RepackError {
        RepackError::Write {
            output: self.output.to_owned(),
            error,
        }
    }

    /// Reads the result, and compares every header and CRC-32 with what should be there.
    pub(super) fn verify(&self, threads: usize) -> Result<(), RepackError> {
        let differs = |what: String| RepackError::Verify {
            output: self.output.to_owned(),
            what,
        };
        let cannot_write = |error| self.cannot_write(error);
        self.out.sync_data().map_err(cannot_write)?;
        // Drop cached pages so that the disk is read; not every file system can.
        let _ = posix_fadvise(self.out, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        let len = self.out.metadata().map_err(cannot_write)?.len();
        let index = zip::index(self.out, len, 0).map_err(|error| differs(error.to_string()))?;
        if index.members.len() != self.items.len() {
            return Err(differs(format!("{} members", index.members.len())));
        }
        self.for_each(threads, |at, buffer| {
            let (member, record) = (&index.members[at], &self.items[at].record);
            let differs = |what| {
                let name = Escaped::member(&record.name);
                differs(format!("member '{name}': {what}"))
            };
            if let Some(problem) = &member.problem {
                return Err(differs(problem.to_string()));
            }
            let expected = (record.extent(), self.crcs[at].load(Ordering::Relaxed));
            if index.names.bytes(member.name) != record.name
                || (member.extent, member.crc32) != expected
            {
                return Err(differs("its headers differ".to_owned()));
            }
            let mut contents =
                Decoder::new(self.out, member).map_err(|error| differs(error.to_string()))?;
            loop {
                match contents.read(buffer) {
                    Ok(0) => return Ok(()),
                    Ok(len) => self.progress.advance(len as u64),
                    Err(error) => return Err(differs(error.to_string())),
                }
            }
        })
    }
}

/// Shares the blocks of `extent` in one file with another file, from `offset` on, if the file system
/// can. Returns how many bytes need not be written; the last, partial block always has to be.
fn share_blocks(from: &File, extent: Extent, to: &File, offset: u64) -> u64 {
    let blocks = Extent {
        start: extent.start,
        len: extent.len - extent.len % BLOCK_LEN,
    };
    let is_aligned = |offset: u64| offset.is_multiple_of(BLOCK_LEN);
    let is_shareable = blocks.len > 0 && is_aligned(blocks.start) && is_aligned(offset);
    // An error that matters occurs again when the bytes are written.
    if is_shareable && sys::file::clone_range(from, blocks, to, offset).is_ok() {
        blocks.len
    } else {
        0
    }
}
