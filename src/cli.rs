//! The command line, as plain values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::options::{self, KernelOptions};

const EXIT_STATUS: &str = "\
Exit status:
   0  done
   1  the command ran and failed
   2  the command line is wrong
  10  the mount point cannot be used
  11  FUSE is not available or not permitted
  20  the archive cannot be opened or read
  21  the archive is not a ZIP archive
  22  the archive is damaged
  23  refused because of members that cannot be read";

const MOUNT_EXAMPLE: &str = "\
Example:
  $ npzfs mount frame.npz /mnt/frame
  $ python3 -c 'import numpy; print(numpy.load(\"/mnt/frame/x.npy\", mmap_mode=\"r\"))'
  $ npzfs umount /mnt/frame";

const UMOUNT_EXAMPLE: &str = "\
Example:
  $ npzfs umount /mnt/frame";

/// Mount a NumPy .npz archive as a directory of memory-mappable .npy files
#[derive(Debug, Parser)]
#[command(
    name = "npzfs",
    version,
    args_override_self = true,
    after_help = EXIT_STATUS,
    infer_subcommands = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What npzfs does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount an archive
    Mount(MountArgs),
    /// End mounts of npzfs
    #[command(alias = "unmount")]
    Umount(UmountArgs),
}

/// The arguments of `npzfs mount`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = format!("{MOUNT_EXAMPLE}\n\n{EXIT_STATUS}")
)]
pub struct MountArgs {
    /// The .npz archive, or any other ZIP archive
    pub archive: PathBuf,

    /// The directory to mount it on; made if it is missing, and then removed at the end
    #[arg(value_name = "MOUNTPOINT")]
    pub mount_point: PathBuf,

    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,

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

    /// Owner of the files [default: the user who mounts]
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,

    /// Group of the files [default: the group of the user who mounts]
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,

    /// Permissions to take from 0444 and 0555, in octal [default: 0]
    #[arg(long, value_name = "MASK", value_parser = octal)]
    pub umask: Option<u16>,

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
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// The options behind `-o` that are for the kernel.
    #[arg(skip)]
    pub kernel: KernelOptions,
}

/// The arguments of `npzfs umount`.
#[derive(Debug, Args)]
#[command(after_help = UMOUNT_EXAMPLE)]
pub struct UmountArgs {
    /// Take the mount away at once, and end it when nobody uses it any more
    #[arg(short, long)]
    pub lazy: bool,

    /// Where npzfs has mounted
    #[arg(value_name = "MOUNTPOINT", required = true)]
    pub mount_points: Vec<PathBuf>,
}

fn octal(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|&mask| mask <= 0o777)
        .ok_or_else(|| "an octal number up to 777 is wanted".to_owned())
}

/// Makes sense of a command line; `arguments` starts with the program's own name.
///
/// # Errors
/// What is wrong with it; the help and the version count as errors, too.
pub fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    let command = Cli::try_parse_from(&arguments)?.command;
    let Command::Mount(first) = &command else {
        return Ok(command);
    };
    // Options behind -o that are long options become long options, right behind the subcommand, so
    // that both spellings are one and those on the command line itself count last.
    let mut kernel = KernelOptions::default();
    let subcommand = arguments
        .iter()
        .skip(1)
        .position(|argument| argument == "mount");
    let (subcommand, rest) = arguments.split_at(subcommand.map_or(0, |at| at + 2));
    let mut expanded = subcommand.to_vec();
    for option in first.o.iter().flat_map(|list| options::split(list)) {
        match long_option(&option).map_err(usage_error)? {
            Some(long) => expanded.push(long),
            None => kernel.apply(&option).map_err(usage_error)?,
        }
    }
    expanded.extend_from_slice(rest);
    match Cli::try_parse_from(expanded)?.command {
        Command::Mount(arguments) => Ok(Command::Mount(MountArgs {
            kernel,
            ..arguments
        })),
        other => Ok(other),
    }
}

/// The long option of `mount` that an option behind `-o` is another spelling of, if it is one.
fn long_option(option: &OsStr) -> Result<Option<OsString>, String> {
    let bytes = option.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=');
    let (name, value) = bytes.split_at(equals.unwrap_or(bytes.len()));
    let name = String::from_utf8_lossy(name).replace('_', "-");
    let cli = Cli::command();
    let mount = cli.find_subcommand("mount");
    let arguments = mount.into_iter().flat_map(clap::Command::get_arguments);
    let mut known = arguments.filter(|argument| argument.get_long() == Some(&name));
    let Some(argument) = known.next() else {
        return Ok(None);
    };
    if argument.get_action().takes_values() && value.is_empty() {
        return Err(format!("mount option '{name}' needs a value"));
    }
    let mut long = OsString::from(format!("--{name}"));
    long.push(OsStr::from_bytes(value));
    Ok(Some(long))
}

fn usage_error(reason: String) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut("mount") {
        Some(mount) => mount.error(ErrorKind::InvalidValue, reason),
        None => cli.error(ErrorKind::InvalidValue, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(line: &str) -> Result<MountArgs, String> {
        let arguments = line.split(' ').map(OsString::from).collect();
        match parse(arguments).map_err(|error| error.to_string())? {
            Command::Mount(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_long_option_has_its_spelling_behind_o() {
        let arguments = mount(
            "npzfs mount -o foreground,allow_other,auto_unmount,threads=3 \
             -o uid=7,gid=8,umask=027,strict,verbose,log=/a=b a.npz /mnt",
        )
        .unwrap();
        assert!(arguments.foreground && arguments.allow_other && arguments.auto_unmount);
        assert!(arguments.strict && !arguments.allow_root && !arguments.quiet);
        assert_eq!(
            (arguments.threads, arguments.uid, arguments.gid),
            (Some(3), Some(7), Some(8))
        );
        assert_eq!((arguments.umask, arguments.verbose), (Some(0o27), 1));
        assert_eq!(arguments.log, Some("/a=b".into()));
        assert_eq!(arguments.archive, PathBuf::from("a.npz"));
        let cli = Cli::command();
        for argument in cli.find_subcommand("mount").unwrap().get_arguments() {
            if let Some(long) = argument.get_long() {
                let option = OsString::from(long.replace('-', "_") + "=1");
                assert!(long_option(&option).unwrap().is_some());
            }
        }
    }

    #[test]
    fn a_long_option_on_the_command_line_counts_more_than_one_behind_o() {
        let arguments = mount("npzfs mount --threads 2 -o threads=3 a.npz /mnt").unwrap();
        assert_eq!(arguments.threads, Some(2));
    }

    #[test]
    fn kernel_options_are_not_taken_for_long_ones() {
        let arguments = mount("npzfs mount -o ro,noatime,nonempty a.npz /mnt").unwrap();
        assert!(arguments.kernel.nonempty);
        assert!(arguments.kernel.words().contains(&"noatime"));
    }

    #[test]
    fn wrong_options_are_usage_errors_that_say_why() {
        let error = mount("npzfs mount -o rw a.npz /mnt").unwrap_err();
        assert!(error.contains("'rw' is refused: an archive is never written"));
        let error = mount("npzfs mount -o thread=3 a.npz /mnt").unwrap_err();
        assert!(error.contains("unknown mount option 'thread=3'"), "{error}");
        let error = mount("npzfs mount -o uid a.npz /mnt").unwrap_err();
        assert!(
            error.contains("mount option 'uid' needs a value"),
            "{error}"
        );
        let error = mount("npzfs mount -o allow_root,allow_other a.npz /mnt").unwrap_err();
        assert!(error.contains("cannot be used with"));
        assert!(mount("npzfs mount --umask 9 a.npz /mnt").is_err());
        assert!(mount("npzfs mount --threads 0 a.npz /mnt").is_err());
        assert!(mount("npzfs mount a.npz").is_err());
    }

    #[test]
    fn names_that_are_not_utf8_survive() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"/log\xff".to_vec());
        let mut option = OsString::from("log=");
        option.push(&odd);
        let arguments = ["npzfs", "mount", "-o"].map(OsString::from);
        let mut arguments = arguments.to_vec();
        arguments.extend([option, odd.clone(), "/mnt".into()]);
        let Command::Mount(parsed) = parse(arguments).unwrap() else {
            panic!("not a mount");
        };
        assert_eq!(parsed.log, Some(PathBuf::from(&odd)));
        assert_eq!(parsed.archive, PathBuf::from(odd));
    }
}
