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

use std::io::{self, BufWriter, Write};

use anstream::AutoStream;

use crate::archive::file::IndexedFile;
use crate::cli::VerifyArgs;
use crate::commands::error::Error;
use crate::exit_status;
use crate::sys::process;
use report::Report;

/// Checks archives and writes a report of each to standard output. Passes the error of an archive that
/// cannot be checked to `fail`, which returns an exit status; returns the highest status of all.
pub fn verify(arguments: &VerifyArgs, fail: impl Fn(&Error) -> u8) -> u8 {
    let mut out = BufWriter::new(AutoStream::auto(io::stdout().lock()));
    let mut worst = exit_status::DONE;
    let jobs = arguments.jobs.map_or_else(process::processors, usize::from);
    for given in &arguments.archives {
        let archive = IndexedFile::open(given);
        let report = match archive.and_then(|archive| Report::new(archive, given, jobs)) {
            Ok(report) => report,
            Err(error) => {
                worst = worst.max(fail(&error.into()));
                continue;
            }
        };
        if !report.is_sound() {
            worst = worst.max(exit_status::FAILED);
        }
        // Flush before an error of the next archive appears on standard error.
        match write!(out, "{report}").and_then(|()| out.flush()) {
            Ok(()) => {}
            // The reader has closed standard output, so it wants no more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return worst.max(fail(&Error::Output(error))),
        }
    }
    worst
}
