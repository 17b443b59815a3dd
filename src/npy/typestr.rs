//! Dtypes that are written as a string: `<f8`, `float64`, `d`, or several of them, `<i4, (2, 3)f8`.
//!
//! NumPy itself writes the first form only; the others come from programs that write headers by hand.
//! The lengths of C types are those of 64-bit Unix.

use super::dtype::{Dtype, Kind};
use super::literal::Value;

/// The dtype that a string names; `None` if NumPy knows none.
pub(super) fn parse(text: &str) -> Option<Dtype> {
    if is_list(text) {
        list(text)
    } else {
        single(text)
    }
}

/// Whether NumPy takes a string for a list of dtypes: it has a comma that is not in brackets, or
/// starts with a number or an empty shape.
fn is_list(text: &str) -> bool {
    let (_, rest) = split_order(text);
    if rest.starts_with(|first: char| first.is_ascii_digit()) || rest.starts_with("()") {
        return true;
    }
    let mut depth = 0;
    text.chars().any(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
}

/// A list of dtypes, each perhaps with a number or a shape before it. With a comma it is a structure.
fn list(text: &str) -> Option<Dtype> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = list_item(rest)?;
        fields.push(field);
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(',')?.trim_start();
        if rest.is_empty() {
            return Dtype::structure(fields);
        }
    }
    if let [field] = fields[..] {
        return Some(field);
    }
    Dtype::structure(fields)
}

/// The first dtype of a list, and what follows it.
fn list_item(text: &str) -> Option<(Dtype, &str)> {
    let (outer_order, rest) = split_order(text);
    let (shape, rest) = split_shape(rest);
    let (inner_order, rest) = split_order(rest);
    let order = match (native(outer_order), native(inner_order)) {
        (order, "") | ("", order) => order,
        (outer, inner) if outer == inner => outer,
        _ => return None,
    };
    let order = if order == ">" { order } else { "" };
    let is_of_name =
        |character: char| character.is_ascii_alphanumeric() || ".?".contains(character);
    let mut len = rest.len() - rest.trim_start_matches(is_of_name).len();
    let is_of_unit =
        |character: char| character.is_ascii_alphanumeric() || ".,".contains(character);
    if let Some(unit) = rest[len..].strip_prefix('[')
        && let Some(after) = unit.trim_start_matches(is_of_unit).strip_prefix(']')
    {
        len = rest.len() - after.len();
    }
    let (name, rest) = rest.split_at(len);
    let dtype = parse(&format!("{order}{name}"))?;
    if shape.is_empty() {
        return Some((dtype, rest));
    }
    if shape.trim().is_empty() {
        return None;
    }
    let shape = format!("({shape})");
    Some((dtype.with_shape(&Value::parse(&shape)?)?, rest))
}

/// Splits the byte order from a dtype.
fn split_order(text: &str) -> (&str, &str) {
    text.split_at(usize::from(text.starts_with(['<', '>', '|', '='])))
}

fn native(order: &str) -> &str {
    if order == "=" { "<" } else { order }
}

/// Splits a number or a shape from a dtype.
fn split_shape(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(' ');
    let rest = rest.strip_prefix('(').unwrap_or(rest);
    let rest = rest.trim_start_matches(|character: char| {
        character.is_ascii_digit() || " ,".contains(character)
    });
    let rest = rest.strip_prefix(')').unwrap_or(rest);
    let rest = rest.trim_start_matches(' ');
    text.split_at(text.len() - rest.len())
}

/// A single dtype: byte order, kind and length, or a name.
fn single(text: &str) -> Option<Dtype> {
    let (_, rest) = split_order(text);
    for name in ["M8", "m8", "datetime64", "timedelta64"] {
        if let Some(unit) = rest.strip_prefix(name) {
            return (unit.is_empty() || is_time_unit(unit)).then_some(scalar(8))?;
        }
    }
    let kind = rest.chars().next()?;
    let tail = &rest[kind.len_utf8()..];
    if tail.is_empty() {
        return character(kind);
    }
    let Some((len, "")) = split_number(tail) else {
        return named(text);
    };
    match (kind, len) {
        ('S' | 'a', _) => Dtype::new(Kind::Bytes, len),
        ('U', _) => Dtype::new(Kind::Text, len.checked_mul(4)?),
        ('V', _) => Dtype::new(Kind::Void, len),
        ('O', 4 | 8) => Some(Dtype::object()),
        ('b', 1)
        | ('i' | 'u', 1 | 2 | 4 | 8)
        | ('f', 2 | 4 | 8 | 12 | 16)
        | ('c', 8 | 16 | 24 | 32)
        | ('m' | 'M', 8) => scalar(len),
        _ => None,
    }
}

fn scalar(len: u64) -> Option<Dtype> {
    Dtype::new(Kind::Scalar, len)
}

/// A number as strtol(3) reads it, and what follows it.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let number = text[..text.len() - rest.len()].parse().ok()?;
    Some((number, rest))
}

/// Whether the dtype of a time may end so: with a unit in brackets, with a number before it or not.
/// NumPy also reads a divisor behind it.
fn is_time_unit(text: &str) -> bool {
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let Some(inside) = inside else { return false };
    let (_, unit) = split_number(inside).unwrap_or((1, inside));
    let (unit, divisor) = unit.split_once('/').unwrap_or((unit, "1"));
    let units = [
        "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "ns", "ps", "fs", "as", "generic",
    ];
    let is_divisor = matches!(split_number(divisor), Some((1.., "")));
    units.contains(&unit) && is_divisor
}

/// The dtype that one character stands for.
fn character(kind: char) -> Option<Dtype> {
    match kind {
        '?' | 'b' | 'B' => scalar(1),
        'e' | 'h' | 'H' => scalar(2),
        'f' | 'i' | 'I' => scalar(4),
        'd' | 'F' | 'l' | 'L' | 'q' | 'Q' | 'n' | 'N' | 'p' | 'P' | 'm' | 'M' => scalar(8),
        'g' | 'D' => scalar(16),
        'G' => scalar(32),
        'O' => Some(Dtype::object()),
        'c' => Dtype::new(Kind::Bytes, 1),
        'S' | 'a' => Dtype::new(Kind::Bytes, 0),
        'U' => Dtype::new(Kind::Text, 0),
        'V' => Dtype::new(Kind::Void, 0),
        _ => None,
    }
}

/// The dtype that has this name in NumPy 2, or had it in NumPy 1.
fn named(name: &str) -> Option<Dtype> {
    match name {
        "bool" | "bool_" | "bool8" | "byte" | "ubyte" | "int8" | "uint8" => scalar(1),
        "half" | "float16" | "short" | "ushort" | "int16" | "uint16" => scalar(2),
        "single" | "float32" | "intc" | "uintc" | "int32" | "uint32" => scalar(4),
        "double" | "float" | "float_" | "float64" | "csingle" | "singlecomplex" | "complex64"
        | "int" | "int_" | "int0" | "intp" | "int64" | "long" | "longlong" | "uint" | "uint0"
        | "uintp" | "uint64" | "ulong" | "ulonglong" => scalar(8),
        "float96" => scalar(12),
        "longdouble" | "longfloat" | "float128" | "cdouble" | "cfloat" | "complex" | "complex_"
        | "complex128" => scalar(16),
        "complex192" => scalar(24),
        "clongdouble" | "clongfloat" | "longcomplex" | "complex256" => scalar(32),
        "object" | "object_" | "object0" => Some(Dtype::object()),
        "bytes" | "bytes_" | "bytes0" | "string_" => Dtype::new(Kind::Bytes, 0),
        "str" | "str_" | "str0" | "unicode" | "unicode_" => Dtype::new(Kind::Text, 0),
        "void" | "void0" => Dtype::new(Kind::Void, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dtype::Items;
    use super::*;

    fn len(text: &str) -> Option<u64> {
        match parse(text)?.items() {
            Items::Plain(len) => Some(len),
            Items::Pickled => None,
        }
    }

    #[test]
    fn single_dtypes_have_a_length() {
        for (text, expected) in [
            ("|b1", 1),
            ("?", 1),
            ("|i1", 1),
            ("<u2", 2),
            (">f4", 4),
            ("=i8", 8),
            ("f8", 8),
            ("f +8", 8),
            ("<f12", 12),
            ("<f16", 16),
            ("<c16", 16),
            ("<c32", 32),
            ("|S5", 5),
            ("|S0", 0),
            ("S", 0),
            ("<U3", 12),
            ("|V8", 8),
            ("V2147483647", 2_147_483_647),
            ("<M8[ns]", 8),
            ("<m8[25s]", 8),
            (">M8", 8),
            ("M", 8),
            ("datetime64[D]", 8),
            ("timedelta64[μs]", 8),
            ("m8[generic]", 8),
            ("M8[s/2]", 8),
            ("d", 8),
            ("c", 1),
            (">G", 32),
            ("float64", 8),
            ("complex_", 16),
            ("unicode", 0),
        ] {
            assert_eq!(len(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn lists_of_dtypes_are_structures_or_subarrays() {
        for (text, expected) in [
            ("<i4,<i4", 8),
            ("i4, >f8", 12),
            ("i4,", 4),
            ("2f8", 16),
            ("(2,3)f8", 48),
            ("()f8", 8),
            (">2f8", 16),
            ("=2<f8", 16),
            ("i4 , ( 2 , 3 )f8 ", 52),
            ("float64,<int32", 12),
            ("3S,3U,2S5", 25),
            ("0f8", 0),
            ("i4,M8[s]", 12),
            (" 2f8,i4", 20),
            ("2,f8", 16),
            ("=2<3f8", 48),
        ] {
            assert_eq!(len(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn dtypes_with_objects_have_no_length() {
        for text in ["O", "|O", ">O8", "object", "i4,O", "2O"] {
            let items = parse(text).map(Dtype::items);
            assert_eq!(items, Some(Items::Pickled), "{text}");
        }
    }

    #[test]
    fn unknown_dtypes_are_refused() {
        for text in [
            "",
            "<",
            "|",
            "<x",
            "<f7",
            "<i16",
            "<b2",
            "?1",
            "<q8",
            "f-8",
            "f8 ",
            " f8",
            "<float64",
            "M4[s]",
            "<M8[s",
            "M8[]",
            "M8[5]",
            "M8[x]",
            "M8[-1s]",
            "M8[ns]x",
            "é8",
            "Sx",
            "S-1",
            "V2147483648",
            "S99999999999999999999",
            "U536870912",
            "U9999999999999999999",
            "T",
            "Float64",
            "2",
            "<2>f8",
            "|2>f8",
            ">float64,i4",
            ",f8",
            "i4,,f8",
            "i4,x9",
            "i4;f8",
            " f8,i4",
            "(2)(3)f8,i4",
            "f8,2.5i4",
            "268435456f8",
            "(65536,65536)f8",
            "i4,(2,)S",
            "2147483648V0,i4",
            "V2147483647,i1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
