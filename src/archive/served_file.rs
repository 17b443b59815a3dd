//! An open file whose bytes are served, and the check that they are still the ones that were indexed.
//!
//! Bytes are copied into a buffer first and checked then: what passes the check was in the file
//! before anything changed, so that it may be cached for good. A mapping would save the copy, and
//! hand out bytes that change between the check and the answer.

use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;
use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;

use super::error::ReadError;
use super::version::FileVersion;
use crate::extent::Extent;
use crate::sys;

/// The distance of the bytes that are sampled to see whether all are cached: the readahead of most
/// disks.
const SAMPLE_STEP: usize = 128 << 10;

/// An open file whose bytes are served.
#[derive(Debug)]
pub struct ServedFile {
    file: File,
    len: u64,
    /// Whether the file is in memory and nowhere else.
    in_memory: bool,
    /// Whether this machine's kernel keeps the file system.
    is_local: bool,
    /// The state in which the file has to stay; `None` for a private file.
    version: Option<FileVersion>,
    is_stale: AtomicBool,
    /// Logged once the file is found changed.
    notice: Option<Notice>,
}

/// A message for the log.
#[derive(Debug)]
pub struct Notice {
    /// Its importance.
    pub level: Level,
    /// Its text.
    pub text: String,
}

impl ServedFile {
    /// Serves `file`, which has to stay as `metadata` describes it. `notice` is logged once it is
    /// found changed.
    pub fn shared(file: File, metadata: &Metadata, notice: Option<Notice>) -> Self {
        let version = Some(FileVersion::of(metadata));
        Self::new(file, metadata.len(), version, notice)
    }

    /// Serves the `len` bytes of a file without a name, which no other process can change.
    pub fn private(file: File, len: u64) -> Self {
        Self::new(file, len, None, None)
    }

    fn new(file: File, len: u64, version: Option<FileVersion>, notice: Option<Notice>) -> Self {
        let in_memory = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
        Self {
            in_memory,
            is_local: in_memory || sys::file::reports_cached(&file),
            file,
            len,
            version,
            is_stale: AtomicBool::new(false),
            notice,
        }
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
        self.is_stale.load(Ordering::Relaxed)
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
        if !self.is_stale.swap(true, Ordering::Relaxed)
            && let Some(Notice { level, text }) = &self.notice
        {
            log::log!(*level, "{text}");
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

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let read = FileExt::read_exact_at(&self.file, buffer, offset);
        self.check()?;
        match read {
            Err(_) if self.is_gone() => Err(self.mark_stale()),
            read => read.map_err(ReadError::Io),
        }
    }

    /// Fills `buffer` from `offset` on, unless that would wait for a disk. Returns whether it did.
    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Result<bool, ReadError> {
        if self.in_memory {
            return self.read(buffer, offset).map(|()| true);
        }
        if sys::file::read_cached(&self.file, buffer, offset) != Ok(buffer.len()) {
            return Ok(false);
        }
        self.check().map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(served: &ServedFile) -> Result<[u8; 10], ReadError> {
        let mut buffer = [0; 10];
        served.read(&mut buffer, 0).map(|()| buffer)
    }

    #[test]
    fn a_changed_file_is_never_read_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let served = ServedFile::shared(file.reopen().unwrap(), &metadata, None);
        assert_eq!(read(&served).unwrap(), *b"0123456789");
        assert!(!served.is_stale());
        file.write_all(b"x").unwrap();
        let is_refused = || {
            let cached = served.read_cached(&mut [0; 10], 0);
            matches!(read(&served), Err(ReadError::Stale))
                && matches!(cached, Err(ReadError::Stale))
        };
        assert!(is_refused() && served.is_stale());
        // Not even when it has its old length again.
        file.as_file().set_len(10).unwrap();
        assert!(is_refused());
    }

    #[test]
    fn a_file_in_memory_is_cached() {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let mut file = File::from(memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all(&[7; 10]).unwrap();
        let served = ServedFile::private(file, 10);
        assert!(served.is_cached(Extent { start: 0, len: 10 }) && served.is_local());
        let mut buffer = [0; 10];
        assert!(served.read_cached(&mut buffer, 0).unwrap());
        assert_eq!(buffer, [7; 10]);
    }

    #[test]
    fn a_private_file_is_never_stale() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let served = ServedFile::private(file.try_clone().unwrap(), 10);
        file.write_all(b"x").unwrap();
        assert_eq!(read(&served).unwrap(), *b"0123456789");
    }
}
