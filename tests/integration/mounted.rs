//! Real mounts, which end with the test, and the program that makes them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use memmap2::Mmap;
use nix::pty::{OpenptyResult, Winsize, openpty};
use tempfile::TempDir;

use crate::fixture::Archive;

/// The program.
pub fn npzfs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npzfs"));
    command.stdin(Stdio::null());
    // Whatever the environment of the tests is, colour is only where it is asked for.
    command.env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
    command
}

/// What a finished program said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end, which must come within 60 seconds.
pub fn run(command: &mut Command) -> Said {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = loop {
        match command.spawn() {
            // A program that was just copied may still be open in a child of another test.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            child => break child.expect("program starts"),
        }
    };
    let pid = child.id();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(Duration::from_secs(60)) else {
        send_signal(pid, nix::sys::signal::Signal::SIGKILL);
        panic!("{command:?} does not end");
    };
    said(output.expect("program is waited for"))
}

/// Lets a shell run `first` in the process that becomes the program of `command`.
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

/// What a command writes to a terminal of `columns` characters a line, on standard output and on
/// standard error.
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
    // The command holds the other end, too.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    // Ends with an error once the other end is closed, which for a terminal is as it should be.
    let _ = File::from(master).read_to_end(&mut bytes);
    child.wait().expect("program is waited for");
    String::from_utf8(bytes).expect("UTF-8")
}

fn said(output: Output) -> Said {
    Said {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn send_signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, signal).expect("signal is sent");
}

/// Waits for something to become true, at most 10 seconds.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs; one that only waits to be noticed does not.
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .expect("a state")
            .1
            .starts_with(['Z', 'X'])
    })
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a test may go on that needs something which not every machine has. Where it has not, the
/// test is skipped and says so; in CI it fails.
pub fn available(condition: bool, what: &str) -> bool {
    if !condition {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI needs {what}"
        );
        // Not by eprintln!, which is shown only for tests that fail.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a test needs {what}");
    }
    condition
}

/// Whether a test may go on that runs these programs.
pub fn installed(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &&str| std::env::split_paths(&path).any(|at| at.join(name).exists());
    programs
        .iter()
        .all(|program| available(found(program), program))
}

/// Whether the server of the mount at `path` is gone. Nearly all else the kernel may still know.
pub fn is_dead(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path) == Err(nix::errno::Errno::ENOTCONN)
}

/// The lines of mountinfo for mounts at `path` or below it.
pub fn mounts_below(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a plain path").replace(' ', "\\040");
    // Others may have mounted where the path is not UTF-8.
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

/// The names in a directory, in order.
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
    // SAFETY: the file is part of a read-only mount, whose bytes nobody changes.
    unsafe { Mmap::map(file) }.expect("member is mapped")
}

/// Maps a file of a mount into memory, and has the kernel keep its pages as long as that is mapped.
/// Others it may drop at any time.
pub fn pin(file: &File) -> Mmap {
    let map = map(file);
    map.lock().expect("pages are kept");
    map
}

/// What the kernel calls the processes of npzfs, by the name that it was called by: 15 bytes of it.
const NAMES: [&[u8]; 3] = [b"npzfs\n", b"mount.npzfs\n", b"mount.fuse.npzf\n"];

/// A directory for one test. When it goes, nothing may be mounted in it any more, and no npzfs may
/// run that has to do with it.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("npzfs-test-").expect("directory is made");
        // Ordinary users have to get in, too.
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

    /// The processes that name this directory on their command line.
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
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let processes = self.processes();
        for &pid in &processes {
            send_signal(pid, nix::sys::signal::Signal::SIGKILL);
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
    pub said: String,
    place: Place,
}

impl Mounted {
    /// Mounts an archive with no options.
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
        let said = run(npzfs().arg("mount").args(options).arg(&archive).arg(&at));
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
        Self::adopt(place, archive, said.out)
    }

    /// Takes over a mount that the test has made itself, at `mnt` in `place`.
    pub fn adopt(place: Place, archive: PathBuf, said: String) -> Self {
        Self {
            archive,
            at: place.join("mnt"),
            said,
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

    /// An extended attribute as text; `None` where there is none of that name.
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

    /// How often each of these requests came so far, added up.
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

    pub fn umount(&self) -> Said {
        run(npzfs().arg("umount").arg(&self.at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if mounts_below(&self.at).is_empty() {
            return;
        }
        let said = self.umount();
        if !std::thread::panicking() {
            assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
        }
    }
}

/// A mount in the foreground, whose process is a child of the test.
pub struct Foreground {
    pub child: Child,
    pub at: PathBuf,
    /// The line that says what was mounted.
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
        rest.read_line(&mut line).expect("npzfs says something");
        assert!(line.starts_with("mounted "), "{line}");
        Self {
            child,
            at,
            line,
            rest,
        }
    }

    /// Waits for the end, which somebody else has to bring about.
    pub fn end(mut self) -> Said {
        let output = self.child.wait_with_output().expect("npzfs is waited for");
        let mut said = said(output);
        self.rest
            .read_to_string(&mut said.out)
            .expect("output is text");
        said
    }
}

/// An ordinary user for tests that run as root; made by the tests' set-up script.
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
