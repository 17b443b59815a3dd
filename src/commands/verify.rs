//! Checks whole archives: the contents, headers and array of each member, and the bytes between them.
//!
//! Where `list` believes the headers, `verify` reads every byte. A *fault* means that a mount or NumPy
//! cannot read a member as it was written; a *note* is something sound that may still surprise.

mod array;
mod contents;
mod finding;
mod findings;
mod part;
mod report;

use std::io::Write;

use crate::archive::file::IndexedFile;
use crate::cli::VerifyArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::sys::process;
use crate::ui::console::Console;
use report::Report;

/// Checks one archive after the other, and writes a report of each to standard output.
///
/// # Errors
/// [`Error::Output`]; the error of an archive that cannot be checked is reported.
pub fn run(arguments: &VerifyArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let jobs = arguments.jobs.map_or_else(process::processors, usize::from);
    let mut worst = exit_status::DONE;
    for given in &arguments.archives {
        let archive = IndexedFile::open(given);
        match archive.and_then(|archive| Report::new(archive, given, jobs)) {
            Ok(report) => {
                if !report.is_sound() {
                    worst = worst.max(exit_status::FAILED);
                }
                let written = write!(console, "{report}").and_then(|()| console.flush());
                written.map_err(Error::Output)?;
            }
            Err(error) => worst = worst.max(super::report(&error.into(), console)),
        }
        if console.is_closed() {
            break;
        }
    }
    Ok(worst)
}
