//! The adapter to fuser: each request is decoded, dispatched, and answered by the
//! [`Server`](super::server).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use super::attr::BLOCK_SIZE;
use super::backing::BackingFiles;
use super::busy_poll::BusyPoll;
use super::config::FuseConfig;
use super::errno;
use super::handles::{self, Handles};
use super::open_pool::OpenPool;
use super::prefetch::Prefetch;
use super::server::{DOTS, Server};
use super::stats::{RequestType, Stats};
use super::xattr::Xattrs;
use crate::sys::buffer;
use crate::sys::thread_pool::Pool;
use crate::tree::Ino;
use crate::tree::NAME_MAX;
use crate::vfs::Vfs;

/// The maximum size of a READ, in bytes: the most that the kernel supports, and the length of the
/// buffer that it is read into.
const REQUEST_MAX: u32 = buffer::LEN as u32;

/// The maximum ino of background requests, mostly readahead, that the kernel sends at a time.
const MAX_BACKGROUND: u16 = 128;

/// The npzfs file system.
#[derive(Debug)]
pub struct Npzfs {
    pub(super) server: Arc<Server>,
    pub(super) open_pool: OpenPool,
    /// Files are opened by the kernel alone: it can do that, it lets no client write, and each file
    /// is a part of the archive.
    no_open: bool,
    /// Directories are opened by the kernel alone.
    no_opendir: bool,
    passthrough_allowed: bool,
    /// Listings have attributes only once a client asks for those: an inode that the kernel knows
    /// is not prefetched.
    prefetch_enabled: bool,
}

impl Npzfs {
    /// Returns a server for `vfs`.
    pub fn new(vfs: Arc<Vfs>, config: FuseConfig) -> Self {
        let FuseConfig {
            ownership,
            passthrough_allowed,
            may_be_writable,
            threads,
            poll,
            prefetch_enabled,
        } = config;
        Self {
            no_open: vfs.is_all_stored() && !may_be_writable,
            no_opendir: vfs.is_single_archive() && !prefetch_enabled,
            passthrough_allowed,
            prefetch_enabled,
            server: Arc::new(Server {
                backing_files: BackingFiles::new(vfs.max_open()),
                vfs,
                ownership,
                stats: Stats::default(),
                handles: Handles::default(),
                reader_pool: Pool::default(),
                busy_poll: BusyPoll::new(threads, poll),
                prefetch: Arc::default(),
            }),
            open_pool: OpenPool::new(threads),
        }
    }

    /// Returns the prefetcher, which is still to be started.
    pub fn prefetch(&self) -> Arc<Prefetch> {
        self.server.prefetch.clone()
    }
}

/// Answers GETXATTR or LISTXATTR; a `size` of 0 asks for the length of the value.
fn reply_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    if size == 0 {
        reply.size(value.len() as u32);
    } else if value.len() > size as usize {
        reply.error(errno::BUFFER_TOO_SMALL);
    } else {
        reply.data(value);
    }
}

impl Filesystem for Npzfs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA;
        wanted.set(InitFlags::FUSE_READDIRPLUS_AUTO, self.prefetch_enabled);
        // All of them can be done without.
        let offered = config.capabilities();
        let _ = config.add_capabilities(wanted & offered);
        let passthrough = self.passthrough_allowed && offered.contains(InitFlags::FUSE_PASSTHROUGH);
        self.no_open &= offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT)
            && !(passthrough && self.server.vfs.has_clones());
        self.no_opendir &= offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        if self.no_open {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT);
        }
        if self.no_opendir {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        }
        let passthrough = passthrough
            && !self.no_open
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        self.server.vfs.set_passthrough_enabled(passthrough);
        let _ = config.set_max_write(REQUEST_MAX);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _request = self.begin(RequestType::Lookup);
        let name = name.to_owned();
        self.run_inline_or_open_pool(parent, move |server, parent| {
            server.lookup(parent, &name, reply);
        });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        let _request = self.begin_uncounted(RequestType::Forget);
        self.server.vfs.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let _request = self.begin(RequestType::Getattr);
        self.run_inline_or_open_pool(ino, |server, ino| match server.vfs.attr(ino) {
            Ok(entry) => reply.attr(&entry.ttl, &server.file_attr(&entry.attr)),
            Err(error) => reply.error(errno::of_vfs(&error)),
        });
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin(RequestType::Open);
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(errno::READ_ONLY);
        }
        if self.no_open {
            // From now on the kernel opens files by itself, and keeps their pages cached.
            return reply.error(errno::NOT_NEEDED);
        }
        self.run_inline_or_open_pool(ino, |server, ino| server.open(ino, reply));
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _request = self.begin_read(ino, size);
        let end = offset.saturating_add(size.into());
        let attr = |attr: &_| self.server.file_attr(attr);
        let warm_up = self.server.prefetch.read(Ino(ino.0), end, attr);
        let work = move |server: &Arc<Server>, ino| server.read(ino, fh, offset, size, reply);
        match warm_up {
            Some(warm_up) => self.run_after_warm_up(warm_up, ino, work),
            None if fh != handles::NONE => work(&self.server, Ino(ino.0)),
            None => self.run_inline_or_open_pool(ino, work),
        }
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.server.handles.remove(fh);
        let _request = self.begin_uncounted(RequestType::Release);
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.server.prefetch.is_warmer(req.pid()) {
            let _request = self.begin_uncounted(RequestType::Opendir);
            // The warmer sends each request, and leaves what the kernel has cached for others.
            return reply.opened(handles::NONE, FopenFlags::FOPEN_KEEP_CACHE);
        }
        let _request = self.begin(RequestType::Opendir);
        if self.no_opendir {
            return reply.error(errno::NOT_NEEDED);
        }
        self.run_inline_or_open_pool(ino, |server, ino| server.opendir(ino, reply));
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _request = self.begin(RequestType::Readdir);
        self.run_inline_or_open_pool(ino, move |server, ino| {
            let listed = server.list(ino, fh, offset, |next, name, entry| {
                let attr = server.file_attr(&entry.attr);
                let is_taken = !reply.add(attr.ino, next, attr.kind, OsStr::from_bytes(name));
                if is_taken && next > DOTS {
                    // Unlike READDIRPLUS, READDIR adds no lookups.
                    server.vfs.forget(entry.attr.ino, 1);
                }
                is_taken
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno::of_vfs(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        if self.server.prefetch.is_warmer(req.pid()) {
            let _request = self.begin_uncounted(RequestType::Readdirplus);
            return self.server.prefetch.list(reply);
        }
        let _request = self.begin(RequestType::Readdirplus);
        self.run_inline_or_open_pool(ino, move |server, ino| {
            let listed = server.list(ino, fh, offset, |next, name, entry| {
                let (attr, name) = (server.file_attr(&entry.attr), OsStr::from_bytes(name));
                server.prefetch.add_known(entry.attr.ino);
                !reply.add(attr.ino, next, name, &entry.ttl, &attr, Generation(0))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno::of_vfs(&error)),
            }
        });
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.server.handles.remove(fh);
        let _request = self.begin_uncounted(RequestType::Releasedir);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let _request = self.begin(RequestType::Statfs);
        let (len_bytes, inodes) = self.server.vfs.len_and_inodes();
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

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _request = self.begin(RequestType::Getxattr);
        let name = name.as_bytes().to_vec();
        if !name.starts_with(b"user.") {
            return reply.error(errno::NO_SUCH_NAMESPACE);
        }
        let is_read_from_file = Xattrs::is_read_from_file(&name);
        let work = move |server: &Arc<Server>, ino| match server.xattrs().value(ino, &name) {
            Ok(Some(value)) => reply_xattr(reply, &value, size),
            Ok(None) => reply.error(errno::NO_ATTRIBUTE),
            Err(error) => reply.error(errno::of_xattr(&error)),
        };
        if is_read_from_file {
            self.run_in_reader_pool(ino, work);
        } else {
            self.run_inline_or_open_pool(ino, work);
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _request = self.begin(RequestType::Listxattr);
        self.run_in_reader_pool(ino, move |server, ino| match server.xattrs().list(ino) {
            Ok(names) => reply_xattr(reply, &names, size),
            Err(error) => reply.error(errno::of_xattr(&error)),
        });
    }

    fn ioctl(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        let _request = self.begin(RequestType::Ioctl);
        if let Some(warm_up) = self.server.prefetch.requested() {
            let work = |_: &Arc<Server>, _| reply.error(errno::NOT_A_TERMINAL);
            return self.run_after_warm_up(warm_up, ino, work);
        }
        reply.error(errno::NOT_A_TERMINAL);
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // From now on the kernel handles SEEK_DATA and SEEK_HOLE itself: there are no holes.
        let _request = self.begin(RequestType::Lseek);
        reply.error(errno::NOT_NEEDED);
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin(RequestType::Flush);
        reply.error(errno::NOT_NEEDED);
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin(RequestType::Fsync);
        reply.error(errno::NOT_NEEDED);
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin(RequestType::Fsync);
        reply.error(errno::NOT_NEEDED);
    }

    refuse_writes!();
}
