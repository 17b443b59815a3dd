//! DEFLATE streams.
//!
//! The state of a decompressor takes about 46 kB. Each thread uses one again and again: states that
//! come and go with each small member leave gaps between the allocations that stay, and the process
//! grows by as much for each member that is kept.

use std::cell::Cell;
use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

thread_local! {
    static UNUSED: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// A reader that decompresses a DEFLATE stream.
pub(super) struct DeflateReader<R> {
    data: R,
    /// Given back to the thread in the end.
    state: Option<Decompress>,
}

impl<R: BufRead> DeflateReader<R> {
    pub(super) fn new(data: R) -> Self {
        let mut state = UNUSED.take();
        match &mut state {
            Some(state) => state.reset(false),
            None => state = Some(Decompress::new(false)),
        }
        Self { data, state }
    }
}

impl<R: BufRead> Read for DeflateReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(state) = &mut self.state else {
            return Ok(0);
        };
        loop {
            let input = self.data.fill_buf()?;
            let is_at_end = input.is_empty();
            let flush = if is_at_end {
                FlushDecompress::Finish
            } else {
                FlushDecompress::None
            };
            let (before_in, before_out) = (state.total_in(), state.total_out());
            let status = state.decompress(input, buffer, flush);
            let consumed = (state.total_in() - before_in) as usize;
            let len = (state.total_out() - before_out) as usize;
            self.data.consume(consumed);
            return match status {
                Ok(Status::StreamEnd) => Ok(len),
                Ok(_) if len > 0 || buffer.is_empty() => Ok(len),
                Ok(_) if is_at_end => Err(io::Error::other("incomplete deflate stream")),
                Ok(_) => continue,
                Err(_) => Err(io::Error::other("corrupt deflate stream")),
            };
        }
    }
}

impl<R> Drop for DeflateReader<R> {
    fn drop(&mut self) {
        UNUSED.set(self.state.take());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn deflated(contents: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn read(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        DeflateReader::new(data).read_to_end(&mut contents)?;
        Ok(contents)
    }

    #[test]
    fn a_stream_leaves_nothing_to_the_next_one_of_its_thread() {
        let contents = [&b"some"[..], &[7; 100_000], b"contents"].concat();
        let data = deflated(&contents);
        for len in [0, 1, data.len() / 2, data.len() - 1] {
            let error = read(&data[..len]).unwrap_err();
            assert_eq!(error.to_string(), "incomplete deflate stream");
            assert_eq!(read(&data).unwrap(), contents);
        }
        let error = read(&[0xFF; 9]).unwrap_err();
        assert_eq!(error.to_string(), "corrupt deflate stream");
        assert_eq!(read(&data).unwrap(), contents);
        let (mut first, mut second) = (DeflateReader::new(&data[..]), DeflateReader::new(&*data));
        let mut bytes = [[0; 4]; 2];
        first.read_exact(&mut bytes[0]).unwrap();
        second.read_exact(&mut bytes[1]).unwrap();
        assert_eq!(bytes, [*b"some"; 2]);
    }
}
