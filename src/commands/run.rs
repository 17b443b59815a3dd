//! `npzfs run`: a mount for as long as a command runs.
//!
//! The process that was called runs the command; another one, in the background, serves the mount.
//! That one notices when the first has ended, however it has, so nothing is left even if the first
//! is killed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Child, Command};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::Pid;

use crate::cli::{MountArgs, RunArgs};
use crate::commands::error::Error;
use crate::commands::mount::config;
use crate::commands::mount::{self, Target};
use crate::exit_status::{self, ExitStatus};
use crate::mount::daemon::{self, Background};
use crate::mount::error::{MountError, system};
use crate::mount::mount_point::MountPoint;
use crate::mount::unmount;
use crate::sys;
use crate::ui::console::Console;

/// Where the command finds the path of the mount.
const VARIABLE: &str = "NPZFS_MOUNT";

/// What stands for the path of the mount in the arguments of the command.
const PLACEHOLDER: &[u8] = b"{}";

/// The signals that as a rule end a process. From the start they are kept back until there is a
/// command to pass them on to.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// What else is passed on to the command.
const OTHERS: [Signal; 4] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// How long to wait for the process behind the mount to end, once it is unmounted.
const PATIENCE: Duration = Duration::from_secs(5);

/// Mounts archives, runs a command, and unmounts when it has ended. Returns the exit status of
/// this process: in the process that was called that of the command, in the one that serves the
/// mount that of the mount.
///
/// # Errors
/// Any [`Error`]; then the command was not run, or the mount is left.
pub fn run(arguments: &RunArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    sys::process::reset_sigchld();
    // The mask that the caller has chosen, to go back to.
    let mask = block(&ENDING)?;
    let mount_point = MountPoint::private()?;
    let path = mount_point.path.clone();
    match daemon::background(None).map_err(system("start a process in the background"))? {
        Background::Server(launch) => {
            let restored = mask.thread_set_mask().map_err(io::Error::from);
            restored.map_err(system("unblock signals"))?;
            let arguments = MountArgs {
                archives: arguments.archives.clone(),
                mount_point: path,
                foreground: false,
                until_eof: false,
                options: arguments.options.clone(),
                for_mount: false,
            };
            mount::serve(
                &arguments,
                Some(launch),
                Target::Private(mount_point),
                console,
            )
        }
        Background::Ended(status) => Ok(status),
        Background::Caller(server) => {
            let result = run_command(&arguments.command, &path, mask);
            match unmount::unmount_after_use(&path) {
                Ok(true) => server.wait(PATIENCE),
                // What the command has left behind goes on using it.
                Ok(false) => {}
                Err(error) => {
                    return result.and(Err(Error::Unmount {
                        mount_point: path,
                        error,
                    }));
                }
            }
            result
        }
    }
}

/// Keeps signals back; returns the signal mask as it was before.
fn block(signals: &[Signal]) -> Result<SigSet, MountError> {
    let signals: SigSet = signals.iter().copied().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let before = before.map_err(io::Error::from);
    before.map_err(system("block signals"))
}

/// Runs a command to its end, with the mount at `path`. Returns the exit status for its own.
fn run_command(command: &[OsString], path: &Path, mask: SigSet) -> Result<ExitStatus, Error> {
    // It came while there was nobody to pass it on to, perhaps by the terminal and to all who were
    // there: then the command would never have it.
    if let Some(signal) = kept_back().map_err(system("read signals"))? {
        return Ok(ExitStatus::of_signal(signal as i32));
    }
    block(&[&OTHERS[..], &[Signal::SIGCHLD]].concat())?;
    let signals = signals(SfdFlags::SFD_CLOEXEC).map_err(system("read signals"))?;
    let mut words = command.iter().map(|word| filled_in(word, path));
    let mut program = Command::new(words.next().unwrap_or_default());
    program.args(words).env(VARIABLE, path);
    sys::process::set_signal_mask(&mut program, mask);
    // A memory-mapped frame has one open for each array.
    config::raise_descriptor_limit();
    let child = program.spawn().map_err(|error| Error::Command {
        command: command.first().cloned().unwrap_or_default(),
        error,
    })?;
    let status = wait(child, &signals).map_err(system("wait for the command"))?;
    Ok(as_shell(status))
}

/// An argument, with the path of the mount in all the places that are meant for it.
fn filled_in(argument: &OsStr, path: &Path) -> OsString {
    let path = path.as_os_str().as_bytes();
    let mut filled = Vec::new();
    let mut rest = argument.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(PLACEHOLDER) {
            filled.extend(path);
            rest = after;
        } else {
            filled.push(first);
            rest = after;
        }
    }
    OsString::from_vec(filled)
}

fn signals(flags: SfdFlags) -> io::Result<SignalFd> {
    let all = ENDING.into_iter().chain(OTHERS).chain([Signal::SIGCHLD]);
    Ok(SignalFd::with_flags(&all.collect(), flags)?)
}

/// The first of the signals that were kept back and would end this process, if any was.
fn kept_back() -> io::Result<Option<Signal>> {
    let signals = signals(SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    while let Some(info) = signals.read_signal()? {
        if let Some(signal) = signal_of(&info).filter(|signal| ENDING.contains(signal)) {
            return Ok(Some(signal));
        }
    }
    Ok(None)
}

fn signal_of(info: &siginfo) -> Option<Signal> {
    Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
}

/// Waits until the command has ended, and passes signals on to it.
fn wait(mut command: Child, signals: &SignalFd) -> io::Result<process::ExitStatus> {
    loop {
        // Looked at before any signal, for several of one kind may come as one.
        if let Some(status) = command.try_wait()? {
            return Ok(status);
        }
        match signals.read_signal() {
            Ok(Some(info)) => pass_on(&info, command.id()),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Passes a signal on to the command, unless it has it already: what the kernel sends, for a key at
/// the terminal, goes to the command as well, and what the command sends to its group it has sent to
/// itself.
fn pass_on(info: &siginfo, command: u32) {
    let Some(signal) = signal_of(info).filter(|&signal| signal != Signal::SIGCHLD) else {
        return;
    };
    if info.ssi_code <= libc::SI_USER && info.ssi_pid != command {
        // It may have become another user's, as sudo does, and out of reach.
        let _ = kill(Pid::from_raw(command as i32), signal);
    }
    if signal == Signal::SIGTSTP {
        // Otherwise this process just goes on.
        let _ = stop();
    }
}

/// Stops this process, too, until it is continued, as its caller expects of a job that is stopped.
fn stop() -> nix::Result<()> {
    let stop = SigSet::from(Signal::SIGTSTP);
    raise(Signal::SIGTSTP)?;
    stop.thread_unblock()?;
    stop.thread_block()
}

/// What a shell makes of the end of a command.
fn as_shell(status: process::ExitStatus) -> ExitStatus {
    let code = status.code().map(|code| ExitStatus(code as u8));
    let signal = status.signal().map(ExitStatus::of_signal);
    code.or(signal).unwrap_or(exit_status::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_braces_becomes_the_path() {
        let filled = |text: &str| filled_in(OsStr::new(text), Path::new("/run/{}"));
        assert_eq!(filled("{}"), "/run/{}");
        assert_eq!(filled("a={}/x:{}/y"), "a=/run/{}/x:/run/{}/y");
        assert_eq!(filled("{{}"), "{/run/{}");
        assert_eq!(filled("{ }"), "{ }");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn the_end_by_a_signal_is_128_and_its_number() {
        assert_eq!(
            as_shell(process::ExitStatus::from_raw(7 << 8)),
            ExitStatus(7)
        );
        assert_eq!(as_shell(process::ExitStatus::from_raw(15)), ExitStatus(143));
    }
}
