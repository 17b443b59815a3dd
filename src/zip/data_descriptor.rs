//! The data descriptor: CRC and sizes behind the data of a member, from a writer that knew them only
//! then (APPNOTE 4.3.9).

use super::fields::Fields;
use super::member::Member;

const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Length of the longest descriptor, in bytes.
pub(super) const DESCRIPTOR_MAX: usize = 24;

/// Returns the length in bytes of the descriptor at the start of `bytes`; `None` where there is none
/// that agrees with the central header.
///
/// A descriptor has a signature or not, and sizes of 32 or of 64 bits. Nothing in the archive says
/// which, so the form that agrees is taken.
pub(super) fn descriptor_len(bytes: &[u8], member: &Member) -> Option<usize> {
    [(true, false), (true, true), (false, false), (false, true)]
        .into_iter()
        .find_map(|(signed, wide)| len_if(bytes, member, signed, wide))
}

fn len_if(bytes: &[u8], member: &Member, signed: bool, wide: bool) -> Option<usize> {
    let mut fields = Fields::new(bytes);
    if signed {
        fields.signature(DESCRIPTOR)?;
    }
    let crc32 = fields.u32()?;
    let mut length = || match wide {
        true => fields.u64(),
        false => fields.u32().map(u64::from),
    };
    let (compressed_len, size) = (length()?, length()?);
    let agrees = (crc32, compressed_len, size) == (member.crc32, member.extent.len, member.size);
    agrees.then_some(if signed { 8 } else { 4 } + if wide { 16 } else { 8 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::zip::method::Method;
    use crate::zip::names::Name;

    #[test]
    fn each_form_is_recognised_by_its_values() {
        let member = Member {
            name: Name::default(),
            method: Method::DEFLATED,
            flags: 0,
            crc32: 0x0403_0201,
            size: 9,
            extent: Extent { start: 30, len: 7 },
            local_header_offset: 0,
            modified: 0,
            is_dated: false,
            stamp: Default::default(),
            problem: None,
        };
        let narrow = [1, 2, 3, 4, 7, 0, 0, 0, 9, 0, 0, 0];
        let wide = [1, 2, 3, 4, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        for descriptor in [&narrow[..], &wide] {
            let signed = [&DESCRIPTOR, descriptor].concat();
            for bytes in [descriptor, &signed] {
                let followed = [bytes, b"PK\x03\x04 more"].concat();
                assert_eq!(descriptor_len(&followed, &member), Some(bytes.len()));
                assert_eq!(descriptor_len(bytes, &member), Some(bytes.len()));
                assert_eq!(descriptor_len(&bytes[..bytes.len() - 1], &member), None);
                for at in 0..bytes.len() {
                    let mut wrong = bytes.to_vec();
                    wrong[at] ^= 1;
                    assert_eq!(descriptor_len(&wrong, &member), None, "{at}");
                }
            }
        }
    }
}
