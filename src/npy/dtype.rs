//! How long the items of an array are, as its dtype tells.

use super::{DEPTH_MAX, Literal, NpyHeader};

/// How the data of an array is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// One after the other, each of this length in bytes.
    Plain(u64),
    /// All as one pickle, since there are Python objects among them: nothing tells its length.
    Pickled,
}

impl NpyHeader {
    /// How the items are stored; `None` where NumPy writes no such dtype.
    pub fn items(&self) -> Option<Items> {
        if !self.descr.starts_with('[') {
            return simple(&self.descr);
        }
        let mut literal = Literal { rest: &self.descr };
        let items = literal.fields(0)?;
        literal.end()?;
        Some(items)
    }

    /// Length in bytes of all items of `itemsize` bytes; `None` where 64 bits cannot hold it.
    pub fn len_bytes(&self, itemsize: u64) -> Option<u64> {
        product(itemsize, &self.shape)
    }
}

fn product(itemsize: u64, shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(itemsize, |product, &len| product.checked_mul(len))
}

/// A dtype without fields: byte order, kind, length, and for times a unit.
fn simple(descr: &str) -> Option<Items> {
    let rest = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    let kind = rest.chars().next()?;
    let rest = &rest[kind.len_utf8()..];
    let digits = match kind {
        'm' | 'M' => rest.split('[').next()?,
        _ => rest,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match (kind, digits) {
        ('O', _) => Items::Pickled,
        ('?', "") | ('b', "1") => Items::Plain(1),
        ('i' | 'u', "1" | "2" | "4" | "8")
        | ('f', "2" | "4" | "8" | "12" | "16")
        | ('c', "8" | "16" | "24" | "32")
        | ('m' | 'M', "8")
        | ('S' | 'a' | 'V', _) => Items::Plain(digits.parse().ok()?),
        ('U', _) => Items::Plain(digits.parse::<u64>().ok()?.checked_mul(4)?),
        _ => return None,
    })
}

impl Literal<'_> {
    /// A list of fields, one after the other; padding is a field, too, without a name.
    fn fields(&mut self, depth: u32) -> Option<Items> {
        if depth == DEPTH_MAX {
            return None;
        }
        let mut all = Items::Plain(0);
        self.token("[")?;
        while self.token("]").is_none() {
            all = match (all, self.field(depth)?) {
                (Items::Plain(before), Items::Plain(len)) => Items::Plain(before.checked_add(len)?),
                _ => Items::Pickled,
            };
            if self.token(",").is_none() {
                self.token("]")?;
                break;
            }
        }
        Some(all)
    }

    /// A name, which may have a title, then the type, then the shape if each item has several.
    fn field(&mut self, depth: u32) -> Option<Items> {
        self.token("(")?;
        if self.starts_with("(") {
            self.sequence(0)?;
        } else {
            self.string()?;
        }
        self.token(",")?;
        let one = if self.starts_with("[") {
            self.fields(depth + 1)?
        } else {
            simple(self.string()?)?
        };
        let mut shape = vec![];
        if self.token(",").is_some() && !self.starts_with(")") {
            shape = match self.starts_with("(") {
                true => self.shape()?,
                false => vec![self.length()?],
            };
            self.token(",");
        }
        self.token(")")?;
        Some(match one {
            Items::Plain(len) => Items::Plain(product(len, &shape)?),
            Items::Pickled => Items::Pickled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(descr: &str) -> Option<Items> {
        let header = NpyHeader {
            version: (1, 0),
            descr: descr.to_owned(),
            fortran_order: false,
            shape: vec![],
            data_offset: 0,
        };
        header.items()
    }

    #[test]
    fn a_simple_dtype_tells_its_length() {
        for (descr, len) in [
            ("|b1", 1),
            ("?", 1),
            ("|i1", 1),
            ("<u2", 2),
            (">f4", 4),
            ("=i8", 8),
            ("f8", 8),
            ("<f16", 16),
            ("<c16", 16),
            ("<c32", 32),
            ("|S5", 5),
            ("|S0", 0),
            ("<U3", 12),
            ("|V8", 8),
            ("<M8[ns]", 8),
            ("<m8[25s]", 8),
            ("<M8", 8),
        ] {
            assert_eq!(items(descr), Some(Items::Plain(len)), "{descr}");
        }
        assert_eq!(items("|O"), Some(Items::Pickled));
        assert_eq!(items("|O8"), Some(Items::Pickled));
    }

    #[test]
    fn what_numpy_does_not_write_has_no_length() {
        for descr in [
            "",
            "<",
            "<f",
            "<f7",
            "<i16",
            "<b2",
            "<q8",
            "<f+8",
            "<f8 ",
            "<M4[s]",
            "é8",
            "|Sx",
            "|S99999999999999999999",
            "<U9999999999999999999",
            "[('a', '<f7')]",
            "['<f8']",
            "[('a',)]",
            "[('a', '<f8']",
            "[('a', '<f8')] x",
            "[('a', '<f8', '<f8')]",
            "[('a', '<f8', (2,), 3)]",
        ] {
            assert_eq!(items(descr), None, "{descr}");
        }
    }

    #[test]
    fn a_structured_dtype_is_as_long_as_its_fields() {
        for (descr, len) in [
            ("[]", 0),
            ("[('a', '<i4'), ('b', '<f8', (2, 3))]", 52),
            ("[('a', '<i4'), ('b', '<f8', 3),]", 28),
            ("[('a', '|i1'), ('', '|V7'), ('b', '<f8')]", 16),
            (
                "[(('title', 'name'), '<i4'), ('n', [('x', '|S3'), ('y', '<U1')], (2,))]",
                18,
            ),
            ("[('empty', '<f8', (0, 18446744073709551615))]", 0),
        ] {
            assert_eq!(items(descr), Some(Items::Plain(len)), "{descr}");
        }
        let with_object = "[('a', '<i4'), ('b', [('c', '|O')]), ('d', '<i4')]";
        assert_eq!(items(with_object), Some(Items::Pickled));
    }

    #[test]
    fn lengths_beyond_64_bits_are_no_lengths() {
        let huge = "[('a', '<f8', (4294967296, 4294967296))]";
        assert_eq!(items(huge), None);
        assert_eq!(product(8, &[1 << 61]), None);
        assert_eq!(product(8, &[1 << 61, 0]), Some(0));
        assert_eq!(product(8, &[1 << 60]), Some(1 << 63));
        assert_eq!(product(8, &[]), Some(8));
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let nested = |depth: usize| {
            let descr = "[('a', ".repeat(depth) + "'<f8'" + &")]".repeat(depth);
            items(&descr)
        };
        assert_eq!(nested(32), Some(Items::Plain(8)));
        assert_eq!(nested(33), None);
        assert_eq!(nested(100_000), None);
    }
}
