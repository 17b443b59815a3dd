//! `npzfs mount`: from the command line to a live mount, and to its end.

pub mod config;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use log::{debug, error, info};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::statvfs::statvfs;

use crate::cli::{Deflated, MountArgs, MountOptions, Passthrough, Prefetching};
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::fuse::{self, FuseConfig, Npzfs, PollConfig};
use crate::inflate::{self, Inflater, Limits};
use crate::mount::attach::{self, Attachment};
use crate::mount::daemon::{self, Background, Launch};
use crate::mount::error::{self, FuseError, MountError, MountPointError, UnmountError, system};
use crate::mount::guard::MountGuard;
use crate::mount::inherited_fd;
use crate::mount::mount_point::MountPoint;
use crate::sys::{memory, process};
use crate::tree::Ino;
use crate::ui::console::Console;
use crate::ui::human::{Escaped, Quoted};
use crate::ui::logging::{self, Destination};
use crate::vfs::Vfs;
use crate::vfs::sources::{OpenOptions, Sources};
use crate::vfs::summary::Summary;

/// How long those who use a mount may go on when a signal has ended it.
const GRACE: Duration = Duration::from_secs(1);

/// Where the connection to the kernel comes from.
#[derive(Debug)]
pub enum Target {
    /// It is made, at the mount point that the user has given.
    Given,
    /// It is made, at a directory of which nobody else knows; the mount also ends with the process
    /// that has launched this one.
    Private(MountPoint),
    /// It is there: somebody else has mounted it, and is to unmount it.
    Connected(OwnedFd),
}

/// Mounts an archive as `arguments` say. Returns the exit status of this process: in the process
/// that was called once the mount is live, in the one that serves it once it has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn run(arguments: &MountArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    // Looked at first, since the background closes what it inherits.
    let connection = inherited_fd::find(arguments)?;
    let mut launch = None;
    if !arguments.foreground {
        let started = daemon::background(connection.as_ref());
        match started.map_err(system("start a process in the background"))? {
            Background::Caller(_) => return Ok(exit_status::DONE),
            Background::Ended(status) => return Ok(status),
            Background::Server(server) => launch = Some(server),
        }
    }
    let target = connection.map_or(Target::Given, Target::Connected);
    mount_here(arguments, launch, target, console)
}

/// Does what [`run`] does as long as nothing is touched: opens and checks the archives.
///
/// # Errors
/// Any [`Error`] that mounting would have found up to there.
pub fn check(arguments: &MountArgs) -> Result<(), Error> {
    let options = &arguments.options;
    // To standard error: what is found wrong is for whoever has called.
    logging::start(config::log_level(options), Destination::StandardError);
    open(arguments).map(drop)
}

/// Opens the archives, and finds out how much room there is for inflated members.
fn open(arguments: &MountArgs) -> Result<(Sources, Limits), Error> {
    let options = &arguments.options;
    let opening = OpenOptions {
        inflate_enabled: options.deflated == Deflated::Inflate,
        strict: options.strict,
        strip_suffix: options.strip_suffix,
        clone_min: config::clone_min(options),
        passthrough_required: options.passthrough == Passthrough::On,
    };
    let sources = Sources::open(&arguments.archives, opening)?;
    Ok((sources, config::limits(options)?))
}

/// Mounts archives and serves them in this process, until the mount has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn mount_here(
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
    let cache_directory = limits.directory.clone();
    let inflater = Inflater::new(limits);

    // From here on a signal waits until there is a mount to end.
    let signals: SigSet = process::TERMINATION_SIGNALS.into_iter().collect();
    // A lease that somebody breaks, while it is looked whether a file is open, is no affair either.
    let blocked: SigSet = process::TERMINATION_SIGNALS
        .into_iter()
        .chain([Signal::SIGIO])
        .collect();
    let blocked = blocked.thread_block().map_err(io::Error::from);
    blocked.map_err(system("block signals"))?;
    // What follows is undone in the opposite order, however this function is left.
    let is_private = matches!(target, Target::Private(_));
    let attachment = Attachment {
        source: &sources.shown,
        allow_other: acl(options) != SessionACL::Owner,
        kernel: &options.kernel,
    };
    let mut make = |mount_point| {
        let made = MountGuard::make(mount_point, options.auto_unmount, &mut launch, &attachment);
        made.map(|made| made.map(|(own, connection)| (Some(own), connection)))
    };
    let made = match target {
        Target::Given => {
            let nonempty = options.kernel.nonempty;
            make(MountPoint::prepare(&arguments.mount_point, nonempty)?)?
        }
        Target::Private(directory) => make(directory)?,
        Target::Connected(connection) => Some((None, connection)),
    };
    let Some((own, connection)) = made else {
        // This is the process that watched.
        return Ok(exit_status::DONE);
    };
    let Sources { root, summary, .. } = sources;
    let catalog = Arc::new(Vfs::new(root, config::vfs_config(options), inflater));
    let weak_catalog = Arc::downgrade(&catalog);
    let another = || connection.try_clone().map_err(system("open a descriptor"));
    let connection_again = another()?;
    let threads = config::threads(options);
    let mut config = Config::default();
    config.n_threads = Some(threads);
    // Each thread opens the device anew, which those who mount by fusermount3 may not be able to.
    config.clone_fd = attach::open_device().is_ok();
    let poll_timeout = config::poll_timeout(options);
    let poll = |timeout| another().map(|device| PollConfig { device, timeout });
    let prefetches = options.prefetch == Prefetching::On
        && own.is_some()
        && catalog.is_single_archive()
        && !options.recursive;
    let serving = FuseConfig {
        ownership: config::ownership(options),
        passthrough_allowed: options.passthrough != Passthrough::Off,
        may_be_writable: own.is_none(),
        threads,
        poll: poll_timeout.map(poll).transpose()?,
        prefetch_enabled: prefetches,
    };
    let ahead = prefetches.then(another).transpose()?;
    let ahead = ahead.zip(catalog.archive_of(Ino::ROOT).ok());
    let npzfs = Npzfs::new(catalog, serving);
    let prefetch = npzfs.prefetch();
    // Whom to let in, whoever has mounted has told the kernel.
    let acl = own.as_ref().map_or(SessionACL::All, |_| acl(options));
    let session = Session::from_fd(npzfs, connection, acl, config);
    let session = session.map_err(|error| match &own {
        Some(_) => error::session(error),
        None => unusable(&arguments.mount_point, error),
    })?;
    try_passthrough(options, connection_again, &weak_catalog, cache_directory)
        .map_err(MountError::from)?;
    if let Some((device, (volume, _))) = ahead
        && let Some(own) = &own
    {
        let path = own.mount_point.path.clone();
        let started = prefetch.start(volume, path, device, session.notifier());
        started.map_err(system("start a thread"))?;
    }
    // It keeps the connection open, and must go with the session.
    drop(prefetch);
    let owner = owner(arguments, launch.as_ref().filter(|_| is_private));
    let owner = owner.map_err(system("open a descriptor"))?;
    let events = serve(session, signals, owner)?;

    if let Some(own) = &own {
        wait_for_answer(&own.mount_point.path).map_err(error::session)?;
    }
    announce(arguments, &summary, own.as_ref(), is_private, console);
    if let Some(launch) = launch {
        launch.live().map_err(system("go to the background"))?;
    }
    wait(&events, own).inspect_err(|error| {
        // The caller is gone, and standard error with it.
        if !arguments.foreground {
            error!("{error}");
        }
    })?;
    Ok(exit_status::DONE)
}

/// Disables passthrough if the kernel accepts no backing files. With `--passthrough=on` that is an
/// error, also for the directory of inflated members if there may be any.
fn try_passthrough(
    options: &MountOptions,
    device: OwnedFd,
    vfs: &Weak<Vfs>,
    cache_directory: PathBuf,
) -> Result<(), FuseError> {
    let Some(vfs) = vfs
        .upgrade()
        .filter(|_| options.passthrough != Passthrough::Off)
    else {
        return Ok(());
    };
    let is_required = options.passthrough == Passthrough::On;
    if !is_required && !vfs.passthrough_enabled() {
        return Ok(());
    }
    let tried = inflate::memory_file().and_then(|file| fuse::try_passthrough(&device, file));
    if let Err(error) = tried {
        vfs.set_passthrough_enabled(false);
        debug!("files are not passed through to the kernel: {error}");
        return if is_required {
            Err(FuseError::Passthrough(error))
        } else {
            Ok(())
        };
    }
    if is_required && vfs.may_inflate() {
        let file = inflate::disk_file(&cache_directory);
        let tried = file.and_then(|file| fuse::try_passthrough(&device, file));
        return tried.map_err(|error| FuseError::PassthroughFrom {
            directory: cache_directory,
            error,
        });
    }
    Ok(())
}

/// The error for a connection over which no session begins.
fn unusable(mount_point: &Path, error: io::Error) -> MountError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => MountPointError::NotMounted.of(mount_point),
        _ => error::session(error),
    }
}

fn acl(options: &MountOptions) -> SessionACL {
    if options.allow_root {
        SessionACL::RootAndOwner
    } else if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    }
}

/// What ends together with the process that the mount is for, if it is to end with any.
fn owner(arguments: &MountArgs, launch: Option<&Launch>) -> io::Result<Option<File>> {
    let owner = match launch {
        Some(launch) => Some(launch.connection()?.into()),
        None if arguments.until_eof => Some(process::take_stdin()?),
        None => None,
    };
    Ok(owner.map(File::from))
}

/// What ends a mount.
enum Event {
    /// It was unmounted from outside, or the connection broke.
    Ended(io::Result<()>),
    Signal(Signal),
    /// The process that the mount is for has ended, or wants it no more. It may wait until this is
    /// closed, which tells it that the mount is gone.
    OwnerEnded(File),
}

/// Answers requests, and listens to signals, in threads of their own.
fn serve(
    session: Session<Npzfs>,
    signals: SigSet,
    owner: Option<File>,
) -> Result<Receiver<Event>, MountError> {
    let (events, receiver) = mpsc::channel();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(work).map_err(system("start a thread"))
    };
    let ended = events.clone();
    // Nobody listens any more once the process is about to end.
    let session = move || drop(ended.send(Event::Ended(session.run())));
    spawn("session", Box::new(session))?;
    if let Some(mut owner) = owner {
        let ended = events.clone();
        let wait = move || {
            // A failure says the same.
            let _ = io::copy(&mut owner, &mut io::sink());
            drop(ended.send(Event::OwnerEnded(owner)));
        };
        spawn("owner", Box::new(wait))?;
    }
    spawn("signals", Box::new(move || send_signals(&signals, &events)))?;
    Ok(receiver)
}

fn send_signals(signals: &SigSet, events: &Sender<Event>) {
    while let Ok(signal) = signals.wait() {
        if events.send(Event::Signal(signal)).is_err() {
            return;
        }
    }
}

/// Waits for an answer from the mount itself: only then it is live.
fn wait_for_answer(mount_point: &Path) -> io::Result<()> {
    // Whoever asks must not keep the connection open: if this process is killed, that is what ends
    // the request.
    let ask = || {
        // Where this cannot be done, it is asked all the same.
        let _ = process::unshare_descriptors();
        statvfs(mount_point)
    };
    thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, ask)?;
        match asking.join() {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(io::Error::other("the thread that asks has failed")),
        }
    })
}

/// Tells the user that the mount is live. Of a private one, and for mount(8), only who asks for it is
/// told; of a private one not on standard output, which is the command's.
fn announce(
    arguments: &MountArgs,
    summary: &Summary,
    own: Option<&MountGuard>,
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
        [only] => Escaped::path(only).to_string(),
        several => format!("{} sources", several.len()),
    };
    let at = Quoted(&arguments.mount_point);
    // Whoever closed these streams does not want to know.
    let _ = match own.map(|own| own.mount_point.cleaned_up) {
        None => writeln!(console, "serving {what} on {at}: {summary}"),
        Some(_) if is_private => {
            console.note(&format!("mounted {what} at {at}: {summary}"));
            Ok(())
        }
        Some(cleaned_up) => {
            let after = if cleaned_up {
                ", after cleaning up what a killed npzfs had left there"
            } else {
                ""
            };
            let end = format!("unmount with: npzfs umount {at}");
            writeln!(console, "mounted {what} at {at}{after}: {summary}; {end}")
        }
    };
    let _ = console.flush();
}

/// Waits until the mount is to end, or has ended.
fn wait(events: &Receiver<Event>, mut own: Option<MountGuard>) -> Result<(), MountError> {
    // An error would say that both threads are gone.
    while let Ok(event) = events.recv() {
        match event {
            Event::Ended(result) => {
                let was_gone = own.is_none_or(MountGuard::session_ended);
                result.map_err(system("serve"))?;
                if !was_gone {
                    return Err(system("serve")(io::ErrorKind::ConnectionAborted.into()));
                }
                info!("unmounted");
                return Ok(());
            }
            Event::OwnerEnded(owner) => {
                // Who still uses it may go on: the session ends with the last of them.
                if end(own.as_mut(), "the process that it is for has ended")
                    && let Some(own) = &own
                {
                    own.mount_point.remove();
                }
                drop(owner);
            }
            Event::Signal(signal) => {
                // While the session lives: afterwards its device number may be another's.
                if !end(own.as_mut(), signal.as_str()) {
                    continue;
                }
                // Who still uses it may finish what is under way; a second signal ends the wait.
                let _ = events.recv_timeout(GRACE);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Ends a mount, if it is this process's own. Returns whether that can be: not where another mount
/// is inside.
fn end(own: Option<&mut MountGuard>, why: &str) -> bool {
    let Some(own) = own else {
        info!("{why}: leaving the mount to whoever has mounted it");
        return true;
    };
    info!("{why}: unmounting");
    let ended = own.end();
    if let Err(defect) = &ended {
        error!("{}: {defect}", Escaped::path(&own.mount_point.path));
    }
    !matches!(ended, Err(UnmountError::MountInside { .. }))
}
