//! An open file whose bytes are served, and the check that they are still the ones that were indexed.
//!
//! Bytes come from a mapping, which the reply copies straight into the kernel's page cache, or, where
//! a disk has to be waited for, from a copy that was read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;

use super::error::ReadError;
use super::version::FileVersion;
use crate::extent::Extent;
use crate::sys;
use crate::sys::map::Map;

/// The most of a file that is kept in this process's page tables, in bytes. The pages belong to the
/// page cache, but they count as the process's own, above all when memory runs short.
const MAPPED_MAX: u64 = 32 << 20;

/// The most that a page fault maps beyond the bytes asked for, in bytes: a large folio.
const FOLIO_MAX: u64 = 2 << 20;

/// The distance of the bytes that are sampled to see whether all are cached: the readahead of most
/// disks.
const SAMPLE_STEP: usize = 128 << 10;

/// An open file whose bytes are served.
#[derive(Debug)]
pub struct ServedFile {
    file: File,
    map: Map,
    len: u64,
    /// Whether the file is in memory and nowhere else.
    in_memory: bool,
    /// Whether this machine's kernel keeps the file system.
    is_local: bool,
    /// The state in which the file has to stay; `None` for a private file.
    version: Option<FileVersion>,
    stale: AtomicBool,
    /// Receives one message when the file is found changed.
    changed: Option<Sender<()>>,
    /// Bytes given out since pages were last released.
    mapped: AtomicU64,
}

impl ServedFile {
    /// Serves `file`, which has to stay as `metadata` describes it. `changed` receives one message
    /// when it is found not to.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn shared(
        file: File,
        metadata: &Metadata,
        changed: Option<Sender<()>>,
    ) -> io::Result<Self> {
        let version = Some(FileVersion::of(metadata));
        Self::new(file, metadata.len(), version, changed)
    }

    /// Serves the `len` bytes of a file without a name, which no other process can change.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn private(file: File, len: u64) -> io::Result<Self> {
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
            is_local: in_memory || sys::file::reports_cached(&file),
            file,
            len,
            version,
            stale: AtomicBool::new(false),
            changed,
            mapped: AtomicU64::new(0),
        })
    }

    /// The open file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether no other process can change the file.
    pub fn is_private(&self) -> bool {
        self.version.is_none()
    }

    /// Whether [`check`](Self::check) is answered by this machine's kernel.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether the file was found changed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Checks whether the file has changed. Once it has, it is stale for good.
    pub fn has_changed(&self) -> bool {
        matches!(self.check(), Err(ReadError::Stale))
    }

    /// Checks that the file is still what it was.
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
        Err(self.mark_stale())
    }

    fn mark_stale(&self) -> ReadError {
        if !self.stale.swap(true, Ordering::Relaxed)
            && let Some(changed) = &self.changed
        {
            // Without a receiver there is no mount to clean up.
            let _ = changed.send(());
        }
        ReadError::Stale
    }

    /// Whether the file system is gone for good: its server was killed, or has forgotten the file. A
    /// disk that fails may recover, and its file system still answers.
    fn is_gone(&self) -> bool {
        let answer = fstatvfs(&self.file);
        matches!(
            answer,
            Err(Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ESTALE)
        )
    }

    pub(super) fn is_cached(&self, extent: Extent) -> bool {
        let end = extent.start + extent.len;
        // The kernel does not say so of files in memory.
        self.in_memory
            || (extent.start..end)
                .step_by(SAMPLE_STEP)
                .chain(end.checked_sub(1))
                .all(|offset| sys::file::is_cached(&self.file, offset))
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let read = FileExt::read_exact_at(&self.file, buffer, offset);
        self.check()?;
        match read {
            Err(_) if self.is_gone() => Err(self.mark_stale()),
            read => read.map_err(ReadError::Io),
        }
    }

    pub(super) fn mapped(&self, extent: Extent) -> Result<&[u8], ReadError> {
        self.check()?;
        let given = extent.len + FOLIO_MAX;
        if self.mapped.fetch_add(given, Ordering::Relaxed) >= MAPPED_MAX {
            self.mapped.store(0, Ordering::Relaxed);
            self.map.release();
        }
        let bytes = self.map.bytes(extent);
        bytes.ok_or_else(|| ReadError::Io(io::ErrorKind::UnexpectedEof.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    const WHOLE: Extent = Extent { start: 0, len: 10 };

    #[test]
    fn a_changed_file_is_reported_once_and_never_read_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let (changed, receiver) = mpsc::channel();
        let served = ServedFile::shared(file.reopen().unwrap(), &metadata, Some(changed)).unwrap();
        let is_refused = || matches!(served.mapped(WHOLE), Err(ReadError::Stale));
        assert!(!is_refused() && !served.is_stale());
        assert!(receiver.try_recv().is_err());
        file.write_all(b"x").unwrap();
        assert!(is_refused() && served.is_stale());
        // Not even when it has its old length again.
        file.as_file().set_len(10).unwrap();
        assert!(is_refused());
        assert!(receiver.try_recv().is_ok());
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn a_file_in_memory_is_cached() {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let mut file = File::from(memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all(&[7; 10]).unwrap();
        let served = ServedFile::private(file, 10).unwrap();
        assert!(served.is_cached(WHOLE) && served.is_local());
        assert_eq!(served.mapped(WHOLE).unwrap(), [7; 10]);
    }

    #[test]
    fn a_private_file_is_never_stale() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let served = ServedFile::private(file.try_clone().unwrap(), 4).unwrap();
        file.write_all(b"4").unwrap();
        let extent = Extent { start: 0, len: 4 };
        assert_eq!(served.mapped(extent).unwrap(), b"0123");
    }
}
