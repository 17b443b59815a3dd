//! The value of `descr` in an npy header, from which NumPy makes a dtype.

use std::borrow::Cow;
use std::collections::HashSet;

use super::dtype::Dtype;
use super::literal::Value;
use super::typestr;

/// The dtype that `descr` describes; `None` if NumPy knows none. It is a string, a list of fields, or
/// a dtype and its shape.
pub(super) fn dtype(descr: &Value<'_>) -> Option<Dtype> {
    match descr {
        Value::Text(text) => typestr::parse(text),
        Value::List(fields) => structure(fields),
        Value::Tuple(parts) => match &parts[..] {
            [base, shape] => dtype(base)?.with_shape(shape),
            _ => None,
        },
        _ => None,
    }
}

fn structure(fields: &[Value<'_>]) -> Option<Dtype> {
    let mut names = HashSet::new();
    let mut dtypes = Vec::with_capacity(fields.len());
    for field in fields {
        let (Value::Tuple(parts) | Value::List(parts)) = field else {
            return None;
        };
        let (name, field) = match &parts[..] {
            [name, base] => (name, dtype(base)?),
            [name, base, shape] => (name, dtype(base)?.with_shape(shape)?),
            _ => return None,
        };
        let padding = match name {
            Value::Text(name) if name.is_empty() => field.as_padding(),
            _ => None,
        };
        if padding.is_none() && !insert(&mut names, name) {
            return None;
        }
        dtypes.push(padding.unwrap_or(field));
    }
    Dtype::structure(dtypes)
}

/// Adds the name of a field, and its title if it has one; false if one of them is taken or no name.
fn insert<'a>(names: &mut HashSet<&'a Cow<'a, str>>, name: &'a Value<'a>) -> bool {
    match name {
        Value::Text(name) => names.insert(name),
        Value::Tuple(parts) => match &parts[..] {
            [Value::Text(title), Value::Text(name)] => names.insert(name) && names.insert(title),
            // A title may be any object.
            [_, Value::Text(name)] => names.insert(name),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dtype::Items;
    use super::*;

    fn items(descr: &str) -> Option<Items> {
        dtype(&Value::parse(descr)?).map(Dtype::items)
    }

    #[test]
    fn structures_are_as_long_as_their_fields() {
        for (descr, len) in [
            ("[]", 0),
            ("'<f8'", 8),
            ("b'<f8'", 8),
            ("[('a', '<i4'), ('b', '<f8', (2, 3))]", 52),
            ("[('a', '<i4'), ('b', '<f8', 3),]", 28),
            ("[('a', '|i1'), ('', '|V7'), ('', '|V7'), ('b', '<f8')]", 23),
            ("[('', '<f8', (2,)), ('', '<f4', 2), ('', '<i4')]", 28),
            (
                "[(('title', 'name'), '<i4'), ('n', [('x', '|S3'), ('y', '<U1')], (2,))]",
                18,
            ),
            (
                "[((None, 'a'), '<i4'), ((3, 'b'), '<i4'), (([], 'c'), '<i4')]",
                12,
            ),
            ("[['a', 'f8,i4'], ['b', '<f4', [2]]]", 20),
            ("[('a', 'S', 4), ('b', 'U', 4), ('c', '<f8', ())]", 28),
            ("[('a', '<f8', (0, 5)), ('b', [], (3,))]", 0),
            ("('<f8', (3,))", 24),
            ("(('<f8', 2), 3)", 48),
            ("[('m', ('<f8', (3,)), (2,))]", 48),
            ("[('k', (('<i2', (2, 2)), (3,)), (2,))]", 48),
            ("[('n', ([('x', '<i4'), ('y', '|S3')], (2,)), (2,))]", 28),
        ] {
            assert_eq!(items(descr), Some(Items::Plain(len)), "{descr}");
        }
        assert_eq!(items("[('', '|O', (2,))]"), Some(Items::Plain(16)));
        let with_object = "[('a', '<i4'), ('b', ([('c', '|O')], (2,))), ('d', '<i4')]";
        assert_eq!(items(with_object), Some(Items::Pickled));
    }

    #[test]
    fn what_numpy_makes_no_dtype_of_is_refused() {
        for descr in [
            "3",
            "None",
            "()",
            "('<f8',)",
            "('<f8', (2,), 3)",
            "{}",
            "['ab']",
            "[('a',)]",
            "[('a', '<f7')]",
            "[('a', None)]",
            "[(3, '<f8')]",
            "[(('a', 'b', 'c'), '<f8')]",
            "[(('a', 3), '<f8')]",
            "[('a', '<f8', (2,), 3)]",
            "[('a', '<f8', '2')]",
            "[('a', '<f8', -1)]",
            "[('a', '<f8', (2, -1))]",
            "[('a', '<f8', (True,))]",
            "[('a', 'S', (2,))]",
            "[('a', '<f8'), ('a', '<f4')]",
            "[('', '<f8'), ('', '<f4')]",
            "[(('t', 'a'), '<f8'), ('t', '<f4')]",
            "[(('a', 'a'), '<f8')]",
            "[('a', '<f8', 268435456)]",
            "[('a', '<f8', (65536, 65536))]",
            "[('a', '|V2147483647'), ('b', '|i1')]",
            "[('a', '<f8', (0, 4294967296))]",
            "('<f8', (18446744073709551616,))",
        ] {
            assert_eq!(items(descr), None, "{descr}");
        }
    }
}
