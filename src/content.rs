//! Where the bytes of a file come from.
//!
//! Every member that can be read is stored, so its bytes are a range of the archive: a slice of the
//! mapping, which the reply copies straight into the kernel's page cache, or, where a disk has to be
//! waited for, a copy that was read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;

use crate::map::Map;
use crate::member::{Extent, Member, Problem};
use crate::sys;

/// How much of the archive may be in this process's page tables at a time, in bytes. The pages
/// belong to the page cache, but they make the process look large, above all to the kernel when it
/// runs out of memory.
const MAPPED_MAX: u64 = 32 << 20;

/// How much more than what is asked for a page fault may map, in bytes: a whole large folio.
const FOLIO_MAX: u64 = 2 << 20;

/// How far apart the bytes are that are looked at to tell whether all are cached: the readahead of
/// most disks.
const SAMPLE_STEP: usize = 128 << 10;

/// Why bytes of a member cannot be had.
#[derive(Debug)]
pub enum ReadError<'a> {
    /// The member cannot be read at all.
    Problem(&'a Problem),
    /// The archive is not the one that was indexed any more.
    Stale,
    /// The archive could not be read.
    Io(io::Error),
}

/// An open archive whose index is known, and the bytes of its members.
#[derive(Debug)]
pub struct Content {
    file: File,
    map: Map,
    version: Version,
    stale: AtomicBool,
    /// Is sent one message, when the archive is found changed.
    changed: Sender<()>,
    /// Bytes given out since the mapping was last let go of.
    mapped: AtomicU64,
}

/// What tells one state of a file from another. The time of the inode's last change is no part of
/// it: rename, unlink and chmod alter that one, and no byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    len: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Content {
    /// The archive in `file`, as it was when it was indexed. What is returned beside it receives one
    /// message, when the archive is found changed.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(file: File, indexed: &Metadata) -> io::Result<(Self, Receiver<()>)> {
        let version = Version::of(indexed);
        let (changed, receiver) = mpsc::channel();
        let content = Self {
            map: Map::new(&file, version.len)?,
            file,
            version,
            stale: AtomicBool::new(false),
            changed,
            mapped: AtomicU64::new(0),
        };
        Ok((content, receiver))
    }

    /// Where the bytes of `member` from `offset` on are, at most `len` of them and fewer at its end.
    ///
    /// # Errors
    /// [`ReadError::Problem`].
    pub fn extent(member: &Member, offset: u64, len: u64) -> Result<Extent, ReadError<'_>> {
        if let Some(problem) = &member.problem {
            return Err(ReadError::Problem(problem));
        }
        let offset = offset.min(member.size);
        Ok(Extent {
            start: member.extent.start + offset,
            len: len.min(member.size - offset),
        })
    }

    /// Whether the bytes of `extent` can be had without waiting for a disk, as far as samples of
    /// them tell.
    pub fn is_cached(&self, extent: Extent) -> bool {
        let end = extent.start + extent.len;
        (extent.start..end)
            .step_by(SAMPLE_STEP)
            .chain(end.checked_sub(1))
            .all(|offset| sys::is_cached(&self.file, offset))
    }

    /// A copy of the bytes of `extent`, which may take the time that a disk takes. To have a page
    /// fault fetch them would read megabytes around them, and keep this process locked meanwhile.
    ///
    /// # Errors
    /// [`ReadError`]: an archive that is not the one that was indexed is not read.
    pub fn read(&self, extent: Extent) -> Result<Vec<u8>, ReadError<'static>> {
        let mut bytes = vec![0; extent.len as usize];
        let read = self.file.read_exact_at(&mut bytes, extent.start);
        self.check_version()?;
        match read {
            Ok(()) => Ok(bytes),
            Err(_) if self.is_gone() => Err(self.found_changed()),
            Err(error) => Err(ReadError::Io(error)),
        }
    }

    /// The bytes of `extent`, for a system call only: see [`Map`].
    ///
    /// # Errors
    /// [`ReadError`]: an archive that is not the one that was indexed is not read.
    pub fn mapped(&self, extent: Extent) -> Result<&[u8], ReadError<'static>> {
        self.check_version()?;
        if self
            .mapped
            .fetch_add(extent.len + FOLIO_MAX, Ordering::Relaxed)
            >= MAPPED_MAX
        {
            self.mapped.store(0, Ordering::Relaxed);
            self.map.release();
        }
        self.map
            .bytes(extent)
            .ok_or_else(|| ReadError::Io(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Whether the archive was found changed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Looks whether the archive is still the one that was indexed. Once it was not, it never is.
    pub fn has_changed(&self) -> bool {
        matches!(self.check_version(), Err(ReadError::Stale))
    }

    /// The open archive.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn check_version(&self) -> Result<(), ReadError<'static>> {
        if !self.is_stale() {
            match self.file.metadata() {
                Ok(now) if Version::of(&now) == self.version => return Ok(()),
                Err(error) if !self.is_gone() => return Err(ReadError::Io(error)),
                _ => {}
            }
        }
        Err(self.found_changed())
    }

    fn found_changed(&self) -> ReadError<'static> {
        if !self.stale.swap(true, Ordering::Relaxed) {
            // If nobody listens, there is no mount to clean up.
            let _ = self.changed.send(());
        }
        ReadError::Stale
    }

    /// Whether the file system that the archive is on is gone for good: its server was killed, or
    /// has forgotten the file. A disk that fails may recover, and its file system still answers.
    fn is_gone(&self) -> bool {
        let answer = fstatvfs(&self.file);
        matches!(
            answer,
            Err(Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ESTALE)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::member::Method;
    use crate::names::Names;

    fn fixture(bytes: &[u8], extent: Extent) -> (tempfile::NamedTempFile, Content, Member) {
        let (file, content, _, member) = fixture_with_changes(bytes, extent);
        (file, content, member)
    }

    fn fixture_with_changes(
        bytes: &[u8],
        extent: Extent,
    ) -> (tempfile::NamedTempFile, Content, Receiver<()>, Member) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let opened = file.reopen().unwrap();
        let indexed = file.as_file().metadata().unwrap();
        let (content, changed) = Content::new(opened, &indexed).unwrap();
        let member = Member {
            name: Names::default().push(b"x").unwrap(),
            method: Method::STORED,
            flags: 0,
            crc32: 0,
            size: extent.len,
            extent,
            local_header_offset: 0,
            modified: 0,
            problem: None,
        };
        (file, content, changed, member)
    }

    #[test]
    fn a_read_is_cut_at_the_end_of_the_member() {
        let (_file, content, member) = fixture(b"0123456789", Extent { start: 2, len: 5 });
        let mapped = |offset, len| {
            let extent = Content::extent(&member, offset, len).unwrap();
            content.mapped(extent).unwrap()
        };
        assert_eq!(mapped(0, 100), b"23456");
        assert_eq!(mapped(3, 1), b"5");
        assert_eq!(mapped(5, 9), b"");
        assert_eq!(mapped(u64::MAX, 9), b"");
        let start = Content::extent(&member, 0, 9).unwrap();
        assert_eq!(content.read(start).unwrap(), b"23456");
    }

    #[test]
    fn a_changed_archive_is_told_of_once_and_never_read_again() {
        let extent = Extent { start: 2, len: 5 };
        let (mut file, content, changed, member) = fixture_with_changes(b"0123456789", extent);
        let is_stale = || matches!(content.mapped(member.extent), Err(ReadError::Stale));
        assert!(!is_stale() && !content.is_stale());
        assert!(changed.try_recv().is_err());
        file.write_all(b"x").unwrap();
        assert!(is_stale() && content.is_stale());
        // Not even when it has its old length again.
        file.as_file().set_len(10).unwrap();
        assert!(is_stale());
        assert!(changed.try_recv().is_ok());
        assert!(changed.try_recv().is_err());
    }

    #[test]
    fn a_member_with_a_problem_is_not_read() {
        let (_file, _, mut member) = fixture(b"0123456789", Extent { start: 2, len: 5 });
        member.problem = Some(Box::new(Problem::Encrypted));
        assert!(matches!(
            Content::extent(&member, 0, 1),
            Err(ReadError::Problem(Problem::Encrypted))
        ));
    }
}
