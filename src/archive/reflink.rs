//! Clones: files without a name that share the blocks of stored members with their archive.
//!
//! What the kernel is to read by itself has to be a file from its first byte to its last. On file
//! systems that can share blocks such a file is made of a member without a copy, as long as the
//! member starts where a block does. Only the block that the member ends in is the clone's own: what
//! follows in the archive must not be seen.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::debug;
use nix::sys::statvfs::fstatvfs;

use crate::archive::served_file::{FileSlice, ReadError};
use crate::extent::Extent;
use crate::sys;
use crate::ui::human::Escaped;

/// The least length of a member that is cloned, in bytes, unless the user says so.
pub const MIN_DEFAULT: u64 = 256 << 10;

/// What the start of a member has to be a multiple of, in bytes. File systems with larger blocks
/// refuse what is not a multiple of those.
const ALIGNMENT: u64 = 4096;

/// Makes clones of members of one archive, and knows which members it cannot clone.
#[derive(Debug)]
pub struct Reflinker {
    /// Any directory of the archive's file system.
    directory: PathBuf,
    /// What `directory` leads through, if need be.
    _held: Option<File>,
    /// The least length of a member, in bytes.
    min: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether clones can be made, once that was tried.
    works: Option<bool>,
    /// Whether they cannot any more.
    failed: bool,
    /// The starts of members that stay as they are.
    refused: HashSet<u64>,
}

impl Reflinker {
    /// Clones members of at least `min` bytes. The files are made in `directory`.
    pub fn new(directory: &Path, min: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            _held: None,
            min,
            state: Mutex::default(),
        }
    }

    /// Clones members of the archive at `path`. The directory that it is in stays open, since a
    /// mount may soon cover it.
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
        Ok(Self {
            _held: Some(held),
            ..Self::new(&directory, min)
        })
    }

    /// Tries whether clones can be made, by making one of the first member that is fit for it. Until
    /// then none is. Returns whether there is such a member.
    ///
    /// # Errors
    /// Those of [`make`](Self::make).
    pub fn try_out(&self, members: impl Iterator<Item = FileSlice>) -> io::Result<bool> {
        if self.lock().works.is_some() {
            return Ok(true);
        }
        let Some(first) = { members }.find(|contents| self.is_fit(contents)) else {
            return Ok(false);
        };
        let made = self.make(&first);
        self.lock().works = Some(made.is_ok());
        made.map(|_| true)
    }

    /// Whether a member is fit for being cloned, in an archive of which members can be. This never
    /// changes.
    pub fn suits(&self, contents: &FileSlice) -> bool {
        self.is_fit(contents) && self.lock().works == Some(true)
    }

    /// Whether a member is cloned: it is fit for it, and nothing was found that speaks against it.
    pub fn clones(&self, contents: &FileSlice) -> bool {
        self.suits(contents) && {
            let state = self.lock();
            !state.failed && !state.refused.contains(&contents.extent().start)
        }
    }

    fn is_fit(&self, contents: &FileSlice) -> bool {
        let Extent { start, len } = contents.extent();
        len >= self.min.max(1) && start.is_multiple_of(ALIGNMENT)
    }

    /// A clone of a member, as the archive is now. Where that fails, the member is never cloned any
    /// more, and nor is any other one if they would all fail.
    ///
    /// # Errors
    /// Those of open(2) with O_TMPFILE, ioctl_ficlonerange(2), ftruncate(2), read(2) and write(2).
    pub fn make(&self, contents: &FileSlice) -> io::Result<File> {
        let to = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_EXCL)
            .open(&self.directory);
        let made = to.and_then(|to| share(contents, &to).map(|()| to));
        made.inspect_err(|error| {
            let mut state = self.lock();
            if is_final(error) {
                state.failed = true;
            }
            state.refused.insert(contents.extent().start);
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets `to`, an empty file, have the bytes of `contents`.
fn share(contents: &FileSlice, to: &File) -> io::Result<()> {
    let archive = contents.bytes().file();
    let Extent { start, len } = contents.extent();
    let block_len = fstatvfs(archive)?.fragment_size().max(1);
    // First of all, so that what is written last is no end that might grow: XFS reserves room there.
    to.set_len(len)?;
    let shared = len - len % block_len;
    if shared > 0 {
        let blocks = Extent { start, len: shared };
        sys::clone_range(archive, blocks, to, 0)?;
    }
    // To share the last block, too, and cut it off would take no less room: what follows the member
    // would have to be written over.
    let rest = contents.part(shared, len).read();
    let rest = rest.map_err(|error| match error {
        ReadError::Stale => io::ErrorKind::InvalidData.into(),
        ReadError::Io(error) => error,
    })?;
    to.write_all_at(&rest, shared)
}

/// Whether no other member of the archive can be cloned either.
fn is_final(error: &io::Error) -> bool {
    // EISDIR is what O_TMPFILE is answered with by file systems that do not know it.
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

/// Tells the log that a member, or an archive, is not cloned.
pub fn tell(archive: &Path, member: Option<&[u8]>, reason: &dyn std::fmt::Display) {
    let archive = Escaped::path(archive);
    match member {
        Some(name) => debug!(
            "{archive}: member '{}': stays mapped: {reason}",
            Escaped::member(name)
        ),
        None => debug!("{archive}: members stay mapped: {reason}"),
    }
}
