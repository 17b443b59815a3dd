//! The command line, as plain values.

mod completions;
mod list;
mod mount;
mod mount_helper;
mod mounts;
mod repack;
mod run;
mod umount;
mod verify;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, Parser, Subcommand};

pub use completions::{CompletionsArgs, Shell};
pub use list::ListArgs;
pub use mount::{Deflated, MountArgs, MountOptions, Passthrough, Prefetching};
pub use mount_helper::{HelperArgs, is_helper};
pub use mounts::MountsArgs;
pub use repack::RepackArgs;
pub use run::RunArgs;
pub use umount::UmountArgs;
pub use verify::VerifyArgs;

use crate::mount::kernel_options::{self, KernelOptions, Rejection};
use crate::ui::color::HEADING;
use crate::ui::human::Escaped;

const EXIT_STATUS: &str = "\
Exit status:
   0  success
   1  the command failed, or verify found faults
   2  the command line is invalid
  10  the mount point cannot be used
  11  FUSE is not available or not permitted
  20  the archive cannot be opened or read
  21  the archive is not a ZIP archive
  22  the archive is damaged
  23  refused because of members that cannot be read
 126  the command of npzfs run cannot be executed
 127  the command of npzfs run was not found
npzfs run otherwise exits with the status of its command, or with 128 plus the
number of the signal that ended it";

/// Mount a NumPy .npz archive as a directory of memory-mappable .npy files
#[derive(Debug, Parser)]
#[command(
    name = "npzfs",
    version,
    args_override_self = true,
    after_help = EXIT_STATUS,
    infer_subcommands = false,
    // Errors quote arguments. Escape sequences in them must not be confused with those of a style.
    styles = Styles::plain()
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,

    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        display_order = 900
    )]
    pub color: ColorChoice,
}

/// A subcommand and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount an archive
    Mount(MountArgs),
    /// List the members of archives, without mounting them
    List(ListArgs),
    /// Pack an archive or a directory into a new archive with aligned arrays
    Repack(RepackArgs),
    /// Unmount archives
    #[command(alias = "unmount")]
    Umount(UmountArgs),
    /// Check every member of archives
    Verify(VerifyArgs),
    /// Run a command while an archive is mounted
    Run(RunArgs),
    /// List the mounts of npzfs
    Mounts(MountsArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Mount an archive as the helper of mount(8), which calls npzfs by another name.
    #[command(skip)]
    Helper(HelperArgs),
}

impl Command {
    /// Returns the name and the mount options of a subcommand that mounts.
    fn mounts(&mut self) -> Option<(&'static str, &mut MountOptions)> {
        match self {
            Self::Mount(arguments) => Some(("mount", &mut arguments.options)),
            Self::Run(arguments) => Some(("run", &mut arguments.options)),
            Self::List(_)
            | Self::Repack(_)
            | Self::Umount(_)
            | Self::Verify(_)
            | Self::Mounts(_)
            | Self::Completions(_)
            | Self::Helper(_) => None,
        }
    }
}

/// Parses a command line; `arguments` starts with the name of the program.
///
/// # Errors
/// The reason why it is invalid. The help, which has styles, and the version are also errors.
pub fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    if is_helper(&arguments) {
        return mount_helper::parse(&arguments).map(Command::Helper);
    }
    let parsed = Cli::try_parse_from(&arguments).map_err(|error| {
        if error.use_stderr() {
            return error;
        }
        let headings = Styles::plain().header(HEADING).usage(HEADING);
        let styled = Cli::command().styles(headings.literal(HEADING));
        styled
            .try_get_matches_from(&arguments)
            .err()
            .unwrap_or(error)
    });
    let mut command = parsed?.command;
    let Some((name, first)) = command.mounts() else {
        return Ok(command);
    };
    let (long_options, kernel) =
        expand(name, &first.o, |_| false).map_err(|reason| usage_error(name, reason))?;
    // They are inserted after the subcommand, so that options on the command line override them.
    let subcommand = arguments
        .iter()
        .skip(1)
        .position(|argument| argument == name);
    let (subcommand, rest) = arguments.split_at(subcommand.map_or(0, |at| at + 2));
    let expanded = subcommand.iter().chain(&long_options).chain(rest);
    let mut command = Cli::try_parse_from(expanded)?.command;
    if let Some((_, options)) = command.mounts() {
        options.kernel = kernel;
    }
    Ok(command)
}

/// Converts the options after `-o` to long options of `subcommand` and to kernel options. Ignores
/// rejected options for which `is_ignored` holds.
fn expand(
    subcommand: &str,
    lists: &[OsString],
    is_ignored: impl Fn(&Rejection) -> bool,
) -> Result<(Vec<OsString>, KernelOptions), String> {
    let (mut long_options, mut kernel) = (Vec::new(), KernelOptions::default());
    for option in lists.iter().flat_map(|list| kernel_options::split(list)) {
        if let Some(long) = long_option(subcommand, &option)? {
            long_options.push(long);
        } else if let Err(rejection) = kernel.apply(&option)
            && !is_ignored(&rejection)
        {
            return Err(rejection.to_string());
        }
    }
    Ok((long_options, kernel))
}

/// Returns the long option of `subcommand` that is equivalent to an option after `-o`, or `None` for
/// a kernel option.
fn long_option(subcommand: &str, option: &OsStr) -> Result<Option<OsString>, String> {
    let bytes = option.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=');
    let (name, value) = bytes.split_at(equals.unwrap_or(bytes.len()));
    let name = String::from_utf8_lossy(name).replace('_', "-");
    let cli = Cli::command();
    let subcommand = cli.find_subcommand(subcommand);
    let arguments = subcommand
        .into_iter()
        .flat_map(clap::Command::get_arguments);
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

fn usage_error(subcommand: &str, reason: String) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(subcommand) {
        Some(subcommand) => subcommand.error(ErrorKind::InvalidValue, reason),
        None => cli.error(ErrorKind::InvalidValue, reason),
    }
}

/// Returns the message of an error, without the word that
/// [`Console::report`](crate::ui::console::Console::report) replaces.
pub fn usage_message(error: &clap::Error) -> String {
    // Not `to_string()`, which drops escape sequences of the arguments that the message quotes.
    let text = error.render().ansi().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let lines: Vec<_> = text
        .lines()
        .map(|line| Escaped(line.as_bytes()).to_string())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn mount(line: &str) -> Result<MountArgs, String> {
        let arguments = line.split(' ').map(OsString::from).collect();
        match parse(arguments).map_err(|error| error.to_string())? {
            Command::Mount(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_long_option_can_be_given_after_o() {
        let arguments = mount(
            "npzfs mount -o foreground,allow_other,auto_unmount,threads=3 \
             -o uid=7,gid=8,umask=027,strict,verbose,log=/a=b a.npz /mnt",
        )
        .unwrap();
        assert!(
            arguments.foreground && arguments.options.allow_other && arguments.options.auto_unmount
        );
        assert!(
            arguments.options.strict && !arguments.options.allow_root && !arguments.options.quiet
        );
        assert_eq!(
            (
                arguments.options.threads,
                arguments.options.uid,
                arguments.options.gid
            ),
            (Some(3), Some(7), Some(8))
        );
        assert_eq!(
            (arguments.options.umask, arguments.options.verbose),
            (Some(0o27), 1)
        );
        assert_eq!(arguments.options.log, Some("/a=b".into()));
        assert_eq!(arguments.archives, [PathBuf::from("a.npz")]);
        let cli = Cli::command();
        for argument in cli.find_subcommand("mount").unwrap().get_arguments() {
            if let Some(long) = argument.get_long() {
                let option = OsString::from(long.replace('-', "_") + "=1");
                assert!(long_option("mount", &option).unwrap().is_some());
            }
        }
    }

    #[test]
    fn a_long_option_overrides_the_same_one_after_o() {
        let arguments = mount("npzfs mount --threads 2 -o threads=3 a.npz /mnt").unwrap();
        assert_eq!(arguments.options.threads, Some(2));
    }

    #[test]
    fn kernel_options_are_not_long_ones() {
        let arguments = mount("npzfs mount -o ro,noatime,nonempty a.npz /mnt").unwrap();
        assert!(arguments.options.kernel.nonempty);
        assert!(arguments.options.kernel.words().contains(&"noatime"));
    }

    #[test]
    fn invalid_options_are_usage_errors_with_a_reason() {
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
    fn options_after_the_command_belong_to_it() {
        let line = "npzfs run -o threads=3 a.npz b.npz -- run -o ro,umask=7 -- mount {}";
        let arguments = line.split(' ').map(OsString::from).collect();
        let Command::Run(arguments) = parse(arguments).unwrap() else {
            panic!("not a run");
        };
        assert_eq!(arguments.archives, [PathBuf::from("a.npz"), "b.npz".into()]);
        assert_eq!(arguments.options.threads, Some(3));
        assert_eq!(arguments.options.umask, None);
        let command = ["run", "-o", "ro,umask=7", "--", "mount", "{}"];
        assert_eq!(arguments.command, command);
        let wrong = ["a.npz", "a.npz -- ", "a.npz ls", "-f a.npz -- ls", "-- ls"];
        for wrong in wrong.map(|rest| format!("npzfs run {rest}")) {
            let arguments = wrong.split(' ').filter(|word| !word.is_empty());
            assert!(
                parse(arguments.map(OsString::from).collect()).is_err(),
                "{wrong}"
            );
        }
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
        assert_eq!(parsed.options.log, Some(PathBuf::from(&odd)));
        assert_eq!(parsed.archives, [PathBuf::from(odd)]);
    }
}
