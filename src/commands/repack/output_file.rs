//! A file that appears under its name only when it is complete.
//!
//! O_TMPFILE gives a file without a name, which the kernel removes with the process, however that ends;
//! link(2) then publishes it. Where a file system has no such files, and for the moment in which one
//! takes the place of another, the file has a temporary name, which signals remove.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::{SigSet, raise};
use nix::unistd::linkat;

use crate::sys;
use crate::sys::sync::lock;

/// A file that is being written. Dropped unpublished, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: File,
    directory: PathBuf,
    target: PathBuf,
    /// The temporary name, as long as the file has one.
    temporary: Arc<Mutex<Option<PathBuf>>>,
}

impl OutputFile {
    /// Creates a file to be published as `target`, with the permissions `mode` less the umask.
    ///
    /// # Errors
    /// Those of open(2).
    pub(super) fn create(target: PathBuf, mode: u32) -> io::Result<Self> {
        let directory = match target.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let temporary = Arc::default();
        remove_on_signal(Arc::clone(&temporary))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(mode);
        let unnamed = options
            .clone()
            .custom_flags(libc::O_TMPFILE)
            .open(&directory);
        let file = match unnamed {
            // EISDIR: a kernel or file system without O_TMPFILE sees an open of the directory.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
                let mut temporary = lock(&temporary);
                let (name, file) =
                    first_free(&directory, |name| options.create_new(true).open(name))?;
                *temporary = Some(name);
                file
            }
            unnamed => unnamed?,
        };
        Ok(Self {
            file,
            directory,
            target,
            temporary,
        })
    }

    /// The file, open for reading and writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the complete file its name, and returns once it is on disk. With `replace`, it takes the
    /// place of an existing file.
    ///
    /// # Errors
    /// Those of fsync(2), link(2) and rename(2); `AlreadyExists` without `replace`.
    pub(super) fn publish(self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        // As long as this is locked, the thread that handles signals waits.
        let mut temporary = lock(&self.temporary);
        let unnamed = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let linked = link(temporary.as_deref().unwrap_or(&unnamed), &self.target);
        let name = match linked.as_ref().map_err(io::Error::raw_os_error) {
            // Only a file that has a name can replace another. SIGKILL before it does leaves that name.
            Err(Some(libc::EEXIST)) if replace => match temporary.take() {
                None => Some(first_free(&self.directory, |name| link(&unnamed, name))?.0),
                name => name,
            },
            // The file system has no hard links.
            Err(Some(libc::EPERM)) => temporary.take(),
            _ => None,
        };
        match name {
            Some(name) => {
                fs::rename(temporary.insert(name), &self.target)?;
                *temporary = None;
            }
            None => linked?,
        }
        drop(temporary);
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        remove(&mut lock(&self.temporary));
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    Ok(linkat(
        AT_FDCWD,
        from,
        AT_FDCWD,
        to,
        AtFlags::AT_SYMLINK_FOLLOW,
    )?)
}

/// Calls `make` with temporary names until one is free.
fn first_free<T>(
    directory: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    let mut number = 0;
    loop {
        let name = directory.join(format!(".npzfs-{}-{number}", std::process::id()));
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|made| (name, made)),
        }
    }
}

fn remove(temporary: &mut Option<PathBuf>) {
    if let Some(name) = temporary.take() {
        // If this fails, there is nothing left to try.
        let _ = fs::remove_file(name);
    }
}

/// Starts a thread that removes the file when a signal is about to end this process.
fn remove_on_signal(temporary: Arc<Mutex<Option<PathBuf>>>) -> io::Result<()> {
    // nohup(1) has its command ignore SIGHUP, and shells have background jobs ignore SIGINT.
    let ending = sys::process::TERMINATION_SIGNALS
        .into_iter()
        .filter(|&signal| !sys::process::is_ignored(signal));
    let signals: SigSet = ending.collect();
    signals.thread_block()?;
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            let mut temporary = lock(&temporary);
            remove(&mut temporary);
            let _ = signals.thread_unblock();
            let _ = raise(signal);
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}
