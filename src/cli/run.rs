//! The command line of `npzfs run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{EXIT_STATUS, MountOptions};

const EXAMPLE: &str = "\
Example:
  $ npzfs run frame.npz -- ls -l {}
  $ npzfs run frame.npz -- python3 analyse.py    # reads $NPZFS_MOUNT";

/// The arguments of `npzfs run`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct RunArgs {
    /// A .npz archive, another ZIP archive, or a folder of .npz archives; several become directories
    #[arg(value_name = "ARCHIVE", required = true, value_hint = ValueHint::AnyPath)]
    pub archives: Vec<PathBuf>,

    /// The command and its arguments; {} stands for the mount point
    #[arg(last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,

    /// The options of the mount.
    #[command(flatten)]
    pub options: MountOptions,
}
