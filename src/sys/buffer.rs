//! Buffers for threads that read files.
//!
//! A buffer is a mapping of its own and not on the heap: its memory goes back to the system with its
//! thread, and does not lie between small allocations that stay for longer.

use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// The length of a buffer in bytes. Only the pages that are used take memory.
pub const LEN: usize = 1 << 20;

thread_local! {
    static UNUSED: Cell<Vec<MmapMut>> = const { Cell::new(Vec::new()) };
}

/// A buffer, which its thread uses again once it is dropped. It holds whatever was read last.
#[derive(Debug)]
pub struct Buffer(Option<MmapMut>);

impl Buffer {
    /// Takes a buffer that this thread has used before, or maps one.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn take() -> io::Result<Self> {
        let mut unused = UNUSED.take();
        let buffer = unused.pop();
        UNUSED.set(unused);
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => MmapMut::map_anon(LEN)?,
        };
        Ok(Self(Some(buffer)))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut unused = UNUSED.take();
        unused.extend(self.0.take());
        UNUSED.set(unused);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_uses_its_buffers_again_and_again() {
        let mut first = Buffer::take().unwrap();
        first[..3].copy_from_slice(b"abc");
        let second = Buffer::take().unwrap();
        assert_eq!((second.len(), second[0]), (LEN, 0));
        drop(second);
        drop(first);
        let again = Buffer::take().unwrap();
        assert_eq!(again[..3], *b"abc");
        assert_eq!(Buffer::take().unwrap()[0], 0);
    }
}
