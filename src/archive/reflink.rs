//! Clones: unnamed files that share the blocks of stored members with their archive.
//!
//! FUSE passthrough takes a whole file, from its first byte to its last. On file systems with reflinks
//! such a file is made of a member without a copy, provided that the member starts at a block
//! boundary. The block that the member ends in is copied: the bytes behind it in the archive must not
//! be seen.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use log::debug;
use nix::sys::statvfs::fstatvfs;

use super::error::ReadError;
use super::slice::FileSlice;
use crate::extent::Extent;
use crate::sys;
use crate::sys::sync::lock;
use crate::sys::thread_pool::Pool;
use crate::ui::human::Escaped;

/// The default of the least length of a member that is cloned, in bytes.
pub const MIN_DEFAULT: u64 = 256 << 10;

/// The alignment of a member that is cloned, in bytes. File systems with larger blocks refuse members
/// that are not aligned to those.
const ALIGNMENT: u64 = 4096;

/// How long a clone may take. It takes a fraction of a millisecond, or as long as recent writes to the
/// archive need to reach the disk; on a frozen file system (`fsfreeze`) it takes until the thaw.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the clones of all archives, so that a frozen file system holds a few threads and no more. Not
/// even SIGKILL ends a thread that waits for one.
static POOL: LazyLock<Pool> = LazyLock::new(Pool::default);

/// Clones members of one archive, and knows which ones it cannot clone.
#[derive(Debug)]
pub struct Reflinker {
    /// The least length of a member, in bytes.
    min: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A directory on the archive's file system.
    directory: PathBuf,
    /// Keeps `directory` valid where it leads through a descriptor.
    _held: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the first attempt succeeded, once there was one.
    works: Option<bool>,
    /// Whether a later attempt failed for a reason that concerns every member.
    has_failed: bool,
    /// The starts of members that cannot be cloned.
    refused: HashSet<u64>,
    /// The number of attempts that have not ended.
    running: usize,
    /// Whether one of them has timed out.
    is_stalled: bool,
}

impl Reflinker {
    /// Clones members of at least `min` bytes into unnamed files in `directory`.
    pub fn new(directory: &Path, min: u64) -> Self {
        Self::in_directory(directory.to_owned(), None, min)
    }

    /// Clones members of the archive at `path`. Its directory is held open, since a mount may soon
    /// cover it.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn beside(path: &Path, min: u64) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(path);
        let held = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(parent)?;
        let directory = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        Ok(Self::in_directory(directory, Some(held), min))
    }

    fn in_directory(directory: PathBuf, held: Option<File>, min: u64) -> Self {
        Self {
            min,
            shared: Arc::new(Shared {
                directory,
                _held: held,
                state: Mutex::default(),
            }),
        }
    }

    /// Clones the first member that is fit, to see whether it works. Without a successful attempt no
    /// member is cloned, unless the file system does not respond yet. Returns whether any member is
    /// fit.
    ///
    /// # Errors
    /// Those of [`reflink`](Self::reflink).
    pub fn try_out(&self, members: impl Iterator<Item = FileSlice>) -> io::Result<bool> {
        if self.state().works.is_some() {
            return Ok(true);
        }
        let Some(first) = { members }.find(|contents| self.is_fit(contents)) else {
            return Ok(false);
        };
        let made = match self.reflink(&first) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            made => made.map(drop),
        };
        self.state().works = Some(made.is_ok());
        made.map(|()| true)
    }

    /// Whether a member is fit for cloning, in an archive where cloning works. This never changes.
    pub fn is_candidate(&self, contents: &FileSlice) -> bool {
        self.is_fit(contents) && self.state().works == Some(true)
    }

    /// Whether a member is cloned: it is a candidate, and no attempt has failed.
    pub fn is_reflinked(&self, contents: &FileSlice) -> bool {
        self.is_candidate(contents) && {
            let state = self.state();
            !state.has_failed && !state.refused.contains(&contents.extent().start)
        }
    }

    fn is_fit(&self, contents: &FileSlice) -> bool {
        let Extent { start, len } = contents.extent();
        len >= self.min.max(1) && start.is_multiple_of(ALIGNMENT)
    }

    /// Returns a clone of a member, as the archive is now. After a failure the member is not cloned
    /// any more, and no other one either where the reason concerns them all.
    ///
    /// # Errors
    /// Those of open(2) with O_TMPFILE, ioctl_ficlonerange(2), ftruncate(2), read(2) and write(2);
    /// `TimedOut` where the file system does not respond, which may end.
    pub fn reflink(&self, contents: &FileSlice) -> io::Result<File> {
        let mut state = self.state();
        if state.is_stalled {
            return Err(timed_out());
        }
        state.running += 1;
        drop(state);
        let (sender, receiver) = mpsc::channel();
        let (shared, contents) = (self.shared.clone(), contents.clone());
        POOL.run(move || {
            // An error says that it took too long.
            let _ = sender.send(shared.reflink(&contents));
        });
        receiver.recv_timeout(TIMEOUT).unwrap_or_else(|_| {
            let mut state = self.state();
            state.is_stalled = state.running > 0;
            Err(timed_out())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl Shared {
    fn reflink(&self, contents: &FileSlice) -> io::Result<File> {
        let to = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_EXCL)
            .open(&self.directory);
        let made = to.and_then(|to| share(contents, &to).map(|()| to));
        let mut state = lock(&self.state);
        state.running -= 1;
        state.is_stalled = false;
        made.inspect_err(|error| {
            state.has_failed |= is_final(error);
            state.refused.insert(contents.extent().start);
        })
    }
}

fn timed_out() -> io::Error {
    let reason = "its file system does not respond, and may be frozen";
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

/// Gives `to`, an empty file, the bytes of `contents`.
fn share(contents: &FileSlice, to: &File) -> io::Result<()> {
    let archive = contents.file().as_file();
    let Extent { start, len } = contents.extent();
    let block_len = fstatvfs(archive)?.fragment_size().max(1);
    // First, since XFS preallocates behind a write that extends the file.
    to.set_len(len)?;
    let shared = len - len % block_len;
    if shared > 0 {
        let blocks = Extent { start, len: shared };
        sys::file::clone_range(archive, blocks, to, 0)?;
    }
    // Sharing the last block and cutting it off would save no room: the bytes behind the member would
    // have to be overwritten.
    let rest = contents.part(shared, len).read();
    let rest = rest.map_err(|error| match error {
        ReadError::Stale => io::ErrorKind::InvalidData.into(),
        ReadError::Io(error) => error,
    })?;
    to.write_all_at(&rest, shared)
}

/// Whether an error concerns every member of the archive.
fn is_final(error: &io::Error) -> bool {
    // File systems without O_TMPFILE answer EISDIR.
    matches!(
        error.raw_os_error(),
        Some(
            libc::EOPNOTSUPP
                | libc::ENOTTY
                | libc::EXDEV
                | libc::EROFS
                | libc::EPERM
                | libc::EACCES
                | libc::ENOENT
                | libc::ENOTDIR
                | libc::EISDIR
        )
    )
}

/// Logs that a member, or an archive, is not cloned.
pub fn log_failure(archive: &Path, member: Option<&[u8]>, reason: &dyn std::fmt::Display) {
    let archive = Escaped::path(archive);
    match member {
        Some(name) => debug!(
            "{archive}: member '{}': stays mapped: {reason}",
            Escaped::member(name)
        ),
        None => debug!("{archive}: members stay mapped: {reason}"),
    }
}
