//! `npzfs completions`: what a shell needs to complete command lines of npzfs.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::{self, Cli};

/// The script for a shell.
pub fn script(shell: cli::Shell) -> Vec<u8> {
    let shell = match shell {
        cli::Shell::Bash => Shell::Bash,
        cli::Shell::Zsh => Shell::Zsh,
        cli::Shell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "npzfs", &mut script);
    script
}
