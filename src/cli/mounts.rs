//! The command line of `npzfs mounts`.

use clap::Args;

const EXAMPLE: &str = "\
Example:
  $ npzfs mounts
  $ npzfs mounts --json | jq -r '.[].mount_point'";

/// The arguments of `npzfs mounts`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct MountsArgs {
    /// Write an array of JSON objects instead of a table
    #[arg(long)]
    pub json: bool,
}
