//! `mount.npzfs`, the helper by which mount(8) mounts archives.

use std::fs::File;
use std::io;

use nix::sched::{CloneFlags, setns};

use crate::archive::error::{OpenError, OpenErrorKind};
use crate::cli::HelperArgs;
use crate::commands::error::Error;
use crate::commands::mount;
use crate::exit_status::{self, ExitStatus};
use crate::mount::error::system;
use crate::ui::console::Console;

/// Mounts an archive for mount(8).
///
/// # Errors
/// Those of [`mount::run`].
pub fn run(arguments: &HelperArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    if let Some(namespace) = &arguments.namespace {
        let entered = File::open(namespace)
            .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?));
        entered.map_err(system("enter the mount namespace"))?;
    }
    let result = if arguments.fake {
        mount::check(&arguments.mount).map(|()| exit_status::DONE)
    } else {
        mount::run(&arguments.mount, console)
    };
    match result {
        // As with a device that is not plugged in.
        Err(Error::Open(error)) if arguments.nofail && is_missing(&error) => Ok(exit_status::DONE),
        result => result,
    }
}

fn is_missing(error: &OpenError) -> bool {
    matches!(&error.kind, OpenErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound)
}
