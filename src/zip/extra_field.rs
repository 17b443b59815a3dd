//! The extra fields of local and central headers (APPNOTE 4.5).

use super::fields::Fields;

/// ZIP64 extended information (APPNOTE 4.5.3).
pub(super) const ZIP64: u16 = 0x0001;
/// Info-ZIP Unicode Path (APPNOTE 4.6.9).
const UNICODE_PATH: u16 = 0x7075;
/// Extended timestamp (Info-ZIP's `extrafld.txt`).
pub(super) const EXTENDED_TIMESTAMP: u16 = 0x5455;

/// Returns the fields as (id, content). A field that runs past the end ends the list: its content is
/// not known, and no byte that npzfs serves depends on it.
fn fields(extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = Fields::new(extra);
    std::iter::from_fn(move || {
        let id = rest.u16()?;
        let len = rest.u16()?;
        Some((id, rest.bytes(len.into())?))
    })
}

fn find(extra: &[u8], wanted: u16) -> Option<Fields<'_>> {
    fields(extra)
        .find(|&(id, _)| id == wanted)
        .map(|(_, content)| Fields::new(content))
}

/// The 64-bit values of saturated 32-bit fields.
///
/// A header stores 0xFFFFFFFF in a field whose value does not fit and puts the value here; the
/// field holds only those values, in this fixed order.
pub(super) struct Zip64<'a>(Option<Fields<'a>>);

impl<'a> Zip64<'a> {
    pub(super) fn new(extra: &'a [u8]) -> Self {
        Self(find(extra, ZIP64))
    }

    /// Returns the value of a 32-bit header field; `None` where it is saturated and the ZIP64 field,
    /// though present, does not hold it. Without a ZIP64 field 0xFFFFFFFF is an ordinary number.
    pub(super) fn widen(&mut self, narrow: u32) -> Option<u64> {
        match &mut self.0 {
            Some(wide) if narrow == u32::MAX => wide.u64(),
            _ => Some(narrow.into()),
        }
    }
}

/// Returns the time of last modification of an extended timestamp, in seconds since 1970 (UTC).
pub(super) fn modified(extra: &[u8]) -> Option<i64> {
    let mut field = find(extra, EXTENDED_TIMESTAMP)?;
    let has_modified = field.u8()? & 1 != 0;
    // 32 bits in the specification; tools read them as signed.
    let seconds = field.u32()?.cast_signed();
    has_modified.then_some(seconds.into())
}

/// Returns the name in a Unicode Path field, which stands for the name in the header as long as its
/// CRC-32 is that of `header_name`: a program that renames a member may not know the field.
pub(super) fn unicode_path<'a>(extra: &'a [u8], header_name: &[u8]) -> Option<&'a [u8]> {
    let mut field = find(extra, UNICODE_PATH)?;
    let (version, crc32) = (field.u8()?, field.u32()?);
    let name = field.up_to(usize::MAX);
    let is_valid = version == 1
        && crc32 == crc32fast::hash(header_name)
        && !name.is_empty()
        && std::str::from_utf8(name).is_ok();
    is_valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unicode_path_must_fit_the_name_in_the_header() {
        let field = |version: u8, header_name: &[u8], name: &[u8]| {
            let content = [
                &[version][..],
                &crc32fast::hash(header_name).to_le_bytes(),
                name,
            ];
            let content = content.concat();
            [&[0x75, 0x70, content.len() as u8, 0][..], &content].concat()
        };
        let valid = field(1, b"gr?n", "grün".as_bytes());
        assert_eq!(unicode_path(&valid, b"gr?n"), Some("grün".as_bytes()));
        assert_eq!(unicode_path(&valid, b"other"), None);
        assert_eq!(unicode_path(&field(2, b"x", b"y"), b"x"), None);
        assert_eq!(unicode_path(&field(1, b"x", b""), b"x"), None);
        assert_eq!(unicode_path(&field(1, b"x", b"\xE4"), b"x"), None);
        assert_eq!(unicode_path(&valid[..valid.len() - 1], b"gr?n"), None);
        assert_eq!(unicode_path(&[0x75, 0x70, 2, 0, 1, 0], b"x"), None);
    }

    #[test]
    fn saturated_fields_take_zip64_values_in_order() {
        let mut extra = vec![0x55, 0x54, 1, 0, 0];
        extra.extend([1, 0, 16, 0]);
        extra.extend(7u64.to_le_bytes());
        extra.extend(9u64.to_le_bytes());
        let mut zip64 = Zip64::new(&extra);
        assert_eq!(zip64.widen(u32::MAX), Some(7));
        assert_eq!(zip64.widen(5), Some(5));
        assert_eq!(zip64.widen(u32::MAX), Some(9));
        assert_eq!(zip64.widen(u32::MAX), None);
    }

    #[test]
    fn without_a_zip64_field_0xffffffff_is_a_number() {
        assert_eq!(Zip64::new(&[]).widen(u32::MAX), Some(0xFFFF_FFFF));
    }

    #[test]
    fn an_extended_timestamp_has_a_flag_for_each_time() {
        let field = |flags| {
            let mut extra = vec![0x55, 0x54, 5, 0, flags];
            extra.extend((-86_400i32).to_le_bytes());
            extra
        };
        assert_eq!(modified(&field(1)), Some(-86_400));
        assert_eq!(modified(&field(2)), None);
        assert_eq!(modified(&field(1)[..7]), None);
    }

    #[test]
    fn a_field_that_runs_past_the_end_is_ignored() {
        assert_eq!(fields(&[1, 0, 200, 0, 1, 2, 3]).count(), 0);
    }
}
