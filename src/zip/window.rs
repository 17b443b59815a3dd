//! A sliding buffer over one range of an archive: headers that stand close together are read with
//! one system call.

use std::io;

use super::read_at::ReadAt;

/// How much is read at once where headers stand close together, in bytes.
pub(super) const READ_AHEAD: usize = 256 * 1024;

/// A buffered view of the bytes before `limit`.
pub(crate) struct Window<'a, R: ?Sized> {
    source: &'a R,
    /// No read goes past this offset.
    limit: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a, R: ReadAt + ?Sized> Window<'a, R> {
    pub(crate) fn new(source: &'a R, limit: u64) -> Self {
        Self {
            source,
            limit,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Returns at least `len` bytes from `offset` on, fewer only where the limit comes first. Bytes
    /// that are not buffered are read, `ahead` of them at once.
    pub(crate) fn at(&mut self, offset: u64, len: usize, ahead: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(available);
        if self.buffered(offset, len).is_none() {
            // Taken out first, so that a failed read leaves no bytes behind that were not read.
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(ahead.max(len).min(available), 0);
            self.source.read_exact_at(&mut buffer, offset)?;
            self.buffer = buffer;
            self.start = offset;
        }
        Ok(self.buffered(offset, len).unwrap_or_default())
    }

    fn buffered(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let buffered = self.buffer.get(from..)?;
        (buffered.len() >= len).then_some(buffered)
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
