//! The parts in which threads read members.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::extent::Extent;

/// A part of the contents of a member; a compressed member is always read as one part.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) member: u32,
    /// The range of the member's uncompressed contents.
    pub(super) range: Extent,
}

/// Reads a part of a stored member and computes its CRC.
pub(super) struct PartReader<'a> {
    archive: &'a File,
    rest: Extent,
    crc: crc32fast::Hasher,
}

impl<'a> PartReader<'a> {
    /// Starts to read `extent` of the archive.
    pub(super) fn new(archive: &'a File, extent: Extent) -> Self {
        Self {
            archive,
            rest: extent,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Returns the CRC of the bytes read so far.
    pub(super) fn into_crc(self) -> crc32fast::Hasher {
        self.crc
    }
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.rest.len.min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..len];
        self.archive.read_exact_at(buffer, self.rest.start)?;
        self.crc.update(buffer);
        self.rest.start += len as u64;
        self.rest.len -= len as u64;
        Ok(len)
    }
}
