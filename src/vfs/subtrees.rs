//! The table of the subtrees that the kernel knows, but for the root.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::subtree::{Subtree, SubtreeKind};
use crate::sys::sync::{read, write};
use crate::tree::Ino;

/// The key by which a subtree is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A name in the folder of that id.
    Name(u32, Box<[u8]>),
    /// A member of the archive of that id.
    Member(u32, Ino),
}

/// The subtrees that the kernel knows.
#[derive(Debug, Default)]
pub(super) struct Subtrees {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u32, (Arc<Subtree>, Option<Key>)>,
    by_key: HashMap<Key, u32>,
    last_id: u32,
}

impl Subtrees {
    pub(super) fn get(&self, id: u32) -> Option<Arc<Subtree>> {
        let table = read(&self.table);
        table.by_id.get(&id).map(|(subtree, _)| subtree.clone())
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Subtree>> {
        let table = read(&self.table);
        let (subtree, _) = table.by_id.get(table.by_key.get(key)?)?;
        Some(subtree.clone())
    }

    pub(super) fn all(&self) -> Vec<Arc<Subtree>> {
        let table = read(&self.table);
        let subtrees = table.by_id.values();
        subtrees.map(|(subtree, _)| subtree.clone()).collect()
    }

    /// Adds a subtree that is never forgotten: the table has a lookup of its own. Returns `None` if
    /// all ids have been used.
    pub(super) fn add(&self, parent: Ino, kind: SubtreeKind) -> Option<Arc<Subtree>> {
        write(&self.table).add(None, parent, 0, kind)
    }

    /// Returns the subtree of `key` if it still `is_current`, otherwise the new one that `make`
    /// describes, and adds a lookup. Returns `None` if all ids have been used.
    pub(super) fn look_up(
        &self,
        key: Key,
        is_current: impl Fn(&SubtreeKind) -> bool,
        make: impl FnOnce() -> (Ino, u8, SubtreeKind),
    ) -> Option<Arc<Subtree>> {
        // While the table is locked, no subtree is removed.
        let find = |table: &Table| {
            let id = table.by_key.get(&key)?;
            let (subtree, _) = table.by_id.get(id)?;
            is_current(&subtree.kind).then(|| {
                subtree.add_lookup();
                subtree.clone()
            })
        };
        if let Some(subtree) = find(&read(&self.table)) {
            return Some(subtree);
        }
        let mut table = write(&self.table);
        if let Some(subtree) = find(&table) {
            return Some(subtree);
        }
        let (parent, depth, kind) = make();
        table.add(Some(key), parent, depth, kind)
    }

    /// Takes `count` lookups off a subtree. Returns the subtree if it was the last of them: then it
    /// is removed.
    pub(super) fn forget(&self, id: u32, count: u64) -> Option<Arc<Subtree>> {
        let subtree = self.get(id)?;
        if !subtree.remove_lookups(count) {
            return None;
        }
        write(&self.table).remove_forgotten(id)
    }
}

impl Table {
    fn add(
        &mut self,
        key: Option<Key>,
        parent: Ino,
        depth: u8,
        kind: SubtreeKind,
    ) -> Option<Arc<Subtree>> {
        let id = self.last_id.checked_add(1)?;
        self.last_id = id;
        let subtree = Arc::new(Subtree::new(id, parent, depth, kind));
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), id);
        }
        self.by_id.insert(id, (subtree.clone(), key));
        Some(subtree)
    }

    fn remove_forgotten(&mut self, id: u32) -> Option<Arc<Subtree>> {
        // Another thread may have looked it up before the table was locked.
        self.by_id
            .get(&id)
            .filter(|(subtree, _)| !subtree.has_lookups())?;
        let (subtree, key) = self.by_id.remove(&id)?;
        if let Some(key) = key
            && self.by_key.get(&key) == Some(&id)
        {
            self.by_key.remove(&key);
        }
        Some(subtree)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn kind() -> SubtreeKind {
        SubtreeKind::Sources(BTreeMap::new())
    }

    fn look_up(subtrees: &Subtrees, name: &[u8], is_current: bool) -> Arc<Subtree> {
        let make = || (Ino::ROOT, 0, kind());
        let key = Key::Name(0, name.into());
        subtrees.look_up(key, |_| is_current, make).unwrap()
    }

    #[test]
    fn a_subtree_is_removed_when_its_lookups_are_forgotten() {
        let subtrees = Subtrees::default();
        let id = look_up(&subtrees, b"a", true).id;
        assert_eq!(look_up(&subtrees, b"a", true).id, id);
        subtrees.get(id).unwrap().add_lookup();
        assert!(subtrees.forget(id, 2).is_none());
        assert_eq!(look_up(&subtrees, b"a", true).id, id);
        let removed = subtrees.forget(id, 2).map(|subtree| subtree.id);
        assert_eq!(removed, Some(id));
        assert!(subtrees.get(id).is_none());
        assert_ne!(look_up(&subtrees, b"a", true).id, id);
    }

    #[test]
    fn a_replaced_subtree_lives_until_its_lookups_are_forgotten() {
        let subtrees = Subtrees::default();
        let old = look_up(&subtrees, b"a", true).id;
        let new = look_up(&subtrees, b"a", false).id;
        assert_ne!(old, new);
        assert!(subtrees.get(old).is_some());
        subtrees.forget(old, 1);
        assert!(subtrees.get(old).is_none());
        assert_eq!(look_up(&subtrees, b"a", true).id, new);
    }

    #[test]
    fn a_lookup_during_a_forget_keeps_the_subtree() {
        let subtrees = Subtrees::default();
        let subtree = look_up(&subtrees, b"a", true);
        // The forgetting thread gets this far before the table is locked.
        assert!(subtree.remove_lookups(1));
        assert_eq!(look_up(&subtrees, b"a", true).id, subtree.id);
        let mut table = write(&subtrees.table);
        assert!(table.remove_forgotten(subtree.id).is_none());
        drop(table);
        assert!(subtrees.get(subtree.id).is_some());
    }

    #[test]
    fn sources_on_the_command_line_are_never_forgotten() {
        let subtrees = Subtrees::default();
        let subtree = subtrees.add(Ino::ROOT, kind()).unwrap();
        subtree.add_lookup();
        subtrees.forget(subtree.id, 1);
        assert!(subtrees.get(subtree.id).is_some());
    }
}
