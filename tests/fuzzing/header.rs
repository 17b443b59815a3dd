//! Invariants of the npy header at the start of arbitrary bytes.

use ndarray_npy::npy::header::{Header, Layout};
use npyz::Order;
use npzfs::npy::{self, Items, NpyHeader};

use crate::mutate::Format;

/// The time that both other readers take at least doubles with each level of nesting.
const ORACLES_DEPTH_MAX: usize = 8;

/// Parses `bytes` and panics where the header breaks an invariant.
pub fn check(bytes: &[u8]) {
    let ours = NpyHeader::parse(bytes);
    let literal = literal(bytes);
    if let Some(header) = &ours {
        let end = header.data_offset as usize;
        let (start, text) = literal.expect("the header ends in the file");
        assert_eq!(end, start + text.len());
        assert!(matches!(header.version, (1..=3, 0)));
        assert_eq!(NpyHeader::parse(&bytes[..end]).as_ref(), Some(header));
        assert_eq!(NpyHeader::parse(&bytes[..end - 1]), None);
        assert!(npy::has_magic(bytes));
        assert_eq!(npy::data_offset(bytes), Some(header.data_offset));
        if let Some(Items::Plain(item_len)) = header.items {
            let len = header.data_len(item_len);
            assert!(len.is_some() || !header.shape.contains(&0));
        }
    }
    if let Some((_, text)) = literal
        && let Ok(text) = std::str::from_utf8(text)
        && is_plain(text)
    {
        check_against_oracles(bytes, text, ours.as_ref());
    }
}

/// Returns the dictionary and its offset, if it is complete. The oracles allocate its declared length
/// before they read it.
fn literal(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (start, len) = match *bytes.get(6..)? {
        [1, _, a, b, ..] => (10, u16::from_le_bytes([a, b]).into()),
        [_, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return None,
    };
    Some((start, bytes.get(start..)?.get(..len)?))
}

/// Returns whether all three readers should agree on a dictionary.
///
/// The oracles differ from Python in sums, escapes, numbers with leading zeros, strings side by side and
/// line breaks between tokens, and they do not know the `u` and the `L` of Python 2. NumPy writes none
/// of these, except for what Python 2 did.
fn is_plain(text: &str) -> bool {
    let Some(text) = text.strip_suffix('\n') else {
        return false;
    };
    let mut quote = None;
    let mut is_after_string = false;
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bare = String::new();
    for character in text.chars() {
        match (quote, character) {
            (_, '\\' | '\n' | '\r') => return false,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if is_after_string => return false,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => bare.push(character),
        }
        let is_space = matches!(character, ' ' | '\t' | '\x0c');
        is_after_string =
            quote.is_none() && (matches!(character, '\'' | '"') || is_after_string && is_space);
        deepest = deepest.max(depth);
    }
    let bare = bare.replace("True", "").replace("False", "");
    let mut numbers = bare.split(|character: char| !character.is_ascii_digit());
    deepest <= ORACLES_DEPTH_MAX
        && text.matches('{').count() == 1
        && !numbers.any(|number| number.len() > 1 && number.starts_with('0'))
        && bare
            .chars()
            .all(|character| matches!(character, '0'..='9' | ',' | ':' | ' ' | '\t' | '\x0c'))
}

fn check_against_oracles(bytes: &[u8], text: &str, ours: Option<&NpyHeader>) {
    let ndarray = Header::from_reader(&mut &bytes[..]).ok();
    // npyz multiplies the lengths without a check for overflow.
    let is_countable = |header: &&Header| has_countable_shape(&header.shape);
    let npyz = ndarray
        .as_ref()
        .filter(is_countable)
        .and_then(|_| npyz::NpyHeader::from_reader(bytes).ok());
    if npyz.is_some() {
        assert!(ours.is_some(), "both oracles read it");
    }
    let Some(ours) = ours else { return };
    if let Some(theirs) = &ndarray {
        let shape: Vec<u64> = theirs.shape.iter().map(|&len| len as u64).collect();
        assert_eq!(ours.shape, shape);
        assert_eq!(ours.fortran_order, theirs.layout == Layout::Fortran);
        let descr = match theirs.type_descriptor.as_string() {
            Some(simple) => simple == &ours.descr,
            None => ours.descr.parse().ok().as_ref() == Some(&theirs.type_descriptor),
        };
        assert!(descr, "{} is not {}", ours.descr, theirs.type_descriptor);
    } else {
        // It refuses Latin-1, parentheses that make no tuple, and a wrong value of a key that comes
        // again.
        let keys = ["descr", "fortran_order", "shape"];
        let has_repeated_key = keys.iter().any(|key| text.matches(key).count() > 1);
        assert!(
            !text.is_ascii() || text.matches('(').count() > 1 || has_repeated_key,
            "{ours:?}"
        );
    }
    if let Some(theirs) = &npyz {
        assert_eq!(ours.shape, theirs.shape());
        assert_eq!(ours.fortran_order, theirs.order() == Order::Fortran);
    }
    if is_number(&ours.descr) && ndarray.as_ref().filter(is_countable).is_some() {
        let theirs = npyz.expect("npyz knows all numbers");
        assert_eq!(theirs.dtype().descr(), format!("'{}'", ours.descr));
    }
}

fn has_countable_shape(shape: &[usize]) -> bool {
    let mut lengths = shape.iter().map(|&len| len.max(1));
    lengths.try_fold(1, usize::checked_mul).is_some()
}

/// Returns whether every reader knows a dtype.
fn is_number(descr: &str) -> bool {
    let sized = [
        "i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16",
    ];
    match descr.strip_prefix(['<', '>']) {
        Some(rest) => sized.contains(&rest),
        None => ["|b1", "|i1", "|u1"].contains(&descr),
    }
}

/// The format of npy headers, for random damage.
pub const NPY_HEADER: Format = Format {
    starts_part: |bytes| bytes.starts_with(b"'") || b"{}[](),: ".contains(&bytes[0]),
    tokens: &[
        b"'descr'",
        b"'fortran_order'",
        b"'shape'",
        b"True",
        b"False",
        b"None",
        b"'<f8'",
        b"'|b1'",
        b"'|O'",
        b"'>U3'",
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"'",
        b"\"",
        b"\\",
        b"L",
        b"u",
        b"b",
        b"0",
        b"1",
        b"18446744073709551615",
        b"18446744073709551616",
        b"-1",
        b"1.5",
        b"0x10",
        b"1_0",
        b"+",
        b"'''",
        b"# comment\n",
        b"\\\n",
        b"\\x3c",
        b"'float64'",
        b"'<i4,(2,3)f8'",
        b"('<f8', (3,))",
        b"()",
        b"(3,)",
        b"[('a', '<i4'), ('b', '|S2', (2,))]",
        b"\n",
        b"\x0c",
        b"\xE9",
        b"\xC3\xA9",
        b"((((((((",
        b"[[[[[[[[",
    ],
    mend,
};

/// Makes the declared length of the dictionary the actual one.
fn mend(bytes: &mut [u8]) {
    let len = bytes.len();
    match bytes.get(6) {
        Some(1) if len >= 10 => {
            bytes[8..10].copy_from_slice(&((len - 10) as u16).to_le_bytes());
        }
        Some(2 | 3) if len >= 12 => {
            bytes[8..12].copy_from_slice(&((len - 12) as u32).to_le_bytes());
        }
        _ => {}
    }
}
