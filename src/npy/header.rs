//! The header itself: magic, version, length, and a dictionary of three keys.

use std::borrow::Cow;

use super::descr;
use super::dtype::{Dtype, Items};
use super::literal::Value;

const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// The longest header that is read, in bytes, from the magic to the end of the dictionary. No extended
/// attribute could hold a longer dtype, and NumPy stops at 10,000 unless it trusts the file.
pub const HEADER_MAX: usize = 64 * 1024;

/// Bytes of a file to read first. Nearly every header fits into them.
pub const FIRST_READ: usize = 512;

/// An npy header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyHeader {
    /// The format version: (1, 0), (2, 0) or (3, 0).
    pub version: (u8, u8),
    /// The dtype: `<f8`, or for a structure the Python literal as the header has it.
    pub descr: String,
    /// How the items are stored; `None` if NumPy knows no such dtype.
    pub items: Option<Items>,
    /// Whether the first index varies fastest.
    pub fortran_order: bool,
    /// The length of each dimension; empty for a 0-d array.
    pub shape: Vec<u64>,
    /// The length of the dictionary in characters, with its padding: NumPy limits it.
    pub literal_len: usize,
    /// Offset of the array's data in the file, in bytes.
    pub data_offset: u64,
}

impl NpyHeader {
    /// Parses the header at the start of `bytes`; `None` if it is damaged or longer than they are.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ((major, minor), len, rest) = preamble(bytes)?;
        let literal = rest.get(..len)?;
        // Version 3.0 is UTF-8, the older ones are Latin-1.
        let text = if major == 3 {
            Cow::Borrowed(std::str::from_utf8(literal).ok()?)
        } else {
            Cow::Owned(literal.iter().map(|&byte| char::from(byte)).collect())
        };
        let dictionary = Dictionary::parse(&text)?;
        Some(Self {
            version: (major, minor),
            descr: dictionary.descr,
            items: dictionary.items,
            fortran_order: dictionary.fortran_order,
            shape: dictionary.shape,
            literal_len: text.chars().count(),
            data_offset: (bytes.len() - rest.len() + len) as u64,
        })
    }

    /// Finds the header of a file. `start` reads as many of its first bytes as it is asked for, or all
    /// if there are fewer. Returns `None` if [`parse`](Self::parse) finds no header in the first
    /// [`HEADER_MAX`] bytes, or `descr` is longer than that in UTF-8.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn find<E>(mut start: impl FnMut(usize) -> Result<Vec<u8>, E>) -> Result<Option<Self>, E> {
        for len in [FIRST_READ, HEADER_MAX] {
            let bytes = start(len)?;
            let header = Self::parse(&bytes);
            if header.is_some() || bytes.len() < len || !has_magic(&bytes) {
                return Ok(header.filter(|header| header.descr.len() <= HEADER_MAX));
            }
        }
        Ok(None)
    }

    /// The length in bytes of all items of `item_len` bytes; `None` if it exceeds 64 bits.
    pub fn data_len(&self, item_len: u64) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut lengths = self.shape.iter();
        lengths.try_fold(item_len, |product, &len| product.checked_mul(len))
    }

    /// The version as NumPy writes it: `1.0`.
    pub fn version_text(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// The shape as `3,4`; `3` for one dimension, empty for none.
    pub fn shape_text(&self) -> String {
        let lengths: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        lengths.join(",")
    }
}

/// Whether a file that starts with `bytes` starts with the magic of npy files.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The offset of the array's data in a file that starts with `bytes`, even if they end before it;
/// `None` if they are not the start of an npy header.
pub fn data_offset(bytes: &[u8]) -> Option<u64> {
    let (_, len, rest) = preamble(bytes)?;
    Some((bytes.len() - rest.len()) as u64 + len as u64)
}

/// The version, the length of the dictionary, and the bytes from there on.
fn preamble(bytes: &[u8]) -> Option<((u8, u8), usize, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (&[major, minor], rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = match (major, minor) {
        (1, 0) => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_le_bytes(*len).into(), rest)
        }
        (2 | 3, 0) => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return None,
    };
    Some(((major, minor), len, rest))
}

struct Dictionary {
    descr: String,
    items: Option<Items>,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Dictionary {
    /// NumPy insists on exactly these three keys, in any order. Of equal keys Python takes the last.
    fn parse(text: &str) -> Option<Self> {
        let Value::Dict(entries) = Value::parse(text)? else {
            return None;
        };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        for entry in &entries {
            let Value::Text(key) = &entry.key else {
                return None;
            };
            match &**key {
                "descr" => descr = Some(entry),
                "fortran_order" => fortran_order = Some(&entry.value),
                "shape" => shape = Some(&entry.value),
                _ => return None,
            }
        }
        let (descr, Value::Bool(fortran_order), Value::Tuple(shape)) =
            (descr?, fortran_order?, shape?)
        else {
            return None;
        };
        let length = |value: &Value<'_>| match value {
            Value::Int(length) => u64::try_from(*length).ok(),
            _ => None,
        };
        Some(Self {
            descr: match &descr.value {
                Value::Text(text) => text.clone().into_owned(),
                Value::List(_) | Value::Tuple(_) => descr.source.to_owned(),
                _ => return None,
            },
            items: descr::dtype(&descr.value).map(Dtype::items),
            fortran_order: *fortran_order,
            shape: shape.iter().map(length).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: (u8, u8), literal: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version.0, version.1]);
        match version.0 {
            1 => bytes.extend((literal.len() as u16).to_le_bytes()),
            _ => bytes.extend((literal.len() as u32).to_le_bytes()),
        }
        bytes.extend(literal.as_bytes());
        bytes
    }

    fn parse(literal: &str) -> Option<NpyHeader> {
        NpyHeader::parse(&file((1, 0), literal))
    }

    fn with_descr(descr: &str) -> Option<String> {
        let literal = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': ()}}");
        parse(&literal).map(|header| header.descr)
    }

    fn with_shape(shape: &str) -> Option<Vec<u64>> {
        let literal = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
        parse(&literal).map(|header| header.shape)
    }

    #[test]
    fn headers_of_every_version_are_parsed() {
        let literal = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }          \n";
        for version in [(1, 0), (2, 0), (3, 0)] {
            let bytes = file(version, literal);
            let header = NpyHeader::parse(&bytes).unwrap();
            assert_eq!(
                header,
                NpyHeader {
                    version,
                    descr: "<f8".into(),
                    items: Some(Items::Plain(8)),
                    fortran_order: false,
                    shape: vec![3, 4],
                    literal_len: literal.len(),
                    data_offset: bytes.len() as u64,
                }
            );
            assert_eq!(header.shape_text(), "3,4");
        }
    }

    #[test]
    fn keys_come_in_any_order_and_the_last_of_equal_ones_counts() {
        let header = parse("{\"shape\":(7,),\"fortran_order\":True,\"descr\":\"|b1\"}").unwrap();
        assert_eq!(header.shape_text(), "7");
        assert!(header.fortran_order);
        assert_eq!(header.descr, "|b1");
        let repeated = "{'descr': 3, 'shape': None, b'descr': '<f4', 'fortran_order': False,
            'shape': (2,), 'descr': '<f8'}";
        let header = parse(repeated).unwrap();
        assert_eq!((&*header.descr, header.shape), ("<f8", vec![2]));
    }

    #[test]
    fn shapes_are_tuples_of_lengths() {
        for (shape, expected) in [
            ("()", &[][..]),
            ("(5,)", &[5]),
            ("(0, 1,)", &[0, 1]),
            ("(3L, 4L)", &[3, 4]),
            ("(+3, 4)", &[3, 4]),
            ("((3), (4))", &[3, 4]),
        ] {
            assert_eq!(with_shape(shape).as_deref(), Some(expected), "{shape}");
        }
        for wrong in [
            "(5)",
            "[5]",
            "5",
            "(-1,)",
            "(1.5,)",
            "(,)",
            "(1,,2)",
            "(1 2)",
            "('a',)",
            "(True,)",
            "(18446744073709551616,)",
        ] {
            assert_eq!(with_shape(wrong), None, "{wrong}");
        }
        let many = format!("({})", "1,".repeat(65));
        assert_eq!(with_shape(&many), Some(vec![1; 65]));
    }

    #[test]
    fn a_structured_dtype_is_kept_as_it_is_written() {
        for descr in [
            "[('a', '<i4'), ('b', '<f8', (2, 3))]",
            "[(('title', 'name'), '<i4'), ('n', [('x', '|S3')])]",
            "[('it\\'s', '<i4')]",
            "[('m', ('<f8', (3,)), (2,))]",
            "('<f8', (3,))",
            "[]",
            "[('a', '<f7')]",
        ] {
            assert_eq!(with_descr(descr).as_deref(), Some(descr));
        }
        assert_eq!(
            with_descr("('flo'\n# comment\n'at64')").as_deref(),
            Some("float64")
        );
    }

    #[test]
    fn field_names_are_latin_1_in_version_1_and_utf8_in_version_3() {
        let literal = "{'descr': [('é', '<i4')], 'fortran_order': False, 'shape': ()}";
        let latin1: Vec<u8> = literal.chars().map(|c| c as u8).collect();
        let mut bytes = file((1, 0), "");
        bytes[8..].copy_from_slice(&(latin1.len() as u16).to_le_bytes());
        bytes.extend(latin1);
        assert_eq!(NpyHeader::parse(&bytes).unwrap().descr, "[('é', '<i4')]");
        let header = NpyHeader::parse(&file((3, 0), literal)).unwrap();
        assert_eq!(header.descr, "[('é', '<i4')]");
        assert_eq!(header.literal_len, literal.chars().count());
    }

    #[test]
    fn other_literals_than_a_dictionary_of_three_keys_are_refused() {
        for wrong in [
            "",
            "{",
            "{}",
            "[]",
            "'descr'",
            "{'descr': '<f8', 'fortran_order': False}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'more': 1}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), 1: 1}",
            "{'descr': '<f8' 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': ()} x",
            "{'descr': '<f8', 'fortran_order': 1, 'shape': ()}",
            "{'descr': 8, 'fortran_order': False, 'shape': ()}",
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}",
            "{'descr': 'f8, 'fortran_order': False, 'shape': ()}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn data_lengths_beyond_64_bits_are_none() {
        let data_len = |shape: &str, item_len| {
            let literal = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
            parse(&literal).unwrap().data_len(item_len)
        };
        assert_eq!(data_len("(2305843009213693952,)", 8), None);
        assert_eq!(data_len("(2305843009213693952, 0)", 8), Some(0));
        assert_eq!(data_len("(1152921504606846976,)", 8), Some(1 << 63));
        assert_eq!(data_len("()", 8), Some(8));
    }

    #[test]
    fn a_header_longer_than_the_file_is_refused() {
        let mut bytes = file(
            (2, 0),
            "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        );
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(NpyHeader::parse(&bytes), None);
    }

    #[test]
    fn other_magics_and_versions_are_refused() {
        let good = file(
            (1, 0),
            "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        );
        assert!(NpyHeader::parse(&good).is_some());
        for (at, byte) in [(0, 0), (6, 4), (6, 0), (7, 1)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(NpyHeader::parse(&bytes), None);
        }
        assert_eq!(NpyHeader::parse(&good[..9]), None);
    }
}
