//! The command line by which mount(8) calls its helpers: `mount.npzfs SPEC DIR [-sfnv] [-o ...]`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser};

use super::{MountArgs, MountOptions};
use crate::mount::kernel_options::{self, DEFAULTS_ELSEWHERE, Rejection};

/// The names of the helpers for the types `npzfs` and `fuse.npzfs`.
const NAMES: [&str; 2] = ["mount.npzfs", "mount.fuse.npzfs"];

const USAGE: &str = "mount.npzfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPT[,OPT...]] [-t TYPE]";

const EXIT_STATUS: &str = "\
Exit status:
   0  success
   1  the invocation is invalid or not permitted
   2  a system call failed unexpectedly
   4  an internal error of npzfs
  32  the mount failed for another reason";

/// Mount a NumPy .npz archive; called by mount(8)
#[derive(Debug, Parser)]
#[command(
    name = "mount.npzfs",
    version,
    override_usage = USAGE,
    after_help = EXIT_STATUS,
    styles = clap::builder::Styles::plain()
)]
struct HelperLine {
    /// The archive, or a folder of archives
    #[arg(value_name = "SPEC")]
    archive: PathBuf,

    /// The directory to mount on
    #[arg(value_name = "DIR")]
    mount_point: PathBuf,

    /// Ignore unknown options
    #[arg(short)]
    sloppy: bool,

    /// Check everything, but do not mount
    #[arg(short)]
    fake: bool,

    /// Ignored: npzfs does not write mtab
    #[arg(short = 'n')]
    _no_mtab: bool,

    /// Print what was mounted, and log more
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,

    /// Mount in this mount namespace, and look for the archive there
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,

    /// Mount options as in fstab(5), including the long options of npzfs mount
    #[arg(short, value_name = "OPT[,OPT...]", action = ArgAction::Append)]
    o: Vec<OsString>,

    /// Ignored: the type is fuse.npzfs
    #[arg(short = 't', value_name = "TYPE")]
    _fs_type: Option<OsString>,
}

/// The long options of `npzfs mount`, given after `-o`.
#[derive(Debug, Parser)]
#[command(
    name = "mount.npzfs",
    args_override_self = true,
    override_usage = USAGE,
    styles = clap::builder::Styles::plain()
)]
struct OptionsLine {
    #[arg(long)]
    foreground: bool,

    #[arg(long)]
    until_eof: bool,

    #[command(flatten)]
    options: MountOptions,
}

/// The arguments of a helper of mount(8).
#[derive(Debug)]
pub struct HelperArgs {
    /// The arguments of `npzfs mount`.
    pub mount: MountArgs,
    /// Whether to check everything without mounting.
    pub fake: bool,
    /// Whether a missing archive is not an error.
    pub nofail: bool,
    /// The file of the mount namespace to mount in.
    pub namespace: Option<PathBuf>,
}

/// Returns whether the program was called by the name of a helper of mount(8).
pub fn is_helper(arguments: &[OsString]) -> bool {
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_name());
    NAMES.iter().any(|known| name == Some(OsStr::new(known)))
}

/// Parses the command line of a helper.
pub(super) fn parse(arguments: &[OsString]) -> Result<HelperArgs, clap::Error> {
    let line = HelperLine::try_parse_from(arguments)?;
    let is_ignored = |rejection: &Rejection| match rejection {
        Rejection::Unknown(_) => line.sloppy,
        Rejection::Refused { option, .. } => DEFAULTS_ELSEWHERE.contains(&&**option),
    };
    let (long_options, kernel) = super::expand("mount", &line.o, is_ignored)
        .map_err(|reason| HelperLine::command().error(ErrorKind::InvalidValue, reason))?;
    let verbose = (0..line.verbose).map(|_| OsString::from("--verbose"));
    let expanded = [OsString::from(NAMES[0])].into_iter();
    let expanded = expanded.chain(long_options).chain(verbose);
    let OptionsLine {
        foreground,
        until_eof,
        mut options,
    } = OptionsLine::try_parse_from(expanded)?;
    options.kernel = kernel;
    let mount = MountArgs {
        archives: vec![line.archive],
        mount_point: line.mount_point,
        foreground,
        until_eof,
        options,
        for_mount: true,
    };
    let mut given = line.o.iter().flat_map(|list| kernel_options::split(list));
    Ok(HelperArgs {
        mount,
        fake: line.fake,
        nofail: given.any(|option| option == "nofail"),
        namespace: line.namespace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<HelperArgs, String> {
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        assert!(is_helper(&arguments));
        parse(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definitions_are_valid() {
        HelperLine::command().debug_assert();
        OptionsLine::command().debug_assert();
    }

    #[test]
    fn a_helper_is_recognised_by_its_file_name() {
        let is_helper = |name: &str| super::is_helper(&[name.into(), "a".into()]);
        assert!(is_helper("/sbin/mount.npzfs") && is_helper("mount.fuse.npzfs"));
        assert!(
            !is_helper("npzfs") && !is_helper("/mount.npzfs/npzfs") && !is_helper("mount.fuse")
        );
        assert!(!super::is_helper(&[]));
    }

    #[test]
    fn arguments_of_mount_become_those_of_npzfs_mount() {
        let line = "/sbin/mount.npzfs /a.npz /mnt -sfnvv -N /proc/1/ns/mnt \
                    -o rw,suid,dev,_netdev,nofail,user,noexec,allow_other,nosuch,uid=7 -t fuse.npzfs";
        let helper = parsed(line).unwrap();
        assert_eq!(helper.mount.archives, [PathBuf::from("/a.npz")]);
        assert_eq!(helper.mount.mount_point, Path::new("/mnt"));
        assert!(helper.fake && helper.nofail);
        assert!(helper.mount.for_mount && !helper.mount.foreground);
        assert_eq!(helper.namespace, Some("/proc/1/ns/mnt".into()));
        let options = helper.mount.options;
        assert!(options.allow_other && options.verbose == 2);
        assert_eq!(options.uid, Some(7));
        assert_eq!(
            options.kernel,
            crate::mount::kernel_options::KernelOptions::default()
        );
    }

    #[test]
    fn operands_may_look_like_options() {
        let helper = parsed("mount.npzfs -o ro -- -a.npz -mnt").unwrap();
        assert_eq!(helper.mount.archives, [PathBuf::from("-a.npz")]);
        assert_eq!(helper.mount.mount_point, Path::new("-mnt"));
    }

    #[test]
    fn errors_show_the_usage_of_the_helper() {
        for (rest, reason) in [
            ("-o nosuch", "unknown mount option 'nosuch'"),
            (
                "-s -o remount",
                "'remount' is refused: unmount, and mount anew",
            ),
            ("-s -o uid=x", "invalid value 'x' for '--uid <UID>'"),
            ("-o verbose,quiet", "cannot be used with"),
            ("another", "unexpected argument 'another'"),
        ] {
            let error = parsed(&format!("mount.npzfs a.npz /mnt {rest}")).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("Usage") || error.contains(USAGE), "{error}");
        }
        assert!(parsed("mount.npzfs a.npz").is_err());
    }
}
