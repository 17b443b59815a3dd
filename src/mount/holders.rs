//! The processes that keep a mount busy, from `/proc`.

use std::fmt;
use std::fs::{self, DirEntry};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::mountinfo::MountInfo;
use crate::ui::human::Escaped;

/// A process that keeps a mount busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process number.
    pub pid: u32,
    /// The name of its command.
    pub command: Vec<u8>,
}

impl Holder {
    /// Returns the process of an entry of `/proc`, if it is one.
    pub fn of(entry: &DirEntry) -> Option<Self> {
        Some(Self {
            pid: entry.file_name().to_str()?.parse().ok()?,
            command: fs::read(entry.path().join("comm"))
                .unwrap_or_default()
                .trim_ascii()
                .to_vec(),
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", Escaped(&self.command), self.pid)
    }
}

/// How long to search. The mappings of a process that hangs in a page fault cannot be read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the processes that hold something of `mount`: an open file, a mapping, their working or
/// root directory. Those of other users are missing unless this is root, and so are those that were
/// not found in two seconds.
pub fn find(mount: &MountInfo) -> Vec<Holder> {
    let (found, holders) = mpsc::channel();
    let mount = mount.clone();
    thread::spawn(move || {
        // Mappings come last: there one process that hangs could hide all the others.
        for holds in [uses, has_mapped] {
            for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
                if let Some(holder) = Holder::of(&entry)
                    && holds(&entry.path(), &mount)
                    && found.send(holder).is_err()
                {
                    return;
                }
            }
        }
    });
    let deadline = Instant::now() + TIMEOUT;
    let next = || {
        let left = deadline.saturating_duration_since(Instant::now());
        holders.recv_timeout(left).ok()
    };
    let mut holders: Vec<Holder> = std::iter::from_fn(next).collect();
    holders.sort_by_key(|holder| holder.pid);
    holders.dedup();
    holders
}

fn uses(process: &Path, mount: &MountInfo) -> bool {
    is_below(&process.join("cwd"), mount)
        || is_below(&process.join("root"), mount)
        || has_open(process, mount)
}

/// Compares the link in `/proc` as text: following it could block on a file system that hangs.
fn is_below(link: &Path, mount: &MountInfo) -> bool {
    fs::read_link(link).is_ok_and(|target| target.starts_with(&mount.mount_point))
}

fn has_open(process: &Path, mount: &MountInfo) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fdinfo")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::read_to_string(descriptor.path()).is_ok_and(|info| {
            info.lines()
                .filter_map(|line| line.strip_prefix("mnt_id:"))
                .any(|id| id.trim().parse() == Ok(mount.id))
        })
    })
}

fn has_mapped(process: &Path, mount: &MountInfo) -> bool {
    let (major, minor) = mount.device;
    let device = format!("{major:02x}:{minor:02x}");
    fs::read(process.join("maps")).is_ok_and(|maps| {
        maps.split(|&byte| byte == b'\n').any(|line| {
            line.split(|&byte| byte == b' ')
                .nth(3)
                .is_some_and(|field| field == device.as_bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mountinfo::Place;

    #[test]
    fn a_process_with_an_open_file_is_a_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mount = Place::find(file.path()).unwrap().mount;
        let pid = std::process::id();
        let holder = find(&mount).into_iter().find(|holder| holder.pid == pid);
        let holder = holder.unwrap();
        assert!(holder.to_string().ends_with(&format!(" (pid {pid})")));
        assert!(!holder.command.ends_with(b"\n"));
    }
}
