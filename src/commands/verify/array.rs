//! Checks a member against its npy header.

use super::finding::{Fault, Note};
use crate::npy::{self, Items, NpyHeader};

/// Checks the npy header of the member `name`, whose `size` bytes of contents start with `head`.
pub(super) fn check(name: &[u8], head: &[u8], size: u64) -> Result<Option<Note>, Fault> {
    if !npy::has_magic(head) {
        let is_named = name.ends_with(b".npy");
        return if is_named {
            Err(Fault::NotNpy)
        } else {
            Ok(None)
        };
    }
    match npy::data_offset(head) {
        Some(len_bytes) if len_bytes > head.len() as u64 && len_bytes <= size => {
            return Ok(Some(Note::LongNpyHeader { len_bytes }));
        }
        _ => {}
    }
    let header = NpyHeader::parse(head).ok_or(Fault::NpyHeader)?;
    let actual = size - header.data_offset;
    match header.items() {
        None => Err(Fault::Dtype(header.descr)),
        Some(Items::Pickled) => Ok(None),
        Some(Items::Plain(itemsize)) => match header.len_bytes(itemsize) {
            Some(declared) if declared == actual => Ok(None),
            declared => Err(Fault::ArrayLen { declared, actual }),
        },
    }
}
