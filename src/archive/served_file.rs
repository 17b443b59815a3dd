//! Bytes that are served, and where they come from.
//!
//! An archive, a member of it, an archive inside an archive and what a compressed member was inflated
//! to are all the same here: a [`FileSlice`] of the [`ServedFile`] of an open file. They are handed out from a
//! mapping, which the reply copies straight into the kernel's page cache, or, where a disk has to be
//! waited for, as a copy that was read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;

use crate::extent::Extent;
use crate::sys;
use crate::sys::map::Map;
use crate::zip::Source;

/// How much of a file may be in this process's page tables at a time, in bytes. The pages belong to
/// the page cache, but they make the process look large, above all to the kernel when it runs out of
/// memory.
const MAPPED_MAX: u64 = 32 << 20;

/// How much more than what is asked for a page fault may map, in bytes: a whole large folio.
const FOLIO_MAX: u64 = 2 << 20;

/// How far apart the bytes are that are looked at to tell whether all are cached: the readahead of
/// most disks.
const SAMPLE_STEP: usize = 128 << 10;

/// Why bytes cannot be had.
#[derive(Debug)]
pub enum ReadError {
    /// The file is not what it was when it was opened.
    Stale,
    /// The file could not be read.
    Io(io::Error),
}

/// What tells one state of a file from another. The time of the inode's last change is no part of
/// it: rename, unlink and chmod alter that one, and no byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    len: u64,
    modified: (i64, i64),
}

impl FileVersion {
    /// The state that a file was in when it was asked for `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The state that an open file is in, as its file system tells it and not as the kernel remembers
    /// it: another machine may have written to it.
    fn now(file: &File) -> io::Result<Self> {
        match sys::len_and_time(file) {
            Ok((len, modified)) => Ok(Self { len, modified }),
            // Sandboxes that do not know the call refuse it in either way.
            Err(error) if is_unknown_call(&error) => Ok(Self::of(&file.metadata()?)),
            Err(error) => Err(error),
        }
    }
}

fn is_unknown_call(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// The bytes of an open file.
#[derive(Debug)]
pub struct ServedFile {
    file: File,
    map: Map,
    len: u64,
    /// Whether the file is in memory and nowhere else.
    in_memory: bool,
    /// Whether its file system is kept by this machine's kernel.
    is_near: bool,
    /// What the file has to be like for as long as it is read; `None` for a file that nobody else
    /// can get at.
    version: Option<FileVersion>,
    stale: AtomicBool,
    /// Is sent one message, when the file is found changed.
    changed: Option<Sender<()>>,
    /// Bytes given out since the mapping was last let go of.
    mapped: AtomicU64,
}

impl ServedFile {
    /// The bytes of `file`, which must stay as `metadata` has it. `changed` is sent one message when
    /// it is found not to.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn of_file(
        file: File,
        metadata: &Metadata,
        changed: Option<Sender<()>>,
    ) -> io::Result<Self> {
        let version = Some(FileVersion::of(metadata));
        Self::new(file, metadata.len(), version, changed)
    }

    /// The `len` bytes of a file without a name, which nobody else can change.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn of_private_file(file: File, len: u64) -> io::Result<Self> {
        Self::new(file, len, None, None)
    }

    fn new(
        file: File,
        len: u64,
        version: Option<FileVersion>,
        changed: Option<Sender<()>>,
    ) -> io::Result<Self> {
        let in_memory = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
        Ok(Self {
            map: Map::new(&file, len)?,
            in_memory,
            is_near: in_memory || sys::tells_what_is_cached(&file),
            file,
            len,
            version,
            stale: AtomicBool::new(false),
            changed,
            mapped: AtomicU64::new(0),
        })
    }

    /// Whether the file was found changed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Looks whether the file is still what it was. Once it was not, it never is.
    pub fn has_changed(&self) -> bool {
        matches!(self.check(), Err(ReadError::Stale))
    }

    /// Whether nobody else can get at the file.
    pub fn is_private(&self) -> bool {
        self.version.is_none()
    }

    /// Whether what [`check`](Self::check) asks for is known to this machine's kernel.
    pub fn is_near(&self) -> bool {
        self.is_near
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Looks whether the file is still what it was.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn check(&self) -> Result<(), ReadError> {
        let Some(version) = self.version else {
            return Ok(());
        };
        if !self.is_stale() {
            match FileVersion::now(&self.file) {
                Ok(now) if now == version => return Ok(()),
                Err(error) if !self.is_gone() => return Err(ReadError::Io(error)),
                _ => {}
            }
        }
        Err(self.found_changed())
    }

    fn found_changed(&self) -> ReadError {
        if !self.stale.swap(true, Ordering::Relaxed)
            && let Some(changed) = &self.changed
        {
            // If nobody listens, there is no mount to clean up.
            let _ = changed.send(());
        }
        ReadError::Stale
    }

    /// Whether the file system that the file is on is gone for good: its server was killed, or has
    /// forgotten the file. A disk that fails may recover, and its file system still answers.
    fn is_gone(&self) -> bool {
        let answer = fstatvfs(&self.file);
        matches!(
            answer,
            Err(Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ESTALE)
        )
    }
}

/// A range of the bytes of a file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    bytes: Arc<ServedFile>,
    extent: Extent,
}

impl FileSlice {
    /// All bytes of a file.
    pub fn whole(bytes: Arc<ServedFile>) -> Self {
        let extent = Extent {
            start: 0,
            len: bytes.len,
        };
        Self { bytes, extent }
    }

    /// The part of this slice from `offset` on, `len` bytes long, or as far as the slice goes.
    pub fn part(&self, offset: u64, len: u64) -> Self {
        let offset = offset.min(self.extent.len);
        Self {
            bytes: self.bytes.clone(),
            extent: Extent {
                start: self.extent.start + offset,
                len: len.min(self.extent.len - offset),
            },
        }
    }

    /// Where it is in the file.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.extent.len
    }

    /// Whether there are no bytes in it.
    pub fn is_empty(&self) -> bool {
        self.extent.len == 0
    }

    /// What it is a part of.
    pub fn bytes(&self) -> &Arc<ServedFile> {
        &self.bytes
    }

    /// Whether the bytes can be had without waiting for a disk, as far as samples of them tell.
    pub fn is_cached(&self) -> bool {
        let end = self.extent.start + self.extent.len;
        // Of files in memory the kernel does not tell.
        self.bytes.in_memory
            || (self.extent.start..end)
                .step_by(SAMPLE_STEP)
                .chain(end.checked_sub(1))
                .all(|offset| sys::is_cached(&self.bytes.file, offset))
    }

    /// A copy of the bytes, which may take the time that a disk takes. To have a page fault fetch
    /// them would read megabytes around them, and keep this process locked meanwhile.
    ///
    /// # Errors
    /// [`ReadError`]: a file that has changed is not read.
    pub fn read(&self) -> Result<Vec<u8>, ReadError> {
        let mut copy = vec![0; self.extent.len as usize];
        let read = FileExt::read_exact_at(&self.bytes.file, &mut copy, self.extent.start);
        self.bytes.check()?;
        match read {
            Ok(()) => Ok(copy),
            Err(_) if self.bytes.is_gone() => Err(self.bytes.found_changed()),
            Err(error) => Err(ReadError::Io(error)),
        }
    }

    /// The bytes, for a system call only: see [`Map`].
    ///
    /// # Errors
    /// [`ReadError`]: a file that has changed is not read.
    pub fn mapped(&self) -> Result<&[u8], ReadError> {
        let bytes = &*self.bytes;
        bytes.check()?;
        let given = self.extent.len + FOLIO_MAX;
        if bytes.mapped.fetch_add(given, Ordering::Relaxed) >= MAPPED_MAX {
            bytes.mapped.store(0, Ordering::Relaxed);
            bytes.map.release();
        }
        bytes
            .map
            .bytes(self.extent)
            .ok_or_else(|| ReadError::Io(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Source for FileSlice {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let part = self.part(offset, buffer.len() as u64);
        if part.len() < buffer.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileExt::read_exact_at(&self.bytes.file, buffer, part.extent.start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    fn fixture(contents: &[u8]) -> (tempfile::NamedTempFile, FileSlice, Receiver<()>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let (changed, receiver) = mpsc::channel();
        let bytes = ServedFile::of_file(file.reopen().unwrap(), &metadata, Some(changed)).unwrap();
        (file, FileSlice::whole(Arc::new(bytes)), receiver)
    }

    #[test]
    fn a_part_is_cut_at_the_end_of_the_slice() {
        let (_file, whole, _) = fixture(b"0123456789");
        let member = whole.part(2, 5);
        let part = |offset, len| member.part(offset, len).mapped().unwrap().to_vec();
        assert_eq!(part(0, 100), b"23456");
        assert_eq!(part(3, 1), b"5");
        assert_eq!(part(5, 9), b"");
        assert_eq!(part(u64::MAX, 9), b"");
        assert_eq!(member.read().unwrap(), b"23456");
        assert_eq!((member.len(), member.part(5, 1).is_empty()), (5, true));
    }

    #[test]
    fn a_slice_is_a_source_of_its_own() {
        let (_file, whole, _) = fixture(b"0123456789");
        let inner = whole.part(2, 5);
        let mut buffer = [0; 3];
        inner.read_exact_at(&mut buffer, 2).unwrap();
        assert_eq!(buffer, *b"456");
        let error = inner.read_exact_at(&mut buffer, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_changed_file_is_told_of_once_and_never_read_again() {
        let (mut file, whole, changed) = fixture(b"0123456789");
        let is_stale = || matches!(whole.mapped(), Err(ReadError::Stale));
        assert!(!is_stale() && !whole.bytes().is_stale());
        assert!(changed.try_recv().is_err());
        file.write_all(b"x").unwrap();
        assert!(is_stale() && whole.bytes().is_stale());
        // Not even when it has its old length again.
        file.as_file().set_len(10).unwrap();
        assert!(is_stale());
        assert!(changed.try_recv().is_ok());
        assert!(changed.try_recv().is_err());
    }

    #[test]
    fn a_file_in_memory_needs_no_waiting() {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let mut file = File::from(memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all(&[7; 9000]).unwrap();
        let whole = FileSlice::whole(Arc::new(ServedFile::of_private_file(file, 9000).unwrap()));
        assert!(whole.is_cached() && whole.part(9000, 1).is_cached());
        assert!(whole.bytes().is_near());
        assert_eq!(whole.mapped().unwrap(), [7; 9000]);
    }

    #[test]
    fn a_private_file_is_never_stale() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let bytes = ServedFile::of_private_file(file.try_clone().unwrap(), 4).unwrap();
        file.write_all(b"4").unwrap();
        assert_eq!(FileSlice::whole(Arc::new(bytes)).mapped().unwrap(), b"0123");
    }
}
