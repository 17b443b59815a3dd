//! A read-only mapping of a whole file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use log::debug;
use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

use crate::extent::Extent;

/// The bytes of a file, mapped.
///
/// Another process may change or truncate the file at any time. The bytes are therefore only ever
/// handed to the kernel (`writev`), which answers EFAULT where a page is gone; nothing in this
/// process may look at them.
#[derive(Debug)]
pub struct Map {
    mapping: Mmap,
}

impl Map {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // SAFETY: the mapping is shared and read-only, and its bytes are never read here: see the
        // type's comment. The slices that `bytes` gives out are only passed on to system calls.
        let mapping = unsafe { MmapOptions::new().len(len).map(file) }?;
        Ok(Self { mapping })
    }

    /// Lets go of all pages that this process has in its tables, though not of the page cache. They
    /// come back when they are asked for.
    pub fn release(&self) {
        // SAFETY: what is dropped are entries of a shared mapping of a file, whose bytes stay what
        // they are: a system call that has a slice of it just now finds them again.
        let released = unsafe { self.mapping.unchecked_advise(UncheckedAdvice::DontNeed) };
        if let Err(error) = released {
            debug!("pages of the archive stay mapped: {error}");
        }
    }

    /// The bytes of `extent`, for a system call only; `None` where they are not all inside the map.
    pub fn bytes(&self, extent: Extent) -> Option<&[u8]> {
        let start = usize::try_from(extent.start).ok()?;
        let len = usize::try_from(extent.len).ok()?;
        self.mapping.get(start..)?.get(..len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_outside_the_map_are_not_given_out() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let map = Map::new(&file, 10).unwrap();
        let bytes = |start, len| map.bytes(Extent { start, len });
        assert_eq!(bytes(3, 4), Some(&b"3456"[..]));
        assert_eq!(bytes(10, 0), Some(&b""[..]));
        assert_eq!(bytes(9, 2), None);
        assert_eq!(bytes(u64::MAX, 1), None);
    }
}
