//! `npzfs run`: mounts archives for as long as a command runs.
//!
//! The process that was called runs the command, and a background process serves the mount. The
//! server notices when the caller ends, however that happens, so that nothing is left even if the
//! caller is killed.

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
use crate::mount::error::{MountError, require_proc, system};
use crate::mount::mount_point::MountPoint;
use crate::mount::unmount;
use crate::sys;
use crate::ui::console::Console;

/// The environment variable in which the command finds the path of the mount.
const VARIABLE: &str = "NPZFS_MOUNT";

/// The placeholder for the path of the mount in the arguments of the command.
const PLACEHOLDER: &[u8] = b"{}";

/// Signals that end a process by default. They are blocked until the command runs, to which they are
/// forwarded.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Other signals that are forwarded to the command.
const OTHERS: [Signal; 4] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// How long to wait for the server to end once the mount is unmounted.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Mounts archives, runs a command, and unmounts when it has ended. Returns the exit status of the
/// command in the process that was called, and that of the mount in the server.
///
/// # Errors
/// Any [`Error`]; then the command was not run, or the mount is left.
pub fn run(arguments: &RunArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    require_proc()?;
    sys::process::reset_sigchld();
    // The caller's signal mask, for the command and the server.
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
                Ok(true) => server.wait(SERVER_TIMEOUT),
                // Processes that the command has left go on using it.
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

/// Blocks signals; returns the signal mask as it was before.
fn block(signals: &[Signal]) -> Result<SigSet, MountError> {
    let signals: SigSet = signals.iter().copied().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let before = before.map_err(io::Error::from);
    before.map_err(system("block signals"))
}

/// Runs a command to its end, with the mount at `path`.
fn run_command(command: &[OsString], path: &Path, mask: SigSet) -> Result<ExitStatus, Error> {
    // It came before there was a command to forward it to. If it was sent to the whole process group,
    // by a key at the terminal, the command would never get it.
    if let Some(signal) = pending().map_err(system("read signals"))? {
        return Ok(ExitStatus::of_signal(signal as i32));
    }
    block(&[&OTHERS[..], &[Signal::SIGCHLD]].concat())?;
    let signals = signals(SfdFlags::SFD_CLOEXEC).map_err(system("read signals"))?;
    let mut words = command.iter().map(|word| fill_in(word, path));
    let mut program = Command::new(words.next().unwrap_or_default());
    program.args(words).env(VARIABLE, path);
    sys::process::set_signal_mask(&mut program, mask);
    // A memory-mapped frame has a descriptor open for each array.
    config::raise_descriptor_limit();
    let child = program.spawn().map_err(|error| Error::Command {
        command: command.first().cloned().unwrap_or_default(),
        error,
    })?;
    let status = wait(child, &signals).map_err(system("wait for the command"))?;
    Ok(as_shell(status))
}

/// Replaces each placeholder in an argument by the path of the mount.
fn fill_in(argument: &OsStr, path: &Path) -> OsString {
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

/// Returns the first pending signal that would end this process, if there is one.
fn pending() -> io::Result<Option<Signal>> {
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

/// Waits until the command has ended, and forwards signals to it.
fn wait(mut command: Child, signals: &SignalFd) -> io::Result<process::ExitStatus> {
    loop {
        // Before each signal, since several SIGCHLD may come as one.
        if let Some(status) = command.try_wait()? {
            return Ok(status);
        }
        match signals.read_signal() {
            Ok(Some(info)) => forward(&info, command.id()),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Forwards a signal to the command, unless the command got it, too: from the kernel, for a key at the
/// terminal, or from itself, by a signal to its own process group.
fn forward(info: &siginfo, command: u32) {
    let Some(signal) = signal_of(info).filter(|&signal| signal != Signal::SIGCHLD) else {
        return;
    };
    if info.ssi_code <= libc::SI_USER && info.ssi_pid != command {
        // The command may run as another user, as sudo(8) does, and then this is not permitted.
        let _ = kill(Pid::from_raw(command as i32), signal);
    }
    if signal == Signal::SIGTSTP {
        // On failure this process goes on, which does no harm.
        let _ = stop();
    }
}

/// Stops this process until it is continued, as a shell expects of a stopped job.
fn stop() -> nix::Result<()> {
    let stop = SigSet::from(Signal::SIGTSTP);
    raise(Signal::SIGTSTP)?;
    stop.thread_unblock()?;
    stop.thread_block()
}

/// Returns the exit status by which a shell reports the end of a command.
fn as_shell(status: process::ExitStatus) -> ExitStatus {
    let code = status.code().map(|code| ExitStatus(code as u8));
    let signal = status.signal().map(ExitStatus::of_signal);
    code.or(signal).unwrap_or(exit_status::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_braces_is_replaced_by_the_path() {
        let filled = |text: &str| fill_in(OsStr::new(text), Path::new("/run/{}"));
        assert_eq!(filled("{}"), "/run/{}");
        assert_eq!(filled("a={}/x:{}/y"), "a=/run/{}/x:/run/{}/y");
        assert_eq!(filled("{{}"), "{/run/{}");
        assert_eq!(filled("{ }"), "{ }");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn a_signal_becomes_128_plus_its_number() {
        assert_eq!(
            as_shell(process::ExitStatus::from_raw(7 << 8)),
            ExitStatus(7)
        );
        assert_eq!(as_shell(process::ExitStatus::from_raw(15)), ExitStatus(143));
    }
}
