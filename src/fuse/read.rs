//! The answer to READ.
//!
//! Bytes are copied into a buffer, then the archive is checked, and only then they are sent: what
//! the kernel caches is right for good, whatever becomes of the archive. A worker copies what is in
//! the page cache. The rest is left to a pool thread, since every other client would wait for the
//! disk, too.

use std::sync::Arc;

use fuser::{FileHandle, ReplyData};

use super::errno;
use super::handles::{self, Handle};
use super::server::Server;
use crate::archive::error::ReadError;
use crate::archive::slice::FileSlice;
use crate::archive::{Archive, Contents};
use crate::sys::buffer::Buffer;
use crate::tree::Ino;

impl Server {
    /// Answers a READ.
    pub(super) fn read(
        self: &Arc<Self>,
        ino: Ino,
        handle: FileHandle,
        offset: u64,
        size: u32,
        reply: ReplyData,
    ) {
        if handle == handles::NONE {
            self.read_without_handle(ino, offset, size, reply);
        } else {
            self.read_open_file(handle, offset, size, reply);
        }
    }

    fn read_open_file(
        self: &Arc<Self>,
        handle: FileHandle,
        offset: u64,
        size: u32,
        reply: ReplyData,
    ) {
        let handle = self.handles.find(handle);
        let Some(Handle::File(file)) = handle.as_deref() else {
            return reply.error(errno::NOT_OPEN);
        };
        let part = file.contents.part(offset, size.into());
        if !part.file().is_private() {
            return self.read_slice(&file.archive, file.ino, part, reply);
        }
        // Inflated contents do not change with the archive, but must not outlive it. Other contents
        // are checked as they are read.
        let (server, archive, ino) = (self.clone(), file.archive.clone(), file.ino);
        self.run_check(&file.archive, move || match archive.check() {
            Ok(()) => server.read_slice(&archive, ino, part, reply),
            Err(error) => reply.error(errno::of_read(&archive, ino, &error)),
        });
    }

    /// Answers a READ on a mount whose files are opened without a request.
    fn read_without_handle(&self, ino: Ino, offset: u64, size: u32, reply: ReplyData) {
        let (archive, local) = match self.vfs.archive_of(ino) {
            Ok(found) => found,
            Err(error) => return reply.error(errno::of_vfs(&error)),
        };
        let Some(member) = archive.tree.member(local) else {
            return reply.error(errno::IS_A_DIRECTORY);
        };
        match archive.contents(member) {
            Ok(Contents::Stored(contents)) => {
                let part = contents.part(offset, size.into());
                self.read_slice(&archive, local, part, reply);
            }
            Ok(Contents::Compressed(_)) => reply.error(errno::NOT_OPEN),
            Err(error) => reply.error(errno::of_member(&archive, local, error)),
        }
    }

    fn read_slice(&self, archive: &Arc<Archive>, ino: Ino, part: FileSlice, reply: ReplyData) {
        self.stats.count_bytes(part.len());
        let Some(reply) = send(archive, ino, reply, |buffer| part.read_cached(buffer)) else {
            return;
        };
        self.busy_poll.suspend();
        let archive = archive.clone();
        self.reader_pool.run(move || {
            send(&archive, ino, reply, |buffer| {
                part.read_into(buffer).map(Some)
            });
        });
    }
}

/// Sends the bytes that `copy` has put into a buffer, or the reason why it could not. Returns the
/// reply where it has nothing.
fn send(
    archive: &Archive,
    ino: Ino,
    reply: ReplyData,
    copy: impl FnOnce(&mut [u8]) -> Result<Option<&[u8]>, ReadError>,
) -> Option<ReplyData> {
    let mut buffer = match Buffer::take() {
        Ok(buffer) => buffer,
        Err(error) => {
            reply.error(errno::of_read(archive, ino, &error.into()));
            return None;
        }
    };
    match copy(&mut buffer) {
        Ok(Some(bytes)) => reply.data(bytes),
        Ok(None) => return Some(reply),
        Err(error) => reply.error(errno::of_read(archive, ino, &error)),
    }
    None
}
