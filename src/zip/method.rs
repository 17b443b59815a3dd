//! Compression methods.

use std::fmt;

/// A compression method by its number (APPNOTE 4.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// Not compressed: the member's bytes are a range of the archive.
    pub const STORED: Self = Self(0);
    /// DEFLATE, as `np.savez_compressed` writes it.
    pub const DEFLATED: Self = Self(8);
    /// bzip2.
    pub const BZIP2: Self = Self(12);
    /// LZMA, version 1.
    pub const LZMA: Self = Self(14);
    /// Zstandard.
    pub const ZSTD: Self = Self(93);

    /// Returns whether npzfs can decompress it. The known methods are those that Python's `zipfile`
    /// writes.
    pub fn is_known(self) -> bool {
        [
            Self::STORED,
            Self::DEFLATED,
            Self::BZIP2,
            Self::LZMA,
            Self::ZSTD,
        ]
        .contains(&self)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::STORED => f.write_str("stored"),
            Self::DEFLATED => f.write_str("deflated"),
            Self(9) => f.write_str("deflate64"),
            Self::BZIP2 => f.write_str("bzip2"),
            Self::LZMA => f.write_str("lzma"),
            Self::ZSTD => f.write_str("zstd"),
            Self(95) => f.write_str("xz"),
            Self(number) => write!(f, "method {number}"),
        }
    }
}
