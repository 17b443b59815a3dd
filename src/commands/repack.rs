//! Stores an archive or a directory anew: nothing compressed, and arrays where a page can start.
//!
//! All sizes are known beforehand, so the whole result is laid out before anything is written, and
//! several threads write members to their places at the same time.

mod error;
mod input;
pub mod output_file;

use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use log::LevelFilter;
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::{Gid, Uid, fchown};

pub use error::RepackError;

use crate::archive::file;
use crate::cli::RepackArgs;
use crate::commands::error::Error;
use crate::extent::Extent;
use crate::sys;
use crate::sys::thread_pool;
use crate::ui::human::{Escaped, Quoted, Size};
use crate::ui::logging;
use crate::ui::progress::Progress;
use crate::zip::decoder::Decoder;
use crate::zip::{self, Record, end_records};
use input::{Input, Item};
use output_file::OutputFile;

/// How much is read and written at once, in bytes.
const BUFFER_LEN: usize = 1 << 20;
/// The most threads that work, unless the user says how many.
const JOBS_MAX: usize = 64;
/// File systems that can share blocks between files do so from one multiple of this to another.
const BLOCK_LEN: u64 = 4096;

/// Runs `npzfs repack`.
///
/// # Errors
/// Those of opening the input, and [`RepackError`]. The output is then as it was before.
pub fn repack(arguments: &RepackArgs) -> Result<(), Error> {
    let level = if arguments.quiet {
        LevelFilter::Error
    } else {
        LevelFilter::Warn
    };
    logging::start(level, None, false)?;
    let (input, mut items) = Input::open(&arguments.input)?;
    let target = target(arguments, &input)?;
    let align = if arguments.no_align {
        1
    } else {
        arguments.align
    };
    let output = &arguments.output;
    let cannot_write = |error| RepackError::Write {
        output: output.clone(),
        error,
    };
    let layout = Layout::new(&mut items, align).map_err(cannot_write)?;
    let file = OutputFile::create(target, 0o666).map_err(cannot_write)?;
    if let Input::Archive(archive) = &input {
        let kept = keep_permissions(&archive.metadata, output, file.file());
        kept.map_err(cannot_write)?;
    }
    let job = Job {
        input: &input,
        items: &items,
        layout: &layout,
        crcs: items.iter().map(|_| AtomicU32::new(0)).collect(),
        out: file.file(),
        output,
        progress: if arguments.quiet {
            Progress::hidden()
        } else {
            Progress::new(
                layout.len_bytes << u32::from(arguments.verify),
                arguments.input.as_os_str().as_encoded_bytes(),
            )
        },
    };
    let threads = arguments
        .jobs
        .map_or_else(|| thread_pool::processors().min(JOBS_MAX), usize::from);
    job.write(threads)?;
    input.check_unchanged()?;
    if arguments.verify {
        job.verify(threads)?;
    }
    job.progress.finish();
    let published = file.publish(arguments.force);
    published.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => RepackError::Exists {
            output: output.clone(),
        },
        _ => cannot_write(error),
    })?;
    if !arguments.quiet {
        let (from, to) = (Quoted(&arguments.input), Quoted(output));
        // Whoever closed standard output does not want to know.
        let _ = writeln!(io::stdout(), "packed {from} into {to}: {layout}");
    }
    Ok(())
}

/// The path of the file to be written: a symbolic link is followed.
fn target(arguments: &RepackArgs, input: &Input) -> Result<PathBuf, RepackError> {
    let output = arguments.output.clone();
    let exists = fs::symlink_metadata(&output).is_ok();
    if let Ok(metadata) = fs::metadata(&output)
        && !metadata.is_file()
    {
        let what = file::kind(&metadata);
        return Err(RepackError::NotReplaced { output, what });
    }
    if exists && !arguments.force {
        return Err(RepackError::Exists { output });
    }
    let target = fs::canonicalize(&output).unwrap_or_else(|_| output.clone());
    if let Input::Directory(given) = input {
        let parent = target.parent().filter(|parent| *parent != Path::new(""));
        let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
        let root = fs::canonicalize(given);
        if let (Ok(parent), Ok(root)) = (parent, root)
            && parent.starts_with(root)
        {
            return Err(RepackError::Inside { output });
        }
    }
    Ok(target)
}

/// Gives the result the permissions of the archive that it is made of and, where it replaces that, the
/// owner, too.
fn keep_permissions(archive: &Metadata, output: &Path, file: &File) -> io::Result<()> {
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    if fs::metadata(output).is_ok_and(|replaced| identity(&replaced) == identity(archive)) {
        let owner = Some(Uid::from_raw(archive.uid()));
        let group = Some(Gid::from_raw(archive.gid()));
        // Only root may give files away; what others write is their own.
        let _ = fchown(file, owner, group);
    }
    file.set_permissions(Permissions::from_mode(archive.mode() & 0o777))
}

/// What is packed, added up.
struct Layout {
    members: u64,
    /// Length of their contents.
    len_bytes: u64,
    padding_len: u64,
    /// Where the members end, and the central directory begins.
    end: u64,
}

impl Layout {
    /// Gives each item its place. An error is that the last one would end where no file can.
    fn new(items: &mut [Item], align: u64) -> io::Result<Self> {
        let mut layout = Self {
            members: 0,
            len_bytes: 0,
            padding_len: 0,
            end: 0,
        };
        for Item { record, .. } in items {
            let is_array = record.name.ends_with(b".npy");
            layout.padding_len += record.place(layout.end, if is_array { align } else { 1 });
            let end = record.extent().start.checked_add(record.size);
            layout.end = end
                .filter(|&end| i64::try_from(end).is_ok())
                .ok_or(Errno::EFBIG)?;
            layout.len_bytes += record.size;
            layout.members += u64::from(!record.name.ends_with(b"/"));
        }
        Ok(layout)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.members == 1 { "" } else { "s" };
        let percent = self.padding_len as f64 * 100.0 / self.end.max(1) as f64;
        write!(
            f,
            "{} member{plural}, {}, {} of padding ({percent:.3} %)",
            self.members,
            Size(self.len_bytes),
            Size(self.padding_len)
        )
    }
}

/// The work.
struct Job<'a> {
    input: &'a Input,
    items: &'a [Item],
    layout: &'a Layout,
    /// The CRC-32 of each item, as soon as it is written.
    crcs: Vec<AtomicU32>,
    out: &'a File,
    /// As given on the command line.
    output: &'a Path,
    progress: Progress,
}

impl Job<'_> {
    /// Writes everything.
    fn write(&self, threads: usize) -> Result<(), RepackError> {
        self.for_each(threads, |at, buffer| self.write_item(at, buffer))?;
        let cannot_write = |error| self.cannot_write(error);
        if self
            .items
            .first()
            .is_some_and(|item| item.record.offset() > 0)
        {
            let nothing = Record::nothing().local_header(0);
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

    /// Lets threads take the next item until none is left, each with a buffer of its own. The error
    /// is that of the first item that has one.
    fn for_each(
        &self,
        threads: usize,
        work: impl Fn(usize, &mut [u8]) -> Result<(), RepackError> + Sync,
    ) -> Result<(), RepackError> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let run = || {
            let mut buffer = vec![0; BUFFER_LEN];
            while !failed.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= self.items.len() {
                    break;
                }
                if let Err(failure) = work(at, &mut buffer) {
                    failed.store(true, Ordering::Relaxed);
                    return Some((at, failure));
                }
            }
            None
        };
        let failures = thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(self.items.len()))
                // Fewer threads do as well.
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
                .collect();
            let mut failures = vec![run()];
            for other in others {
                match other.join() {
                    Ok(failure) => failures.push(failure),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            failures
        });
        let first = failures.into_iter().flatten().min_by_key(|&(at, _)| at);
        first.map_or(Ok(()), |(_, failure)| Err(failure))
    }

    /// Writes the contents of an item, and then its local header, which has to tell their CRC-32.
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
        if contents.is_changed().map_err(unreadable)? {
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

    /// Reads what was written, and compares all of it with what was meant.
    fn verify(&self, threads: usize) -> Result<(), RepackError> {
        let differs = |what: String| RepackError::Verify {
            output: self.output.to_owned(),
            what,
        };
        let cannot_write = |error| self.cannot_write(error);
        self.out.sync_data().map_err(cannot_write)?;
        // The disk is to be read, and not what is still in memory; where that cannot be, so be it.
        let _ = posix_fadvise(self.out, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        let len = self.out.metadata().map_err(cannot_write)?.len();
        let index = zip::index(self.out, len, 0).map_err(|defect| differs(defect.to_string()))?;
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
            let meant = (record.extent(), self.crcs[at].load(Ordering::Relaxed));
            if index.names.bytes(member.name) != record.name
                || (member.extent, member.crc32) != meant
            {
                return Err(differs("its headers are others".to_owned()));
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

/// Lets the blocks of `extent` in one file be those of another one, too, from `offset` on, where the
/// file system can do this. Returns how many bytes need not be written then: the last block is only
/// part of the extent, and stays its own.
fn share_blocks(from: &File, extent: Extent, to: &File, offset: u64) -> u64 {
    let blocks = Extent {
        start: extent.start,
        len: extent.len - extent.len % BLOCK_LEN,
    };
    let aligned = |offset: u64| offset.is_multiple_of(BLOCK_LEN);
    let can = blocks.len > 0 && aligned(blocks.start) && aligned(offset);
    // Whatever is wrong shows when the bytes are written.
    if can && sys::clone_range(from, blocks, to, offset).is_ok() {
        blocks.len
    } else {
        0
    }
}
