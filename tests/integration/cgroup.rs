//! Control groups that limit memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mounted::{TIMEOUT, available, is_root};

/// A control group that limits the memory of the server, including the page cache of what it reads.
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group with `limit` bytes of memory; `None` if there can be none, which is reported.
    pub fn new(limit: u64) -> Option<Self> {
        if !available(is_root(), "root") {
            return None;
        }
        let places = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        let found = places
            .into_iter()
            .find(|(root, _)| Path::new(root).join("cgroup.procs").exists());
        let limited = found.and_then(|(root, file)| {
            let path = Path::new(root).join(format!("npzfs-test-{}-{limit}", std::process::id()));
            fs::create_dir(&path).ok()?;
            let group = Self { path };
            fs::write(group.path.join(file), limit.to_string()).ok()?;
            // Only version 2 has this file, and only with swap.
            let _ = fs::write(group.path.join("memory.swap.max"), "0");
            Some(group)
        });
        available(limited.is_some(), "a control group with a limit of memory");
        limited
    }

    /// Returns the shell command that enters the group.
    pub fn enter(&self) -> String {
        format!("echo $$ > {}", self.path.join("cgroup.procs").display())
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    pub fn oom_kills(&self) -> u64 {
        ["memory.oom_control", "memory.events"]
            .into_iter()
            .filter_map(|file| self.read(file))
            .find_map(|text| {
                let mut lines = text.lines();
                lines.find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
            })
            .expect("the kernel counts them")
    }

    /// Returns the statistics on the limit.
    pub fn pressure(&self) -> String {
        [
            "memory.max_usage_in_bytes",
            "memory.failcnt",
            "memory.peak",
            "memory.events",
        ]
        .into_iter()
        .filter_map(|file| Some(format!("{file}: {}", self.read(file)?.trim())))
        .collect::<Vec<_>>()
        .join("; ")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The server may not have ended yet, especially if the test has failed.
        let deadline = Instant::now() + TIMEOUT;
        let mut removed = fs::remove_dir(&self.path);
        while removed.is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            removed = fs::remove_dir(&self.path);
        }
        if !std::thread::panicking() {
            removed.expect("the control group is removed");
        }
    }
}
