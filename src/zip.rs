//! The ZIP format: from the bytes of an archive to its members.
//!
//! npzfs parses the index itself. A mount serves a stored member as a range of the archive's bytes,
//! so that range has to be certain: each member is checked against its local header and against its
//! neighbours, and one that fails is not served. Libraries for ZIP archives accept more, among it
//! archives in which two readers find different bytes. The price is this module; decompression is
//! left to libraries.
//!
//! Section numbers are those of PKWARE's APPNOTE 6.3.10.

pub(crate) mod budget;
mod central_header;
mod data_descriptor;
mod decoder;
mod deflate;
mod dos_time;
mod eocd;
mod error;
mod extents;
mod extra_field;
mod fields;
mod gaps;
mod index;
mod local_header;
mod member;
mod method;
mod names;
mod quirk;
mod read_at;
mod window;
mod writer;

pub use decoder::Decoder;
pub use error::{ArchiveError, DecodeError, MemberError, MemberErrorKind};
pub use gaps::{Gap, Gaps};
pub use index::{Index, index};
pub use member::{Member, Stamp};
pub use method::Method;
pub use names::{Name, Names, decode};
pub use quirk::{ArchiveQuirk, MemberQuirk, MemberQuirks};
pub use read_at::ReadAt;
pub(crate) use window::Window;
pub use writer::{Record, end_records};
