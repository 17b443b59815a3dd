//! `npzfs mount`: from the arguments to a live mount, and to its end.
//!
//! In the background the mount is served by a child process. The process that was called waits until
//! the mount is live, so that a script can use the mount as soon as the command has returned.

pub(super) mod config;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use log::error;

use crate::cli::{Deflated, MountArgs, Passthrough};
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::inflate::{Inflater, Limits};
use crate::mount::attach::Attachment;
use crate::mount::connection::Connection;
use crate::mount::daemon::{self, Background, Launch};
use crate::mount::error::{MountError, require_proc, system};
use crate::mount::inherited_fd;
use crate::mount::kernel_options::KernelOptions;
use crate::mount::lifecycle::{self, Mount};
use crate::mount::mount_point::MountPoint;
use crate::mount::session::{Access, Session};
use crate::sys::{memory, process};
use crate::ui::console::Console;
use crate::ui::human::{Escaped, Quoted};
use crate::ui::logging::{self, Destination};
use crate::vfs::Vfs;
use crate::vfs::sources::{OpenOptions, Sources};
use crate::vfs::summary::Summary;

/// The place of a mount.
#[derive(Debug)]
pub enum Target {
    /// The mount point of the command line.
    Given,
    /// A directory that npzfs has created for this mount, which also ends with the process that has
    /// launched this one.
    Private(MountPoint),
    /// A connection that another program has mounted, and will unmount.
    Connected(OwnedFd),
}

/// Mounts archives. In the process that was called it returns once the mount is live, in the one that
/// serves it once the mount has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn run(arguments: &MountArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    require_proc()?;
    // Before the fork, which closes inherited descriptors.
    let connected = inherited_fd::find(&arguments.mount_point, late_option(arguments))?;
    let mut launch = None;
    if !arguments.foreground {
        let forked = daemon::background(connected.as_ref());
        match forked.map_err(system("start a process in the background"))? {
            Background::Caller(_) => return Ok(exit_status::DONE),
            Background::Ended(status) => return Ok(status),
            Background::Server(server) => launch = Some(server),
        }
    }
    let target = connected.map_or(Target::Given, Target::Connected);
    serve(arguments, launch, target, console)
}

/// Opens and checks the archives as [`run`] does, and mounts nothing.
///
/// # Errors
/// Any [`Error`] that mounting would have found up to there.
pub fn check(arguments: &MountArgs) -> Result<(), Error> {
    let level = config::log_level(&arguments.options);
    logging::start(level, Destination::StandardError);
    open(arguments).map(drop)
}

/// Mounts archives and serves them in this process, until the mount has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn serve(
    arguments: &MountArgs,
    mut launch: Option<Launch>,
    target: Target,
    console: &mut Console,
) -> Result<ExitStatus, Error> {
    let options = &arguments.options;
    let destination = config::log_destination(options, launch.is_some())?;
    logging::start(config::log_level(options), destination);
    config::raise_descriptor_limit();
    memory::limit_arenas();
    let (sources, limits) = open(arguments)?;

    // From here on a signal waits until there is a mount to end.
    let signals = lifecycle::block_signals()?;
    let is_private = matches!(target, Target::Private(_));
    let attachment = Attachment {
        source: &sources.shown,
        allow_other: config::access(options) != Access::Owner,
        kernel: &options.kernel,
    };
    let Some(connection) = connect(arguments, target, &attachment, &mut launch)? else {
        // This process is the watcher of --auto-unmount, and the mount has ended.
        return Ok(exit_status::DONE);
    };
    let Sources { root, summary, .. } = sources;
    let session_config = config::session_config(options, &limits);
    let vfs = Vfs::new(root, config::vfs_config(options), Inflater::new(limits));
    let session = Session::start(connection, Arc::new(vfs), &session_config)?;
    let owner = owner(arguments, launch.as_ref().filter(|_| is_private));
    let owner = owner.map_err(system("open a descriptor"))?;
    let mount = Mount::serve(session, signals, owner)?;

    mount.wait_until_live()?;
    announce(arguments, &summary, &mount, is_private, console);
    if let Some(launch) = launch {
        launch.live().map_err(system("go to the background"))?;
    }
    mount.wait().inspect_err(|error| {
        // The caller has returned long ago, so only the log can have it.
        if !arguments.foreground {
            error!("{error}");
        }
    })?;
    Ok(exit_status::DONE)
}

/// Opens the archives, and determines the limits of inflated members.
fn open(arguments: &MountArgs) -> Result<(Sources, Limits), Error> {
    let options = &arguments.options;
    let open_options = OpenOptions {
        inflate_enabled: options.deflated == Deflated::Inflate,
        strict: options.strict,
        strip_suffix: options.strip_suffix,
        clone_min: config::clone_min(options),
        passthrough_required: options.passthrough == Passthrough::On,
    };
    let sources = Sources::open(&arguments.archives, open_options)?;
    Ok((sources, config::limits(options)?))
}

/// Mounts, where no other program has. Returns `None` in the watcher, at the end.
fn connect(
    arguments: &MountArgs,
    target: Target,
    attachment: &Attachment<'_>,
    launch: &mut Option<Launch>,
) -> Result<Option<Connection>, MountError> {
    let options = &arguments.options;
    let mount_point = match target {
        Target::Given => MountPoint::prepare(&arguments.mount_point, options.kernel.nonempty)?,
        Target::Private(mount_point) => mount_point,
        Target::Connected(device) => {
            let guard = None;
            return Ok(Some(Connection {
                device,
                guard,
                is_locked: false,
            }));
        }
    };
    Connection::mount(mount_point, options.auto_unmount, launch, attachment)
}

/// Returns an option that comes too late where another program has mounted already: one that says
/// how to mount or to unmount.
fn late_option(arguments: &MountArgs) -> Option<&'static str> {
    let options = &arguments.options;
    [
        (arguments.until_eof, "--until-eof"),
        (options.allow_other, "--allow-other"),
        (options.allow_root, "--allow-root"),
        (options.auto_unmount, "--auto-unmount"),
        (
            options.kernel != KernelOptions::default(),
            "the options behind -o",
        ),
    ]
    .into_iter()
    .find_map(|(is_given, option)| is_given.then_some(option))
}

/// Returns the pipe or socket that ends with the process that the mount is for, if it is for one.
fn owner(arguments: &MountArgs, launch: Option<&Launch>) -> io::Result<Option<File>> {
    let owner = match launch {
        Some(launch) => Some(launch.connection()?.into()),
        None if arguments.until_eof => Some(process::take_stdin()?),
        None => None,
    };
    Ok(owner.map(File::from))
}

/// Prints that the mount is live. For mount(8) and for a private mount only `--verbose` does, and
/// then on standard error for the latter, where standard output belongs to the command.
fn announce(
    arguments: &MountArgs,
    summary: &Summary,
    mount: &Mount,
    is_private: bool,
    console: &mut Console,
) {
    let options = &arguments.options;
    let is_wanted = if arguments.for_mount || is_private {
        options.verbose > 0
    } else {
        !options.quiet
    };
    if !is_wanted {
        return;
    }
    let what = match &*arguments.archives {
        [archive] => Escaped::path(archive).to_string(),
        archives => format!("{} sources", archives.len()),
    };
    let at = Quoted(&arguments.mount_point);
    let line = match mount.guard() {
        None => format!("serving {what} on {at}: {summary}"),
        Some(_) if is_private => {
            return console.note(&format!("mounted {what} at {at}: {summary}"));
        }
        Some(guard) => {
            let access = match config::access(options) {
                Access::Owner => "this user only",
                Access::OwnerAndRoot => "this user and root",
                Access::All => "all users",
            };
            let after = if guard.mount_point.was_cleaned_up {
                ", after cleaning up what a killed npzfs had left there"
            } else {
                ""
            };
            format!(
                "mounted {what} at {at} for {access}{after}: {summary}; unmount with: npzfs umount \
                 {at}"
            )
        }
    };
    // The mount is live, whether or not standard output can be written.
    let _ = writeln!(console, "{line}").and_then(|()| console.flush());
}
