//! The settings of what is mounted.

/// Settings for finding, opening and showing archives.
#[derive(Debug, Clone)]
pub struct VfsConfig {
    /// Show members that are archives as directories.
    pub recursive: bool,
    /// Decompress compressed members, or refuse them.
    pub inflate_enabled: bool,
    /// Show archives in folders without `.npz` at the end of their names.
    pub strip_suffix: bool,
    /// The number of archives that may be open at a time, besides those on the command line.
    pub max_open: usize,
    /// The minimum length of a cloned member, in bytes; `None` if none is cloned.
    pub clone_min: Option<u64>,
}
