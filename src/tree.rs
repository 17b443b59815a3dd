//! The members of an archive as files and directories, numbered as inodes.
//!
//! An archive may have millions of members, so a tree is a handful of flat tables: nodes in one
//! vector, the children of each directory as a range of another, names in one arena, and one hash
//! table from (directory, name) to node. It is built once and never changed.

mod build;
mod inode;
mod node;
mod path;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::Range;

use crate::sys::time::system_time;
use crate::zip::{Member, MemberError, Names, decode};
pub use inode::{Attr, DirEntry, Ino, Kind, Times};
use node::{Directory, NameTable, Node, NodeKind};
pub use path::NAME_MAX;

/// The files and directories of an archive.
#[derive(Debug)]
pub struct Tree {
    names: Names,
    members: Vec<Member>,
    nodes: Vec<Node>,
    directories: Vec<Directory>,
    children: Vec<u32>,
    table: NameTable,
    /// The times of the archive.
    times: Times,
}

impl Tree {
    /// Returns the attributes of the inode with this name in directory `parent`.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Option<Attr> {
        let parent = self.position(parent)?;
        let at = self.table.find(parent, name, &self.nodes, &self.names)?;
        Some(self.attr_at(at))
    }

    /// Returns the attributes of an inode.
    pub fn attr(&self, ino: Ino) -> Option<Attr> {
        self.position(ino).map(|at| self.attr_at(at))
    }

    /// Returns the directory of an inode; the root's is the root.
    pub fn parent(&self, ino: Ino) -> Option<Ino> {
        self.position(ino)
            .map(|at| ino_of(self.nodes[at as usize].parent))
    }

    /// Returns the entries of a directory without `.` and `..`, from the `skip`th on; `None` where
    /// `ino` is no directory.
    pub fn entries(&self, ino: Ino, skip: usize) -> Option<impl Iterator<Item = DirEntry<'_>>> {
        let children = self.children_of(self.position(ino)?)?;
        Some(children.iter().skip(skip).map(|&child| DirEntry {
            name: self.names.bytes(self.nodes[child as usize].name),
            attr: self.attr_at(child),
        }))
    }

    /// Returns the position of an inode in its directory, in the order of
    /// [`entries`](Self::entries).
    pub fn position_in_directory(&self, ino: Ino) -> Option<usize> {
        let at = self.position(ino)?;
        let children = self.children_of(self.nodes[at as usize].parent)?;
        // Inodes are numbered in that order.
        children.binary_search(&at).ok()
    }

    fn children_of(&self, at: u32) -> Option<&[u32]> {
        let NodeKind::Directory { number } = self.nodes[at as usize].kind else {
            return None;
        };
        let Range { start, end } = self.directories[number as usize].children;
        Some(&self.children[start as usize..end as usize])
    }

    /// Returns the member that is shown as this file; `None` for a directory.
    pub fn member(&self, ino: Ino) -> Option<&Member> {
        match self.nodes[self.position(ino)? as usize].kind {
            NodeKind::File { member } => Some(&self.members[member as usize]),
            NodeKind::Directory { .. } => None,
        }
    }

    /// Returns the name of a member, as it is in the archive.
    pub fn name_of(&self, member: &Member) -> &[u8] {
        self.names.bytes(member.name)
    }

    /// Returns the members that are shown as files, in the order of the archive.
    pub fn files(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter().filter_map(|node| match node.kind {
            NodeKind::File { member } => Some(&self.members[member as usize]),
            NodeKind::Directory { .. } => None,
        })
    }

    /// Returns all members in the order of the archive, each with the file or directory that it is
    /// shown as, if it is shown.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Option<Ino>)> {
        // Files are in the order of their members, so one pass over both is enough.
        let nodes = self.nodes.iter().zip(0..);
        let mut files = nodes
            .filter_map(|(node, at)| match node.kind {
                NodeKind::File { member } => Some((member, ino_of(at))),
                NodeKind::Directory { .. } => None,
            })
            .peekable();
        self.members.iter().zip(0..).map(move |(member, number)| {
            let file = files.next_if(|&(of, _)| of == number);
            let ino = file.map(|(_, ino)| ino);
            (member, ino.or_else(|| self.directory_of(member)))
        })
    }

    /// Returns the directory that a member with a trailing slash stands for.
    fn directory_of(&self, member: &Member) -> Option<Ino> {
        let raw = self.name_of(member);
        if !raw.ends_with(b"/") {
            return None;
        }
        let decoded = decode(raw);
        let mut at = 0;
        for component in path::components(raw, &decoded) {
            let name = component.text.as_bytes();
            at = self.table.find(at, name, &self.nodes, &self.names)?;
        }
        let is_directory = matches!(self.nodes[at as usize].kind, NodeKind::Directory { .. });
        (at > 0 && is_directory).then(|| ino_of(at))
    }

    /// Returns the path of an inode from the root, without a leading slash: `a/b/x.npy`. That of a
    /// directory ends with a slash. `None` where there is no such inode.
    pub fn path(&self, ino: Ino) -> Option<String> {
        let mut at = self.position(ino)?;
        let mut names = Vec::new();
        if matches!(self.nodes[at as usize].kind, NodeKind::Directory { .. }) {
            names.push(Cow::Borrowed(""));
        }
        while at > 0 {
            let node = &self.nodes[at as usize];
            // Nothing is replaced: all names of nodes are UTF-8.
            names.push(String::from_utf8_lossy(self.names.bytes(node.name)));
            at = node.parent;
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// Estimates how much memory the tree takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let all = |count: usize, each: usize| (count * each) as u64;
        let problems = self
            .members
            .iter()
            .filter(|member| member.problem.is_some());
        self.names.memory_bytes()
            + all(self.members.len(), size_of::<Member>())
            + all(problems.count(), size_of::<MemberError>())
            + all(self.nodes.len(), size_of::<Node>() + size_of::<u32>())
            + all(self.directories.len(), size_of::<Directory>())
            + all(self.children.len(), size_of::<u32>())
    }

    /// Returns the number of files and directories, the root included.
    pub fn inode_count(&self) -> usize {
        self.nodes.len()
    }

    fn position(&self, ino: Ino) -> Option<u32> {
        let at = ino.0.checked_sub(1)?;
        (at < self.nodes.len() as u64).then_some(at as u32)
    }

    /// Returns the times of a member. That of its change is the archive's: it must tell an archive from
    /// another one that has replaced it, whatever dates the members of both have.
    pub fn times_of(&self, member: &Member) -> Times {
        let modified = if member.is_dated {
            system_time(member.modified, 0)
        } else {
            self.times.modified
        };
        Times {
            modified,
            ..self.times
        }
    }

    fn attr_at(&self, at: u32) -> Attr {
        let ino = ino_of(at);
        match self.nodes[at as usize].kind {
            NodeKind::File { member } => {
                let member = &self.members[member as usize];
                Attr {
                    ino,
                    kind: Kind::File,
                    // The kernel takes no more, and only damaged archives declare more.
                    size: member.size.min(i64::MAX as u64),
                    times: self.times_of(member),
                    links: 1,
                }
            }
            NodeKind::Directory { number } => Attr {
                ino,
                kind: Kind::Directory,
                size: 0,
                times: self.times,
                links: 2 + self.directories[number as usize].subdirectories,
            },
        }
    }
}

fn ino_of(at: u32) -> Ino {
    Ino(u64::from(at) + 1)
}

/// The tree of an archive would exceed the limits: 128 MiB of names, 2^32 inodes.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more than 128 MiB of names or 2^32 files and directories")
    }
}

impl Error for TooLarge {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::zip::Index;

    fn times() -> Times {
        Times {
            modified: system_time(99, 5),
            changed: system_time(100, 7),
        }
    }

    fn tree(raw_names: &[&str]) -> Tree {
        let mut names = Names::default();
        let members = raw_names
            .iter()
            .zip(1..)
            .map(|(raw, size)| Member {
                name: names.push(raw.as_bytes()).unwrap(),
                size: if raw.ends_with('/') { 0 } else { size },
                modified: 7,
                is_dated: true,
                ..Member::stored_at(Extent {
                    start: 0,
                    len: size,
                })
            })
            .collect();
        let index = Index {
            names,
            members,
            quirks: Vec::new(),
            members_end: 0,
            lease: crate::zip::budget::INDEXES.take(0),
        };
        Tree::new(index, times()).unwrap()
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
    fn different_names_that_become_one_are_numbered() {
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
    fn empty_names_and_names_with_nul_are_hidden() {
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
        assert_eq!((a.times, a.size), (times(), 0));
    }

    #[test]
    fn files_have_their_own_date_and_the_change_of_the_archive() {
        let mut tree = tree(&["dated", "undated"]);
        tree.members[1].is_dated = false;
        let times_of = |name: &[u8]| tree.lookup(Ino::ROOT, name).unwrap().times;
        let modified = system_time(7, 0);
        assert_eq!(
            times_of(b"dated"),
            Times {
                modified,
                ..times()
            }
        );
        assert_eq!(times_of(b"undated"), times());
    }

    #[test]
    fn every_member_has_the_path_of_its_file_or_none() {
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
    fn inodes_that_do_not_exist_are_not_found() {
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
    fn many_members_that_become_one_name_are_numbered_fast() {
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
    fn many_long_names_are_numbered_as_fast() {
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
