//! Lists archives without mounting them: what each member is, and how a mount would serve it.
//!
//! An archive may have a million members, so rows are written as they are made, and none is kept. The
//! table therefore goes through the archive twice: once for the widths of its columns, once to print.

mod frame;
mod headers;
mod json;
mod listing;
mod row;
mod table;
mod totals;

use std::io::{self, BufWriter, IsTerminal, Write};

use anstream::AutoStream;

use crate::cli::ListArgs;
use crate::commands::error::Error;
use crate::exit_status;
use crate::sys;
use crate::ui::color::HEADING;
use crate::ui::human::Escaped;
use listing::Listing;

/// Lists archives on standard output. Passes each error to `fail`, which returns an exit status;
/// returns the highest of them.
pub fn list(arguments: &ListArgs, fail: impl Fn(&Error) -> u8) -> u8 {
    let stdout = io::stdout().lock();
    let width = stdout
        .is_terminal()
        .then(|| sys::terminal::terminal_width(&stdout))
        .flatten();
    // JSON contains no colours to strip.
    let out = if arguments.json {
        AutoStream::always_ansi(stdout)
    } else {
        AutoStream::auto(stdout)
    };
    let mut out = BufWriter::new(out);
    let mut worst = exit_status::DONE;
    let mut is_first = true;
    for archive in &arguments.archives {
        let listed = Listing::open(archive)
            .map_err(Error::from)
            .and_then(|listing| {
                if arguments.json {
                    return json::write(&mut out, &listing);
                }
                if arguments.archives.len() > 1 {
                    let before = if is_first { "" } else { "\n" };
                    let heading = Escaped::path(archive);
                    writeln!(out, "{before}{HEADING}{heading}:{HEADING:#}")
                        .map_err(Error::Output)?;
                }
                is_first = false;
                table::write(&mut out, &listing, width)
            });
        // Flush before an error of this archive appears on standard error.
        match listed.and(out.flush().map_err(Error::Output)) {
            Ok(()) => {}
            // The reader has closed standard output, so it wants no more.
            Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error @ Error::Output(_)) => return worst.max(fail(&error)),
            Err(error) => worst = worst.max(fail(&error)),
        }
    }
    worst
}
