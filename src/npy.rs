//! The header of an `.npy` file (NumPy's `numpy.lib.format`, versions 1.0 to 3.0).
//!
//! The header is a Python dictionary literal. The parser is small, works on the bytes that it is
//! given and nothing else, and bounds its depth: a header comes from whoever made the archive.

mod dtype;

use std::borrow::Cow;

pub use dtype::Items;

const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// The longest header that is read, in bytes, with all that comes before the dictionary. NumPy
/// itself stops at 10,000 unless told to trust the file. No extended attribute could hold more.
pub const HEADER_MAX: usize = 64 * 1024;

/// How much of a file is read at first, in bytes: nearly every header fits in.
pub const FIRST_READ: usize = 512;

/// How deep lists and tuples may nest. NumPy's own types stay below 10.
const DEPTH_MAX: u32 = 32;

/// What a header says about its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyHeader {
    /// Format version: (1, 0), (2, 0) or (3, 0).
    pub version: (u8, u8),
    /// The dtype: `<f8`, or for a structured one the Python literal that describes its fields.
    pub descr: String,
    /// Whether the data is in Fortran order (first index fastest).
    pub fortran_order: bool,
    /// Length of each dimension; empty for a 0-d array.
    pub shape: Vec<u64>,
    /// Where the array's data starts, in bytes from the start of the file.
    pub data_offset: u64,
}

impl NpyHeader {
    /// Parses the header that `bytes`, the start of a file, begin with; `None` where there is none
    /// that NumPy would read, or it does not end within `bytes`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ((major, minor), len, rest) = start(bytes)?;
        let literal = rest.get(..len)?;
        // Version 3.0 is UTF-8, the older ones are Latin-1.
        let text = if major == 3 {
            Cow::Borrowed(std::str::from_utf8(literal).ok()?)
        } else {
            Cow::Owned(literal.iter().map(|&byte| char::from(byte)).collect())
        };
        let fields = Literal::dictionary(&text)?;
        Some(Self {
            version: (major, minor),
            descr: fields.descr,
            fortran_order: fields.fortran_order,
            shape: fields.shape,
            data_offset: (bytes.len() - rest.len() + len) as u64,
        })
    }

    /// The header of a file whose first bytes `start` reads: as many as it is asked for, fewer only
    /// where the file ends first. `None` where [`parse`](Self::parse) finds none in the first
    /// [`HEADER_MAX`] bytes, or `descr` would be longer than that as UTF-8.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn find<E>(mut start: impl FnMut(usize) -> Result<Vec<u8>, E>) -> Result<Option<Self>, E> {
        for len in [FIRST_READ, HEADER_MAX] {
            let bytes = start(len)?;
            let header = Self::parse(&bytes);
            if header.is_some() || bytes.len() < len || !bytes.starts_with(&MAGIC) {
                return Ok(header.filter(|header| header.descr.len() <= HEADER_MAX));
            }
        }
        Ok(None)
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

/// Whether a file that starts with `bytes` is meant as `.npy`.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Where the array's data starts in a file that starts with `bytes`, in bytes from its start, which
/// may be past the end of `bytes`; `None` where they are not the start of an npy header.
pub fn data_offset(bytes: &[u8]) -> Option<u64> {
    let (_, len, rest) = start(bytes)?;
    Some((bytes.len() - rest.len()) as u64 + len as u64)
}

/// The version, the length of the dictionary and the bytes from there on.
fn start(bytes: &[u8]) -> Option<((u8, u8), usize, &[u8])> {
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

struct Fields {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the subset of Python literals that `numpy.lib.format` writes.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    /// NumPy wants exactly these three keys, in any order.
    fn dictionary(text: &'a str) -> Option<Fields> {
        let mut literal = Self { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        literal.token("{")?;
        while literal.token("}").is_none() {
            let key = literal.string()?;
            literal.token(":")?;
            let taken = match key {
                "descr" => descr.replace(literal.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(literal.boolean()?).is_some(),
                "shape" => shape.replace(literal.shape()?).is_some(),
                _ => return None,
            };
            if taken || literal.token(",").is_none() && !literal.starts_with("}") {
                return None;
            }
        }
        literal.end()?;
        Some(Fields {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }

    fn skip_space(&mut self) {
        self.rest = self
            .rest
            .trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn starts_with(&mut self, token: &str) -> bool {
        self.skip_space();
        self.rest.starts_with(token)
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        self.skip_space();
        self.rest.is_empty().then_some(())
    }

    /// The inside of a string, its escapes left as they are: neither a key nor a dtype needs one,
    /// and the name of a field is shown as the header has it.
    fn string(&mut self) -> Option<&'a str> {
        self.skip_space();
        let rest = self.rest.strip_prefix(['u', 'b']).unwrap_or(self.rest);
        let quote = rest
            .chars()
            .next()
            .filter(|quote| matches!(quote, '\'' | '"'))?;
        let inside = &rest[1..];
        let mut escaped = false;
        let end = inside.find(|character| {
            let ends = character == quote && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        })?;
        self.rest = &inside[end + 1..];
        Some(&inside[..end])
    }

    fn boolean(&mut self) -> Option<bool> {
        match (self.token("True"), self.token("False")) {
            (Some(()), None) => Some(true),
            (None, Some(())) => Some(false),
            _ => None,
        }
    }

    /// A length; Python 2 put an `L` behind long ones.
    fn length(&mut self) -> Option<u64> {
        self.skip_space();
        let digits = self.rest.len()
            - self
                .rest
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let length = self.rest[..digits].parse().ok()?;
        self.rest = &self.rest[digits..];
        self.rest = self.rest.strip_prefix('L').unwrap_or(self.rest);
        Some(length)
    }

    fn shape(&mut self) -> Option<Vec<u64>> {
        let mut shape = Vec::new();
        self.token("(")?;
        while self.token(")").is_none() {
            shape.push(self.length()?);
            if self.token(",").is_none() {
                // A single length without a comma would be a number in parentheses.
                self.token(")").filter(|()| shape.len() > 1)?;
                break;
            }
        }
        Some(shape)
    }

    /// A dtype: a string, or a list of fields, which is kept as it is written.
    fn descr(&mut self) -> Option<String> {
        self.skip_space();
        if !self.rest.starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let before = self.rest;
        self.sequence(0)?;
        Some(before[..before.len() - self.rest.len()].to_owned())
    }

    /// A list or a tuple of strings, numbers and the like.
    fn sequence(&mut self, depth: u32) -> Option<()> {
        let close = match (self.token("["), depth) {
            (_, DEPTH_MAX..) => return None,
            (Some(()), _) => "]",
            (None, _) => {
                self.token("(")?;
                ")"
            }
        };
        while self.token(close).is_none() {
            if self.starts_with("[") || self.starts_with("(") {
                self.sequence(depth + 1)?;
            } else if self.string().is_none() {
                self.length()?;
            }
            if self.token(",").is_none() {
                return self.token(close);
            }
        }
        Some(())
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
    fn a_header_of_numpy_is_read() {
        let literal = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }          \n";
        for version in [(1, 0), (2, 0), (3, 0)] {
            let bytes = file(version, literal);
            let header = NpyHeader::parse(&bytes).unwrap();
            assert_eq!(
                header,
                NpyHeader {
                    version,
                    descr: "<f8".into(),
                    fortran_order: false,
                    shape: vec![3, 4],
                    data_offset: bytes.len() as u64,
                }
            );
            assert_eq!(header.shape_text(), "3,4");
        }
    }

    #[test]
    fn keys_may_come_in_any_order_and_quotes_of_either_kind() {
        let header = parse("{\"shape\":(7,),\"fortran_order\":True,\"descr\":\"|b1\"}").unwrap();
        assert_eq!(
            (header.shape_text(), header.fortran_order),
            ("7".into(), true)
        );
        assert_eq!(header.descr, "|b1");
    }

    #[test]
    fn long_integers_of_python_2_are_read() {
        assert_eq!(with_shape("(3L, 4L)"), Some(vec![3, 4]));
    }

    #[test]
    fn shapes_are_tuples_of_lengths() {
        assert_eq!(with_shape("()"), Some(vec![]));
        assert_eq!(with_shape("(5,)"), Some(vec![5]));
        assert_eq!(with_shape("(0, 1,)"), Some(vec![0, 1]));
        for wrong in [
            "(5)", "[5]", "5", "(-1,)", "(1.5,)", "(,)", "(1,,2)", "(1 2)", "('a',)",
        ] {
            assert_eq!(with_shape(wrong), None, "{wrong}");
        }
        assert_eq!(with_shape("(18446744073709551616,)"), None);
    }

    #[test]
    fn a_structured_dtype_is_kept_as_it_is_written() {
        for descr in [
            "[('a', '<i4'), ('b', '<f8', (2, 3))]",
            "[(('title', 'name'), '<i4'), ('n', [('x', '|S3')])]",
            "[('it\\'s', '<i4')]",
            "[]",
        ] {
            assert_eq!(with_descr(descr).as_deref(), Some(descr));
        }
    }

    #[test]
    fn field_names_of_version_1_are_latin_1_and_of_version_3_utf8() {
        let literal = "{'descr': [('é', '<i4')], 'fortran_order': False, 'shape': ()}";
        let latin1: Vec<u8> = literal.chars().map(|c| c as u8).collect();
        let mut bytes = file((1, 0), "");
        bytes[8..].copy_from_slice(&(latin1.len() as u16).to_le_bytes());
        bytes.extend(latin1);
        assert_eq!(NpyHeader::parse(&bytes).unwrap().descr, "[('é', '<i4')]");
        let header = NpyHeader::parse(&file((3, 0), literal)).unwrap();
        assert_eq!(header.descr, "[('é', '<i4')]");
    }

    #[test]
    fn what_is_no_dictionary_of_exactly_three_keys_is_refused() {
        for wrong in [
            "",
            "{",
            "{}",
            "[]",
            "'descr'",
            "{'descr': '<f8', 'fortran_order': False}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'more': 1}",
            "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f8' 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': ()} x",
            "{'descr': '<f8', 'fortran_order': 1, 'shape': ()}",
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}",
            "{'descr': 'f8, 'fortran_order': False, 'shape': ()}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let nested = |depth: usize| with_descr(&("[".repeat(depth) + &"]".repeat(depth)));
        assert!(nested(32).is_some());
        assert_eq!(nested(33), None);
        assert_eq!(nested(20_000), None);
        let tuples = format!("[{}", "(".repeat(20_000));
        assert_eq!(with_descr(&tuples), None);
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
