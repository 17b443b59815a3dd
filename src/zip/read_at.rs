//! Where an archive's bytes are read from while it is indexed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Random access to the bytes of an archive.
///
/// The index is always read with copies, never from a mapping: a mapped archive that shrinks while
/// it is parsed would kill the process.
pub trait Source {
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// Any I/O error; `UnexpectedEof` where the archive ends first.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl Source for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// A sliding buffer over one range of a source: what was read together is asked for only once.
pub(crate) struct Window<'a, S: ?Sized> {
    source: &'a S,
    /// No read goes past this offset.
    limit: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a, S: Source + ?Sized> Window<'a, S> {
    pub(crate) fn new(source: &'a S, limit: u64) -> Self {
        Self {
            source,
            limit,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// At least `len` bytes from `offset` on, fewer only where the limit comes first. Bytes that
    /// are not in the buffer are read, `ahead` of them at once.
    pub(crate) fn at(&mut self, offset: u64, len: usize, ahead: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(available);
        if self.held(offset, len).is_none() {
            // Taken out first, so that a failed read leaves no bytes behind that were not read.
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(ahead.max(len).min(available), 0);
            self.source.read_exact_at(&mut buffer, offset)?;
            self.buffer = buffer;
            self.start = offset;
        }
        Ok(self.held(offset, len).unwrap_or_default())
    }

    fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let held = self.buffer.get(from..)?;
        (held.len() >= len).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_never_reads_past_its_limit() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut window = Window::new(&bytes[..], 50);
        assert_eq!(window.at(0, 4, 16).unwrap().len(), 16);
        assert_eq!(window.at(10, 4, 16).unwrap(), [10, 11, 12, 13, 14, 15]);
        assert_eq!(window.at(48, 4, 16).unwrap(), [48, 49]);
        assert_eq!(window.at(60, 4, 16).unwrap(), [0u8; 0]);
    }

    #[test]
    fn a_read_past_the_end_of_the_source_is_an_error() {
        let mut window = Window::new(&[0u8; 10][..], 50);
        assert_eq!(
            window.at(8, 4, 4).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
