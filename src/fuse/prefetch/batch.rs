//! The files that are prefetched together, and how far that is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use fuser::{FileAttr, Generation, ReplyDirectoryPlus};

use super::known_inodes::KnownInodes;
use crate::tree::Ino;
use crate::vfs::STATIC_TTL;

/// The files, in one directory. Has no descriptors: the scout may be the one to let go of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Where it is listed.
    pub(super) directory: PathBuf,
    pub(super) files: Vec<File>,
    /// How much of each is stored, in bytes.
    pub(super) reach: u64,
    pub(super) step: Step,
}

/// What becomes of a batch next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none.
    #[default]
    None,
    /// The scout is under way to list the files for the first time, and has it answered.
    Sent,
    Listed,
    /// So many are stored, or all of them.
    Storing(usize),
    Stored,
    /// The scout is under way to list them again, and has it answered.
    SentAgain,
    ListedAgain,
    /// That did not work, and is not tried again.
    Lost,
}

/// A file.
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
    /// Answers the scout: with the files that nobody was told of meanwhile, and for which there is
    /// room. The second time they may be relied on, and so are told to everybody.
    pub(super) fn list(&mut self, listing: &mut ReplyDirectoryPlus, told: &KnownInodes) {
        let (ttl, step) = match self.step {
            Step::Sent => (Duration::ZERO, Step::Listed),
            Step::SentAgain => (STATIC_TTL, Step::ListedAgain),
            _ => return,
        };
        self.step = step;
        self.files.retain(|file| !told.is(file.ino()));
        let mut count = 0;
        for (file, next) in self.files.iter().zip(1..) {
            let (attr, name) = (&file.attr, OsStr::from_bytes(&file.name));
            if listing.add(attr.ino, next, name, &ttl, attr, Generation(0)) {
                break;
            }
            count += 1;
            if step == Step::ListedAgain {
                told.set(file.ino());
            }
        }
        self.files.truncate(count);
    }

    /// The scout is back.
    pub(super) fn scout_is_back(&mut self) {
        self.step = match self.step {
            Step::Listed if !self.files.is_empty() => Step::Storing(0),
            Step::Listed | Step::ListedAgain => Step::None,
            _ => Step::Lost,
        };
    }
}
