//! The command line of `npzfs run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{EXIT_STATUS, MountOptions};

const EXAMPLE: &str = "\
Example:
  $ npzfs run frame.npz -- ls -l {}
  $ npzfs run frame.npz -- python3 analyse.py    # which looks into NPZFS_MOUNT";

/// The arguments of `npzfs run`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct RunArgs {
    /// The .npz archive, or any other ZIP archive, or a folder of .npz archives; several become
    /// directories
    #[arg(value_name = "ARCHIVE", required = true, value_hint = ValueHint::AnyPath)]
    pub archives: Vec<PathBuf>,

    /// What to run, and its arguments; {} in them stands for the directory of the mount
    #[arg(last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,

    /// How to mount.
    #[command(flatten)]
    pub options: MountOptions,
}
