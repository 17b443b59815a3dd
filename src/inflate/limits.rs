//! The limits of what is kept.

use std::path::PathBuf;

/// How much room there is for inflated contents.
#[derive(Debug, Clone)]
pub struct Limits {
    /// In memory, in bytes.
    pub memory: u64,
    /// The directory for contents that find no room in memory.
    pub directory: PathBuf,
    /// The number of contents, since each takes a descriptor.
    pub count: usize,
}
