//! The state of a FUSE server, and the answers to LOOKUP and to requests for directories.
//!
//! Its methods take what fuser has decoded, and run in a worker or in a pool, as
//! [`dispatch`](super::dispatch) decides.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{FileAttr, FileHandle, FopenFlags, Generation, ReplyEntry, ReplyOpen};

use super::attr::file_attr;
use super::backing::BackingFiles;
use super::busy_poll::BusyPoll;
use super::config::Ownership;
use super::errno;
use super::handles::{self, Handle, Handles};
use super::prefetch::Prefetch;
use super::stats::Stats;
use super::xattr::Xattrs;
use crate::sys::thread_pool::Pool;
use crate::tree::NAME_MAX;
use crate::tree::{Attr, Ino, Kind, Times};
use crate::vfs::{Entry, Vfs, VfsError};

/// The number of entries that each directory begins with: `.` and `..`.
pub(super) const DOTS: u64 = 2;

/// The state of a FUSE server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) vfs: Arc<Vfs>,
    pub(super) ownership: Ownership,
    pub(super) stats: Stats,
    pub(super) handles: Handles,
    /// Runs jobs that read from disk.
    pub(super) reader_pool: Pool,
    pub(super) busy_poll: BusyPoll,
    pub(super) prefetch: Arc<Prefetch>,
    pub(super) backing_files: BackingFiles,
}

impl Server {
    pub(super) fn lookup(&self, parent: Ino, name: &OsStr, reply: ReplyEntry) {
        if name.len() > NAME_MAX {
            return reply.error(errno::NAME_TOO_LONG);
        }
        match self.vfs.lookup(parent, name.as_bytes()) {
            Ok(Some(entry)) => {
                let ino = entry.attr.ino;
                self.prefetch.add_known(ino);
                reply.entry(&entry.ttl, &self.file_attr(&entry.attr), Generation(0));
                if entry.attr.kind == Kind::File && self.prefetch.looked_up(parent, ino) {
                    let prefetch = self.prefetch.clone();
                    self.reader_pool.run(move || prefetch.sort(parent));
                }
            }
            // Inode 0 is a negative entry, which the kernel may cache, unlike ENOENT: clients probe
            // for optional members again and again.
            Ok(None) => {
                let nothing = Attr {
                    ino: Ino(0),
                    kind: Kind::File,
                    size: 0,
                    times: Times::UNKNOWN,
                    links: 0,
                };
                let ttl = self.vfs.negative_ttl(parent);
                reply.entry(&ttl, &self.file_attr(&nothing), Generation(0));
            }
            Err(error) => reply.error(errno::of_vfs(&error)),
        }
    }

    pub(super) fn opendir(&self, ino: Ino, reply: ReplyOpen) {
        match self.vfs.folder_names(ino) {
            Ok(Some(names)) => {
                let handle = self.handles.add(Handle::Folder(names));
                reply.opened(handle, FopenFlags::empty());
            }
            Ok(None) => match self.vfs.open_directory(ino) {
                Ok(()) => reply.opened(
                    handles::NONE,
                    FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
                ),
                Err(error) => reply.error(errno::of_vfs(&error)),
            },
            Err(error) => reply.error(errno::of_vfs(&error)),
        }
    }

    /// Passes the entries of a directory to `take`, as READDIR numbers them: `.`, `..` and the
    /// rest, each with the offset of the next one, until it returns `false`. Each entry taken gets
    /// one more lookup, but for the first two.
    pub(super) fn list(
        &self,
        ino: Ino,
        handle: FileHandle,
        offset: u64,
        mut take: impl FnMut(u64, &[u8], Entry) -> bool,
    ) -> Result<(), VfsError> {
        let dots = [(&b"."[..], ino), (b"..", self.vfs.parent(ino)?)];
        for ((name, ino), next) in dots.into_iter().zip(1..) {
            if offset < next && !take(next, name, self.vfs.attr(ino)?) {
                return Ok(());
            }
        }
        let skip = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        let handle = self.handles.find(handle);
        let Some(Handle::Folder(names)) = handle.as_deref() else {
            let mut next = skip as u64 + DOTS;
            return self.vfs.entries(ino, skip, |name, entry| {
                next += 1;
                take(next, name, entry)
            });
        };
        for (name, next) in names.iter().zip(DOTS + 1..).skip(skip) {
            // Entries that have gone since the folder was opened are left out.
            if let Ok(Some(entry)) = self.vfs.lookup(ino, name.as_bytes())
                && !take(next, name.as_bytes(), entry)
            {
                self.vfs.forget(entry.attr.ino, 1);
                break;
            }
        }
        Ok(())
    }

    pub(super) fn xattrs(&self) -> Xattrs<'_> {
        Xattrs {
            vfs: &self.vfs,
            stats: &self.stats,
            clones: self.backing_files.len(),
        }
    }

    pub(super) fn file_attr(&self, attr: &Attr) -> FileAttr {
        file_attr(attr, &self.ownership)
    }
}
