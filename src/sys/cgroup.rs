//! The control group of this process (cgroups(7)), which limits the memory of containers.

use std::fs;
use std::path::Path;

/// Returns how much memory the processes of this control group may use together, in bytes; `None`
/// without a limit.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit(Path::new("/sys/fs/cgroup"), &groups)
}

/// Returns the least limit of `groups`, in the format of `/proc/PID/cgroup`, and of the groups above
/// them. Inside a container only those above may be visible.
fn limit(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let (hierarchy, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        let group = hierarchy.join(path.trim_start_matches('/'));
        let above = group
            .ancestors()
            .take_while(|at| at.starts_with(&hierarchy));
        // Without a limit the file contains a word, or does not exist.
        let limit = |at: &Path| fs::read_to_string(at.join(file)).ok()?.trim().parse().ok();
        above.filter_map(limit).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(limits: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, limit) in limits {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = fixture(&[
            ("a/memory.max", "3000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/c/memory.max", "5000\n"),
        ]);
        assert_eq!(limit(root.path(), "0::/a/b/c\n"), Some(3000));
        assert_eq!(limit(root.path(), "0::/a/b\n"), Some(3000));
        assert_eq!(limit(root.path(), "0::/\n"), None);
    }

    #[test]
    fn a_hierarchy_of_its_own_for_memory_counts() {
        let root = fixture(&[("memory/memory.limit_in_bytes", "7000\n")]);
        let groups = "9:name=systemd:/\n4:cpu,memory:/not/to/be/seen\n0::/\n";
        assert_eq!(limit(root.path(), groups), Some(7000));
        assert_eq!(limit(root.path(), "8:pids:/\nnonsense\n"), None);
    }
}
