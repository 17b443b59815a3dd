//! A range of bytes in a file.

/// A range of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first byte from the start of the file, in bytes.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}
