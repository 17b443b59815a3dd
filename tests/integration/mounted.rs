//! Mounts that end with the test, and the programs that make them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::TempDir;

use crate::fixture::Archive;

/// The limit for any wait. It is long, since other work may slow a test down a lot, and is reached
/// only where something hangs.
pub const TIMEOUT: Duration = Duration::from_secs(300);

/// Returns a command that runs the program.
pub fn npzfs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npzfs"));
    command.stdin(Stdio::null());
    // Only a test enables or disables colour, not the environment of the tests.
    command.env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
    with_default_signals(&mut command);
    command
}

/// The signals that a caller of the tests may ignore, as `nohup` and a shell do for a background job.
const RESET: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGCHLD,
    Signal::SIGTSTP,
];

/// Lets a command start with the default action of signals that the caller of the tests ignores. Every
/// command that a test sends such a signal, or whose children get one, needs this.
#[allow(unsafe_code)]
pub fn with_default_signals(command: &mut Command) -> &mut Command {
    let reset = || {
        for ignored in RESET {
            // SAFETY: no handler is installed, so none can run.
            unsafe { signal(ignored, SigHandler::SigDfl) }?;
        }
        Ok(())
    };
    // Otherwise the command can start without a fork of the whole test process.
    if is_any_ignored() {
        // SAFETY: between fork and exec the closure calls signal(2) only, and allocates nothing.
        unsafe { command.pre_exec(reset) };
    }
    command
}

fn is_any_ignored() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").expect("proc is there");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("hexadecimal");
        RESET
            .iter()
            .any(|&reset| mask >> (reset as u32 - 1) & 1 == 1)
    })
}

/// The exit status and the output of a program that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// `None` if a signal ended it.
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = loop {
        match command.spawn() {
            // A program that was just copied may still be open for writing in a child of another test.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            child => break child.expect("program starts"),
        }
    };
    let pid = child.id();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(TIMEOUT) else {
        send_signal(pid, Signal::SIGKILL);
        panic!("{command:?} does not end");
    };
    output.expect("program is waited for").into()
}

/// Changes a command so that a shell runs `first` in the process that then becomes the program.
pub fn exec_after(first: &str, command: &mut Command) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{first} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    *command = shell;
}

/// Returns what a command writes to a terminal with lines of `columns` characters.
pub fn run_on_terminal(command: &mut Command, columns: u16) -> String {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
    command.stdout(slave.try_clone().expect("a descriptor"));
    let mut child = command.stderr(slave).spawn().expect("program starts");
    // The command has descriptors of the other end, too.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    // Reading from a terminal ends with an error once the other end is closed.
    let _ = File::from(master).read_to_end(&mut bytes);
    child.wait().expect("program is waited for");
    String::from_utf8(bytes).expect("UTF-8")
}

pub fn send_signal(pid: u32, signal: Signal) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, signal).expect("signal is sent");
}

/// Stops a process, and waits until all its threads have stopped.
pub fn stop(pid: u32) {
    send_signal(pid, Signal::SIGSTOP);
    wait_until("all threads stop", || {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        threads.all(|thread| state(&thread.expect("a thread").path()) == Some('T'))
    });
}

/// Waits until a condition is true.
pub fn wait_until(event: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{event} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the letter for the state of a process or thread, such as `S`, by its directory in /proc.
pub fn state(directory: &Path) -> Option<char> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether any thread of a process runs. The first one may be a zombie while others still close the
/// files of the process.
pub fn is_running(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let states = tasks.flatten().filter_map(|task| state(&task.path()));
    states.into_iter().any(|state| !"ZX".contains(state))
}

/// Whether the first thread of a process has exited, for which `npzfs umount` waits.
pub fn has_exited(pid: u32) -> bool {
    let state = state(Path::new(&format!("/proc/{pid}")));
    state.is_none_or(|state| "ZX".contains(state))
}

/// Runs `npzfs umount`, again if the mount is in use, but not by this process: then a child that another
/// test has forked may still have its descriptors, until it executes its program.
pub fn umount(at: &Path) -> Output {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let result = run(npzfs().arg("umount").arg(at));
        let is_busy = result.err.contains(": in use by ");
        if !is_busy || uses(std::process::id(), at) || Instant::now() > deadline {
            return result;
        }
    }
}

/// Whether a process has a file at `path` or below it open or mapped.
pub fn uses(pid: u32, path: &Path) -> bool {
    ["fd", "map_files"].iter().any(|links| {
        let links = fs::read_dir(format!("/proc/{pid}/{links}"));
        let links = links.into_iter().flatten().flatten();
        links
            .flat_map(|link| fs::read_link(link.path()))
            .any(|target| target.starts_with(path))
    })
}

/// Returns a memory field of `/proc/PID/status` in bytes.
pub fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("server runs");
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether the machine has what a test needs. If not, the test has to return, which is reported as
/// skipped; with `CI=true` it fails.
pub fn available(condition: bool, needed: &str) -> bool {
    if !condition {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI needs {needed}"
        );
        // The output of eprintln! is shown only for tests that fail.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a test needs {needed}");
    }
    condition
}

/// Whether the machine has the programs that a test needs.
pub fn installed(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &&str| std::env::split_paths(&path).any(|at| at.join(name).exists());
    programs
        .iter()
        .all(|program| available(found(program), program))
}

/// Whether the server of the mount at `path` is gone. The kernel answers most other calls from its
/// caches.
pub fn is_dead(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path) == Err(nix::errno::Errno::ENOTCONN)
}

/// Returns the lines of mountinfo for mounts at `path` or below it.
pub fn mounts_below(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a plain path").replace(' ', "\\040");
    // The paths of other mounts need not be UTF-8.
    let table = fs::read("/proc/self/mountinfo").expect("mountinfo is there");
    String::from_utf8_lossy(&table)
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(4)
                .is_some_and(|at| at.starts_with(&path))
        })
        .map(str::to_owned)
        .collect()
}

/// Returns the names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("directory is opened")
        .map(|entry| entry.expect("directory is read").file_name())
        .collect();
    names.sort();
    names
}

/// Maps a file of a mount into memory.
#[allow(unsafe_code)]
pub fn map(file: &File) -> Mmap {
    // SAFETY: the file is in a read-only mount, and the test does not use the mapping after a change
    // of the archive.
    unsafe { Mmap::map(file) }.expect("member is mapped")
}

/// Maps a file of a mount into memory and locks its pages, which the kernel may otherwise drop at any
/// time.
pub fn pin(file: &File) -> Mmap {
    let map = map(file);
    map.lock().expect("pages are kept");
    map
}

/// The command names of npzfs processes: the first 15 bytes of the name of the program.
const NAMES: [&[u8]; 3] = [b"npzfs\n", b"mount.npzfs\n", b"mount.fuse.npzf\n"];

/// A directory for one test. When it is dropped, nothing may be mounted below it, and no npzfs may
/// run with a path below it on its command line.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("npzfs-test-").expect("directory is made");
        // Ordinary users need access, too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), mode).expect("mode is set");
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the processes of npzfs with a path below this directory on their command line.
    fn processes(&self) -> Vec<u32> {
        let needle = self.path().as_os_str().as_encoded_bytes();
        fs::read_dir("/proc")
            .expect("proc is there")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
                NAMES.contains(&&*name) && line.windows(needle.len()).any(|part| part == needle)
            })
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = mounts_below(self.path());
        for line in &left {
            let at = line
                .split(' ')
                .nth(4)
                .unwrap_or_default()
                .replace("\\040", " ")
                .replace("\\012", "\n");
            let lazily = Command::new("umount").args(["-l", &at]).output();
            if !lazily.is_ok_and(|output| output.status.success()) {
                let _ = Command::new("fusermount3").args(["-uz", &at]).output();
            }
        }
        // A test that fails has not ended them.
        let timeout = if std::thread::panicking() {
            Duration::ZERO
        } else {
            TIMEOUT
        };
        let deadline = Instant::now() + timeout;
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let processes = self.processes();
        for &pid in &processes {
            send_signal(pid, Signal::SIGKILL);
        }
        if !std::thread::panicking() {
            assert_eq!(left, [""; 0], "mounts are left");
            assert_eq!(processes, [0; 0], "processes are left");
        }
    }
}

/// A mount of an archive that ends with the test.
pub struct Mounted {
    pub archive: PathBuf,
    pub at: PathBuf,
    /// The line that npzfs has printed.
    pub message: String,
    place: Place,
}

impl Mounted {
    /// Mounts an archive without options.
    pub fn new(archive: &Archive) -> Self {
        Self::with_options(archive, [""; 0])
    }

    pub fn with_options(
        archive: &Archive,
        options: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let place = Place::new();
        let path = archive.write(place.path(), "a.npz");
        Self::in_place(place, path, options)
    }

    /// Mounts the archive at `archive`, a file in `place`.
    pub fn in_place(
        place: Place,
        archive: PathBuf,
        options: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let at = place.join("mnt");
        let result = run(npzfs().arg("mount").args(options).arg(&archive).arg(&at));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        Self::adopt(place, archive, result.out)
    }

    /// Takes over a mount that the test has made itself, at `mnt` in `place`.
    pub fn adopt(place: Place, archive: PathBuf, message: String) -> Self {
        Self {
            archive,
            at: place.join("mnt"),
            message,
            place,
        }
    }

    pub fn place(&self) -> &Path {
        self.place.path()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.at.join(name)
    }

    pub fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(&name)).expect("file is read")
    }

    /// Returns an extended attribute as text, or `None` if there is none of that name.
    pub fn attribute(&self, file: &str, name: &str) -> Option<String> {
        let value = xattr::get(self.path(file), name).expect("attributes can be had");
        value.map(|value| String::from_utf8(value).expect("attribute is text"))
    }

    pub fn stats(&self) -> serde_json::Value {
        let stats = self
            .attribute("", "user.npzfs.stats")
            .expect("stats are there");
        serde_json::from_str(&stats).expect("stats are JSON")
    }

    /// Returns the total number of requests of these types so far.
    pub fn requests(&self, types: &[&str]) -> u64 {
        let stats = self.stats();
        types
            .iter()
            .filter_map(|name| stats.get(name)?.as_u64())
            .sum()
    }

    pub fn server(&self) -> u32 {
        self.stats()["pid"].as_u64().expect("a pid") as u32
    }

    pub fn umount(&self) -> Output {
        umount(&self.at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if mounts_below(&self.at).is_empty() {
            return;
        }
        let result = self.umount();
        if !std::thread::panicking() {
            assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        }
    }
}

/// A mount in the foreground, by a child of the test.
pub struct Foreground {
    pub child: Child,
    pub at: PathBuf,
    /// The line that npzfs has printed.
    pub line: String,
    rest: BufReader<ChildStdout>,
}

impl Foreground {
    pub fn start(place: &Place, archive: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let at = place.join("mnt");
        let mut command = npzfs();
        command.args(["mount", "-f"]).arg(archive).arg(&at);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("npzfs starts");
        let mut rest = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        rest.read_line(&mut line).expect("npzfs prints a line");
        if !line.starts_with("mounted ") {
            let _ = child.kill();
            panic!("{line}{:?}", child.wait_with_output());
        }
        Self {
            child,
            at,
            line,
            rest,
        }
    }

    /// Waits for the end, which the test has to bring about otherwise.
    pub fn end(mut self) -> Output {
        let output = self.child.wait_with_output().expect("npzfs is waited for");
        let mut result = Output::from(output);
        self.rest
            .read_to_string(&mut result.out)
            .expect("output is text");
        result
    }
}

/// Returns the ordinary user for tests that run as root, which tests/setup.sh creates.
pub fn ordinary_user() -> Option<nix::unistd::User> {
    nix::unistd::User::from_name("npzfs-test").ok().flatten()
}

/// Lets a command run as another user.
pub fn as_user<'a>(command: &'a mut Command, user: &nix::unistd::User) -> &'a mut Command {
    command
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .env("HOME", "/")
        .current_dir("/")
}
