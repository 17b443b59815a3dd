//! The ways in which the bytes of a file reach its readers.

use std::fmt;

use crate::member::{Member, Method};

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// From a mapping of the archive.
    Mapped,
    /// From what it was inflated to.
    Inflated,
}

impl Lane {
    /// How a member is served as a file; `None` where it cannot be read.
    pub fn of(member: &Member) -> Option<Self> {
        match (&member.problem, member.method) {
            (Some(_), _) => None,
            (None, Method::STORED) => Some(Self::Mapped),
            (None, _) => Some(Self::Inflated),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped => f.write_str("mapped"),
            Self::Inflated => f.write_str("inflated"),
        }
    }
}
