//! Copies of a mount: bind mounts, and the mounts of other mount namespaces (mount_namespaces(7)).
//!
//! A new mount namespace starts with copies of all mounts. While a copy is left, the file system
//! lives on, and so does its server.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::mount::holders::Holder;
use crate::sys::mountinfo::{self, MountInfo};
use crate::ui::human::Escaped;

/// The copies of a mount, as far as this user may see them. It is displayed as a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The mount points of copies in this mount namespace.
    pub here: Vec<PathBuf>,
    /// The processes whose mount namespaces have copies.
    pub elsewhere: Vec<Holder>,
}

impl Copies {
    /// Finds the copies of an unmounted file system by its device number.
    pub fn find(device: (u32, u32)) -> Self {
        let is_copy = |mount: &MountInfo| mount.device == device;
        let here = mountinfo::all().unwrap_or_default();
        let here = here.into_iter().filter(is_copy);
        let elsewhere = other_namespaces()
            .into_iter()
            .filter(|namespace| namespace.mounts.iter().any(is_copy));
        Self {
            here: here.map(|mount| mount.mount_point).collect(),
            elsewhere: elsewhere
                .flat_map(|namespace| namespace.processes)
                .collect(),
        }
    }

    /// Whether no copies were found.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |words: Vec<String>| words.join(", ");
        let here = self.here.iter();
        let here = join(here.map(|path| Escaped::path(path).to_string()).collect());
        let elsewhere = join(self.elsewhere.iter().map(Holder::to_string).collect());
        match (self.here.is_empty(), self.elsewhere.is_empty()) {
            (true, _) => write!(f, "in the mount namespace of {elsewhere}"),
            (false, true) => write!(f, "at {here}"),
            (false, false) => write!(f, "at {here}, and in the mount namespace of {elsewhere}"),
        }
    }
}

/// A mount namespace other than that of this process.
#[derive(Debug)]
pub struct Namespace {
    /// Its processes, by number.
    pub processes: Vec<Holder>,
    /// Its mounts. Their paths are those that its first process sees.
    pub mounts: Vec<MountInfo>,
}

impl Namespace {
    /// Returns a path that leads to a path of this namespace from outside.
    pub fn path(&self, inside: &Path) -> PathBuf {
        let pid = self.processes.first().map_or(0, |process| process.pid);
        let mut path = Path::new("/proc").join(pid.to_string()).join("root");
        path.extend(inside.strip_prefix("/"));
        path
    }
}

/// Returns the mount namespaces of all processes that this user may see, without its own.
pub fn other_namespaces() -> Vec<Namespace> {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let mut namespaces: BTreeMap<PathBuf, Vec<Holder>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt"))
            && namespace != own
            && let Some(process) = Holder::of(&entry)
        {
            namespaces.entry(namespace).or_default().push(process);
        }
    }
    let namespaces = namespaces.into_values().filter_map(|mut processes| {
        processes.sort_by_key(|process| process.pid);
        // The first one may have ended by now.
        let mut mounts = processes
            .iter()
            .map(|process| mountinfo::read(Path::new(&format!("/proc/{}", process.pid))));
        let (at, mounts) = (0..)
            .zip(&mut mounts)
            .find_map(|(at, mounts)| Some((at, mounts.ok()?)))?;
        processes.drain(..at);
        Some(Namespace { processes, mounts })
    });
    namespaces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_listed_by_mount_point_and_by_process() {
        let process = |pid| Holder {
            pid,
            command: b"sleep\n1".to_vec(),
        };
        let text = |here: &[&str], elsewhere: &[u32]| {
            let copies = Copies {
                here: here.iter().map(PathBuf::from).collect(),
                elsewhere: elsewhere.iter().copied().map(process).collect(),
            };
            copies.to_string()
        };
        assert_eq!(text(&["/a", "/b\n"], &[]), "at /a, /b\\n");
        assert_eq!(
            text(&[], &[7, 8]),
            "in the mount namespace of sleep\\n1 (pid 7), sleep\\n1 (pid 8)"
        );
        assert_eq!(
            text(&["/a"], &[7]),
            "at /a, and in the mount namespace of sleep\\n1 (pid 7)"
        );
    }

    #[test]
    fn a_path_of_another_namespace_leads_through_its_process() {
        let namespace = Namespace {
            processes: vec![Holder {
                pid: 7,
                command: Vec::new(),
            }],
            mounts: Vec::new(),
        };
        let path = namespace.path(Path::new("/mnt/x"));
        assert_eq!(path, Path::new("/proc/7/root/mnt/x"));
    }
}
