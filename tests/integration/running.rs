//! `npzfs run`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Output, Place, installed, is_running, mounts_below, npzfs, run, send_signal, state, wait_until,
    with_default_signals,
};
use crate::users::Home;

/// A place with an archive, and a directory for the private mounts.
struct Runs {
    place: Place,
    archive: PathBuf,
    runtime: PathBuf,
}

impl Runs {
    fn new() -> Self {
        let place = Place::new();
        let archive = Archive::stored([("x", pattern(3 << 20, 1)), ("y", b"data".to_vec())])
            .write(place.path(), "a.npz");
        let runtime = place.join("runtime");
        fs::create_dir(&runtime).unwrap();
        Self {
            place,
            archive,
            runtime,
        }
    }

    fn with(&self, options: &[&str], command: &[&str]) -> Command {
        let mut run = npzfs();
        run.arg("run").args(options).arg(&self.archive).arg("--");
        run.args(command).env("XDG_RUNTIME_DIR", &self.runtime);
        run
    }

    /// Runs a script to its end, after which nothing may be left.
    fn shell(&self, script: &str) -> Output {
        let result = run(&mut self.with(&[], &["sh", "-c", script]));
        self.nothing_is_left();
        result
    }

    /// Starts a script, and waits for the line that it prints.
    fn start(&self, script: &str) -> Started {
        let mut command = self.with(&[], &["sh", "-c", script]);
        let mut npzfs = command
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(npzfs.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        Started { npzfs, line }
    }

    fn mounted(&self) -> bool {
        !mounts_below(&self.runtime).is_empty()
    }

    fn directories(&self) -> usize {
        fs::read_dir(&self.runtime).unwrap().count()
    }

    /// Checks for mounts and directories; the place checks for processes when it is dropped.
    fn nothing_is_left(&self) {
        assert_eq!(mounts_below(&self.runtime), [""; 0]);
        assert_eq!(self.directories(), 0);
    }
}

/// A running command, and the line that it has printed.
struct Started {
    npzfs: Child,
    line: String,
}

impl Started {
    fn number(&self) -> u32 {
        self.line.parse().expect("a number")
    }

    fn end(mut self) -> std::process::ExitStatus {
        let pid = self.npzfs.id();
        wait_until("the end", || !is_running(pid));
        self.npzfs.wait().unwrap()
    }
}

impl Drop for Started {
    /// Kills the command in its group, too.
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.npzfs.id() as i32);
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _ = self.npzfs.wait();
    }
}

fn states(pids: [u32; 2]) -> [Option<char>; 2] {
    pids.map(|pid| state(Path::new(&format!("/proc/{pid}"))))
}

#[test]
fn the_exit_status_of_the_command_is_passed_on() {
    let runs = Runs::new();
    for status in [0, 1, 7, 255] {
        let result = runs.shell(&format!("echo out; echo err >&2; exit {status}"));
        assert_eq!(result.status, Some(status));
        assert_eq!(
            (result.out.as_str(), result.err.as_str()),
            ("out\n", "err\n")
        );
    }
}

#[test]
fn a_signal_that_ends_the_command_is_128_and_its_number() {
    let runs = Runs::new();
    for (name, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        assert_eq!(runs.shell(&format!("kill -{name} $$")).status, Some(status));
    }
}

#[test]
fn the_command_finds_the_mount_in_variables_and_arguments() {
    let runs = Runs::new();
    let result = runs.shell("test -d {} && echo \"$NPZFS_MOUNT {}:{}/x\" && cat {}/y && ls {}");
    assert_eq!(result.status, Some(0));
    let path = result.out.split(' ').next().unwrap().to_owned();
    assert!(path.starts_with(runs.runtime.to_str().unwrap()), "{path}");
    assert_eq!(result.out, format!("{path} {path}:{path}/x\ndatax\ny\n"));
    // Also in the name of a program in the mount, which needs the option exec.
    let archive = Archive::stored([("echo", "#!/bin/sh\necho \"$@\"\n")]);
    archive.write(runs.place.path(), "a.npz");
    let result = run(&mut runs.with(&["-o", "exec,umask=0"], &["sh", "{}/echo", "a", "b"]));
    assert_eq!(result.out, "a b\n");
    runs.nothing_is_left();
}

#[test]
fn several_archives_are_directories() {
    let runs = Runs::new();
    let other = Archive::stored([("z", "other")]).write(runs.place.path(), "b.npz");
    let mut command = npzfs();
    command.arg("run").args([&runs.archive, &other]).arg("--");
    command.args(["cat", "{}/a.npz/y", "{}/b.npz/z"]);
    let result = run(command.env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!(
        (result.err.as_str(), result.out.as_str()),
        ("", "dataother")
    );
    runs.nothing_is_left();
}

#[test]
fn without_a_runtime_directory_tmpdir_is_used() {
    let runs = Runs::new();
    for unusable in ["relative", "/no/such", ""] {
        let mut command = runs.with(&[], &["sh", "-c", "echo {}"]);
        command.env("XDG_RUNTIME_DIR", unusable);
        let result = run(command.env("TMPDIR", &runs.runtime));
        assert_eq!(result.status, Some(0), "{}", result.err);
        assert!(result.out.starts_with(runs.runtime.to_str().unwrap()));
        runs.nothing_is_left();
    }
    let mut command = runs.with(&[], &["true"]);
    command.env("XDG_RUNTIME_DIR", "/no/such");
    let result = run(command.env("TMPDIR", "/no/such"));
    assert_eq!(result.status, Some(10));
    assert_eq!(
        result.err,
        "npzfs: /no/such: mount point cannot be created: No such file or directory\n"
    );
}

#[test]
fn the_mount_is_reported_only_with_v_and_on_standard_error() {
    let runs = Runs::new();
    let result = run(&mut runs.with(&["-v"], &["cat", "{}/y"]));
    assert_eq!(result.out, "data");
    let start = format!(
        "npzfs: mounted {} at {}/npzfs-",
        runs.archive.display(),
        runs.runtime.display()
    );
    assert!(result.err.starts_with(&start), "{}", result.err);
    assert!(
        result.err.ends_with(": 2 members, 3.1 MB\n"),
        "{}",
        result.err
    );
}

#[test]
fn options_before_the_command_are_those_of_mount() {
    let runs = Runs::new();
    let command = [
        "sh",
        "-c",
        "stat -c %a {}/y; echo \"$@\"",
        "run",
        "-o",
        "umask=0",
        "--",
        "-v",
    ];
    let result = run(&mut runs.with(&["-o", "umask=044"], &command));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert_eq!(result.out, "400\n-o umask=0 -- -v\n");
}

#[test]
fn a_signal_ends_the_command_and_the_mount() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let runs = Runs::new();
        let started = runs.start("echo $$; exec sleep 60");
        let command = started.number();
        assert!(runs.mounted());
        send_signal(started.npzfs.id(), signal);
        assert_eq!(started.end().code(), Some(128 + signal as i32));
        assert!(!is_running(command));
        runs.nothing_is_left();
    }
}

#[test]
fn a_command_may_handle_a_signal() {
    let runs = Runs::new();
    for signal in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!(
            "trap 'cat {{}}/y > /dev/null && exit 9' {name}; echo; \
                              while :; do sleep 0.01; done"
        );
        let started = runs.start(&script);
        send_signal(started.npzfs.id(), signal);
        assert_eq!(started.end().code(), Some(9));
        runs.nothing_is_left();
    }
}

#[test]
fn a_key_at_the_terminal_reaches_the_command_once() {
    if !installed(&["script"]) {
        return;
    }
    let runs = Runs::new();
    let heard = runs.place.join("heard");
    // Without an external command, which the key would end as well.
    let script = format!(
        "trap 'echo heard >> {heard}' INT; echo ready; read line; read line; exit 5",
        heard = heard.display()
    );
    let line = format!(
        "exec '{}' run '{}' -- sh -c \"{script}\"",
        npzfs().get_program().display(),
        runs.archive.display()
    );
    let mut terminal = Command::new("script");
    terminal
        .args(["-qefc", &line, "/dev/null"])
        .env("XDG_RUNTIME_DIR", &runs.runtime)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut terminal = with_default_signals(&mut terminal).spawn().unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = BufReader::new(terminal.stdout.take().unwrap()).lines();
    assert!(screen.any(|line| line.unwrap().contains("ready")));
    keys.write_all(b"\x03").unwrap();
    wait_until("the trap", || heard.exists());
    // Time for a second signal.
    std::thread::sleep(Duration::from_millis(200));
    keys.write_all(b"\n\n").unwrap();
    let status = terminal.wait().unwrap();
    assert_eq!(fs::read_to_string(&heard).unwrap(), "heard\n");
    assert_eq!(status.code(), Some(5));
    runs.nothing_is_left();
}

#[test]
fn the_command_stops_and_continues_with_npzfs() {
    let runs = Runs::new();
    let started = runs.start("echo $$; exec sleep 60");
    let (npzfs, command) = (started.npzfs.id(), started.number());
    for _ in 0..3 {
        send_signal(npzfs, Signal::SIGTSTP);
        wait_until("both stop", || states([npzfs, command]) == [Some('T'); 2]);
        send_signal(npzfs, Signal::SIGCONT);
        wait_until("both continue", || {
            states([npzfs, command]) == [Some('S'); 2]
        });
    }
    send_signal(npzfs, Signal::SIGTERM);
    assert_eq!(started.end().code(), Some(143));
    runs.nothing_is_left();
}

#[test]
fn a_signal_at_any_time_leaves_nothing() {
    let runs = Runs::new();
    for (at, signal) in (0..30).zip(
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .iter()
            .cycle(),
    ) {
        let mut npzfs = runs
            .with(&["-q"], &["sleep", "60"])
            .process_group(0)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let group = nix::unistd::Pid::from_raw(npzfs.id() as i32);
        std::thread::sleep(Duration::from_micros(700 * at));
        nix::sys::signal::killpg(group, *signal).unwrap();
        let pid = npzfs.id();
        wait_until("the end", || !is_running(pid));
        let status = npzfs.wait().unwrap();
        let expected = [Some(128 + *signal as i32), Some(1)].contains(&status.code());
        assert!(
            expected || status.signal() == Some(*signal as i32),
            "{status}"
        );
        wait_until("nothing is left", || {
            !runs.mounted() && runs.directories() == 0
        });
    }
}

#[test]
fn nothing_is_left_of_an_npzfs_that_is_killed() {
    let runs = Runs::new();
    let started = runs.start("echo $$; exec sleep 60");
    assert!(runs.mounted());
    send_signal(started.npzfs.id(), Signal::SIGKILL);
    wait_until("the mount is gone", || !runs.mounted());
    wait_until("the directory is gone", || runs.directories() == 0);
    // The command continues without npzfs.
    assert!(is_running(started.number()));
}

#[test]
fn the_command_of_a_killed_npzfs_keeps_its_open_files() {
    let runs = Runs::new();
    let copy = runs.place.join("copy");
    let script = format!(
        "exec 3< {{}}/x; echo $$; while test -d \"$NPZFS_MOUNT/.\" && test -e {{}}/y; do sleep 0.01; \
         done; cat <&3 > {}.new && mv {}.new {}",
        copy.display(),
        copy.display(),
        copy.display()
    );
    let started = runs.start(&script);
    send_signal(started.npzfs.id(), Signal::SIGKILL);
    wait_until("the copy is made", || copy.exists());
    assert!(fs::read(&copy).unwrap() == pattern(3 << 20, 1));
    wait_until("the directory is gone", || runs.directories() == 0);
}

#[test]
fn background_processes_of_the_command_may_continue() {
    let runs = Runs::new();
    let copy = runs.place.join("copy");
    let script = format!(
        "(exec 3< {{}}/x; echo > {0}.open; while test -e {{}}/y; do sleep 0.01; done; \
         cat <&3 > {0}.new; mv {0}.new {0}) > /dev/null 2>&1 & \
         while ! test -e {0}.open; do sleep 0.01; done; exit 3",
        copy.display()
    );
    // Neither mount nor directory is left at once.
    assert_eq!(runs.shell(&script).status, Some(3));
    wait_until("the copy is made", || copy.exists());
    assert!(fs::read(&copy).unwrap() == pattern(3 << 20, 1));
}

#[test]
fn a_killed_server_leaves_nothing_either() {
    let runs = Runs::new();
    let script = "kill -9 $(getfattr --absolute-names --only-values -n user.npzfs.stats {} | \
                  jq .pid); while ls {} 2> /dev/null; do :; done; exit 4";
    if installed(&["getfattr", "jq"]) {
        assert_eq!(runs.shell(script).status, Some(4));
    }
}

#[test]
fn a_command_that_unmounts_is_no_failure() {
    let runs = Runs::new();
    let script = format!("'{}' umount {{}}", npzfs().get_program().display());
    let result = runs.shell(&script);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

#[test]
fn the_command_may_open_as_many_files_as_the_hard_limit_allows() {
    let runs = Runs::new();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut shell = Command::new("sh");
    let script = "ulimit -Sn 100; exec \"$0\" run \"$1\" -- sh -c 'ulimit -Sn; ulimit -Hn'";
    shell.args(["-c", script]).arg(npzfs().get_program());
    let result = run(shell
        .arg(&runs.archive)
        .env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!(result.out, format!("{hard}\n{hard}\n"));
}

#[test]
fn the_command_inherits_descriptors_and_signals_unchanged() {
    let runs = Runs::new();
    // With another descriptor, and with a signal ignored and one blocked.
    let output = |by: &str, command: &[&str]| {
        let script = format!(
            "exec 9< \"$1\"; npzfs=$0 archive=$1; shift; \
             exec env --ignore-signal=USR1 --block-signal=TERM {by} \"$@\""
        );
        let mut caller = Command::new("sh");
        caller.args(["-c", &script]).arg(npzfs().get_program());
        caller.arg(&runs.archive).args(command);
        let result = run(caller.env("XDG_RUNTIME_DIR", &runs.runtime));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        result.out
    };
    for command in [
        &["ls", "/proc/self/fd"][..],
        &["readlink", "/proc/self/fd/9"],
        &["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"],
    ] {
        let alone = output("", command);
        assert_eq!(output("\"$npzfs\" run \"$archive\" --", command), alone);
    }
}

#[test]
fn the_end_is_noticed_even_if_sigchld_is_ignored() {
    let runs = Runs::new();
    let mut caller = Command::new("env");
    caller
        .arg("--ignore-signal=CHLD")
        .arg(npzfs().get_program())
        .args(["run", runs.archive.to_str().unwrap(), "--"])
        .args(["sh", "-c", "sleep 0.1; exit 6"]);
    let result = run(caller.env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!((result.status, result.err.as_str()), (Some(6), ""));
}

#[test]
fn a_missing_command_and_an_unusable_one_differ() {
    let runs = Runs::new();
    for (command, status, reason) in [
        (
            "no\nsuch",
            127,
            "no\\nsuch: cannot be run: No such file or directory",
        ),
        (
            "/etc/passwd",
            126,
            "/etc/passwd: cannot be run: Permission denied",
        ),
    ] {
        let result = run(&mut runs.with(&[], &[command]));
        assert_eq!(result.status, Some(status));
        assert_eq!(result.err, format!("npzfs: {reason}\n"));
        runs.nothing_is_left();
    }
}

#[test]
fn without_a_mount_the_command_is_not_run() {
    let runs = Runs::new();
    let marker = runs.place.join("marker");
    let touch = ["touch", marker.to_str().unwrap()];
    let refused = |archive: &str, options: &[&str]| {
        let mut command = npzfs();
        command.arg("run").args(options).arg(archive).arg("--");
        let result = run(command.args(touch).env("XDG_RUNTIME_DIR", &runs.runtime));
        runs.nothing_is_left();
        (result.status, result.err)
    };
    assert_eq!(
        refused("/no/such", &[]),
        (
            Some(20),
            "npzfs: /no/such: cannot be opened: No such file or directory\n".into()
        )
    );
    assert_eq!(
        refused("/etc/passwd", &[]),
        (Some(21), "npzfs: /etc/passwd: not a ZIP archive\n".into())
    );
    assert_eq!(refused("/etc/passwd", &["-o", "rw"]).0, Some(2));
    // Without `--` the words of a command are archives.
    let mut command = npzfs();
    let result = run(command.arg("run").arg(&runs.archive).args(touch));
    assert_eq!(result.status, Some(2));
    assert!(!marker.exists());
}

#[test]
fn an_ordinary_user_runs_a_command_too() {
    let Some(home) = Home::new() else { return };
    let runtime = home.place.path();
    let with = |command: &[&str]| {
        let mut npzfs = home.npzfs();
        npzfs.arg("run").arg(&home.archive).arg("--").args(command);
        home.run(npzfs.env("XDG_RUNTIME_DIR", runtime))
    };
    let result = with(&["sh", "-c", "od -An -tu1 {}/d/y; id -u; exit 5"]);
    assert_eq!((result.status, result.err.as_str()), (Some(5), ""));
    assert!(result.out.starts_with("   1   2   3\n"), "{}", result.out);
    assert_eq!(mounts_below(runtime), [""; 0]);
    // fusermount3 also unmounts a mount in use.
    let script = "tail -f {}/d/y > /dev/null 2>&1 & \
                  while ! ls -l /proc/$!/fd 2> /dev/null | grep -q d/y; do :; done; echo $!";
    let result = with(&["sh", "-c", script]);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert_eq!(mounts_below(runtime), [""; 0]);
    send_signal(result.out.trim_end().parse().unwrap(), Signal::SIGTERM);
    let left = fs::read_dir(runtime).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("npzfs-"))
        .collect();
    assert_eq!(left, [""; 0]);
}
