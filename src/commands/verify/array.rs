//! Checks a member against its npy header.

use super::finding::{Fault, Note};
use crate::npy::{self, Items, NpyHeader};

/// NumPy refuses longer headers, in characters, unless its caller raises `max_header_size`.
const HEADER_LEN_MAX: usize = 10_000;

/// Where macOS puts the attributes of the files that it archives, under the names of these files.
const APPLE_DOUBLE_FOLDER: &[u8] = b"__MACOSX/";
/// The magic of such attributes, which other archivers put beside the file.
const APPLE_DOUBLE_MAGIC: [u8; 4] = [0, 5, 0x16, 7];

/// Checks the npy header of the member `name`, whose `size` bytes of contents start with `head`.
pub(super) fn check(name: &[u8], head: &[u8], size: u64) -> Result<Option<Note>, Fault> {
    if !npy::has_magic(head) {
        let is_apple_double =
            name.starts_with(APPLE_DOUBLE_FOLDER) || head.starts_with(&APPLE_DOUBLE_MAGIC);
        if name.ends_with(b".npy") && !is_apple_double {
            return Err(Fault::NotNpy);
        }
        return Ok(None);
    }
    match npy::data_offset(head) {
        Some(len_bytes) if len_bytes > head.len() as u64 && len_bytes <= size => {
            return Ok(Some(Note::UncheckedNpyHeader { len_bytes }));
        }
        _ => {}
    }
    let header = NpyHeader::parse(head).ok_or(Fault::NpyHeader)?;
    let actual = size - header.data_offset;
    match header.items {
        None => return Err(Fault::Dtype(header.descr)),
        // Even an array of no objects has a pickle.
        Some(Items::Pickled) if actual == 0 => return Err(Fault::NoPickle),
        Some(Items::Pickled) => {}
        Some(Items::Plain(item_len)) => match header.data_len(item_len) {
            Some(declared) if declared == actual => {}
            declared => return Err(Fault::ArrayLen { declared, actual }),
        },
    }
    let len_chars = header.literal_len;
    Ok((len_chars > HEADER_LEN_MAX).then_some(Note::LongNpyHeader { len_chars }))
}
