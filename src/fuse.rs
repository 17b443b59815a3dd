//! The FUSE side of a mount: each request is decoded, put to the tree or the content, and answered.
//!
//! Nothing here may panic, and no lock is held while a reply is sent. Requests that would change
//! something have no code: the mount is read-only, so the kernel answers them with EROFS.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyXattr,
};
use log::{error, warn};

use crate::content::{Content, ReadError};
use crate::human::Escaped;
use crate::member::ProblemKind;
use crate::names::NAME_MAX;
use crate::pool::Pool;
use crate::stats::{Request, Stats};
use crate::tree::{Attr, Ino, Kind, Tree};
use crate::xattr::Attributes;

/// How long the kernel may keep names and attributes. They never change while mounted; the number
/// only has to be finite.
const TTL: Duration = Duration::from_secs(365 * 86_400);

/// The largest READ that is asked for in one request, in bytes. The kernel splits at 1 MiB.
const REQUEST_MAX: u32 = 1024 * 1024;

/// How many background requests (readahead, above all) the kernel may have under way.
const MAX_BACKGROUND: u16 = 128;

/// The most members of which the log tells why they cannot be read.
const REASONS_MAX: usize = 1000;

/// Python reads this much of a file at once when it looks for the npy header.
const BLOCK_SIZE: u32 = 4096;

/// Who owns the files of a mount and what the modes leave out.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// Owner of every file and directory.
    pub uid: u32,
    /// Group of every file and directory.
    pub gid: u32,
    /// Permissions that are taken away from 0444 and 0555.
    pub umask: u16,
}

/// A mounted archive.
#[derive(Debug)]
pub struct Npzfs {
    archive: PathBuf,
    tree: Tree,
    content: Arc<Content>,
    ownership: Ownership,
    archive_len: u64,
    stats: Stats,
    /// Answers what has to wait for a disk.
    pool: Pool,
    /// Whether OPEN needs no answer: the kernel can do without, and every member can be read.
    open_is_free: bool,
    opendir_is_free: bool,
    /// By inode: whether the log has the reason why a member cannot be read.
    told: Vec<AtomicBool>,
    /// Of how many members it was to be told.
    reasons: AtomicUsize,
}

impl Npzfs {
    /// The file system of the archive at `archive`, an absolute path, `archive_len` bytes long.
    pub fn new(
        archive: PathBuf,
        archive_len: u64,
        tree: Tree,
        content: Arc<Content>,
        ownership: Ownership,
    ) -> Self {
        let all_readable = tree.files().all(|member| member.problem.is_none());
        let told = if all_readable { 0 } else { tree.len() };
        Self {
            archive,
            tree,
            content,
            ownership,
            archive_len,
            stats: Stats::default(),
            pool: Pool::default(),
            open_is_free: all_readable,
            opendir_is_free: true,
            told: std::iter::repeat_with(AtomicBool::default)
                .take(told)
                .collect(),
            reasons: AtomicUsize::new(0),
        }
    }

    fn file_attr(&self, attr: &Attr) -> FileAttr {
        let time = system_time(attr.modified);
        let (kind, mode) = match attr.kind {
            Kind::File => (FileType::RegularFile, 0o444),
            Kind::Directory => (FileType::Directory, 0o555),
        };
        FileAttr {
            ino: INodeNo(attr.ino.0),
            size: attr.size,
            blocks: attr.size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: mode & !self.ownership.umask,
            nlink: attr.links,
            uid: self.ownership.uid,
            gid: self.ownership.gid,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            tree: &self.tree,
            content: &self.content,
            stats: &self.stats,
            archive: self.archive.as_os_str().as_bytes(),
        }
    }

    /// The error number for a file whose member cannot be read, after a line in the log.
    fn refusal(&self, ino: Ino, error: &ReadError<'_>) -> Errno {
        let archive = Escaped(self.archive.as_os_str().as_bytes());
        let name = self
            .tree
            .member(ino)
            .map(|member| self.tree.name_of(member));
        let name = Escaped::member(name.unwrap_or_default());
        match error {
            ReadError::Problem(problem) => {
                let told = self.told.get(ino.0.wrapping_sub(1) as usize);
                if told.is_none_or(|told| !told.swap(true, Ordering::Relaxed)) {
                    match self.reasons.fetch_add(1, Ordering::Relaxed) {
                        ..REASONS_MAX => warn!("{archive}: member '{name}': {problem}"),
                        REASONS_MAX => warn!("{archive}: more members cannot be read"),
                        _ => {}
                    }
                }
                match problem.kind() {
                    ProblemKind::Damaged => Errno::EIO,
                    ProblemKind::Unsupported => Errno::EOPNOTSUPP,
                    ProblemKind::Encrypted => Errno::EACCES,
                }
            }
            ReadError::Stale => Errno::EIO,
            ReadError::Io(error) => {
                error!("{archive}: member '{name}': {error}");
                Errno::EIO
            }
        }
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

    /// The entries of a directory as READDIR numbers them: `.`, `..` and the rest. Each comes with
    /// the offset of the one after it.
    fn listing(&self, ino: Ino, offset: u64) -> Option<impl Iterator<Item = (u64, &[u8], Attr)>> {
        let dots = [
            (&b"."[..], self.tree.attr(ino)?),
            (&b".."[..], self.tree.attr(self.tree.parent(ino)?)?),
        ];
        let offset = usize::try_from(offset).ok()?;
        let entries = self.tree.entries(ino, offset.saturating_sub(dots.len()))?;
        let entries = entries.map(|entry| (entry.name, entry.attr));
        let listing = dots.into_iter().skip(offset).chain(entries);
        Some(
            listing
                .zip(offset as u64 + 1..)
                .map(|((name, attr), next)| (next, name, attr)),
        )
    }
}

fn system_time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn ino(ino: INodeNo) -> Ino {
    Ino(ino.0)
}

impl Filesystem for Npzfs {
    fn init(&mut self, _req: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel does not offer is done without.
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA;
        let offered = config.capabilities();
        let _ = config.add_capabilities(wanted & offered);
        self.open_is_free &= offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.opendir_is_free &= offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        if self.open_is_free {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT);
        }
        if self.opendir_is_free {
            let _ = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        }
        let _ = config.set_max_write(REQUEST_MAX);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.stats.count(Request::Lookup);
        if name.len() > NAME_MAX {
            return reply.error(Errno::ENAMETOOLONG);
        }
        match self.tree.lookup(ino(parent), name.as_bytes()) {
            Some(attr) => reply.entry(&TTL, &self.file_attr(&attr), Generation(0)),
            // Inode 0 says that there is nothing, and that the kernel may remember it: clients
            // probe for optional members again and again.
            None => match self.tree.attr(Ino::ROOT) {
                Some(mut attr) => {
                    attr.ino = Ino(0);
                    reply.entry(&TTL, &self.file_attr(&attr), Generation(0));
                }
                None => reply.error(Errno::ENOENT),
            },
        }
    }

    fn forget(&self, _req: &fuser::Request, _ino: INodeNo, _nlookup: u64) {
        self.stats.count(Request::Forget);
    }

    fn getattr(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        self.stats.count(Request::Getattr);
        match self.tree.attr(ino(number)) {
            Some(attr) => reply.attr(&TTL, &self.file_attr(&attr)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _req: &fuser::Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.stats.count(Request::Open);
        if self.open_is_free {
            // Told once, the kernel opens files by itself from now on and keeps their pages.
            return reply.error(Errno::ENOSYS);
        }
        let Some(member) = self.tree.member(ino(number)) else {
            return reply.error(Errno::EISDIR);
        };
        match &member.problem {
            Some(problem) => {
                let error = ReadError::Problem(problem);
                reply.error(self.refusal(ino(number), &error));
            }
            None => reply.opened(
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
            ),
        }
    }

    fn read(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.stats.count(Request::Read);
        let Some(member) = self.tree.member(ino(number)) else {
            return reply.error(Errno::EISDIR);
        };
        let extent = match Content::extent(member, offset, size.into()) {
            Ok(extent) => extent,
            Err(error) => return reply.error(self.refusal(ino(number), &error)),
        };
        self.stats.count_bytes(extent.len);
        if self.content.is_cached(extent) {
            return match self.content.mapped(extent) {
                Ok(bytes) => reply.data(bytes),
                Err(error) => reply.error(self.refusal(ino(number), &error)),
            };
        }
        let content = self.content.clone();
        self.pool.run(move || match content.read(extent) {
            Ok(bytes) => reply.data(&bytes),
            Err(_) => reply.error(Errno::EIO),
        });
    }

    fn release(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Request::Release);
        reply.ok();
    }

    fn opendir(&self, _req: &fuser::Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.stats.count(Request::Opendir);
        if self.opendir_is_free {
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(
            FileHandle(0),
            FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
        );
    }

    fn readdir(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.stats.count(Request::Readdir);
        let Some(listing) = self.listing(ino(number), offset) else {
            return reply.error(Errno::ENOTDIR);
        };
        for (next, name, attr) in listing {
            let attr = self.file_attr(&attr);
            if reply.add(attr.ino, next, attr.kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _req: &fuser::Request,
        number: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.stats.count(Request::Readdirplus);
        let Some(listing) = self.listing(ino(number), offset) else {
            return reply.error(Errno::ENOTDIR);
        };
        for (next, name, attr) in listing {
            let (attr, name) = (self.file_attr(&attr), OsStr::from_bytes(name));
            if reply.add(attr.ino, next, name, &TTL, &attr, Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Request::Releasedir);
        reply.ok();
    }

    fn statfs(&self, _req: &fuser::Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.stats.count(Request::Statfs);
        let blocks = self.archive_len.div_ceil(BLOCK_SIZE.into());
        reply.statfs(
            blocks,
            0,
            0,
            self.tree.len() as u64,
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
        self.stats.count(Request::Getxattr);
        if !name.as_bytes().starts_with(b"user.") {
            // Access control lists and the like: told that there are none at all here, ls does not
            // ask for those of each file.
            return reply.error(Errno::EOPNOTSUPP);
        }
        match self.attributes().value(ino(number), name.as_bytes()) {
            Ok(Some(value)) => Self::reply_xattr(reply, &value, size),
            Ok(None) => reply.error(Errno::NO_XATTR),
            Err(error) => reply.error(self.refusal(ino(number), &error)),
        }
    }

    fn listxattr(&self, _req: &fuser::Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.stats.count(Request::Listxattr);
        match self.attributes().list(ino(number)) {
            Ok(names) => Self::reply_xattr(reply, &names, size),
            Err(error) => reply.error(self.refusal(ino(number), &error)),
        }
    }

    fn ioctl(
        &self,
        _req: &fuser::Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // Python's open() asks whether the file is a terminal, each time.
        self.stats.count(Request::Ioctl);
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
        self.stats.count(Request::Lseek);
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
        self.stats.count(Request::Flush);
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
        self.stats.count(Request::Fsync);
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
        self.stats.count(Request::Fsync);
        reply.error(Errno::ENOSYS);
    }
}
