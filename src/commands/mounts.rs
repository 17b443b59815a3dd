//! `npzfs mounts`: lists npzfs mounts, with what their servers say of themselves.
//!
//! It also lists mounts that only other mount namespaces have: after an unmount here, a copy there may
//! keep the server running.

mod entry;
mod json;
mod table;

use std::io::Write;
use std::time::Duration;

use crate::cli::MountsArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::mount::error::require_proc;
use crate::ui::console::Console;
use entry::Entry;

/// How long to wait for the answers of all servers together.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Prints all npzfs mounts that this process can see.
///
/// # Errors
/// [`Error::Mount`] where the mount table cannot be read; [`Error::Output`].
pub fn run(arguments: &MountsArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    require_proc()?;
    let entries = Entry::find_all(TIMEOUT)?;
    let text = if arguments.json {
        json::format(&entries)
    } else {
        table::format(&entries)
    };
    let written = console.write_all(text.as_bytes());
    written
        .and_then(|()| console.flush())
        .map_err(Error::Output)?;
    Ok(exit_status::DONE)
}
