//! What the command line says of archives and of what they hold.

/// How archives are found and shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether members that are archives are directories.
    pub recursive: bool,
    /// Whether compressed members can be read.
    pub inflates: bool,
    /// Whether archives in a folder are shown without `.npz` behind their names.
    pub strip_suffix: bool,
    /// How many archives may be open at a time, besides those that the command line names.
    pub max_open: usize,
    /// The least length of a member that is cloned, in bytes; `None` where none is.
    pub clone_min: Option<u64>,
}
