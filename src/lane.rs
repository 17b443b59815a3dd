//! The ways in which the bytes of a file reach its readers.

use std::fmt;

use crate::member::{Member, Method};

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// From a mapping of the archive.
    Mapped,
}

impl Lane {
    /// How a member is served as a file; `None` where it cannot be read.
    pub fn of(member: &Member) -> Option<Self> {
        let is_stored = member.method == Method::STORED;
        (member.problem.is_none() && is_stored).then_some(Self::Mapped)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped => f.write_str("mapped"),
        }
    }
}
