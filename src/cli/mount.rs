//! The command line of `npzfs mount`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::EXIT_STATUS;
use crate::mount::kernel_options::KernelOptions;

const EXAMPLE: &str = "\
Example:
  $ npzfs mount frame.npz /mnt/frame
  $ python3 -c 'import numpy; print(numpy.load(\"/mnt/frame/x.npy\", mmap_mode=\"r\"))'
  $ npzfs umount /mnt/frame";

/// The arguments of `npzfs mount`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct MountArgs {
    /// The .npz archive, or any other ZIP archive, or a folder of .npz archives; several become
    /// directories
    #[arg(value_name = "ARCHIVE", required = true, value_hint = ValueHint::AnyPath)]
    pub archives: Vec<PathBuf>,

    /// The directory to mount it on; made if it is missing, and then removed at the end
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mount_point: PathBuf,

    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,

    /// Unmount also when standard input ends: a pipe from the program that the mount is for
    #[arg(long)]
    pub until_eof: bool,

    /// How to mount.
    #[command(flatten)]
    pub options: MountOptions,

    /// Whether mount(8) is the caller, which says nothing of what went well unless asked to.
    #[arg(skip)]
    pub for_mount: bool,
}

/// What is done about compressed members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deflated {
    /// They are inflated when somebody opens them.
    Inflate,
    /// They cannot be opened.
    Refuse,
}

/// Whether the kernel is given files that it reads by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Passthrough {
    /// Where it takes them.
    Auto,
    /// Nothing is mounted where it does not take them.
    On,
    /// Never.
    Off,
}

/// Whether files are put into the cache of the kernel before anybody asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Prefetching {
    /// Where that can be done.
    On,
    /// Never.
    Off,
}

/// The options of every command that mounts.
#[derive(Debug, Clone, Args)]
pub struct MountOptions {
    /// Options as in fstab: those of the kernel, and each long option here by its name
    #[arg(short, value_name = "OPT[,OPT...]", action = ArgAction::Append)]
    pub o: Vec<OsString>,

    /// Let all users in
    #[arg(long)]
    pub allow_other: bool,

    /// Let root in, besides the user who mounts
    #[arg(long, conflicts_with_all = ["allow_other", "uid"])]
    pub allow_root: bool,

    /// Unmount also when npzfs is killed
    #[arg(long)]
    pub auto_unmount: bool,

    /// How many threads answer requests [default: the processors, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,

    /// How long to go on looking for the next request without sleeping, in microseconds, while they
    /// keep coming; 0 for never
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub poll_us: u32,

    /// Whether files are put into the cache of the kernel ahead of whoever reads one after the other
    #[arg(long, value_enum, default_value_t = Prefetching::On)]
    pub prefetch: Prefetching,

    /// Owner of the files [default: the user who mounts]
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,

    /// Group of the files [default: the group of the user who mounts]
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,

    /// Permissions to take from 0444 and 0555, in octal [default: 0]
    #[arg(long, value_name = "MASK", value_parser = octal)]
    pub umask: Option<u16>,

    /// Whether compressed members can be read
    #[arg(long, value_name = "HOW", default_value = "inflate")]
    pub deflated: Deflated,

    /// How much memory inflated members may take, such as 500M or 2G [default: a quarter of the
    /// memory]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub inflate_limit: Option<u64>,

    /// Where inflated members go that are more than that [default: $TMPDIR or /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Whether the kernel reads by itself what it can: compressed members once they are inflated,
    /// and aligned members on XFS and Btrfs
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub passthrough: Passthrough,

    /// How long a stored member has to be for that, such as 64K or 1M [default: 256K]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub passthrough_min: Option<u64>,

    /// Show archives inside archives as directories
    #[arg(short, long)]
    pub recursive: bool,

    /// Show archives without .npz behind their names
    #[arg(long)]
    pub strip_suffix: bool,

    /// How many archives of folders, and inside archives, may be open at a time, and how many
    /// inflated members are kept [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    pub max_open: Option<u32>,

    /// Refuse the mount if any member cannot be read
    #[arg(long)]
    pub strict: bool,

    /// Say more, in the log; twice for each request
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Log to FILE [default: syslog; in the foreground standard error]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// The options behind `-o` that are for the kernel.
    #[arg(skip)]
    pub kernel: KernelOptions,
}

/// A number of bytes, with a unit of 1024 of the next smaller one behind it.
fn size(text: &str) -> Result<u64, String> {
    let wanted = || "a size such as 500M or 2G is wanted".to_owned();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match &*text[digits.len()..].to_ascii_uppercase() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(wanted()),
    };
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    number.checked_mul(1 << shift).ok_or_else(wanted)
}

fn octal(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|&mask| mask <= 0o777)
        .ok_or_else(|| "an octal number up to 777 is wanted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_none() {
        for (text, bytes) in [
            ("0", 0),
            ("5", 5),
            ("5b", 5),
            ("500M", 500 << 20),
            ("2G", 2 << 30),
            ("2gib", 2 << 30),
            ("3K", 3 << 10),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "5IB", "5MIBIB", "-1", "1.5G", "2 G", "99999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
