//! The ways in which the bytes of a file reach its readers.

use std::fmt;

use serde_json::{Map, Value};

use crate::zip::member::{Member, Method};

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// From a mapping of the archive.
    Mapped,
    /// By the kernel, from a clone.
    Cloned,
    /// From what it was inflated to.
    Inflated,
}

impl Lane {
    /// How a member that is not cloned is served as a file; `None` where it cannot be read.
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
            Self::Cloned => f.write_str("cloned"),
            Self::Inflated => f.write_str("inflated"),
        }
    }
}

/// How many members are served in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lanes {
    mapped: u64,
    cloned: u64,
    inflated: u64,
    unreadable: u64,
}

impl Lanes {
    /// Counts a member that is shown as a file.
    pub fn count(&mut self, lane: Option<Lane>) {
        match lane {
            Some(Lane::Mapped) => self.mapped += 1,
            Some(Lane::Cloned) => self.cloned += 1,
            Some(Lane::Inflated) => self.inflated += 1,
            None => self.unreadable += 1,
        }
    }

    /// Adds those of another archive.
    pub fn add(&mut self, other: &Self) {
        self.mapped += other.mapped;
        self.cloned += other.cloned;
        self.inflated += other.inflated;
        self.unreadable += other.unreadable;
    }

    /// Whether there is no other way than from a mapping.
    pub fn is_all_mapped(&self) -> bool {
        self.mapped == self.members()
    }

    /// The number of all members.
    pub fn members(&self) -> u64 {
        self.mapped + self.cloned + self.inflated + self.unreadable
    }

    /// The numbers by name, those that are not zero.
    pub fn to_json(&self) -> Map<String, Value> {
        [
            ("mapped", self.mapped),
            ("cloned", self.cloned),
            ("inflated", self.inflated),
            ("unreadable", self.unreadable),
        ]
        .into_iter()
        .filter(|&(_, members)| members > 0)
        .map(|(name, members)| (name.to_owned(), members.into()))
        .collect()
    }
}
