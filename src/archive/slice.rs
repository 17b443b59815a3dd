//! A range of the bytes of a file that is served.
//!
//! An archive, a member of it, an archive inside an archive and an inflated member all have this one
//! type. A slice holds its file open and can be cut further; nothing is copied until it is read.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::error::ReadError;
use super::served_file::ServedFile;
use crate::extent::Extent;
use crate::zip::ReadAt;

/// A range of the bytes of a file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    file: Arc<ServedFile>,
    extent: Extent,
}

impl FileSlice {
    /// Returns all bytes of a file.
    pub fn whole(file: Arc<ServedFile>) -> Self {
        let extent = Extent {
            start: 0,
            len: file.len(),
        };
        Self { file, extent }
    }

    /// Returns `len` bytes of this slice from `offset` on, or as many as there are.
    pub fn part(&self, offset: u64, len: u64) -> Self {
        let offset = offset.min(self.extent.len);
        Self {
            file: self.file.clone(),
            extent: Extent {
                start: self.extent.start + offset,
                len: len.min(self.extent.len - offset),
            },
        }
    }

    /// The place of the slice in its file.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.extent.len
    }

    /// The file that the slice is a part of.
    pub fn file(&self) -> &Arc<ServedFile> {
        &self.file
    }

    /// Whether the bytes can be had without waiting for a disk, judged by samples of them.
    pub fn is_cached(&self) -> bool {
        self.file.is_cached(self.extent)
    }

    /// Returns a copy of the bytes, and may take as long as a disk takes.
    ///
    /// # Errors
    /// [`ReadError`]: a file that has changed is not read.
    pub fn read(&self) -> Result<Vec<u8>, ReadError> {
        let mut copy = vec![0; self.extent.len as usize];
        self.file.read(&mut copy, self.extent.start)?;
        Ok(copy)
    }

    /// Copies the bytes to the start of `buffer`, and returns them there. May take as long as a disk
    /// takes.
    ///
    /// # Errors
    /// [`ReadError`]: a file that has changed is not read, nor what does not fit into `buffer`.
    pub fn read_into<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], ReadError> {
        let buffer = self.room_in(buffer)?;
        self.file.read(buffer, self.extent.start)?;
        Ok(buffer)
    }

    /// Does the same unless it would wait for a disk; then it returns `None`.
    ///
    /// # Errors
    /// Those of [`read_into`](Self::read_into).
    pub fn read_cached<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, ReadError> {
        let buffer = self.room_in(buffer)?;
        let is_read = self.file.read_cached(buffer, self.extent.start)?;
        Ok(is_read.then_some(buffer))
    }

    fn room_in<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b mut [u8], ReadError> {
        let room = buffer.get_mut(..self.extent.len as usize);
        room.ok_or_else(|| ReadError::Io(io::ErrorKind::FileTooLarge.into()))
    }
}

impl ReadAt for FileSlice {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let part = self.part(offset, buffer.len() as u64);
        if part.len() < buffer.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileExt::read_exact_at(self.file.as_file(), buffer, part.extent.start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn slice(contents: &[u8]) -> FileSlice {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        let file = ServedFile::private(file, contents.len() as u64);
        FileSlice::whole(Arc::new(file))
    }

    #[test]
    fn a_part_is_cut_at_the_end_of_the_slice() {
        let member = slice(b"0123456789").part(2, 5);
        let part = |offset, len| member.part(offset, len).read().unwrap();
        assert_eq!(part(0, 100), b"23456");
        assert_eq!(part(3, 1), b"5");
        assert_eq!(part(5, 9), b"");
        assert_eq!(part(u64::MAX, 9), b"");
        assert_eq!(member.read().unwrap(), b"23456");
        assert_eq!((member.len(), member.part(5, 1).len()), (5, 0));
    }

    #[test]
    fn a_slice_is_read_into_a_buffer_that_has_room() {
        let inner = slice(b"0123456789").part(2, 5);
        let mut buffer = [0; 6];
        assert_eq!(inner.read_into(&mut buffer).unwrap(), b"23456");
        assert_eq!(inner.read_cached(&mut buffer).unwrap(), Some(&b"23456"[..]));
        assert!(inner.read_into(&mut buffer[..4]).is_err());
    }

    #[test]
    fn a_slice_is_a_source_that_ends_where_the_slice_ends() {
        let inner = slice(b"0123456789").part(2, 5);
        let mut buffer = [0; 3];
        inner.read_exact_at(&mut buffer, 2).unwrap();
        assert_eq!(buffer, *b"456");
        let error = inner.read_exact_at(&mut buffer, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
