//! What requests are answered with, apart from how they come and go.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyData, ReplyEntry,
    ReplyOpen,
};
use log::debug;

use super::backing::{Backing, BackingFiles, Retention};
use super::busy_poll::BusyPoll;
use super::config::Ownership;
use super::handles::{self, Handle, Handles, OpenFile};
use super::prefetch::Prefetch;
use crate::archive::reflink;
use crate::archive::served_file::ReadError;
use crate::archive::slice::FileSlice;
use crate::archive::{Archive, Contents};
use crate::fuse::stats::Stats;
use crate::fuse::xattr::{AttributeError, Attributes};
use crate::sys::thread_pool::Pool;
use crate::tree::{Attr, Ino, Kind};
use crate::vfs::{Entry, Vfs, VfsError};
use crate::zip::member::{MemberError, MemberErrorKind};
use crate::zip::names::NAME_MAX;

/// Python reads this much of a file at once when it looks for the npy header.
pub(super) const BLOCK_SIZE: u32 = 4096;

/// The entries that every directory begins with: `.` and `..`.
pub(super) const DOTS: u64 = 2;

/// What the answers are made from.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) catalog: Arc<Vfs>,
    pub(super) ownership: Ownership,
    pub(super) stats: Stats,
    pub(super) handles: Handles,
    /// Reads what has to be waited for.
    pub(super) readers: Pool,
    pub(super) turns: BusyPoll,
    pub(super) prefetch: Arc<Prefetch>,
    /// What the kernel reads by itself.
    pub(super) accesses: BackingFiles,
}

impl Server {
    pub(super) fn lookup(&self, parent: Ino, name: &OsStr, reply: ReplyEntry) {
        if name.len() > NAME_MAX {
            return reply.error(Errno::ENAMETOOLONG);
        }
        match self.catalog.lookup(parent, name.as_bytes()) {
            Ok(Some(found)) => {
                let ino = found.attr.ino;
                self.prefetch.tell(ino);
                reply.entry(&found.ttl, &self.file_attr(&found.attr), Generation(0));
                if found.attr.kind == Kind::File && self.prefetch.looked_up(parent, ino) {
                    let prefetch = self.prefetch.clone();
                    self.readers.run(move || prefetch.sort(parent));
                }
            }
            // Inode 0 says that there is nothing, and that the kernel may remember it: clients
            // probe for optional members again and again.
            Ok(None) => {
                let nothing = Attr {
                    ino: Ino(0),
                    kind: Kind::File,
                    size: 0,
                    modified: 0,
                    links: 0,
                };
                let ttl = self.catalog.ttl_of_nothing(parent);
                reply.entry(&ttl, &self.file_attr(&nothing), Generation(0));
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn open(self: &Arc<Self>, ino: Ino, reply: ReplyOpen) {
        let (volume, local) = match self.catalog.archive_of(ino) {
            Ok(found) => found,
            Err(error) => return reply.error(errno(&error)),
        };
        let Some(member) = volume.tree.member(local) else {
            return reply.error(Errno::EISDIR);
        };
        let contents = match volume.contents(member) {
            Ok(Contents::Stored(contents)) => contents,
            Ok(Contents::Compressed(_)) => {
                let server = self.clone();
                let opened = volume.clone();
                let then = move |inflated| match inflated {
                    Ok(contents) => server.opened_inflated(ino, opened, local, contents, reply),
                    Err(reason) => {
                        opened.log_once(local, &reason);
                        reply.error(Errno::EIO);
                    }
                };
                return self.catalog.inflate(ino, &volume, then);
            }
            Err(problem) => return reply.error(refusal(&volume, local, problem)),
        };
        let file = OpenFile::new(volume, local, contents);
        if !self.catalog.passes() || file.volume.reflinker_for(&file.contents).is_none() {
            return self.opened(file, reply);
        }
        if let Some(access) = self.accesses.find(ino) {
            return self.opened_as(file, access, reply);
        }
        // Sharing blocks waits for what was written to the archive of late.
        let server = self.clone();
        self.readers.run(move || {
            let choose = |has_room| server.clone_of(&file, has_room, &reply);
            let access = server.accesses.find_or_choose(ino, Retention::Keep, choose);
            server.opened_as(file, access, reply);
        });
    }

    fn opened_inflated(
        self: &Arc<Self>,
        ino: Ino,
        volume: Arc<Archive>,
        local: Ino,
        contents: FileSlice,
        reply: ReplyOpen,
    ) {
        let choose = |_| {
            if self.catalog.passes() {
                pass(&reply, contents.file().as_file())
            } else {
                Backing::Server
            }
        };
        let access = self.accesses.find_or_choose(ino, Retention::Drop, choose);
        let file = OpenFile::new(volume, local, contents);
        self.opened_as(file, access, reply);
    }

    /// Clones a member for the kernel, if that can be done; else the kernel has to ask.
    fn clone_of(&self, file: &OpenFile, has_room: bool, reply: &ReplyOpen) -> Backing {
        let (volume, contents) = (&file.volume, &file.contents);
        let Some(cloner) = volume
            .reflinker_for(contents)
            .filter(|it| it.is_reflinked(contents))
        else {
            return Backing::Server;
        };
        let made = if has_room {
            cloner.reflink(contents).map_err(|error| error.to_string())
        } else {
            Err("too many clones are in use (--max-open)".to_owned())
        };
        match made {
            Ok(clone) => pass(reply, clone),
            Err(reason) => {
                let member = volume.tree.member(file.ino);
                let name = member.map(|member| volume.tree.name_of(member));
                reflink::log_failure(&volume.path, name, &reason);
                Backing::Server
            }
        }
    }

    /// Answers an OPEN of a file that is read as `access` says, unless the archive has changed: what
    /// was made of it before is not served to those who come later, and what was made since is
    /// wrong.
    fn opened_as(self: &Arc<Self>, mut file: OpenFile, access: Arc<Backing>, reply: ReplyOpen) {
        let (server, volume) = (self.clone(), file.volume.clone());
        self.asking(&volume, move || {
            if let Err(error) = file.volume.check() {
                return reply.error(read_failed(&file.volume, file.ino, &error));
            }
            file.volume.reset_logged(file.ino);
            file.access = Some(access);
            server.opened(file, reply);
        });
    }

    fn opened(&self, file: OpenFile, reply: ReplyOpen) {
        let access = file.access.clone();
        let handle = self.handles.add(Handle::File(file));
        match access.as_deref() {
            Some(Backing::Passthrough(backing)) => {
                reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, backing);
            }
            Some(Backing::Server) | None => reply.opened(
                handle,
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
            ),
        }
    }

    /// Answers a READ of a file.
    pub(super) fn read_file(
        self: &Arc<Self>,
        ino: Ino,
        handle: FileHandle,
        offset: u64,
        size: u32,
        reply: ReplyData,
    ) {
        if handle == handles::NONE {
            self.read_unopened(ino, offset, size, reply);
        } else {
            self.read_open(handle, offset, size, reply);
        }
    }

    fn read_open(self: &Arc<Self>, handle: FileHandle, offset: u64, size: u32, reply: ReplyData) {
        let handle = self.handles.find(handle);
        let Some(Handle::File(file)) = handle.as_deref() else {
            return reply.error(Errno::EBADF);
        };
        let part = file.contents.part(offset, size.into());
        if !part.file().is_private() {
            return self.read(&file.volume, file.ino, part, reply);
        }
        // What was inflated does not change with the archive, but is as old as it; other contents
        // are looked at when they are read.
        let (server, volume, ino) = (self.clone(), file.volume.clone(), file.ino);
        self.asking(&file.volume, move || match volume.check() {
            Ok(()) => server.read(&volume, ino, part, reply),
            Err(error) => reply.error(read_failed(&volume, ino, &error)),
        });
    }

    /// Does `work`, which looks whether an archive is still what it was: elsewhere, if it may have to
    /// wait for another machine or process to say.
    fn asking(&self, volume: &Archive, work: impl FnOnce() + Send + 'static) {
        if volume.is_local() {
            work();
        } else {
            self.readers.run(work);
        }
    }

    /// Answers a READ of a file that needs no opening.
    fn read_unopened(&self, ino: Ino, offset: u64, size: u32, reply: ReplyData) {
        let (volume, local) = match self.catalog.archive_of(ino) {
            Ok(found) => found,
            Err(error) => return reply.error(errno(&error)),
        };
        let Some(member) = volume.tree.member(local) else {
            return reply.error(Errno::EISDIR);
        };
        match volume.contents(member) {
            Ok(Contents::Stored(contents)) => {
                self.read(&volume, local, contents.part(offset, size.into()), reply);
            }
            // Where there are such members, files are opened.
            Ok(Contents::Compressed(_)) => reply.error(Errno::EBADF),
            Err(problem) => reply.error(refusal(&volume, local, problem)),
        }
    }

    fn read(&self, volume: &Arc<Archive>, ino: Ino, part: FileSlice, reply: ReplyData) {
        self.stats.count_bytes(part.len());
        if part.is_cached() {
            return match part.mapped() {
                Ok(bytes) => reply.data(bytes),
                Err(error) => reply.error(read_failed(volume, ino, &error)),
            };
        }
        self.turns.let_all_serve();
        let volume = volume.clone();
        self.readers.run(move || match part.read() {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(read_failed(&volume, ino, &error)),
        });
    }

    pub(super) fn opendir(&self, ino: Ino, reply: ReplyOpen) {
        match self.catalog.folder_names(ino) {
            Ok(Some(names)) => {
                let handle = self.handles.add(Handle::Folder(names));
                reply.opened(handle, FopenFlags::empty());
            }
            Ok(None) => match self.catalog.open_directory(ino) {
                Ok(()) => reply.opened(
                    handles::NONE,
                    FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
                ),
                Err(error) => reply.error(errno(&error)),
            },
            Err(error) => reply.error(errno(&error)),
        }
    }

    /// Gives `take` the entries of a directory as READDIR numbers them: `.`, `..` and the rest, each
    /// with the offset of the one after it. The kernel holds those that were taken, but for the
    /// first two.
    pub(super) fn list(
        &self,
        ino: Ino,
        handle: FileHandle,
        offset: u64,
        mut take: impl FnMut(u64, &[u8], Entry) -> bool,
    ) -> Result<(), VfsError> {
        let dots = [(&b"."[..], ino), (b"..", self.catalog.parent(ino)?)];
        for ((name, ino), next) in dots.into_iter().zip(1..) {
            if offset < next && !take(next, name, self.catalog.attr(ino)?) {
                return Ok(());
            }
        }
        let skip = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        let handle = self.handles.find(handle);
        let Some(Handle::Folder(names)) = handle.as_deref() else {
            let mut next = skip as u64 + DOTS;
            return self.catalog.entries(ino, skip, |name, found| {
                next += 1;
                take(next, name, found)
            });
        };
        for (name, next) in names.iter().zip(DOTS + 1..).skip(skip) {
            // What is gone since the folder was opened is left out.
            if let Ok(Some(found)) = self.catalog.lookup(ino, name.as_bytes())
                && !take(next, name.as_bytes(), found)
            {
                self.catalog.forget(found.attr.ino, 1);
                break;
            }
        }
        Ok(())
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            catalog: &self.catalog,
            stats: &self.stats,
            clones: self.accesses.len(),
        }
    }

    pub(super) fn file_attr(&self, attr: &Attr) -> FileAttr {
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
}

/// Gives the kernel a file that it reads by itself, if it takes it.
fn pass(reply: &ReplyOpen, file: impl AsFd) -> Backing {
    // Not every user may have this, and not with every file system.
    match reply.open_backing(file) {
        Ok(backing) => Backing::Passthrough(backing),
        Err(error) => {
            debug!("a file is not passed through to the kernel: {error}");
            Backing::Server
        }
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

/// The error number for an inode of which nothing can be said.
pub(super) fn errno(error: &VfsError) -> Errno {
    match error {
        // The kernel looks the path up anew upon this one.
        VfsError::Gone => Errno::ESTALE,
        VfsError::NotADirectory => Errno::ENOTDIR,
        VfsError::Archive => Errno::EIO,
        VfsError::Folder(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_i32),
    }
}

/// The error number for an attribute that cannot be had.
pub(super) fn attribute_errno(error: &AttributeError) -> Errno {
    match error {
        AttributeError::VfsError(error) => errno(error),
        AttributeError::Read { volume, ino, error } => read_failed(volume, *ino, error),
    }
}

/// The error number for a member that cannot be read, after a line in the log.
fn refusal(volume: &Archive, ino: Ino, problem: &MemberError) -> Errno {
    volume.log_once(ino, problem);
    match problem.kind() {
        MemberErrorKind::Damaged => Errno::EIO,
        MemberErrorKind::Unsupported => Errno::EOPNOTSUPP,
        MemberErrorKind::Encrypted => Errno::EACCES,
    }
}

/// The error number for a read that failed, after a line in the log; that an archive has changed is
/// told elsewhere.
fn read_failed(volume: &Archive, ino: Ino, error: &ReadError) -> Errno {
    if let ReadError::Io(error) = error {
        volume.log_once(ino, &crate::ui::human::error_text(error));
    }
    Errno::EIO
}
