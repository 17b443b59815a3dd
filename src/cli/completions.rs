//! The command line of `npzfs completions`.

use clap::{Args, ValueEnum};

const EXAMPLE: &str = "\
Example:
  $ source <(npzfs completions bash)";

/// The arguments of `npzfs completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// A shell with completions for npzfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly interactive shell
    Fish,
}
