//! The attributes of an inode as the kernel wants them.

use fuser::{FileAttr, FileType, INodeNo};

use super::config::Ownership;
use crate::tree::{Attr, Kind};

/// Python reads this much at a time while it looks for the npy header.
pub(super) const BLOCK_SIZE: u32 = 4096;

/// The unit of `st_blocks`, in bytes.
const SECTOR_SIZE: u64 = 512;

/// Returns the attributes of an inode whose archive gives it `attr`.
pub(super) fn file_attr(attr: &Attr, ownership: &Ownership) -> FileAttr {
    let modified = attr.times.modified;
    let (kind, mode) = match attr.kind {
        Kind::File => (FileType::RegularFile, 0o444),
        Kind::Directory => (FileType::Directory, 0o555),
    };
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.size.div_ceil(SECTOR_SIZE),
        atime: modified,
        mtime: modified,
        ctime: attr.times.changed,
        crtime: modified,
        kind,
        perm: mode & !ownership.umask,
        nlink: attr.links,
        uid: ownership.uid,
        gid: ownership.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}
