//! Builds a tree: decides which members are shown, and under which names.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use log::warn;

use super::node::{Directory, NameTable, Node, NodeKind};
use super::path::{self, Component};
use super::{Times, TooLarge, Tree};
use crate::ui::human::Escaped;
use crate::zip::budget::Lease;
use crate::zip::{Index, Member, Name, Names, decode};

/// The most directories of a tree. The kernel's paths end at 4096 bytes, but a member's name of 64 KiB
/// may hold 32,000 directories.
const DIRECTORIES_MAX: usize = 1 << 20;

/// The most changed and hidden names that are logged.
const NOTICES_MAX: usize = 1000;

impl Tree {
    /// Builds the tree of an archive. Directories get `times`, those of the archive itself. Names that
    /// are changed or hidden are logged.
    ///
    /// # Errors
    /// [`TooLarge`] where the names exceed 128 MiB or the inodes 32 bits.
    pub fn new(index: Index, times: Times) -> Result<Self, TooLarge> {
        Builder::new(index).build(times)
    }
}

struct Builder {
    /// Held until the tree is built.
    _lease: Lease<'static>,
    names: Names,
    members: Vec<Member>,
    nodes: Vec<Node>,
    directories: Vec<Directory>,
    table: NameTable,
    /// The last number put into a taken name, by directory and the text around the number. So no
    /// number is tried twice, however many names become one.
    numbers: HashMap<(u32, String), u32>,
    notices: Notices,
}

/// Logs hidden and changed names, up to a limit.
#[derive(Default)]
struct Notices {
    count: usize,
}

impl Notices {
    fn hidden(&mut self, raw: &[u8], reason: &str) {
        if self.count_one() {
            warn!("member '{}' is hidden: {reason}", Escaped::member(raw));
        }
    }

    fn changed(&mut self, raw: &[u8], path: &[u8]) {
        if self.count_one() {
            warn!(
                "member '{}' is shown as '{}'",
                Escaped::member(raw),
                Escaped::member(path)
            );
        }
    }

    fn count_one(&mut self) -> bool {
        self.count += 1;
        self.count <= NOTICES_MAX
    }

    fn end(&self) {
        if self.count > NOTICES_MAX {
            let more = self.count - NOTICES_MAX;
            warn!("{more} more members are hidden or shown under another name");
        }
    }
}

impl Builder {
    fn new(index: Index) -> Self {
        let Index {
            names,
            members,
            lease,
            ..
        } = index;
        let table = NameTable::with_capacity(members.len());
        let mut nodes = Vec::with_capacity(members.len() + 1);
        nodes.push(Node {
            name: Name::default(),
            parent: 0,
            kind: NodeKind::Directory { number: 0 },
        });
        Self {
            _lease: lease,
            names,
            members,
            nodes,
            directories: vec![Directory::default()],
            table,
            numbers: HashMap::new(),
            notices: Notices::default(),
        }
    }

    fn build(mut self, times: Times) -> Result<Tree, TooLarge> {
        let mut hidden = self.hidden();
        // Directories come first, so that a file that claims the name of one is the one renamed,
        // whichever the archive has first.
        let mut parents = vec![0; self.members.len()];
        for at in 0..self.members.len() {
            if hidden[at] {
                continue;
            }
            match self.make_directories(at)? {
                Some(parent) => parents[at] = parent,
                None => {
                    hidden[at] = true;
                    let raw = self.names.bytes(self.members[at].name);
                    self.notices.hidden(raw, "there are too many directories");
                }
            }
        }
        for at in 0..self.members.len() {
            if !hidden[at] {
                self.make_file(at, parents[at])?;
            }
        }
        self.notices.end();
        let children = self.sort_into_directories();
        self.names.shrink_to_fit();
        Ok(Tree {
            names: self.names,
            members: self.members,
            nodes: self.nodes,
            directories: self.directories,
            children,
            table: self.table,
            times,
        })
    }

    /// Returns for each member whether it is hidden: because its name comes again later, since NumPy
    /// reads the last one, or because no file can have the name.
    fn hidden(&mut self) -> Vec<bool> {
        let name = |at: u32| self.names.bytes(self.members[at as usize].name);
        let hasher = RandomState::new();
        let hash = |at: u32| hasher.hash_one(name(at));
        let mut last = HashTable::with_capacity(self.members.len());
        let mut hidden = vec![false; self.members.len()];
        for at in (0..self.members.len() as u32).rev() {
            let raw = name(at);
            let reason = if raw.contains(&0) {
                "it has a NUL in its name"
            } else {
                match last.entry(hash(at), |&other| name(other) == raw, |&at| hash(at)) {
                    Slot::Occupied(_) => "it comes again later in the archive",
                    Slot::Vacant(slot) => {
                        slot.insert(at);
                        continue;
                    }
                }
            };
            self.notices.hidden(raw, reason);
            hidden[at as usize] = true;
        }
        hidden
    }

    /// Adds the directories in the name of a member and returns the last one; `None` where there are
    /// too many already.
    fn make_directories(&mut self, member: usize) -> Result<Option<u32>, TooLarge> {
        let whole = self.members[member].name;
        if !self.names.bytes(whole).contains(&b'/') {
            return Ok(Some(0));
        }
        let raw = self.names.bytes(whole).to_vec();
        let decoded = decode(&raw);
        let mut components: Vec<_> = path::components(&raw, &decoded).collect();
        if !raw.ends_with(b"/") {
            components.pop();
        }
        let mut parent = 0;
        for component in components {
            parent = match self.find(parent, &component) {
                Some(at) => at,
                None if self.directories.len() >= DIRECTORIES_MAX => return Ok(None),
                None => {
                    let number = u32::try_from(self.directories.len()).map_err(|_| TooLarge)?;
                    self.directories.push(Directory::default());
                    self.count_subdirectory(parent);
                    let name = component.name_in(&mut self.names, whole).ok_or(TooLarge)?;
                    // The name is free: it was just looked up.
                    let added = self.add(name, parent, NodeKind::Directory { number })?;
                    added.unwrap_or(parent)
                }
            };
        }
        Ok(Some(parent))
    }

    fn make_file(&mut self, member: usize, parent: u32) -> Result<(), TooLarge> {
        let whole = self.members[member].name;
        let kind = NodeKind::File {
            member: member as u32,
        };
        // Nearly every name is kept and free: then it is not copied, and hashed only once.
        if let Some(name) = path::kept_file_name(&self.names, whole)
            && self.add(name, parent, kind)?.is_some()
        {
            return Ok(());
        }
        let raw = self.names.bytes(whole).to_vec();
        if raw.ends_with(b"/") {
            if self.members[member].size > 0 {
                self.notices.hidden(&raw, "a directory has no data");
            }
            return Ok(());
        }
        let decoded = decode(&raw);
        let mut components: Vec<_> = path::components(&raw, &decoded).collect();
        let Some(mut component) = components.pop() else {
            self.notices.hidden(&raw, "no name is left of it");
            return Ok(());
        };
        let taken = self.find(parent, &component).is_some();
        if taken {
            component = self.free_name(parent, &component);
        }
        let name = component.name_in(&mut self.names, whole).ok_or(TooLarge)?;
        if taken || !path::is_kept(&raw) {
            components.push(component);
            let path = path::join(&components);
            self.notices.changed(&raw, path.as_bytes());
        }
        self.add(name, parent, kind)?;
        Ok(())
    }

    /// Puts the first number into `component` with which its name is free.
    fn free_name(&mut self, parent: u32, component: &Component<'_>) -> Component<'static> {
        let (stem, extension) = component.around_number();
        let family = (parent, format!("{stem}/{extension}"));
        loop {
            let number = self.numbers.entry(family.clone()).or_default();
            *number += 1;
            let candidate = Component::new(format!("{stem} ({number}){extension}"));
            if self.find(parent, &candidate).is_none() {
                return candidate;
            }
        }
    }

    fn find(&self, parent: u32, component: &Component<'_>) -> Option<u32> {
        let name = component.text.as_bytes();
        self.table.find(parent, name, &self.nodes, &self.names)
    }

    /// Adds a node, unless its name is taken; returns its position.
    fn add(&mut self, name: Name, parent: u32, kind: NodeKind) -> Result<Option<u32>, TooLarge> {
        let at = u32::try_from(self.nodes.len()).map_err(|_| TooLarge)?;
        self.nodes.push(Node { name, parent, kind });
        if self.table.insert(at, &self.nodes, &self.names) {
            return Ok(Some(at));
        }
        self.nodes.pop();
        Ok(None)
    }

    fn count_subdirectory(&mut self, at: u32) {
        if let NodeKind::Directory { number } = self.nodes[at as usize].kind {
            self.directories[number as usize].subdirectories += 1;
        }
    }

    /// Returns the children of all directories, one directory after the other, each in the order of
    /// the nodes.
    fn sort_into_directories(&mut self) -> Vec<u32> {
        let directory_of = |nodes: &[Node], at: usize| {
            match nodes[nodes[at].parent as usize].kind {
                NodeKind::Directory { number } => number as usize,
                // No file is a parent.
                NodeKind::File { .. } => 0,
            }
        };
        for at in 1..self.nodes.len() {
            self.directories[directory_of(&self.nodes, at)].children.end += 1;
        }
        let mut next = 0;
        for directory in &mut self.directories {
            let len = directory.children.end;
            directory.children = next..next;
            next += len;
        }
        let mut children = vec![0; next as usize];
        for at in 1..self.nodes.len() {
            let directory = &mut self.directories[directory_of(&self.nodes, at)];
            children[directory.children.end as usize] = at as u32;
            directory.children.end += 1;
        }
        children
    }
}
