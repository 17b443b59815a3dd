//! `npzfs mount`: from the command line to a live mount, and to its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use log::{debug, error, info};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::statvfs::statvfs;

use crate::attach::{self, Attachment};
use crate::catalog::Catalog;
use crate::cli::{Deflated, MountArgs, MountOptions, Passthrough};
use crate::daemon::{self, Background, Launch, Watched};
use crate::error::{Error, FuseDefect, UnmountDefect, status};
use crate::forget;
use crate::fuse::{self, Npzfs};
use crate::human::{Escaped, Quoted};
use crate::inflate::{self, Inflater};
use crate::logging;
use crate::mount_point::MountPoint;
use crate::mountinfo::Place;
use crate::settings;
use crate::sources::{Opening, Sources, Summary};
use crate::sys;
use crate::umount;
use crate::watch::Watch;

/// How long those who use a mount may go on when a signal has ended it.
const GRACE: Duration = Duration::from_secs(1);

/// Mounts an archive as `arguments` say. Returns the exit status of this process: in the process
/// that was called once the mount is live, in the one that serves it once it has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn mount(arguments: &MountArgs) -> Result<u8, Error> {
    let mut launch = None;
    if !arguments.foreground {
        match daemon::background().map_err(system("start a process in the background"))? {
            Background::Caller(_) => return Ok(status::DONE),
            Background::Ended(status) => return Ok(status),
            Background::Server(server) => launch = Some(server),
        }
    }
    mount_here(arguments, launch, None)
}

/// Mounts archives and serves them in this process, until the mount has ended. A mount on a `private`
/// directory, which takes the place of the mount point in `arguments`, also ends with the process
/// that has launched this one.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn mount_here(
    arguments: &MountArgs,
    mut launch: Option<Launch>,
    private: Option<MountPoint>,
) -> Result<u8, Error> {
    let options = &arguments.options;
    let log = options.log.as_deref();
    logging::start(settings::log_level(options), log, launch.is_some())?;
    settings::raise_descriptor_limit();
    sys::keep_memory_together();
    let (watch, changed) = Watch::new();
    let opening = Opening {
        inflates: options.deflated == Deflated::Inflate,
        strict: options.strict,
        strip_suffix: options.strip_suffix,
        clone_min: settings::clone_min(options),
        must_pass: options.passthrough == Passthrough::On,
        watch: &watch,
    };
    let sources = Sources::open(&arguments.archives, opening)?;
    let inflater = Inflater::new(settings::limits(options)?);

    // From here on a signal waits until there is a mount to end.
    let signals: SigSet = sys::ENDING.into_iter().collect();
    // A lease that somebody breaks, while it is looked whether a file is open, is no affair either.
    let blocked: SigSet = sys::ENDING.into_iter().chain([Signal::SIGIO]).collect();
    let blocked = blocked.thread_block().map_err(io::Error::from);
    blocked.map_err(system("block signals"))?;
    // What follows is undone in the opposite order, however this function is left.
    let is_private = private.is_some();
    let mount_point = match private {
        Some(directory) => directory,
        None => MountPoint::prepare(&arguments.mount_point, options.kernel.nonempty)?,
    };
    let mut watcher = None;
    if options.auto_unmount {
        let watched = daemon::watch(&mount_point.path, &mut launch);
        match watched.map_err(system("start a process that watches"))? {
            Watched::Watcher => return Ok(status::DONE),
            Watched::Server(server) => watcher = Some(server),
        }
    }
    let mut own = OwnMount::new(&mount_point).map_err(system("open a descriptor"))?;
    let device = Attachment {
        source: &sources.shown,
        mount_point: &mount_point.path,
        allow_other: acl(options) != SessionACL::Owner,
        kernel: &options.kernel,
    }
    .attach()?;
    let device_number = Place::find(&mount_point.path)
        .map_err(session_error)?
        .mount
        .device;
    own.device = Some(device_number);
    if let Some(watcher) = &mut watcher {
        watcher.mounted(device_number).map_err(session_error)?;
    }
    watch.start().map_err(system("start a thread"))?;
    let Sources { root, summary, .. } = sources;
    let catalog = Arc::new(Catalog::new(
        root,
        settings::showing(options),
        inflater,
        watch,
    ));
    let weak_catalog = Arc::downgrade(&catalog);
    let may_pass = options.passthrough != Passthrough::Off;
    let npzfs = Npzfs::new(catalog, settings::ownership(options), may_pass);
    let device_again = device.try_clone().map_err(system("open a descriptor"))?;
    let mut config = Config::default();
    config.n_threads = Some(settings::threads(options));
    // Each thread opens the device anew, which those who mount by fusermount3 may not be able to.
    config.clone_fd = attach::open_device().is_ok();
    let session = Session::from_fd(npzfs, device, acl(options), config);
    let session = session.map_err(session_error)?;
    let passes = try_passthrough(options, device_again, &weak_catalog);
    passes.map_err(|error| Error::Fuse(FuseDefect::Passthrough(error)))?;
    forget::start(changed, weak_catalog, session.notifier()).map_err(system("start a thread"))?;
    let caller = launch.as_ref().filter(|_| is_private);
    let caller = caller.map(Launch::connection).transpose();
    let events = serve(
        session,
        signals,
        caller.map_err(system("open a descriptor"))?,
    )?;

    // An answer from the mount itself: only now it is live.
    statvfs(&mount_point.path).map_err(|error| session_error(error.into()))?;
    announce(arguments, &summary, mount_point.cleaned_up, is_private);
    if let Some(launch) = launch {
        launch.live().map_err(system("go to the background"))?;
    }
    wait(&events, own)
        .map(|()| status::DONE)
        .inspect_err(|error| {
            // The caller is gone, and standard error with it.
            if !arguments.foreground {
                error!("{error}");
            }
        })
}

/// Finds out whether the kernel takes files that it reads by itself. That it does not is an error
/// where this was asked for.
fn try_passthrough(
    options: &MountOptions,
    device: OwnedFd,
    catalog: &Weak<Catalog>,
) -> io::Result<()> {
    let Some(catalog) = catalog
        .upgrade()
        .filter(|_| options.passthrough != Passthrough::Off)
    else {
        return Ok(());
    };
    let wanted = options.passthrough == Passthrough::On;
    if !wanted && !catalog.passes() {
        return Ok(());
    }
    let taken = inflate::memory_file().and_then(|file| fuse::try_passthrough(device, file));
    taken.or_else(|error| {
        catalog.set_passes(false);
        debug!("files are not passed through to the kernel: {error}");
        if wanted { Err(error) } else { Ok(()) }
    })
}

/// The error for what the operating system hardly ever refuses.
pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::System { what, error }
}

fn session_error(error: io::Error) -> Error {
    Error::Fuse(FuseDefect::Session(error))
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

/// This process's own mount, which is ended when this is dropped.
struct OwnMount<'a> {
    mount_point: &'a MountPoint,
    /// The number of its file system, as soon as it is known.
    device: Option<(u32, u32)>,
    /// Descriptors that are kept for the end: to look at a place takes two, and there may be no
    /// others left by then.
    spare: Option<[File; 2]>,
}

impl<'a> OwnMount<'a> {
    fn new(mount_point: &'a MountPoint) -> io::Result<Self> {
        Ok(Self {
            mount_point,
            device: None,
            spare: Some([File::open("/")?, File::open("/")?]),
        })
    }

    /// Ends the mount, if it is there.
    fn end(&mut self) -> Result<(), UnmountDefect> {
        self.spare = None;
        match self.device {
            Some(device) => umount::end_own(&self.mount_point.path, device),
            // The connection is closed already, so if there is a mount, it is dead.
            None => umount::end_dead(&self.mount_point.path).map(drop),
        }
    }

    /// What to do once the session has ended: nothing if that was because the mount was gone.
    /// Otherwise the connection was aborted, and the mount is still there, dead.
    fn session_ended(mut self) -> Result<(), Error> {
        self.spare = None;
        let left = umount::end_dead(&self.mount_point.path);
        // Its device number may be another mount's now, which must not be ended.
        std::mem::forget(self);
        match left {
            Ok(false) => Ok(()),
            _ => Err(system("serve")(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl Drop for OwnMount<'_> {
    fn drop(&mut self) {
        if let Err(defect) = self.end() {
            let shown = Escaped::path(&self.mount_point.path);
            error!("{shown}: {defect}");
        }
    }
}

/// What ends a mount.
enum Event {
    /// It was unmounted from outside, or the connection broke.
    Ended(io::Result<()>),
    Signal(Signal),
    /// The process that the mount was made for has ended.
    CallerEnded,
}

/// Answers requests, and listens to signals, in threads of their own.
fn serve(
    session: Session<Npzfs>,
    signals: SigSet,
    caller: Option<UnixStream>,
) -> Result<Receiver<Event>, Error> {
    let (events, receiver) = mpsc::channel();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(work).map_err(system("start a thread"))
    };
    let ended = events.clone();
    // Nobody listens any more once the process is about to end.
    let session = move || drop(ended.send(Event::Ended(session.run())));
    spawn("session", Box::new(session))?;
    if let Some(mut caller) = caller {
        let ended = events.clone();
        let wait = move || {
            // A failure says the same.
            let _ = caller.read(&mut [0]);
            drop(ended.send(Event::CallerEnded));
        };
        spawn("caller", Box::new(wait))?;
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

/// Tells the user that the mount is live. Of a private one only who asks for it is told, and not on
/// standard output, which is the command's.
fn announce(arguments: &MountArgs, summary: &Summary, cleaned_up: bool, is_private: bool) {
    let options = &arguments.options;
    let what = match &*arguments.archives {
        [only] => Escaped::path(only).to_string(),
        several => format!("{} sources", several.len()),
    };
    let mount_point = Quoted(&arguments.mount_point);
    let after = if cleaned_up {
        ", after cleaning up what a killed npzfs had left there"
    } else {
        ""
    };
    let mounted = format!("mounted {what} at {mount_point}{after}: {summary}");
    // Whoever closed these streams does not want to know.
    let _ = match is_private {
        true if options.verbose > 0 => writeln!(io::stderr(), "npzfs: {mounted}"),
        false if !options.quiet => writeln!(
            io::stdout(),
            "{mounted}; unmount with: npzfs umount {mount_point}"
        ),
        _ => Ok(()),
    };
}

/// Waits until the mount is to end, or has ended.
fn wait(events: &Receiver<Event>, mut own: OwnMount<'_>) -> Result<(), Error> {
    // An error would say that both threads are gone.
    while let Ok(event) = events.recv() {
        match event {
            Event::Ended(result) => {
                let ended = own.session_ended();
                result.map_err(system("serve")).and(ended)?;
                info!("unmounted");
                return Ok(());
            }
            Event::CallerEnded => {
                info!("the process that ran the command has ended: unmounting");
                // Who still uses it may go on: the session ends with the last of them.
                if let Err(defect) = own.end() {
                    let shown = Escaped::path(&own.mount_point.path);
                    error!("{shown}: {defect}");
                }
            }
            Event::Signal(signal) => {
                info!("{signal}: unmounting");
                // While the session lives: afterwards its device number may be another's.
                if let Err(defect @ UnmountDefect::MountInside { .. }) = own.end() {
                    let shown = Escaped::path(&own.mount_point.path);
                    error!("{shown}: {defect}");
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
