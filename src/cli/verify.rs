//! The command line of `npzfs verify`.

use std::path::PathBuf;

use clap::Args;

use super::EXIT_STATUS;

const EXAMPLE: &str = "\
Example:
  $ npzfs verify frame.npz
  frame.npz: 2 members, 64 MB: sound";

/// The arguments of `npzfs verify`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct VerifyArgs {
    /// The .npz archives, or any other ZIP archives
    #[arg(value_name = "ARCHIVE", required = true)]
    pub archives: Vec<PathBuf>,

    /// Number of threads that read and check [default: one per processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}
