//! The FUSE side of a mount: each request is decoded, put to the catalog, and answered.
//!
//! Nothing here may panic, and no lock is held while a reply is sent. Requests that would change
//! something come only where somebody else has mounted, and not read-only: else the kernel itself
//! answers them with EROFS.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BackingId, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyXattr,
};

use super::backing::BackingFiles;
use super::busy_poll::BusyPoll;
use super::config::FuseConfig;
use super::handles::{self, Handles};
use super::open_pool::OpenPool;
use super::prefetch::Prefetch;
use super::server::{BLOCK_SIZE, DOTS, Server, attribute_errno, errno};
use crate::fuse::stats::{Request, Stats};
use crate::sys::thread_pool::Pool;
use crate::tree::Ino;
use crate::vfs::Vfs;
use crate::zip::names::NAME_MAX;

/// The largest READ that is asked for in one request, in bytes. The kernel splits at 1 MiB.
const REQUEST_MAX: u32 = 1024 * 1024;

/// How many background requests (readahead, above all) the kernel may have under way.
const MAX_BACKGROUND: u16 = 128;

/// A mount.
#[derive(Debug)]
pub struct Npzfs {
    pub(super) server: Arc<Server>,
    /// Opens archives, and looks into folders.
    pub(super) openers: OpenPool,
    /// Whether OPEN needs no answer: the kernel can do without, it lets nobody write, and every file
    /// is read right from the archive.
    open_is_free: bool,
    may_pass: bool,
    opendir_is_free: bool,
    /// Whether listings go on telling of files by name alone until somebody asks for more.
    prefetches: bool,
}

impl Npzfs {
    /// The file system of what is in `catalog`.
    pub fn new(catalog: Arc<Vfs>, serving: FuseConfig) -> Self {
        let FuseConfig {
            ownership,
            may_pass,
            may_be_writable,
            threads,
            polling,
            prefetches,
        } = serving;
        Self {
            open_is_free: catalog.is_all_stored() && !may_be_writable,
            may_pass,
            opendir_is_free: catalog.is_archive() && !prefetches,
            prefetches,
            server: Arc::new(Server {
                accesses: BackingFiles::new(catalog.max_open()),
                catalog,
                ownership,
                stats: Stats::default(),
                handles: Handles::default(),
                readers: Pool::default(),
                turns: BusyPoll::new(threads, polling),
                prefetch: Arc::default(),
            }),
            openers: OpenPool::new(threads),
        }
    }

    /// What is prefetched.
    pub fn prefetch(&self) -> Arc<Prefetch> {
        self.server.prefetch.clone()
    }
}

/// Tries whether the kernel takes a file that it reads by itself: `file`, which it keeps as long as
/// the mount lasts.
///
/// # Errors
/// EPERM where this process may not, or the kernel cannot.
pub fn try_passthrough(device: impl AsFd, file: impl AsFd) -> io::Result<()> {
    BackingId::create_raw(device, file).map(drop)
}

/// Answers GETXATTR and LISTXATTR, which ask for the length first.
fn reply_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    if size == 0 {
        reply.size(value.len() as u32);
    } else if value.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}

impl Filesystem for Npzfs {
    fn init(&mut self, _req: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA;
        wanted.set(InitFlags::FUSE_READDIRPLUS_AUTO, self.prefetches);
        // What the kernel does not offer is done without.
        let offered = config.capabilities();
        let _ = config.add_capabilities(wanted & offered);
        let may_pass = self.may_pass && offered.contains(InitFlags::FUSE_PASSTHROUGH);
        self.open_is_free &= offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT)
            && !(may_pass && self.server.catalog.has_clones());
        self.opendir_is_free &= offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        if self.open_is_free {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT);
        }
        if self.opendir_is_free {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        }
        let passes = may_pass
            && !self.open_is_free
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        self.server.catalog.set_passes(passes);
        let _ = config.set_max_write(REQUEST_MAX);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.begin(Request::Lookup);
        let name = name.to_owned();
        self.answer(parent, move |server, parent| {
            server.lookup(parent, &name, reply);
        });
    }

    fn forget(&self, _req: &fuser::Request, number: INodeNo, nlookup: u64) {
        let _turn = self.begin_aside(Request::Forget);
        self.server.catalog.forget(Ino(number.0), nlookup);
    }

    fn getattr(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let _turn = self.begin(Request::Getattr);
        self.answer(number, |server, ino| match server.catalog.attr(ino) {
            Ok(found) => reply.attr(&found.ttl, &server.file_attr(&found.attr)),
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn open(&self, _req: &fuser::Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.begin(Request::Open);
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        if self.open_is_free {
            // Told once, the kernel opens files by itself from now on and keeps their pages.
            return reply.error(Errno::ENOSYS);
        }
        self.answer(number, |server, ino| server.open(ino, reply));
    }

    fn read(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _turn = self.begin_read(number, size);
        let end = offset.saturating_add(size.into());
        let attr = |attr: &_| self.server.file_attr(attr);
        let scout = self.server.prefetch.read(Ino(number.0), end, attr);
        let work = move |server: &Arc<Server>, ino| {
            server.read_file(ino, fh, offset, size, reply);
        };
        match scout {
            Some(scout) => self.answer_after(scout, number, work),
            None if fh != handles::NONE => work(&self.server, Ino(number.0)),
            None => self.answer(number, work),
        }
    }

    fn release(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.server.handles.remove(fh);
        let _turn = self.begin_aside(Request::Release);
    }

    fn opendir(&self, req: &fuser::Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.server.prefetch.is_scout(req.pid()) {
            let _turn = self.begin_aside(Request::Opendir);
            // It asks each time, and leaves what others have in their cache.
            return reply.opened(handles::NONE, FopenFlags::FOPEN_KEEP_CACHE);
        }
        let _turn = self.begin(Request::Opendir);
        if self.opendir_is_free {
            return reply.error(Errno::ENOSYS);
        }
        self.answer(number, |server, ino| server.opendir(ino, reply));
    }

    fn readdir(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _turn = self.begin(Request::Readdir);
        self.answer(number, move |server, ino| {
            let listed = server.list(ino, fh, offset, |next, name, found| {
                let attr = server.file_attr(&found.attr);
                let is_taken = !reply.add(attr.ino, next, attr.kind, OsStr::from_bytes(name));
                if is_taken && next > DOTS {
                    // Unlike READDIRPLUS, this gives the kernel nothing to hold.
                    server.catalog.forget(found.attr.ino, 1);
                }
                is_taken
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        req: &fuser::Request,
        number: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        if self.server.prefetch.is_scout(req.pid()) {
            let _turn = self.begin_aside(Request::Readdirplus);
            return self.server.prefetch.list(reply);
        }
        let _turn = self.begin(Request::Readdirplus);
        self.answer(number, move |server, ino| {
            let listed = server.list(ino, fh, offset, |next, name, found| {
                let (attr, name) = (server.file_attr(&found.attr), OsStr::from_bytes(name));
                server.prefetch.tell(found.attr.ino);
                !reply.add(attr.ino, next, name, &found.ttl, &attr, Generation(0))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn releasedir(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.server.handles.remove(fh);
        let _turn = self.begin_aside(Request::Releasedir);
    }

    fn statfs(&self, _req: &fuser::Request, _ino: INodeNo, reply: ReplyStatfs) {
        let _turn = self.begin(Request::Statfs);
        let (len_bytes, inodes) = self.server.catalog.size();
        let blocks = len_bytes.div_ceil(BLOCK_SIZE.into());
        reply.statfs(
            blocks,
            0,
            0,
            inodes,
            0,
            BLOCK_SIZE,
            NAME_MAX as u32,
            BLOCK_SIZE,
        );
    }

    fn getxattr(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let _turn = self.begin(Request::Getxattr);
        if !name.as_bytes().starts_with(b"user.") {
            // Access control lists and the like: told that there are none at all here, ls does not
            // ask for those of each file.
            return reply.error(Errno::EOPNOTSUPP);
        }
        let name = name.to_owned();
        let reads = name.as_bytes().starts_with(b"user.npy.");
        let work = move |server: &Arc<Server>, ino| match server
            .attributes()
            .value(ino, name.as_bytes())
        {
            Ok(Some(value)) => reply_xattr(reply, &value, size),
            Ok(None) => reply.error(Errno::NO_XATTR),
            Err(error) => reply.error(attribute_errno(&error)),
        };
        if reads {
            // An npy header is read, or inflated, anew each time.
            self.answer_elsewhere(number, work);
        } else {
            self.answer(number, work);
        }
    }

    fn listxattr(&self, _req: &fuser::Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.begin(Request::Listxattr);
        self.answer_elsewhere(number, move |server, ino| {
            match server.attributes().list(ino) {
                Ok(names) => reply_xattr(reply, &names, size),
                Err(error) => reply.error(attribute_errno(&error)),
            }
        });
    }

    fn ioctl(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // Python's open() asks whether the file is a terminal, each time.
        let _turn = self.begin(Request::Ioctl);
        if let Some(scout) = self.server.prefetch.asked() {
            return self.answer_after(scout, number, |_, _| reply.error(Errno::ENOTTY));
        }
        reply.error(Errno::ENOTTY);
    }

    fn lseek(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel does SEEK_DATA and SEEK_HOLE by itself from now on: no holes are told of.
        let _turn = self.begin(Request::Lseek);
        reply.error(Errno::ENOSYS);
    }

    fn flush(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing is ever written, and ENOSYS tells the kernel not to ask again.
        let _turn = self.begin(Request::Flush);
        reply.error(Errno::ENOSYS);
    }

    fn fsync(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.begin(Request::Fsync);
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.begin(Request::Fsync);
        reply.error(Errno::ENOSYS);
    }

    refuse_writes!();
}
