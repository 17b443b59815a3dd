//! `npzfs mount`: from the command line to a live mount, and to its end.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use log::{LevelFilter, error, info};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::statvfs::statvfs;
use nix::unistd::{getgid, getuid};

use crate::archive::Defect;
use crate::archive_file::ArchiveFile;
use crate::attach::{self, Attachment};
use crate::cli::{MountArgs, MountOptions};
use crate::content::Content;
use crate::daemon::{self, Background, Launch, Watched};
use crate::error::{Error, FuseDefect, UnmountDefect, status};
use crate::fuse::{Npzfs, Ownership};
use crate::human::{Escaped, Quoted, Size};
use crate::logging;
use crate::mount_point::MountPoint;
use crate::mountinfo::Place;
use crate::tree::Tree;
use crate::umount;
use crate::watch::Watch;

/// The signals that end a mount.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How long those who use a mount may go on when a signal has ended it.
const GRACE: Duration = Duration::from_secs(1);

/// The threads that answer requests, unless the user says how many.
const THREADS_MAX: usize = 8;

/// Mounts an archive as `arguments` say. Returns the exit status of this process: in the process
/// that was called once the mount is live, in the one that serves it once it has ended.
///
/// # Errors
/// Any [`Error`]; then nothing is mounted, or not any more.
pub fn mount(arguments: &MountArgs) -> Result<u8, Error> {
    let options = &arguments.options;
    let mut launch = None;
    if !arguments.foreground {
        match daemon::background().map_err(system("start a process in the background"))? {
            Background::Caller(status) => return Ok(status),
            Background::Server(server) => launch = Some(server),
        }
    }
    let log = options.log.as_deref();
    logging::start(log_level(options), log, launch.is_some())?;
    let mut archive = ArchiveFile::open(&arguments.archive)?;
    archive.index.refuse_compressed();
    let source = archive.path.clone();
    let (npzfs, watch, summary) = file_system(arguments, archive)?;

    // From here on a signal waits until there is a mount to end.
    let signals: SigSet = ENDING.into_iter().collect();
    let blocked = signals.thread_block().map_err(io::Error::from);
    blocked.map_err(system("block signals"))?;
    // What follows is undone in the opposite order, however this function is left.
    let mount_point = MountPoint::prepare(&arguments.mount_point, options.kernel.nonempty)?;
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
        source: &source,
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
    let mut config = Config::default();
    config.n_threads = Some(
        arguments
            .options
            .threads
            .map_or_else(processors, usize::from),
    );
    // Each thread opens the device anew, which those who mount by fusermount3 may not be able to.
    config.clone_fd = attach::open_device().is_ok();
    let session = Session::from_fd(npzfs, device, acl(options), config);
    let session = session.map_err(session_error)?;
    let watched = watch.start(session.notifier());
    watched.map_err(system("start a thread"))?;
    let events = serve(session, signals)?;

    // An answer from the mount itself: only now it is live.
    statvfs(&mount_point.path).map_err(|error| session_error(error.into()))?;
    announce(arguments, &summary, mount_point.cleaned_up, launch)?;
    wait(&events, own)
        .map(|()| status::DONE)
        .inspect_err(|error| {
            // The caller is gone, and standard error with it.
            if !arguments.foreground {
                error!("{error}");
            }
        })
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::System { what, error }
}

fn session_error(error: io::Error) -> Error {
    Error::Fuse(FuseDefect::Session(error))
}

fn log_level(options: &MountOptions) -> LevelFilter {
    match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
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

fn processors() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX))
}

/// The file system of an archive, unless too few of its members can be read, and what watches it.
fn file_system(
    arguments: &MountArgs,
    archive: ArchiveFile,
) -> Result<(Npzfs, Watch, Summary), Error> {
    let options = &arguments.options;
    let modified = archive.modified();
    let tree = Tree::new(archive.index, modified).map_err(|_| Error::Archive {
        archive: arguments.archive.clone(),
        defect: Defect::TooLarge,
    })?;
    let summary = Summary::of(&tree);
    if summary.unreadable > 0 && (options.strict || summary.unreadable == summary.members) {
        let mut files = tree.files();
        let first = files.find_map(|member| Some((member, member.problem.as_deref()?)));
        if let Some((member, problem)) = first {
            return Err(Error::Unreadable {
                archive: arguments.archive.clone(),
                member: tree.name_of(member).to_vec(),
                problem: problem.clone(),
                strict: options.strict,
            });
        }
    }
    let (content, changed) = Content::new(archive.file, &archive.metadata)
        .map_err(system("map the archive into memory"))?;
    let content = Arc::new(content);
    // The kernel cannot let root in and keep the others out; but the modes can, which root may
    // pass by.
    let umask = if options.allow_root { 0o077 } else { 0 };
    let ownership = Ownership {
        uid: options.uid.unwrap_or(getuid().as_raw()),
        gid: options.gid.unwrap_or(getgid().as_raw()),
        umask: options.umask.unwrap_or(0) | umask,
    };
    let watch = Watch {
        archive: archive.path.clone(),
        content: Arc::downgrade(&content),
        changed,
        inodes: tree.len() as u64,
    };
    let len_bytes = archive.metadata.len();
    let npzfs = Npzfs::new(archive.path, len_bytes, tree, content, ownership);
    Ok((npzfs, watch, summary))
}

/// What an archive holds, in a few words: `7 members, 1.2 GB`.
struct Summary {
    members: u64,
    unreadable: u64,
    /// Length of all members that can be read.
    len_bytes: u64,
}

impl Summary {
    fn of(tree: &Tree) -> Self {
        let mut summary = Self {
            members: 0,
            unreadable: 0,
            len_bytes: 0,
        };
        for member in tree.files() {
            summary.members += 1;
            match member.problem {
                Some(_) => summary.unreadable += 1,
                None => summary.len_bytes += member.size,
            }
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.members == 1 { "" } else { "s" };
        write!(f, "{} member{plural}", self.members)?;
        if self.unreadable > 0 {
            write!(f, " ({} cannot be read)", self.unreadable)?;
        }
        write!(f, ", {}", Size(self.len_bytes))
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
            let shown = Escaped(self.mount_point.path.as_os_str().as_encoded_bytes());
            error!("{shown}: {defect}");
        }
    }
}

/// What ends a mount.
enum Event {
    /// It was unmounted from outside, or the connection broke.
    Ended(io::Result<()>),
    Signal(Signal),
}

/// Answers requests, and listens to signals, in threads of their own.
fn serve(session: Session<Npzfs>, signals: SigSet) -> Result<Receiver<Event>, Error> {
    let (events, receiver) = mpsc::channel();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(work).map_err(system("start a thread"))
    };
    let ended = events.clone();
    // Nobody listens any more once the process is about to end.
    let session = move || drop(ended.send(Event::Ended(session.run())));
    spawn("session", Box::new(session))?;
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

/// Tells the user that the mount is live, and lets the caller go.
fn announce(
    arguments: &MountArgs,
    summary: &Summary,
    cleaned_up: bool,
    launch: Option<Launch>,
) -> Result<(), Error> {
    if !arguments.options.quiet {
        let archive = Escaped(arguments.archive.as_os_str().as_encoded_bytes());
        let mount_point = Quoted(&arguments.mount_point);
        let after = if cleaned_up {
            ", after cleaning up what a killed npzfs had left there"
        } else {
            ""
        };
        // Whoever closed standard output does not want to know.
        let _ = writeln!(
            io::stdout(),
            "mounted {archive} at {mount_point}{after}: {summary}; \
             unmount with: npzfs umount {mount_point}",
        );
    }
    match launch {
        Some(launch) => launch.live().map_err(system("go to the background")),
        None => Ok(()),
    }
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
            Event::Signal(signal) => {
                info!("{signal}: unmounting");
                // While the session lives: afterwards its device number may be another's.
                if let Err(defect @ UnmountDefect::MountInside { .. }) = own.end() {
                    let shown = Escaped(own.mount_point.path.as_os_str().as_encoded_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_what_cannot_be_read() {
        let summary = |members, unreadable, len_bytes| {
            let summary = Summary {
                members,
                unreadable,
                len_bytes,
            };
            summary.to_string()
        };
        assert_eq!(summary(7, 0, 1_234_567_890), "7 members, 1.2 GB");
        assert_eq!(summary(1, 0, 128), "1 member, 128 B");
        assert_eq!(summary(3, 2, 5000), "3 members (2 cannot be read), 5.0 kB");
    }
}
