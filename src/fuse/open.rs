//! The answer to OPEN: the contents of a file, and the way in which the kernel reads them.
//!
//! A stored member is a slice of its archive. A compressed one is inflated first, whole, so that
//! its CRC is known to be right before the first byte is read. Where the kernel supports
//! passthrough, it gets inflated contents, and clones of stored members, as backing files.

use std::os::fd::AsFd;
use std::sync::Arc;

use fuser::{FopenFlags, ReplyOpen};
use log::debug;

use super::backing::{Backing, Retention};
use super::errno;
use super::handles::{Handle, OpenFile};
use super::server::Server;
use crate::archive::reflink;
use crate::archive::slice::FileSlice;
use crate::archive::{Archive, Contents};
use crate::tree::Ino;

impl Server {
    /// Answers an OPEN.
    pub(super) fn open(self: &Arc<Self>, ino: Ino, reply: ReplyOpen) {
        let (archive, local) = match self.vfs.archive_of(ino) {
            Ok(found) => found,
            Err(error) => return reply.error(errno::of_vfs(&error)),
        };
        let Some(member) = archive.tree.member(local) else {
            return reply.error(errno::IS_A_DIRECTORY);
        };
        let contents = match archive.contents(member) {
            Ok(Contents::Stored(contents)) => contents,
            Ok(Contents::Compressed(_)) => {
                let (server, outer) = (self.clone(), archive.clone());
                let then = move |inflated| match inflated {
                    Ok(contents) => server.open_inflated(ino, outer, local, contents, reply),
                    Err(reason) => {
                        outer.log_once(local, &reason);
                        reply.error(errno::NOT_INFLATED);
                    }
                };
                return self.vfs.inflate(ino, &archive, then);
            }
            Err(error) => return reply.error(errno::of_member(&archive, local, error)),
        };
        let file = OpenFile::new(archive, local, contents);
        if !self.vfs.passthrough_enabled() || file.archive.reflinker_for(&file.contents).is_none() {
            return self.reply_opened(file, reply);
        }
        if let Some(backing) = self.backing_files.find(ino) {
            return self.open_checked(file, backing, reply);
        }
        // Sharing blocks waits until recent writes to the archive are on disk.
        let server = self.clone();
        self.reader_pool.run(move || {
            let choose = |has_room| server.clone_of(&file, has_room, &reply);
            let files = &server.backing_files;
            let backing = files.find_or_choose(ino, Retention::Keep, choose);
            server.open_checked(file, backing, reply);
        });
    }

    fn open_inflated(
        self: &Arc<Self>,
        ino: Ino,
        archive: Arc<Archive>,
        local: Ino,
        contents: FileSlice,
        reply: ReplyOpen,
    ) {
        let choose = |_| {
            if self.vfs.passthrough_enabled() {
                pass_through(&reply, contents.file().as_file())
            } else {
                Backing::Server
            }
        };
        let files = &self.backing_files;
        let backing = files.find_or_choose(ino, Retention::Drop, choose);
        let file = OpenFile::new(archive, local, contents);
        self.open_checked(file, backing, reply);
    }

    /// Clones a member as a backing file, if it can be cloned.
    fn clone_of(&self, file: &OpenFile, has_room: bool, reply: &ReplyOpen) -> Backing {
        let (archive, contents) = (&file.archive, &file.contents);
        let Some(reflinker) = archive
            .reflinker_for(contents)
            .filter(|it| it.is_reflinked(contents))
        else {
            return Backing::Server;
        };
        let made = if has_room {
            reflinker
                .reflink(contents)
                .map_err(|error| error.to_string())
        } else {
            Err("too many clones are in use (--max-open)".to_owned())
        };
        match made {
            Ok(clone) => pass_through(reply, clone),
            Err(reason) => {
                let member = archive.tree.member(file.ino);
                let name = member.map(|member| archive.tree.name_of(member));
                reflink::log_failure(&archive.path, name, &reason);
                Backing::Server
            }
        }
    }

    /// Answers an OPEN, unless the archive has changed. Contents made before the change are not
    /// served to those who open the file after it, and contents made after it are wrong.
    fn open_checked(self: &Arc<Self>, mut file: OpenFile, backing: Arc<Backing>, reply: ReplyOpen) {
        let (server, archive) = (self.clone(), file.archive.clone());
        self.run_check(&archive, move || {
            if let Err(error) = file.archive.check() {
                return reply.error(errno::of_read(&file.archive, file.ino, &error));
            }
            file.archive.reset_logged(file.ino);
            file.backing = Some(backing);
            server.reply_opened(file, reply);
        });
    }

    fn reply_opened(&self, file: OpenFile, reply: ReplyOpen) {
        let backing = file.backing.clone();
        let handle = self.handles.add(Handle::File(file));
        match backing.as_deref() {
            Some(Backing::Passthrough(id)) => {
                reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, id);
            }
            Some(Backing::Server) | None => reply.opened(
                handle,
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
            ),
        }
    }

    /// Runs `work`, which checks whether an archive has changed: in this thread, or in the reader
    /// pool if another machine or process is asked.
    pub(super) fn run_check(&self, archive: &Archive, work: impl FnOnce() + Send + 'static) {
        if archive.is_local() {
            work();
        } else {
            self.reader_pool.run(work);
        }
    }
}

/// Registers `file` as a backing file, if the kernel accepts it.
fn pass_through(reply: &ReplyOpen, file: impl AsFd) -> Backing {
    match reply.open_backing(file) {
        Ok(id) => Backing::Passthrough(id),
        // This takes privileges, and not every file system can be below FUSE.
        Err(error) => {
            debug!("a file is not passed through to the kernel: {error}");
            Backing::Server
        }
    }
}
