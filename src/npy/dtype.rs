//! The part of a dtype that decides how long an array's data is.

use super::literal::Value;

/// The longest item, in bytes: NumPy stores the length in a C `int`.
const ITEM_LEN_MAX: u64 = i32::MAX as u64;

/// How the items of an array are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// One after the other, each of this length in bytes.
    Plain(u64),
    /// All in one pickle, of any length, since they are or contain Python objects.
    Pickled,
}

/// The length of an item, and what NumPy's rules for compound dtypes need to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dtype {
    len: u64,
    kind: Kind,
    has_objects: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of any number.
    Bytes,
    /// Characters of any number, with 4 bytes each.
    Text,
    /// Bytes of any number that mean nothing, or a subarray.
    Void,
    Struct,
    /// A number, a time or an object.
    Scalar,
}

impl Dtype {
    pub(super) fn new(kind: Kind, len: u64) -> Option<Self> {
        (len <= ITEM_LEN_MAX).then_some(Self {
            len,
            kind,
            has_objects: false,
        })
    }

    pub(super) fn object() -> Self {
        Self {
            len: 8,
            kind: Kind::Scalar,
            has_objects: true,
        }
    }

    /// The structure that has these fields, one after the other.
    pub(super) fn structure(fields: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut structure = Self::new(Kind::Struct, 0)?;
        for field in fields {
            structure.len += field.len;
            structure.has_objects |= field.has_objects;
            if structure.len > ITEM_LEN_MAX {
                return None;
            }
        }
        Some(structure)
    }

    /// The dtype that is written as this one and a shape: a subarray, or, where this one has no length
    /// yet, one of that length.
    pub(super) fn with_shape(self, shape: &Value<'_>) -> Option<Self> {
        let is_unsized = self.len == 0 && self.kind != Kind::Struct;
        let (kind, len) = match shape {
            Value::Int(count) if is_unsized => {
                let unit = if self.kind == Kind::Text { 4 } else { 1 };
                (self.kind, length(count)?.checked_mul(unit)?)
            }
            Value::Int(count) => (Kind::Void, self.len.checked_mul(length(count)?)?),
            Value::Tuple(_) | Value::List(_) if is_unsized => return None,
            Value::Tuple(lengths) if lengths.is_empty() => return Some(self),
            Value::Tuple(lengths) | Value::List(lengths) if !lengths.is_empty() => {
                let mut items = 1u64;
                for len in lengths {
                    let Value::Int(len) = len else { return None };
                    items = items.checked_mul(length(len)?)?;
                }
                (Kind::Void, self.len.checked_mul(items)?)
            }
            _ => return None,
        };
        let has_objects = self.has_objects;
        Some(Self {
            has_objects,
            ..Self::new(kind, len)?
        })
    }

    /// The padding that NumPy makes of a field without a name; `None` if it makes a field of it.
    pub(super) fn as_padding(self) -> Option<Self> {
        (self.kind == Kind::Void).then_some(Self {
            has_objects: false,
            ..self
        })
    }

    pub(super) fn items(self) -> Items {
        if self.has_objects {
            Items::Pickled
        } else {
            Items::Plain(self.len)
        }
    }
}

/// A length that NumPy can store.
fn length(int: &i128) -> Option<u64> {
    u64::try_from(*int).ok().filter(|&len| len <= ITEM_LEN_MAX)
}
