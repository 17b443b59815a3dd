//! What the threads that check members have found.

use super::finding::{Fault, Note};
use super::part::Part;

/// The findings of one thread, or of all, by the number of the member, in no order.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<(u32, Fault)>,
    pub(super) notes: Vec<(u32, Note)>,
    /// The CRC of each part of the members that were read in parts.
    pub(super) part_crcs: Vec<(Part, crc32fast::Hasher)>,
}

impl Findings {
    pub(super) fn add(&mut self, member: u32, result: Result<Option<Note>, Fault>) {
        match result {
            Ok(note) => self.notes.extend(note.map(|note| (member, note))),
            Err(fault) => self.faults.push((member, fault)),
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.faults.append(&mut other.faults);
        self.notes.append(&mut other.notes);
        self.part_crcs.append(&mut other.part_crcs);
    }
}
