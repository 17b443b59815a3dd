//! The command line of `npzfs umount`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

const EXAMPLE: &str = "\
Example:
  $ npzfs umount /mnt/frame";

/// The arguments of `npzfs umount`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct UmountArgs {
    /// Detach the mount at once, even if it is in use
    #[arg(short, long)]
    pub lazy: bool,

    /// The mount points
    #[arg(value_name = "MOUNTPOINT", required = true, value_hint = ValueHint::DirPath)]
    pub mount_points: Vec<PathBuf>,
}
