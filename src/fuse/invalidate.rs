//! Drops the kernel's cache of an archive that has changed.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread;
use std::{io, ptr};

use fuser::{INodeNo, Notifier};
use log::{error, warn};

use crate::archive::Archive;
use crate::archive::served_file::ServedFile;
use crate::ui::human::Escaped;
use crate::vfs::Vfs;

/// Starts a thread that waits for a message that an archive of `vfs` has changed, logs it, and drops
/// what the kernel has cached of the archive.
///
/// # Errors
/// Those of pthread_create(3).
pub fn start(changed: Receiver<()>, vfs: Weak<Vfs>, notifier: Notifier) -> io::Result<()> {
    let thread = thread::Builder::new().name("invalidate".to_owned());
    thread.spawn(move || {
        let mut logged = Vec::new();
        // Receiving fails when the session has ended. Then the notifier has to go, too: it keeps the
        // connection open, and clients of the mount would hang.
        while changed.recv().is_ok() {
            if let Some(vfs) = vfs.upgrade() {
                invalidate_changed(&vfs, &notifier, &mut logged);
            }
        }
    })?;
    Ok(())
}

/// Invalidates all inodes of archives that have changed, and logs those that are not `logged` yet.
fn invalidate_changed(vfs: &Vfs, notifier: &Notifier, logged: &mut Vec<Weak<ServedFile>>) {
    logged.retain(|file| file.strong_count() > 0);
    let mut changed = vfs.open_archives();
    changed.retain(|open| open.archive.is_stale());
    for open in changed {
        let outermost = open.archive.outermost();
        let file = outermost.data().file();
        let is_same = |known: &Weak<ServedFile>| ptr::eq(known.as_ptr(), Arc::as_ptr(file));
        if !logged.iter().any(is_same) {
            let shown = Escaped::path(&outermost.path);
            if open.is_in_folder {
                warn!("{shown}: changed while it was open");
            } else {
                error!("{shown}: changed while mounted; mount it again");
            }
            logged.push(Arc::downgrade(file));
        }
        invalidate_all(notifier, &open.archive, open.root.0);
    }
}

fn invalidate_all(notifier: &Notifier, archive: &Archive, root: u64) {
    for ino in root..root + archive.tree.inode_count() as u64 {
        // An inode that the kernel does not know is no error; this one means that the mount is gone.
        if notifier.inval_inode(INodeNo(ino), 0, 0).is_err() {
            return;
        }
    }
}
