//! The parts of a mount, and how the kernel's hold on them is counted.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::folder::{Folder, FolderEntry};
use super::slot::{ArchiveSlot, Origin};
use crate::sys::sync::{read, write};
use crate::tree::Ino;

/// A part of the mount that numbers its own inodes.
#[derive(Debug)]
pub(super) struct Subtree {
    /// Never given to another unit of the same mount; 0 is the root's.
    pub(super) number: u32,
    /// The directory that it is in, by its number in the mount.
    pub(super) parent: Ino,
    /// How many archives it is inside of.
    pub(super) depth: u8,
    pub(super) what: SubtreeKind,
    /// How many times the kernel holds one of its inodes.
    held: AtomicU64,
}

#[derive(Debug)]
pub(super) enum SubtreeKind {
    Archive(ArchiveSlot),
    Folder(Folder),
    /// Several archives and folders, by the names that they are shown under.
    Named(BTreeMap<OsString, Arc<Subtree>>),
}

impl SubtreeKind {
    /// Whether it is still what is seen under its name in a folder.
    pub(super) fn is(&self, seen: &FolderEntry) -> bool {
        match (self, seen) {
            (Self::Folder(_), FolderEntry::Folder(_)) => true,
            (Self::Archive(archive), FolderEntry::Archive(seen)) => archive.is(seen),
            _ => false,
        }
    }
}

impl Subtree {
    pub(super) fn root(what: SubtreeKind) -> Self {
        Self {
            number: 0,
            parent: Ino::ROOT,
            depth: 0,
            what,
            held: AtomicU64::new(1),
        }
    }

    /// Whether another thing may soon be under its name: it is a folder, or in one.
    pub(super) fn is_live(&self) -> bool {
        match &self.what {
            SubtreeKind::Archive(archive) => archive.is_live(),
            SubtreeKind::Folder(_) => true,
            SubtreeKind::Named(_) => false,
        }
    }

    /// Whether it is a file in a folder, or in an archive that is one.
    pub(super) fn is_followed(&self) -> bool {
        match &self.what {
            SubtreeKind::Archive(archive) => match &archive.origin {
                Origin::Pinned => false,
                Origin::File(_) => true,
                Origin::Member { outer, .. } => outer.is_followed(),
            },
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => false,
        }
    }

    /// Whether it is the unit of that number, or an archive inside it.
    pub(super) fn is_within(&self, number: u32) -> bool {
        let outer = match &self.what {
            SubtreeKind::Archive(archive) => archive.outer(),
            SubtreeKind::Folder(_) | SubtreeKind::Named(_) => None,
        };
        self.number == number || outer.is_some_and(|outer| outer.is_within(number))
    }

    /// Counts the kernel's hold on one more inode of a unit that it holds already, or that cannot go.
    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }
}

/// By what a unit is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A name in the folder of that number.
    Name(u32, Box<[u8]>),
    /// A member of the archive of that number.
    Member(u32, Ino),
}

/// The units that the kernel holds, but for the root.
#[derive(Debug, Default)]
pub(super) struct Subtrees {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_number: HashMap<u32, (Arc<Subtree>, Option<Key>)>,
    by_key: HashMap<Key, u32>,
    /// The number of the unit made last.
    last: u32,
}

impl Subtrees {
    pub(super) fn by_number(&self, number: u32) -> Option<Arc<Subtree>> {
        let table = read(&self.table);
        table.by_number.get(&number).map(|(unit, _)| unit.clone())
    }

    pub(super) fn by_key(&self, key: &Key) -> Option<Arc<Subtree>> {
        let table = read(&self.table);
        let (unit, _) = table.by_number.get(table.by_key.get(key)?)?;
        Some(unit.clone())
    }

    pub(super) fn all(&self) -> Vec<Arc<Subtree>> {
        let table = read(&self.table);
        table
            .by_number
            .values()
            .map(|(unit, _)| unit.clone())
            .collect()
    }

    /// Adds a unit that is never forgotten.
    pub(super) fn add(&self, parent: Ino, what: SubtreeKind) -> Option<Arc<Subtree>> {
        write(&self.table).add(None, parent, 0, what)
    }

    /// The unit of a key, if `is` says that it is still what it was, otherwise a new one; held once
    /// more. `None` where all numbers have been given out.
    pub(super) fn held(
        &self,
        key: Key,
        is: impl Fn(&SubtreeKind) -> bool,
        make: impl FnOnce() -> (Ino, u8, SubtreeKind),
    ) -> Option<Arc<Subtree>> {
        // As long as the table is locked, nothing in it can be forgotten.
        let find = |table: &Table| {
            let number = table.by_key.get(&key)?;
            let (unit, _) = table
                .by_number
                .get(number)
                .filter(|(unit, _)| is(&unit.what))?;
            unit.hold();
            Some(unit.clone())
        };
        if let Some(unit) = find(&read(&self.table)) {
            return Some(unit);
        }
        let mut table = write(&self.table);
        if let Some(unit) = find(&table) {
            return Some(unit);
        }
        let (parent, depth, what) = make();
        table.add(Some(key), parent, depth, what)
    }

    /// The kernel has let go of inodes of a unit `count` times. Returns the unit if it holds none of
    /// them any more: then it is forgotten.
    pub(super) fn forget(&self, number: u32, count: u64) -> Option<Arc<Subtree>> {
        let unit = self.by_number(number)?;
        if unit.held.fetch_sub(count, Ordering::Relaxed) != count {
            return None;
        }
        write(&self.table).remove_unheld(number)
    }
}

impl Table {
    fn add(
        &mut self,
        key: Option<Key>,
        parent: Ino,
        depth: u8,
        what: SubtreeKind,
    ) -> Option<Arc<Subtree>> {
        let number = self.last.checked_add(1)?;
        self.last = number;
        let unit = Arc::new(Subtree {
            number,
            parent,
            depth,
            what,
            held: AtomicU64::new(1),
        });
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), number);
        }
        self.by_number.insert(number, (unit.clone(), key));
        Some(unit)
    }

    fn remove_unheld(&mut self, number: u32) -> Option<Arc<Subtree>> {
        // Somebody may have found it once more, before the table was locked.
        let is_unheld = |unit: &Subtree| unit.held.load(Ordering::Relaxed) == 0;
        self.by_number
            .get(&number)
            .filter(|(unit, _)| is_unheld(unit))?;
        let (unit, key) = self.by_number.remove(&number)?;
        if let Some(key) = key
            && self.by_key.get(&key) == Some(&number)
        {
            self.by_key.remove(&key);
        }
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what() -> SubtreeKind {
        SubtreeKind::Named(BTreeMap::new())
    }

    fn held(units: &Subtrees, name: &[u8], is: bool) -> Arc<Subtree> {
        let make = || (Ino::ROOT, 0, what());
        units.held(Key::Name(0, name.into()), |_| is, make).unwrap()
    }

    #[test]
    fn a_unit_is_found_again_until_it_is_forgotten_as_often_as_it_was_held() {
        let units = Subtrees::default();
        let number = held(&units, b"a", true).number;
        assert_eq!(held(&units, b"a", true).number, number);
        units.by_number(number).unwrap().hold();
        assert!(units.forget(number, 2).is_none());
        assert_eq!(held(&units, b"a", true).number, number);
        assert_eq!(
            units.forget(number, 2).map(|unit| unit.number),
            Some(number)
        );
        assert!(units.by_number(number).is_none());
        assert_ne!(held(&units, b"a", true).number, number);
    }

    #[test]
    fn what_has_become_another_gets_another_number_and_the_old_one_lives_as_long_as_it_is_held() {
        let units = Subtrees::default();
        let old = held(&units, b"a", true).number;
        let new = held(&units, b"a", false).number;
        assert_ne!(old, new);
        assert!(units.by_number(old).is_some());
        units.forget(old, 1);
        assert!(units.by_number(old).is_none());
        assert_eq!(held(&units, b"a", true).number, new);
    }

    #[test]
    fn what_is_held_again_while_it_is_forgotten_stays() {
        let units = Subtrees::default();
        let unit = held(&units, b"a", true);
        // As far as another thread gets before the table is locked.
        assert_eq!(unit.held.fetch_sub(1, Ordering::Relaxed), 1);
        assert_eq!(held(&units, b"a", true).number, unit.number);
        assert!(write(&units.table).remove_unheld(unit.number).is_none());
        assert!(units.by_number(unit.number).is_some());
    }

    #[test]
    fn what_the_command_line_names_is_never_forgotten() {
        let units = Subtrees::default();
        let unit = units.add(Ino::ROOT, what()).unwrap();
        unit.hold();
        units.forget(unit.number, 1);
        assert!(units.by_number(unit.number).is_some());
    }
}
