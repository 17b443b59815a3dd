//! The subcommands, a module each.
//!
//! Each has a function `run`, which takes its arguments and the [`Console`], and returns an exit
//! status. A command that goes on after an error, with its next archive, reports the error itself and
//! returns the worst status.

mod completions;
pub mod error;
mod list;
mod mount;
mod mount_helper;
mod mounts;
mod repack;
mod run;
pub mod status;
mod umount;
mod verify;

use crate::cli::Command;
use crate::exit_status::ExitStatus;
use crate::ui::console::Console;
use error::Error;

/// Runs a command.
///
/// # Errors
/// That of the command, which the caller reports.
pub fn run(command: &Command, console: &mut Console) -> Result<ExitStatus, Error> {
    match command {
        Command::Mount(arguments) => mount::run(arguments, console),
        Command::List(arguments) => list::run(arguments, console),
        Command::Repack(arguments) => repack::run(arguments, console),
        Command::Umount(arguments) => umount::run(arguments, console),
        Command::Verify(arguments) => verify::run(arguments, console),
        Command::Run(arguments) => run::run(arguments, console),
        Command::Mounts(arguments) => mounts::run(arguments, console),
        Command::Completions(arguments) => completions::run(arguments, console),
        Command::Helper(arguments) => mount_helper::run(arguments, console),
    }
}

/// Reports an error after which the command goes on, and returns its exit status.
fn report(error: &Error, console: &mut Console) -> ExitStatus {
    console.report(error);
    status::of(error)
}
