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
    /// A .npz archive, another ZIP archive, or a folder of .npz archives; several become directories
    #[arg(value_name = "ARCHIVE", required = true, value_hint = ValueHint::AnyPath)]
    pub archives: Vec<PathBuf>,

    /// The directory to mount on; if it is missing, it is created, and removed at the end
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mount_point: PathBuf,

    /// Stay in the foreground, and log to standard error
    #[arg(short, long)]
    pub foreground: bool,

    /// Unmount when standard input, a pipe or socket held by the caller, reaches end-of-file
    #[arg(long)]
    pub until_eof: bool,

    /// The options of the mount.
    #[command(flatten)]
    pub options: MountOptions,

    /// Whether mount(8) is the caller. It prints nothing on success by default.
    #[arg(skip)]
    pub for_mount: bool,
}

/// The treatment of compressed members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deflated {
    /// Inflate them when they are opened.
    Inflate,
    /// Refuse to open them.
    Refuse,
}

/// When backing files are passed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Passthrough {
    /// Wherever possible.
    Auto,
    /// Wherever possible; fail to mount if it is not.
    On,
    /// Never.
    Off,
}

/// When files are loaded into the page cache in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Prefetching {
    /// Wherever possible.
    On,
    /// Never.
    Off,
}

/// The options of every command that mounts.
#[derive(Debug, Clone, Args)]
pub struct MountOptions {
    /// Mount options as in fstab(5), including the long options listed here
    #[arg(short, value_name = "OPT[,OPT...]", action = ArgAction::Append)]
    pub o: Vec<OsString>,

    /// Allow all users to access the mount
    #[arg(long)]
    pub allow_other: bool,

    /// Allow root to access the mount, in addition to the user who mounts
    #[arg(long, conflicts_with_all = ["allow_other", "uid"])]
    pub allow_root: bool,

    /// Unmount even if npzfs is killed
    #[arg(long)]
    pub auto_unmount: bool,

    /// Number of threads that answer requests [default: one per processor, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,

    /// Busy-poll this long for the next request before sleeping, in microseconds; 0 disables polling
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub poll_us: u32,

    /// Load the next files of a sequential read into the page cache in advance
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Prefetching::On)]
    pub prefetch: Prefetching,

    /// Owner of all files [default: the user who mounts]
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,

    /// Group of all files [default: the group of the user who mounts]
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,

    /// Permissions to remove from 0444 and 0555, in octal [default: 0]
    #[arg(long, value_name = "MASK", value_parser = octal)]
    pub umask: Option<u16>,

    /// What to do with compressed members
    #[arg(long, value_name = "HOW", default_value = "inflate")]
    pub deflated: Deflated,

    /// Memory limit for inflated members, such as 500M or 2G [default: a quarter of the memory]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub inflate_limit: Option<u64>,

    /// Directory for inflated members beyond this limit [default: $TMPDIR or /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Let the kernel read files without npzfs: inflated members, and aligned ones on XFS and Btrfs
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub passthrough: Passthrough,

    /// Minimum size of a stored member for passthrough, such as 64K or 1M [default: 256K]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub passthrough_min: Option<u64>,

    /// Show archives inside archives as directories
    #[arg(short, long)]
    pub recursive: bool,

    /// Show archives without the suffix .npz
    #[arg(long)]
    pub strip_suffix: bool,

    /// Maximum number of open archives in folders and archives, of inflated members, and of clones
    /// [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    pub max_open: Option<u32>,

    /// Fail if any member cannot be read
    #[arg(long)]
    pub strict: bool,

    /// Log more; given twice, log every request
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Log and print errors only
    #[arg(short, long)]
    pub quiet: bool,

    /// Append the log to FILE [default: syslog, or standard error in the foreground]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// The kernel options after `-o`.
    #[arg(skip)]
    pub kernel: KernelOptions,
}

/// Parses a number of bytes with an optional unit, a power of 1024.
fn size(text: &str) -> Result<u64, String> {
    let invalid = || "expected a size such as 500M or 2G".to_owned();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match &*text[digits.len()..].to_ascii_uppercase() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

fn octal(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|&mask| mask <= 0o777)
        .ok_or_else(|| "expected an octal number up to 777".to_owned())
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
