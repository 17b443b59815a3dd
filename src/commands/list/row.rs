//! One member of a listed archive.

use crate::archive::lane::Lane;
use crate::npy::NpyHeader;
use crate::zip::Member;

/// NumPy calls array data aligned if it starts at a multiple of this many bytes of the file.
const ALIGNMENT: u64 = 64;

/// A member, with all that the table or the JSON object shows of it.
pub(super) struct Row<'a> {
    pub(super) member: &'a Member,
    /// Its name in the archive, byte for byte.
    pub(super) name: &'a [u8],
    /// Its path in a mount, with a trailing slash for a directory; `None` if a mount hides it.
    pub(super) path: Option<String>,
    pub(super) npy: Option<Npy>,
    pub(super) lane: Option<Lane>,
}

/// The array that a member holds.
pub(super) struct Npy {
    pub(super) header: NpyHeader,
    /// Offset of the array's data in the archive; `None` if the member is compressed.
    pub(super) data_offset: Option<u64>,
}

impl Row<'_> {
    pub(super) fn is_directory(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.ends_with('/'))
    }
}

impl Npy {
    /// Whether the array's data starts at a multiple of 64 bytes of the archive.
    pub(super) fn is_aligned(&self) -> Option<bool> {
        self.is_at_multiple_of(ALIGNMENT)
    }

    /// Whether the array's data starts at a multiple of `bytes` of the archive.
    pub(super) fn is_at_multiple_of(&self, bytes: u64) -> Option<bool> {
        self.data_offset.map(|offset| offset.is_multiple_of(bytes))
    }
}
