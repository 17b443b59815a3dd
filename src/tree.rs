//! From the members of an archive to a tree of files and directories.
//!
//! The tree is a handful of flat tables, since an archive may have millions of members: nodes in
//! one vector, the children of each directory as a range of another, names in one arena, and one
//! hash table from (directory, name) to node.

mod build;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use crate::zip::Index;
use crate::zip::member::{Member, MemberError};
use crate::zip::names::{self, Name, Names};
use build::Builder;

/// The number of an inode. The root is 1, as FUSE has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: a member.
    File,
    /// A directory.
    Directory,
}

/// The attributes of an inode that come from the archive; who owns it is not for the tree to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Time of last modification, in seconds since 1970 (UTC).
    pub modified: i64,
    /// Number of links: 1 for a file; for a directory 2 and one for each directory in it.
    pub links: u32,
}

/// One entry of a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Its name: at most [`NAME_MAX`](crate::zip::names::NAME_MAX) bytes, without slash or NUL.
    pub name: &'a [u8],
    /// What it names.
    pub attr: Attr,
}

#[derive(Debug)]
struct Node {
    name: Name,
    parent: u32,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    File { member: u32 },
    Directory { number: u32 },
}

#[derive(Debug, Default)]
struct Directory {
    /// Its entries, as a range of `Tree::children`.
    children: Range<u32>,
    subdirectories: u32,
}

/// The files and directories that an archive is shown as.
#[derive(Debug)]
pub struct Tree {
    names: Names,
    members: Vec<Member>,
    nodes: Vec<Node>,
    directories: Vec<Directory>,
    children: Vec<u32>,
    table: Table,
    modified: i64,
}

impl Tree {
    /// Makes the tree of an archive; `modified` is the archive's own time of last modification, in
    /// seconds since 1970 (UTC), which directories are given. Every name that is changed or hidden
    /// on the way is logged.
    ///
    /// # Errors
    /// [`TooLarge`] where the names do not fit into 128 MiB or the inodes into 32 bits.
    pub fn new(index: Index, modified: i64) -> Result<Self, TooLarge> {
        Builder::new(index).build(modified)
    }

    /// The inode that `name` names in directory `parent`.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Option<Attr> {
        let parent = self.position(parent)?;
        let at = self.table.find(parent, name, &self.nodes, &self.names)?;
        Some(self.attr_at(at))
    }

    /// The attributes of an inode.
    pub fn attr(&self, ino: Ino) -> Option<Attr> {
        self.position(ino).map(|at| self.attr_at(at))
    }

    /// The directory that an inode is in; the root's is the root.
    pub fn parent(&self, ino: Ino) -> Option<Ino> {
        self.position(ino)
            .map(|at| ino_of(self.nodes[at as usize].parent))
    }

    /// The entries of a directory from the `skip`th on, without `.` and `..`; `None` where `ino` is
    /// no directory.
    pub fn entries(&self, ino: Ino, skip: usize) -> Option<impl Iterator<Item = DirEntry<'_>>> {
        let children = self.children_of(self.position(ino)?)?;
        Some(children.iter().skip(skip).map(|&child| DirEntry {
            name: self.names.bytes(self.nodes[child as usize].name),
            attr: self.attr_at(child),
        }))
    }

    /// Where an entry is in its directory, in the order of [`entries`](Self::entries).
    pub fn place(&self, ino: Ino) -> Option<usize> {
        let at = self.position(ino)?;
        let children = self.children_of(self.nodes[at as usize].parent)?;
        // Inodes are numbered in that order.
        children.binary_search(&at).ok()
    }

    fn children_of(&self, at: u32) -> Option<&[u32]> {
        let What::Directory { number } = self.nodes[at as usize].what else {
            return None;
        };
        let Range { start, end } = self.directories[number as usize].children;
        Some(&self.children[start as usize..end as usize])
    }

    /// The member that a file is; `None` for a directory.
    pub fn member(&self, ino: Ino) -> Option<&Member> {
        match self.nodes[self.position(ino)? as usize].what {
            What::File { member } => Some(&self.members[member as usize]),
            What::Directory { .. } => None,
        }
    }

    /// The name of a member, as it is in the archive.
    pub fn name_of(&self, member: &Member) -> &[u8] {
        self.names.bytes(member.name)
    }

    /// The members that are shown as files, in the order of the archive.
    pub fn files(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter().filter_map(|node| match node.what {
            What::File { member } => Some(&self.members[member as usize]),
            What::Directory { .. } => None,
        })
    }

    /// All members, in the order of the archive, each with the file or the directory that it is
    /// shown as, if it is shown.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Option<Ino>)> {
        // The files are in the order of their members, so both are gone through side by side.
        let nodes = self.nodes.iter().zip(0..);
        let mut files = nodes
            .filter_map(|(node, at)| match node.what {
                What::File { member } => Some((member, ino_of(at))),
                What::Directory { .. } => None,
            })
            .peekable();
        self.members.iter().zip(0..).map(move |(member, number)| {
            let file = files.next_if(|&(of, _)| of == number);
            let ino = file.map(|(_, ino)| ino);
            (member, ino.or_else(|| self.directory_of(member)))
        })
    }

    /// The directory that an entry for a directory is shown as.
    fn directory_of(&self, member: &Member) -> Option<Ino> {
        let raw = self.name_of(member);
        if !raw.ends_with(b"/") {
            return None;
        }
        let decoded = names::decode(raw);
        let mut at = 0;
        for component in names::components(raw, &decoded) {
            let name = component.text.as_bytes();
            at = self.table.find(at, name, &self.nodes, &self.names)?;
        }
        let is_directory = matches!(self.nodes[at as usize].what, What::Directory { .. });
        (at > 0 && is_directory).then(|| ino_of(at))
    }

    /// Where an inode is, from the root on, without a slash before it: `a/b/x.npy`. A directory has
    /// a slash behind it. `None` where there is no such inode.
    pub fn path(&self, ino: Ino) -> Option<String> {
        let mut at = self.position(ino)?;
        let mut names = Vec::new();
        if matches!(self.nodes[at as usize].what, What::Directory { .. }) {
            names.push(Cow::Borrowed(""));
        }
        while at > 0 {
            let node = &self.nodes[at as usize];
            // UTF-8 as it is: no other names are ever made.
            names.push(String::from_utf8_lossy(self.names.bytes(node.name)));
            at = node.parent;
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// About how much memory the tree takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let of = |count: usize, one: usize| (count * one) as u64;
        let problems = self
            .members
            .iter()
            .filter(|member| member.problem.is_some());
        self.names.memory_bytes()
            + of(self.members.len(), size_of::<Member>())
            + of(problems.count(), size_of::<MemberError>())
            + of(self.nodes.len(), size_of::<Node>() + size_of::<u32>())
            + of(self.directories.len(), size_of::<Directory>())
            + of(self.children.len(), size_of::<u32>())
    }

    /// The number of files and directories.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing in the tree, which never is: there is a root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn position(&self, ino: Ino) -> Option<u32> {
        let at = ino.0.checked_sub(1)?;
        (at < self.nodes.len() as u64).then_some(at as u32)
    }

    fn attr_at(&self, at: u32) -> Attr {
        let ino = ino_of(at);
        match self.nodes[at as usize].what {
            What::File { member } => {
                let member = &self.members[member as usize];
                Attr {
                    ino,
                    kind: Kind::File,
                    // The kernel takes no more, and only a damaged archive tells of more.
                    size: member.size.min(i64::MAX as u64),
                    modified: member.modified,
                    links: 1,
                }
            }
            What::Directory { number } => Attr {
                ino,
                kind: Kind::Directory,
                size: 0,
                modified: self.modified,
                links: 2 + self.directories[number as usize].subdirectories,
            },
        }
    }
}

fn ino_of(at: u32) -> Ino {
    Ino(u64::from(at) + 1)
}

/// The names or the inodes of an archive are more than npzfs has numbers for.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A hash table from (parent, name) to a position in the nodes. Names are chosen by whoever made
/// the archive, so the hash is keyed at random.
#[derive(Debug, Default)]
struct Table {
    positions: HashTable<u32>,
    hasher: RandomState,
}

impl Table {
    fn hash(&self, parent: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    fn find(&self, parent: u32, name: &[u8], nodes: &[Node], names: &Names) -> Option<u32> {
        let is_it = |&at: &u32| {
            let node = &nodes[at as usize];
            node.parent == parent && names.bytes(node.name) == name
        };
        self.positions.find(self.hash(parent, name), is_it).copied()
    }

    /// Whether the name of the node at position `at` was free; if so, it is in the table now.
    fn insert(&mut self, at: u32, nodes: &[Node], names: &Names) -> bool {
        let key = |at: u32| {
            let node = &nodes[at as usize];
            (node.parent, names.bytes(node.name))
        };
        let hash = |&at: &u32| self.hasher.hash_one(key(at));
        let is_it = |&other: &u32| key(other) == key(at);
        match self.positions.entry(hash(&at), is_it, hash) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert(at);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::zip::member::Method;

    fn tree(raw_names: &[&str]) -> Tree {
        let mut names = Names::default();
        let members = raw_names
            .iter()
            .zip(1..)
            .map(|(raw, size)| Member {
                name: names.push(raw.as_bytes()).unwrap(),
                method: Method::STORED,
                flags: 0,
                crc32: 0,
                size: if raw.ends_with('/') { 0 } else { size },
                extent: Extent {
                    start: 0,
                    len: size,
                },
                local_header_offset: 0,
                modified: 7,
                stamp: Default::default(),
                problem: None,
            })
            .collect();
        let index = Index {
            names,
            members,
            members_end: 0,
            lease: crate::zip::budget::INDEXES.take(0),
        };
        Tree::new(index, 99).unwrap()
    }

    /// Every path below `directory` with the size of the file, in the order of the entries.
    fn walk(tree: &Tree, directory: Ino, path: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for entry in tree.entries(directory, 0).unwrap() {
            let path = format!("{path}{}", std::str::from_utf8(entry.name).unwrap());
            assert_eq!(tree.lookup(directory, entry.name), Some(entry.attr));
            assert_eq!(tree.attr(entry.attr.ino), Some(entry.attr));
            assert_eq!(tree.parent(entry.attr.ino), Some(directory));
            match entry.attr.kind {
                Kind::File => paths.push(format!("{path}={}", entry.attr.size)),
                Kind::Directory => {
                    paths.push(format!("{path}/"));
                    paths.extend(walk(tree, entry.attr.ino, &format!("{path}/")));
                }
            }
        }
        paths
    }

    fn paths(raw_names: &[&str]) -> Vec<String> {
        walk(&tree(raw_names), Ino::ROOT, "")
    }

    #[test]
    fn slashes_make_directories() {
        assert_eq!(
            paths(&["x", "a/b/y", "a/z", "e/"]),
            ["a/", "a/b/", "a/b/y=2", "a/z=3", "e/", "x=1"]
        );
    }

    #[test]
    fn the_last_of_repeated_names_wins() {
        assert_eq!(paths(&["x", "y", "x"]), ["y=2", "x=3"]);
    }

    #[test]
    fn different_names_that_end_up_as_one_are_numbered() {
        assert_eq!(
            paths(&["x.npy", "./x.npy", "/x.npy", "x (1).npy"]),
            ["x.npy=1", "x (1).npy=2", "x (2).npy=3", "x (1) (1).npy=4"]
        );
    }

    #[test]
    fn a_file_that_claims_the_name_of_a_directory_is_numbered() {
        assert_eq!(paths(&["a", "a/b"]), ["a/", "a/b=2", "a (1)=1"]);
        assert_eq!(paths(&["a/b", "a"]), ["a/", "a/b=1", "a (1)=2"]);
        assert_eq!(paths(&["a/", "a"]), ["a/", "a (1)=2"]);
    }

    #[test]
    fn names_without_anything_left_and_names_with_nul_are_hidden() {
        assert_eq!(paths(&["..", "./", "", "a\0b", "c"]), ["c=5"]);
    }

    #[test]
    fn names_that_differ_in_case_are_different() {
        assert_eq!(paths(&["a", "A"]), ["a=1", "A=2"]);
    }

    #[test]
    fn a_directory_counts_its_subdirectories_as_links() {
        let tree = tree(&["a/b/x", "a/c/x", "d/x"]);
        let links = |ino| tree.attr(ino).unwrap().links;
        let a = tree.lookup(Ino::ROOT, b"a").unwrap();
        assert_eq!((links(Ino::ROOT), links(a.ino)), (4, 4));
        assert_eq!((a.modified, a.size), (99, 0));
    }

    #[test]
    fn every_member_has_the_path_that_it_is_shown_at_or_none() {
        let tree = tree(&["a/b/x", "x", "e/", "x", "", "./x", "a/", "/", "f/g/"]);
        let paths: Vec<_> = tree
            .members()
            .map(|(member, ino)| {
                let raw = String::from_utf8_lossy(tree.name_of(member)).into_owned();
                (raw, ino.and_then(|ino| tree.path(ino)))
            })
            .collect();
        let expected = [
            ("a/b/x", Some("a/b/x")),
            ("x", None),
            ("e/", Some("e/")),
            ("x", Some("x")),
            ("", None),
            ("./x", Some("x (1)")),
            ("a/", Some("a/")),
            ("/", None),
            ("f/g/", Some("f/g/")),
        ];
        let expected = expected.map(|(raw, path)| (raw.to_owned(), path.map(str::to_owned)));
        assert_eq!(paths, expected);
    }

    #[test]
    fn inodes_that_do_not_exist_have_nothing() {
        let tree = tree(&["x"]);
        let file = tree.lookup(Ino::ROOT, b"x").unwrap();
        for ino in [Ino(0), Ino(3), Ino(u64::MAX)] {
            assert_eq!(tree.attr(ino), None);
            assert!(tree.entries(ino, 0).is_none());
            assert!(tree.member(ino).is_none());
            assert_eq!(tree.path(ino), None);
        }
        assert_eq!(tree.lookup(file.ino, b"x"), None);
        assert!(tree.entries(file.ino, 0).is_none());
        assert_eq!(tree.entries(Ino::ROOT, usize::MAX).unwrap().count(), 0);
    }

    #[test]
    fn many_members_with_one_name_are_numbered_without_trying_every_number_each_time() {
        let spellings: Vec<String> = (0..1 << 15)
            .map(|bits: u32| {
                let dots = (0..15).map(|bit| if bits >> bit & 1 == 1 { "./" } else { "//" });
                dots.collect::<String>() + "x"
            })
            .collect();
        let raw_names: Vec<&str> = spellings.iter().map(String::as_str).collect();
        let paths = paths(&raw_names);
        assert_eq!(paths.len(), 1 << 15);
        assert_eq!(paths.last().unwrap(), "x (32767)=32768");
    }

    #[test]
    fn many_long_names_that_are_numbered_alike_cost_no_more() {
        let long: Vec<String> = (0..10_000)
            .flat_map(|at| {
                let name = format!("{}{at:05}", "x".repeat(250));
                [format!("/{name}"), name]
            })
            .collect();
        let raw_names: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(paths(&raw_names).len(), 20_000);
    }
}
