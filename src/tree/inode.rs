//! Inodes of a tree: their numbers and attributes.

/// An inode number. The root is 1, as in FUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: a member.
    File,
    /// A directory.
    Directory,
}

/// The attributes of an inode that come from the archive. Owner and mode do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// The inode number.
    pub ino: Ino,
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Time of last modification, in seconds since 1970 (UTC).
    pub modified: i64,
    /// Number of links: 1 for a file; for a directory 2 and one for each subdirectory.
    pub links: u32,
}

/// One entry of a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name: at most [`NAME_MAX`](crate::tree::NAME_MAX) bytes, without slash or NUL.
    pub name: &'a [u8],
    /// The attributes of the inode with this name.
    pub attr: Attr,
}
