//! Reads the npy headers of an archive's members.

use std::io;

use crate::archive::Archive;
use crate::archive::error::ReadError;
use crate::archive::lane::Lane;
use crate::archive::slice::FileSlice;
use crate::extent::Extent;
use crate::npy::{self, NpyHeader};
use crate::zip::{Member, Window};

/// Bytes of the archive to read at once where members lie close together.
const READ_AHEAD: usize = 64 * 1024;
/// Members whose starts are at most this many bytes apart lie close together.
const CLOSE: u64 = 4 * 1024;

/// Reads npy headers one after the other, with one read for many of them where members are small.
pub(super) struct HeaderReader<'a> {
    archive: &'a Archive,
    window: Window<'a, FileSlice>,
    /// Start of the member that was read last.
    previous: u64,
}

impl<'a> HeaderReader<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self {
            archive,
            window: Window::new(archive.data(), archive.data().len()),
            previous: 0,
        }
    }

    /// The npy header of a member; `None` if it has none or cannot be read.
    pub(super) fn read(&mut self, member: &Member) -> io::Result<Option<NpyHeader>> {
        match Lane::of(member) {
            Some(Lane::Mapped | Lane::Cloned) => self.read_stored(member.extent),
            Some(Lane::Inflated) => self.read_compressed(member),
            None => Ok(None),
        }
    }

    /// The npy header of a compressed member; damaged data counts as no header.
    fn read_compressed(&self, member: &Member) -> io::Result<Option<NpyHeader>> {
        let header = NpyHeader::find(|len| self.archive.read_start(member, len as u64));
        header.or_else(|error| match error {
            ReadError::Io(error) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            // The check at the end of the listing reports a stale archive.
            ReadError::Io(_) | ReadError::Stale => Ok(None),
        })
    }

    /// The npy header at the start of `extent`, the data of a stored member.
    fn read_stored(&mut self, extent: Extent) -> io::Result<Option<NpyHeader>> {
        let is_close = (self.previous..=self.previous + CLOSE).contains(&extent.start);
        let ahead = if is_close {
            READ_AHEAD
        } else {
            npy::FIRST_READ
        };
        self.previous = extent.start;
        NpyHeader::find(|len| {
            let len = extent.len.min(len as u64) as usize;
            let bytes = self.window.at(extent.start, len, ahead)?;
            Ok(bytes[..len.min(bytes.len())].to_vec())
        })
    }
}
