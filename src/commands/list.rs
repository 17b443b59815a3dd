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

use std::io::{self, Write};
use std::path::Path;

use crate::cli::ListArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::ui::color::HEADING;
use crate::ui::console::Console;
use crate::ui::human::Escaped;
use listing::Listing;

/// Lists one archive after the other on standard output.
///
/// # Errors
/// [`Error::Output`]; the error of an archive is reported.
pub fn run(arguments: &ListArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let width = console.width();
    if arguments.json {
        console.set_raw();
    }
    let mut worst = exit_status::DONE;
    let mut is_first = true;
    for archive in &arguments.archives {
        let listed = Listing::open(archive)
            .map_err(Error::from)
            .and_then(|listing| {
                if arguments.json {
                    return json::write(console, &listing);
                }
                if arguments.archives.len() > 1 {
                    write_heading(console, archive, is_first).map_err(Error::Output)?;
                }
                is_first = false;
                table::write(console, &listing, width)
            });
        match listed {
            Ok(()) => console.flush().map_err(Error::Output)?,
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => worst = worst.max(super::report(&error, console)),
        }
        if console.is_closed() {
            break;
        }
    }
    Ok(worst)
}

fn write_heading(console: &mut Console, archive: &Path, is_first: bool) -> io::Result<()> {
    let before = if is_first { "" } else { "\n" };
    let heading = Escaped::path(archive);
    writeln!(console, "{before}{HEADING}{heading}:{HEADING:#}")
}
