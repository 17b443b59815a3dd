//! A mount of the built program, and the process that serves it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

/// A live mount, unmounted on drop.
pub struct Mount {
    mount_point: TempDir,
    /// Time until `npzfs mount` returned, in seconds.
    pub seconds: f64,
}

/// The resident memory of a process, in bytes.
pub struct Memory {
    /// Heap and stacks.
    pub anonymous: f64,
    /// Mapped pages of the page cache: those of the program and the archive.
    pub mapped: f64,
    /// The part of both that no other process has mapped.
    pub private: f64,
}

impl Mount {
    pub fn new(archive: &Path) -> io::Result<Self> {
        let mount_point = tempfile::tempdir()?;
        let start = Instant::now();
        npzfs(
            &["mount", "--quiet", "--strict"],
            &[archive, mount_point.path()],
        )?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Self {
            mount_point,
            seconds,
        })
    }

    pub fn path(&self) -> &Path {
        self.mount_point.path()
    }

    /// Returns the memory of the process that serves the mount.
    pub fn memory(&self) -> io::Result<Memory> {
        let process = format!("/proc/{}", self.server()?);
        let status = fs::read_to_string(process.clone() + "/status")?;
        let smaps = fs::read_to_string(process + "/smaps_rollup")?;
        Ok(Memory {
            anonymous: kib(&status, "RssAnon:")?,
            mapped: kib(&status, "RssFile:")?,
            private: kib(&smaps, "Private_Dirty:")? + kib(&smaps, "Private_Clean:")?,
        })
    }

    /// Returns the process with the mount point on its command line. The one that was started has
    /// exited.
    fn server(&self) -> io::Result<u32> {
        let mount_point = self.path().as_os_str().as_bytes();
        let serves = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split(|&byte| byte == 0)
                    .any(|word| word == mount_point)
            })
        };
        fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find(serves)
            .ok_or_else(|| io::Error::other("no process serves the mount"))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = npzfs(&["umount"], &[self.path()])
            .or_else(|_| npzfs(&["umount", "--lazy"], &[self.path()]));
        if let Err(error) = unmounted {
            eprintln!("{}: left mounted: {error}", self.path().display());
        }
    }
}

fn npzfs(words: &[&str], paths: &[&Path]) -> io::Result<()> {
    let status = Command::new(env!("CARGO_BIN_EXE_npzfs"))
        .args(words)
        .args(paths)
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("npzfs {}: {status}", words[0])))
}

/// Returns the value of a line such as `RssAnon:  1234 kB`, in bytes.
fn kib(text: &str, key: &str) -> io::Result<f64> {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .map(|kib: f64| kib * 1024.)
        .ok_or_else(|| io::Error::other(format!("no {key} in proc(5)")))
}
