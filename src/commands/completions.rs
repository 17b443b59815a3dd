//! `npzfs completions`: scripts by which shells complete command lines of npzfs.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::generate;

use crate::cli::{Cli, CompletionsArgs, Shell};
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::ui::console::Console;

/// Prints the completion script for a shell.
///
/// # Errors
/// [`Error::Output`].
pub fn run(arguments: &CompletionsArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "npzfs", &mut script);
    console.set_raw();
    console.write_all(&script).map_err(Error::Output)?;
    console.flush().map_err(Error::Output)?;
    Ok(exit_status::DONE)
}
