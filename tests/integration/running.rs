//! `npzfs run`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Place, Said, installed, is_running, mounts_below, npzfs, run, send_signal, wait_until,
};
use crate::users::Home;

/// A place with an archive, and with a directory in which the private mounts are made.
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

    /// Runs a shell with a script to its end, after which nothing may be left.
    fn shell(&self, script: &str) -> Said {
        let said = run(&mut self.with(&[], &["sh", "-c", script]));
        self.nothing_is_left();
        said
    }

    /// Starts a shell with a script that says a line, and waits for that line.
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

    /// Of the process the place itself makes sure.
    fn nothing_is_left(&self) {
        assert_eq!(mounts_below(&self.runtime), [""; 0]);
        assert_eq!(self.directories(), 0);
    }
}

/// A command that runs, and what it has said so far.
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
    /// The command in its group, too.
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.npzfs.id() as i32);
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _ = self.npzfs.wait();
    }
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.unwrap_or('X')
}

#[test]
fn the_exit_status_of_the_command_is_passed_on() {
    let runs = Runs::new();
    for status in [0, 1, 7, 255] {
        let said = runs.shell(&format!("echo out; echo err >&2; exit {status}"));
        assert_eq!(said.status, Some(status));
        assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
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
fn the_command_finds_the_mount_in_its_environment_and_in_its_arguments() {
    let runs = Runs::new();
    let said = runs.shell("test -d {} && echo \"$NPZFS_MOUNT {}:{}/x\" && cat {}/y && ls {}");
    assert_eq!(said.status, Some(0));
    let path = said.out.split(' ').next().unwrap().to_owned();
    assert!(path.starts_with(runs.runtime.to_str().unwrap()), "{path}");
    assert_eq!(said.out, format!("{path} {path}:{path}/x\ndatax\ny\n"));
    // Also for the command itself; but programs in a mount cannot be run without being asked for.
    let archive = Archive::stored([("echo", "#!/bin/sh\necho \"$@\"\n")]);
    archive.write(runs.place.path(), "a.npz");
    let said = run(&mut runs.with(&["-o", "exec,umask=0"], &["sh", "{}/echo", "a", "b"]));
    assert_eq!(said.out, "a b\n");
    runs.nothing_is_left();
}

#[test]
fn several_archives_are_directories() {
    let runs = Runs::new();
    let other = Archive::stored([("z", "other")]).write(runs.place.path(), "b.npz");
    let mut command = npzfs();
    command.arg("run").args([&runs.archive, &other]).arg("--");
    command.args(["cat", "{}/a.npz/y", "{}/b.npz/z"]);
    let said = run(command.env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!((said.err.as_str(), said.out.as_str()), ("", "dataother"));
    runs.nothing_is_left();
}

#[test]
fn without_a_runtime_directory_temporary_files_have_theirs() {
    let runs = Runs::new();
    for unusable in ["relative", "/no/such", ""] {
        let mut command = runs.with(&[], &["sh", "-c", "echo {}"]);
        command.env("XDG_RUNTIME_DIR", unusable);
        let said = run(command.env("TMPDIR", &runs.runtime));
        assert_eq!(said.status, Some(0), "{}", said.err);
        assert!(said.out.starts_with(runs.runtime.to_str().unwrap()));
        runs.nothing_is_left();
    }
    let mut command = runs.with(&[], &["true"]);
    command.env("XDG_RUNTIME_DIR", "/no/such");
    let said = run(command.env("TMPDIR", "/no/such"));
    assert_eq!(said.status, Some(10));
    assert_eq!(
        said.err,
        "npzfs: /no/such: mount point cannot be created: No such file or directory\n"
    );
}

#[test]
fn what_is_mounted_is_told_only_to_who_asks_and_not_on_standard_output() {
    let runs = Runs::new();
    let said = run(&mut runs.with(&["-v"], &["cat", "{}/y"]));
    assert_eq!(said.out, "data");
    let start = format!(
        "npzfs: mounted {} at {}/npzfs-",
        runs.archive.display(),
        runs.runtime.display()
    );
    assert!(said.err.starts_with(&start), "{}", said.err);
    assert!(said.err.ends_with(": 2 members, 3.1 MB\n"), "{}", said.err);
}

#[test]
fn options_of_mounts_come_before_and_those_behind_are_the_commands() {
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
    let said = run(&mut runs.with(&["-o", "umask=044"], &command));
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, "400\n-o umask=0 -- -v\n");
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
fn a_command_may_take_a_signal_as_it_likes() {
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
    // Without an external command, which would end by the key as well.
    let script = format!(
        "trap 'echo heard >> {heard}' INT; echo ready; read line; read line; exit 5",
        heard = heard.display()
    );
    let line = format!(
        "exec '{}' run '{}' -- sh -c \"{script}\"",
        npzfs().get_program().display(),
        runs.archive.display()
    );
    let mut terminal = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("XDG_RUNTIME_DIR", &runs.runtime)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = BufReader::new(terminal.stdout.take().unwrap()).lines();
    assert!(screen.any(|line| line.unwrap().contains("ready")));
    keys.write_all(b"\x03").unwrap();
    wait_until("the trap", || heard.exists());
    std::thread::sleep(Duration::from_millis(200));
    keys.write_all(b"\n\n").unwrap();
    let status = terminal.wait().unwrap();
    assert_eq!(fs::read_to_string(&heard).unwrap(), "heard\n");
    assert_eq!(status.code(), Some(5));
    runs.nothing_is_left();
}

#[test]
fn the_command_stops_and_goes_on_with_npzfs() {
    let runs = Runs::new();
    let started = runs.start("echo $$; exec sleep 60");
    let (npzfs, command) = (started.npzfs.id(), started.number());
    for _ in 0..3 {
        send_signal(npzfs, Signal::SIGTSTP);
        wait_until("both stop", || (state(npzfs), state(command)) == ('T', 'T'));
        send_signal(npzfs, Signal::SIGCONT);
        wait_until("both go on", || {
            (state(npzfs), state(command)) == ('S', 'S')
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
    // What becomes of the command is not for npzfs to decide any more.
    assert!(is_running(started.number()));
}

#[test]
fn the_command_of_a_killed_npzfs_may_finish_what_it_has_open() {
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
fn what_the_command_leaves_behind_may_go_on() {
    let runs = Runs::new();
    let copy = runs.place.join("copy");
    let script = format!(
        "(exec 3< {{}}/x; echo > {0}.open; while test -e {{}}/y; do sleep 0.01; done; \
         cat <&3 > {0}.new; mv {0}.new {0}) > /dev/null 2>&1 & \
         while ! test -e {0}.open; do sleep 0.01; done; exit 3",
        copy.display()
    );
    // At once, there is neither mount nor directory any more.
    assert_eq!(runs.shell(&script).status, Some(3));
    wait_until("the copy is made", || copy.exists());
    assert!(fs::read(&copy).unwrap() == pattern(3 << 20, 1));
}

#[test]
fn a_server_that_is_killed_leaves_nothing_either() {
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
    let said = runs.shell(&script);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
}

#[test]
fn the_command_may_open_as_many_files_as_the_hard_limit_allows() {
    let runs = Runs::new();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut shell = Command::new("sh");
    let script = "ulimit -Sn 100; exec \"$0\" run \"$1\" -- sh -c 'ulimit -Sn; ulimit -Hn'";
    shell.args(["-c", script]).arg(npzfs().get_program());
    let said = run(shell
        .arg(&runs.archive)
        .env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!(said.out, format!("{hard}\n{hard}\n"));
}

#[test]
fn the_command_has_the_callers_descriptors_and_signals_and_none_of_npzfs() {
    let runs = Runs::new();
    // With a descriptor more than usual, and with signals blocked and ignored.
    let looked = |by: &str, command: &[&str]| {
        let script = format!(
            "exec 9< \"$1\"; npzfs=$0 archive=$1; shift; \
             exec env --ignore-signal=USR1 --block-signal=TERM {by} \"$@\""
        );
        let mut caller = Command::new("sh");
        caller.args(["-c", &script]).arg(npzfs().get_program());
        caller.arg(&runs.archive).args(command);
        let said = run(caller.env("XDG_RUNTIME_DIR", &runs.runtime));
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
        said.out
    };
    for command in [
        &["ls", "/proc/self/fd"][..],
        &["readlink", "/proc/self/fd/9"],
        &["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"],
    ] {
        let alone = looked("", command);
        assert_eq!(looked("\"$npzfs\" run \"$archive\" --", command), alone);
    }
}

#[test]
fn the_end_of_the_command_is_noticed_by_who_was_told_to_ignore_children() {
    let runs = Runs::new();
    let mut caller = Command::new("env");
    caller
        .arg("--ignore-signal=CHLD")
        .arg(npzfs().get_program())
        .args(["run", runs.archive.to_str().unwrap(), "--"])
        .args(["sh", "-c", "sleep 0.1; exit 6"]);
    let said = run(caller.env("XDG_RUNTIME_DIR", &runs.runtime));
    assert_eq!((said.status, said.err.as_str()), (Some(6), ""));
}

#[test]
fn a_command_that_cannot_be_run_is_told_from_one_that_is_not_there() {
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
        let said = run(&mut runs.with(&[], &[command]));
        assert_eq!(said.status, Some(status));
        assert_eq!(said.err, format!("npzfs: {reason}\n"));
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
        let said = run(command.args(touch).env("XDG_RUNTIME_DIR", &runs.runtime));
        runs.nothing_is_left();
        (said.status, said.err)
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
    // A command without its `--` is taken for more archives.
    let mut command = npzfs();
    let said = run(command.arg("run").arg(&runs.archive).args(touch));
    assert_eq!(said.status, Some(2));
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
    let said = with(&["sh", "-c", "od -An -tu1 {}/d/y; id -u; exit 5"]);
    assert_eq!((said.status, said.err.as_str()), (Some(5), ""));
    assert!(said.out.starts_with("   1   2   3\n"), "{}", said.out);
    assert_eq!(mounts_below(runtime), [""; 0]);
    // A mount in use goes through fusermount3 as well.
    let script = "tail -f {}/d/y > /dev/null 2>&1 & \
                  while ! ls -l /proc/$!/fd 2> /dev/null | grep -q d/y; do :; done; echo $!";
    let said = with(&["sh", "-c", script]);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    assert_eq!(mounts_below(runtime), [""; 0]);
    send_signal(said.out.trim_end().parse().unwrap(), Signal::SIGTERM);
    let left = fs::read_dir(runtime).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("npzfs-"))
        .collect();
    assert_eq!(left, [""; 0]);
}
