//! The command line of `npzfs repack`.

use std::path::PathBuf;

use clap::Args;

use super::EXIT_STATUS;

const EXAMPLE: &str = "\
Example:
  $ npzfs repack compressed.npz frame.npz
  $ npzfs mount frame.npz /mnt/frame";

/// The arguments of `npzfs repack`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}"))]
pub struct RepackArgs {
    /// The archive or the directory to pack
    pub input: PathBuf,

    /// The archive to write
    pub output: PathBuf,

    /// Start each array at a multiple of BYTES: a power of two from 64 to 2097152
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = alignment)]
    pub align: u64,

    /// Leave no space between members
    #[arg(long, conflicts_with = "align")]
    pub no_align: bool,

    /// Read the result back and compare it before OUTPUT appears
    #[arg(long)]
    pub verify: bool,

    /// Replace OUTPUT if it exists; it may be INPUT
    #[arg(short, long)]
    pub force: bool,

    /// Number of threads that read and write [default: one per processor, at most 64]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: Option<u8>,

    /// Print only errors
    #[arg(short, long)]
    pub quiet: bool,
}

fn alignment(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|bytes: &u64| bytes.is_power_of_two() && (64..=2 << 20).contains(bytes))
        .ok_or_else(|| "must be a power of two from 64 to 2097152".to_owned())
}
