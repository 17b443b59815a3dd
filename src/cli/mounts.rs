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
    /// For programs: an array of JSON objects
    #[arg(long)]
    pub json: bool,
}
