//! This process and its children: forks, descriptors that pass from one to the other, signals.
#![allow(unsafe_code)]

use std::env;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// The signals that ask a process to end.
pub const TERMINATION_SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Returns the number of processors that this process may use.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Whether `/proc` is mounted.
pub fn has_proc() -> bool {
    Path::new("/proc/self/mountinfo").exists()
}

/// Returns the number of this process's PID namespace (pid_namespaces(7)).
///
/// # Errors
/// Those of reading `/proc`.
pub fn pid_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// Returns the number in this process's PID namespace of the process that has the number `pid` in
/// the PID namespace `namespace`; `None` if it has none here, or this user may not see it.
pub fn find_pid(pid: u32, namespace: u64) -> Option<u32> {
    if pid_namespace().is_ok_and(|own| own == namespace) {
        return Some(pid);
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|process| {
        let here = process.file_name().to_str()?.parse().ok()?;
        let is_in = fs::metadata(process.path().join("ns/pid")).ok()?.ino() == namespace;
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let numbers = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))?;
        // From this namespace inward: the last one is the number in its own.
        let innermost: u32 = numbers.split_whitespace().last()?.parse().ok()?;
        (is_in && innermost == pid).then_some(here)
    });
    processes.next()
}

/// Whether this process ignores a signal.
pub fn is_ignored(signal: Signal) -> bool {
    // SAFETY: `sigaction` is a plain C struct, for which all zeroes are a valid value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is changed, and the last pointer is to a live, exclusively borrowed value.
    let asked = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Forks this process.
///
/// # Errors
/// Those of fork(2), and `Unsupported` where this process runs other threads: their locks would
/// stay locked in the child.
pub fn fork() -> io::Result<ForkResult> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: this is the only thread, so the child may go on as the parent would.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Leaves the caller's session, directory and terminal.
///
/// # Errors
/// Those of setsid(2), chdir(2) and dup2(2).
pub fn detach() -> io::Result<()> {
    setsid()?;
    env::set_current_dir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Takes standard input away from this process's other code and returns it. The process at its other
/// end notices when the returned descriptor is closed.
///
/// # Errors
/// Those of dup(2) and dup2(2).
pub fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(stdin)
}

/// Closes every descriptor that the process inherited, except the standard streams. `own` are those
/// that it has opened itself.
pub fn close_inherited_descriptors(own: impl IntoIterator<Item = RawFd>) {
    let mut own: Vec<_> = own.into_iter().map(|own| own as libc::c_uint).collect();
    own.sort_unstable();
    let mut first = 3;
    for last in own.iter().map(|own| own - 1).chain([libc::c_uint::MAX]) {
        // SAFETY: called before npzfs opens anything else, so no live object owns one of them. A
        // kernel without this call (before 5.9) leaves them open, which is no error; nor is an
        // empty range.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        first = last.saturating_add(2);
    }
}

/// Gives the calling thread an empty descriptor table of its own, so that it does not keep open what
/// other threads close.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn unshare_descriptors() -> io::Result<()> {
    let first: libc::c_uint = 0;
    // SAFETY: the descriptors that are closed are the copies that this very call has made; the other
    // threads, and what they own, have the originals.
    let left = unsafe {
        let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
        libc::syscall(libc::SYS_close_range, first, last, flags)
    };
    Ok(Errno::result(left).map(drop)?)
}

/// Restores the default action of SIGCHLD. A caller may have had this process ignore it, and then
/// the exit statuses of its children would be lost.
pub fn reset_sigchld() {
    // SAFETY: no handler of npzfs's is replaced, since there is none; to fail it takes a signal
    // that does not exist.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Lets a command start with its own signal mask, in place of that of this process.
pub fn set_signal_mask(command: &mut Command, mask: SigSet) {
    // SAFETY: between fork and exec only async-signal-safe functions may be called, which
    // sigprocmask(2) is; nothing is allocated, not even for an error.
    unsafe { command.pre_exec(move || Ok(mask.thread_set_mask()?)) };
}
