//! The files that are prefetched together, and how far that has got.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use fuser::{FileAttr, Generation, ReplyDirectoryPlus};

use super::known_inodes::KnownInodes;
use crate::tree::Ino;
use crate::vfs::STATIC_TTL;

/// The files of one directory that are prefetched together. It has no descriptors, since the warmer
/// may be the thread that drops it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The directory in the mount.
    pub(super) directory: PathBuf,
    pub(super) files: Vec<File>,
    /// How much of each file is stored, in bytes.
    pub(super) reach: u64,
    pub(super) step: Step,
}

/// The progress of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no batch.
    #[default]
    None,
    /// The warmer is about to list the files for the first time, and then has done so.
    Sent,
    Listed,
    /// That many files are stored, and then all of them.
    Storing(usize),
    Stored,
    /// The warmer is about to list the files again, and then has done so.
    SentAgain,
    ListedAgain,
    /// A step has failed. Nothing is prefetched any more.
    Lost,
}

/// A file of a batch.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: Vec<u8>,
    pub(super) attr: FileAttr,
}

impl File {
    pub(super) fn ino(&self) -> Ino {
        Ino(self.attr.ino.0)
    }
}

impl Batch {
    /// Adds the files that no client has learned of meanwhile to `listing`, as far as there is
    /// room. The second time the kernel may cache the entries, so clients know the files from then
    /// on.
    pub(super) fn list(&mut self, listing: &mut ReplyDirectoryPlus, known: &KnownInodes) {
        let (ttl, step) = match self.step {
            Step::Sent => (Duration::ZERO, Step::Listed),
            Step::SentAgain => (STATIC_TTL, Step::ListedAgain),
            _ => return,
        };
        self.step = step;
        self.files.retain(|file| !known.contains(file.ino()));
        let mut count = 0;
        for (file, next) in self.files.iter().zip(1..) {
            let (attr, name) = (&file.attr, OsStr::from_bytes(&file.name));
            if listing.add(attr.ino, next, name, &ttl, attr, Generation(0)) {
                break;
            }
            count += 1;
            if step == Step::ListedAgain {
                known.add(file.ino());
            }
        }
        self.files.truncate(count);
    }

    /// Notes that the warmer has listed the directory.
    pub(super) fn listed(&mut self) {
        self.step = match self.step {
            Step::Listed if !self.files.is_empty() => Step::Storing(0),
            Step::Listed | Step::ListedAgain => Step::None,
            _ => Step::Lost,
        };
    }
}
