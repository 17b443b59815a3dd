//! The data descriptor: CRC and sizes behind the data of a member, from a writer that knew them only
//! then (APPNOTE 4.3.9).

use super::fields::Fields;
use super::member::Member;

const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// A 32-bit size that does not fit.
const SATURATED: u64 = u32::MAX as u64;
/// Length of the longest descriptor, in bytes.
pub(super) const DESCRIPTOR_MAX: usize = 24;

/// A descriptor that agrees with the central header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataDescriptor {
    /// Its length in bytes.
    pub(super) len: usize,
    /// Whether both sizes are 0xFFFFFFFF instead of the true ones.
    pub(super) is_saturated: bool,
}

impl DataDescriptor {
    /// Parses the descriptor at the start of `bytes`; `None` where there is none that agrees with the
    /// central header. `room` is the number of bytes before the next header.
    ///
    /// A descriptor has a signature or not, and sizes of 32 or of 64 bits. Nothing in the archive says
    /// which, so a form is taken that agrees: if several do, as for empty members, that which fills
    /// the room.
    pub(super) fn parse(bytes: &[u8], member: &Member, room: u64) -> Option<Self> {
        let forms = [(true, false), (true, true), (false, false), (false, true)];
        let parse = |(is_signed, is_wide)| Self::parse_form(bytes, member, is_signed, is_wide);
        let mut agreeing = forms.into_iter().filter_map(parse);
        let filling = agreeing.clone().find(|form| form.len as u64 == room);
        filling.or_else(|| agreeing.next())
    }

    fn parse_form(bytes: &[u8], member: &Member, is_signed: bool, is_wide: bool) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if is_signed {
            fields.signature(DESCRIPTOR)?;
        }
        let crc32 = fields.u32()?;
        let mut size = || match is_wide {
            true => fields.u64(),
            false => fields.u32().map(u64::from),
        };
        let sizes = [size()?, size()?];
        let is_exact = sizes == [member.extent.len, member.size];
        let is_saturated = is_signed && !is_wide && sizes == [SATURATED; 2];
        let agrees = crc32 == member.crc32 && (is_exact || is_saturated);
        agrees.then_some(Self {
            len: if is_signed { 8 } else { 4 } + if is_wide { 16 } else { 8 },
            is_saturated: !is_exact,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::zip::method::Method;

    fn member(size: u64, len: u64, crc32: u32) -> Member {
        Member {
            method: Method::DEFLATED,
            crc32,
            size,
            ..Member::stored_at(Extent { start: 30, len })
        }
    }

    #[test]
    fn each_form_is_recognised_by_its_values() {
        let member = member(9, 7, 0x0403_0201);
        let narrow = [1, 2, 3, 4, 7, 0, 0, 0, 9, 0, 0, 0];
        let wide = [1, 2, 3, 4, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let len = |bytes: &[u8]| {
            let descriptor = DataDescriptor::parse(bytes, &member, bytes.len() as u64);
            assert!(descriptor.is_none_or(|descriptor| !descriptor.is_saturated));
            descriptor.map(|descriptor| descriptor.len)
        };
        for descriptor in [&narrow[..], &wide] {
            let signed = [&DESCRIPTOR, descriptor].concat();
            for bytes in [descriptor, &signed] {
                let followed = [bytes, b"PK\x03\x04 more"].concat();
                assert_eq!(len(&followed), Some(bytes.len()));
                assert_eq!(len(bytes), Some(bytes.len()));
                assert_eq!(len(&bytes[..bytes.len() - 1]), None);
                for at in 0..bytes.len() {
                    let mut wrong = bytes.to_vec();
                    wrong[at] ^= 1;
                    assert_eq!(len(&wrong), None, "{at}");
                }
            }
        }
    }

    #[test]
    fn the_descriptor_of_an_empty_member_fills_its_room() {
        for (member, data_len) in [(member(0, 0, 0), 0), (member(0, 2, 0), 2)] {
            let wide = [&DESCRIPTOR[..], &[0; 4], &[data_len], &[0; 15]].concat();
            for (room, len) in [(16, 16), (24, 24), (100, 16)] {
                let descriptor = DataDescriptor::parse(&wide, &member, room).unwrap();
                assert_eq!(descriptor.len, len, "{room}");
            }
        }
    }

    #[test]
    fn both_sizes_may_be_saturated() {
        let crc32 = 0x0403_0201u32;
        let bytes = [&DESCRIPTOR[..], &crc32.to_le_bytes(), &[0xFF; 8]].concat();
        let descriptor = DataDescriptor {
            len: 16,
            is_saturated: true,
        };
        let parse = |bytes: &[u8], crc32| DataDescriptor::parse(bytes, &member(9, 7, crc32), 16);
        assert_eq!(parse(&bytes, crc32), Some(descriptor));
        assert_eq!(parse(&bytes, 1), None);
        assert_eq!(parse(&bytes[4..], crc32), None);
        let one_of_them = [&bytes[..12], &[7, 0, 0, 0]].concat();
        assert_eq!(parse(&one_of_them, crc32), None);
    }
}
