//! A file that appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::{SigSet, raise};
use nix::unistd::linkat;

use crate::sys;

/// A file that is being written.
///
/// Until it is published it has no name, so that the kernel takes it away with the process, however
/// that ends. File systems that cannot do this give it a name of its own, which is removed when this
/// is dropped, and by the signals that end the process.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    directory: PathBuf,
    target: PathBuf,
    /// The name to remove, if the file has one.
    temporary: Arc<Mutex<Option<PathBuf>>>,
}

impl OutputFile {
    /// Begins a file that is to become `target`, with the permissions `mode` less the umask.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn create(target: PathBuf, mode: u32) -> io::Result<Self> {
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
            // A kernel or a file system without O_TMPFILE takes it for an attempt to write to the
            // directory.
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
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the complete file its name. Whatever has the name already is replaced or, without
    /// `replace`, an error. All of it is on disk when this returns.
    ///
    /// # Errors
    /// Those of fsync(2), link(2) and rename(2); `AlreadyExists`.
    pub fn publish(self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        // From here to the end signals wait.
        let mut temporary = lock(&self.temporary);
        let unnamed = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let linked = link(temporary.as_deref().unwrap_or(&unnamed), &self.target);
        let name = match linked.as_ref().map_err(io::Error::raw_os_error) {
            // Only what has a name can take the place of another. Killed before it does, the process
            // leaves that name.
            Err(Some(libc::EEXIST)) if replace => match temporary.take() {
                None => Some(first_free(&self.directory, |name| link(&unnamed, name))?.0),
                name => name,
            },
            // A file system without links.
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

/// Makes something under the first name that is free.
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

/// Whoever held the lock and panicked did not leave a wrong name behind.
fn lock(temporary: &Mutex<Option<PathBuf>>) -> MutexGuard<'_, Option<PathBuf>> {
    temporary.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(temporary: &mut Option<PathBuf>) {
    if let Some(name) = temporary.take() {
        // There is nothing more to be done about it.
        let _ = fs::remove_file(name);
    }
}

/// Has signals remove the file before they end this process as they always do.
fn remove_on_signal(temporary: Arc<Mutex<Option<PathBuf>>>) -> io::Result<()> {
    // nohup(1) lets its command ignore SIGHUP, and so do shells with SIGINT for background jobs.
    let ending = sys::ENDING
        .into_iter()
        .filter(|&signal| !sys::is_ignored(signal));
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
