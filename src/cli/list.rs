//! The command line of `npzfs list`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::EXIT_STATUS;

const EXAMPLE: &str = "\
Example:
  $ npzfs list frame.npz
  $ npzfs list --json frame.npz | jq -r '.members[] | select(.npy) | [.path, .npy.dtype] | @tsv'";

/// The arguments of `npzfs list`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct ListArgs {
    /// Write a line of JSON for each archive instead of a table
    #[arg(long)]
    pub json: bool,

    /// The .npz archives, or any other ZIP archives
    #[arg(value_name = "ARCHIVE", required = true, value_hint = ValueHint::FilePath)]
    pub archives: Vec<PathBuf>,
}
