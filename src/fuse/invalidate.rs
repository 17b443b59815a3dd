//! Has the kernel forget what it has cached of an archive that has changed.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread;
use std::{io, ptr};

use fuser::{INodeNo, Notifier};
use log::{error, warn};

use crate::archive::Archive;
use crate::archive::served_file::ServedFile;
use crate::ui::human::Escaped;
use crate::vfs::{Open, Vfs};

/// Waits, in a thread of its own, for messages that an archive of `catalog` has changed. Then the
/// log says so and the kernel forgets what it has cached of it.
///
/// # Errors
/// Those of pthread_create(3).
pub fn start(changed: Receiver<()>, catalog: Weak<Vfs>, notifier: Notifier) -> io::Result<()> {
    let thread = thread::Builder::new().name("forget".to_owned());
    thread.spawn(move || {
        let mut forgotten = Vec::new();
        // An error says that the session has ended. Then the notifier must go, too: it keeps the
        // connection open, and whoever uses the mount would wait for ever.
        while changed.recv().is_ok() {
            if let Some(catalog) = catalog.upgrade() {
                forget_changed(&catalog, &notifier, &mut forgotten);
            }
        }
    })?;
    Ok(())
}

/// Forgets the archives that have changed, but for those `forgotten` already.
fn forget_changed(catalog: &Vfs, notifier: &Notifier, forgotten: &mut Vec<Weak<ServedFile>>) {
    forgotten.retain(|bytes| bytes.strong_count() > 0);
    let mut changed = catalog.open_archives();
    changed.retain(|open| open.volume.is_stale());
    for Open {
        volume,
        root,
        is_followed,
    } in changed
    {
        let bytes = volume.outermost().data().file();
        let is_it = |known: &Weak<ServedFile>| ptr::eq(known.as_ptr(), Arc::as_ptr(bytes));
        if !forgotten.iter().any(is_it) {
            let path = &volume.outermost().path;
            let shown = Escaped::path(path);
            if is_followed {
                warn!("{shown}: changed while it was open");
            } else {
                error!("{shown}: changed while mounted; mount it again");
            }
            forgotten.push(Arc::downgrade(bytes));
        }
        forget_all(notifier, &volume, root.0);
    }
}

fn forget_all(notifier: &Notifier, volume: &Archive, root: u64) {
    for inode in root..root + volume.tree.len() as u64 {
        // An inode that the kernel does not know is no error; that there is no mount any more is
        // the end.
        if notifier.inval_inode(INodeNo(inode), 0, 0).is_err() {
            return;
        }
    }
}
