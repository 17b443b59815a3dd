//! The lanes: the ways in which the bytes of a file reach its readers.

use std::fmt;

use serde_json::{Map, Value};

use crate::zip::{Member, Method};

/// The way in which a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// npzfs answers each READ with the bytes at the same place of the member in the archive.
    Mapped,
    /// The kernel reads a clone of the member.
    Cloned,
    /// The member is inflated to a file, which the kernel or npzfs reads.
    Inflated,
}

impl Lane {
    /// Returns the lane of a member that is not cloned; `None` where it cannot be read.
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

/// The number of members in each lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lanes {
    mapped: u64,
    cloned: u64,
    inflated: u64,
    unreadable: u64,
}

impl Lanes {
    /// Counts one member.
    pub fn count(&mut self, lane: Option<Lane>) {
        match lane {
            Some(Lane::Mapped) => self.mapped += 1,
            Some(Lane::Cloned) => self.cloned += 1,
            Some(Lane::Inflated) => self.inflated += 1,
            None => self.unreadable += 1,
        }
    }

    /// Adds the counts of another archive.
    pub fn add(&mut self, other: &Self) {
        self.mapped += other.mapped;
        self.cloned += other.cloned;
        self.inflated += other.inflated;
        self.unreadable += other.unreadable;
    }

    /// Whether every member is mapped.
    pub fn is_all_mapped(&self) -> bool {
        self.mapped == self.members()
    }

    /// The number of all members.
    pub fn members(&self) -> u64 {
        self.mapped + self.cloned + self.inflated + self.unreadable
    }

    /// Returns the counts by name, without those that are zero.
    pub fn to_json(self) -> Map<String, Value> {
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
