//! The end of a mount.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Foreground, Mounted, Place, available, has_exited, is_dead, is_root, is_running, mounts_below,
    npzfs, run, send_signal, stop, uses, wait_until,
};
use crate::namespace::DROP_COPIES;

fn archive() -> Archive {
    Archive::stored([("x", pattern(3 << 20, 1)), ("y", pattern(100, 2))])
}

fn umount(arguments: &[&str], at: &Path) -> (Option<i32>, String) {
    let result = run(npzfs().arg("umount").args(arguments).arg(at));
    assert_eq!(result.out, "");
    (result.status, result.err)
}

#[test]
fn after_umount_no_mount_process_or_mount_point_is_left() {
    let mount = Mounted::new(&archive());
    let server = mount.server();
    assert!(is_running(server));
    assert_eq!(umount(&[], &mount.at), (Some(0), String::new()));
    assert!(has_exited(server));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
    assert!(!mount.at.exists());
}

#[test]
fn several_mounts_can_be_ended_at_once() {
    let mounts = [Mounted::new(&archive()), Mounted::new(&archive())];
    let result = run(npzfs()
        .arg("umount")
        .args(mounts.iter().map(|mount| &mount.at)));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

#[test]
fn signals_end_a_mount_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mount = Mounted::new(&archive());
        let server = mount.server();
        send_signal(server, signal);
        wait_until("the end", || !is_running(server));
        assert_eq!(mounts_below(mount.place()), [""; 0]);
        assert!(!mount.at.exists());

        let place = Place::new();
        let path = archive().write(place.path(), "a.npz");
        let foreground = Foreground::start(&place, &path, |_| {});
        send_signal(foreground.child.id(), signal);
        let at = foreground.at.clone();
        let result = foreground.end();
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        assert!(!at.exists());
    }
}

#[test]
fn a_signal_ends_a_mount_that_is_in_use_too() {
    let mount = Mounted::new(&archive());
    let server = mount.server();
    let mut file = fs::File::open(mount.path("x")).unwrap();
    send_signal(server, Signal::SIGTERM);
    wait_until("the end", || !is_running(server));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
    assert!(!mount.at.exists());
    let error = file.read(&mut [0; 10]).unwrap_err();
    // Aborted, if the request had been sent already.
    let errors = [libc::ENOTCONN, libc::ECONNABORTED];
    assert!(errors.map(Some).contains(&error.raw_os_error()), "{error}");
}

#[test]
fn umount_of_another_program_ends_the_server() {
    let mount = Mounted::new(&archive());
    let server = mount.server();
    let mut outside = if is_root() {
        Command::new("umount")
    } else {
        let mut command = Command::new("fusermount3");
        command.arg("-u");
        command
    };
    assert_eq!(run(outside.arg(&mount.at)).status, Some(0));
    wait_until("the end", || !is_running(server));
    assert!(!mount.at.exists());
}

#[test]
fn a_foreign_mount_at_the_same_place_is_never_unmounted() {
    if !available(is_root(), "root, to mount something else") {
        return;
    }
    let tmpfs = |at: &Path| {
        let mut mount = Command::new("mount");
        assert_eq!(
            run(mount.args(["-t", "tmpfs", "none"]).arg(at)).status,
            Some(0)
        );
    };
    let umount = |at: &Path| assert_eq!(run(Command::new("umount").arg(at)).status, Some(0));
    for _ in 0..3 {
        // Over the live mount: a signal to the server must not unmount it.
        let mount = Mounted::new(&archive());
        let server = mount.server();
        tmpfs(&mount.at);
        send_signal(server, Signal::SIGTERM);
        wait_until("the end", || !is_running(server));
        let left = mounts_below(&mount.at);
        assert!(left.iter().any(|line| line.contains(" tmpfs ")), "{left:?}");
        umount(&mount.at);
        // The dead mount below it is cleaned up.
        assert_eq!(mount.umount().status, Some(0));

        // In its place: the old server ends by itself, and the new mount stays.
        let old = Mounted::new(&archive());
        let server = old.server();
        let held = fs::File::open(old.path("x")).unwrap();
        assert_eq!(
            run(Command::new("umount").arg("-l").arg(&old.at)).status,
            Some(0)
        );
        let again = run(npzfs().arg("mount").args([&old.archive, &old.at]));
        assert_eq!(again.status, Some(0), "{}", again.err);
        drop(held);
        wait_until("the end of the old server", || !is_running(server));
        assert_eq!(mounts_below(&old.at).len(), 1);
        assert!(old.read("x") == pattern(3 << 20, 1));
        assert_eq!(old.umount().status, Some(0));
    }
}

#[test]
fn a_later_mount_at_the_place_of_a_busy_one_is_not_unmounted() {
    if !available(is_root(), "root, to mount something else") {
        return;
    }
    let mount = Mounted::new(&archive());
    let held = fs::File::open(mount.path("x")).unwrap();
    let busy = npzfs()
        .arg("umount")
        .arg(&mount.at)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut tmpfs = Command::new("mount");
    assert_eq!(
        run(tmpfs.args(["-t", "tmpfs", "none"]).arg(&mount.at)).status,
        Some(0)
    );
    assert_eq!(busy.wait_with_output().unwrap().status.code(), Some(1));
    let left = mounts_below(&mount.at);
    assert!(left.iter().any(|line| line.contains(" tmpfs ")), "{left:?}");
    assert_eq!(run(Command::new("umount").arg(&mount.at)).status, Some(0));
    drop(held);
}

#[test]
fn a_mount_inside_a_mount_is_not_taken_away_with_it() {
    if !available(is_root(), "root, to mount something else") {
        return;
    }
    let mount = Mounted::new(&Archive::stored([("d/x", "x")]));
    let inside = mount.path("d");
    let mut tmpfs = Command::new("mount");
    assert_eq!(
        run(tmpfs.args(["-t", "tmpfs", "none"]).arg(&inside)).status,
        Some(0)
    );
    let refusal = format!(
        "npzfs: {}: something is mounted inside it, at {}: unmount that first\n",
        mount.at.display(),
        inside.display()
    );
    for options in [&[][..], &["--lazy"]] {
        assert_eq!(umount(options, &mount.at), (Some(1), refusal.clone()));
    }
    send_signal(mount.server(), Signal::SIGTERM);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(mounts_below(&mount.at).len(), 2);
    assert!(is_running(mount.server()));
    assert_eq!(run(Command::new("umount").arg(&inside)).status, Some(0));
}

#[test]
fn a_mount_that_fails_half_way_leaves_nothing() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let at = place.join("mnt");
    // Too few descriptors for one step after the other.
    for limit in 5..60 {
        let script = format!("ulimit -n {limit}; exec \"$0\" mount --threads 40 \"$1\" \"$2\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .arg(npzfs().get_program())
            .args([&path, &at]);
        let result = run(&mut command);
        if result.status == Some(0) {
            assert_eq!(umount(&[], &at), (Some(0), String::new()));
        } else {
            assert_eq!(
                mounts_below(place.path()),
                [""; 0],
                "{limit}: {}",
                result.err
            );
            assert!(!at.exists(), "{limit}: {}", result.err);
        }
    }
}

#[test]
fn umount_works_from_inside_the_mount() {
    let mount = Mounted::new(&Archive::stored([("x", "x")]));
    let script = format!(
        "cd '{}' && exec '{}' umount .",
        mount.at.display(),
        npzfs().get_program().to_str().unwrap()
    );
    let result = run(Command::new("sh").args(["-c", &script]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

#[test]
fn a_mount_in_use_is_not_ended_and_its_users_are_named() {
    let mount = Mounted::new(&archive());
    let users = [
        (
            "tail",
            vec!["-f".to_owned(), mount.path("x").display().to_string()],
        ),
        ("sleep", vec!["60".to_owned()]),
    ];
    let mut children: Vec<_> = users
        .iter()
        .map(|(program, arguments)| {
            let mut command = Command::new(program);
            command.args(arguments).stdout(Stdio::null());
            if *program == "sleep" {
                command.current_dir(&mount.at);
            }
            command.spawn().unwrap()
        })
        .collect();
    wait_until("tail opens the file", || uses(children[0].id(), &mount.at));
    let mut expected: Vec<_> = users
        .iter()
        .zip(&children)
        .map(|((program, _), child)| (child.id(), format!("{program} (pid {})", child.id())))
        .collect();
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        umount(&[], &mount.at),
        (
            Some(1),
            format!(
                "npzfs: {}: in use by {} (--lazy unmounts all the same)\n",
                mount.at.display(),
                expected.join(", ")
            )
        )
    );
    assert_eq!(mounts_below(&mount.at).len(), 1);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(umount(&[], &mount.at), (Some(0), String::new()));
}

#[test]
fn an_unresponsive_server_is_unmounted_only_lazily() {
    let mount = Mounted::new(&archive());
    let server = mount.server();
    stop(server);
    assert_eq!(
        umount(&[], &mount.at),
        (
            Some(1),
            format!(
                "npzfs: {}: the process behind it does not answer (--lazy unmounts all the same)\n",
                mount.at.display()
            )
        )
    );
    assert_eq!(umount(&["--lazy"], &mount.at), (Some(0), String::new()));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
    send_signal(server, Signal::SIGCONT);
    wait_until("the end", || !is_running(server));
}

#[test]
fn a_lazy_umount_lets_the_users_finish() {
    let mount = Mounted::new(&archive());
    let server = mount.server();
    let mut file = fs::File::open(mount.path("x")).unwrap();
    assert_eq!(umount(&["--lazy"], &mount.at), (Some(0), String::new()));
    assert_eq!(mounts_below(&mount.at), [""; 0]);
    assert!(is_running(server));
    let mut data = Vec::new();
    file.read_to_end(&mut data).unwrap();
    assert!(data == pattern(3 << 20, 1));
    drop(file);
    wait_until("the end", || !is_running(server));
    assert!(!mount.at.exists());
}

/// A process in a mount namespace of its own, which has a copy of a mount.
struct OtherNamespace(Child);

impl OtherNamespace {
    /// Leaves no copies but that of the mount at `at`.
    fn new(at: &Path) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("{DROP_COPIES} echo; exec sleep 600"));
        command.arg(at).stdout(Stdio::piped());
        let mut namespace = Self(command.spawn().unwrap());
        let mut line = [0];
        let stdout = namespace.0.stdout.as_mut().unwrap();
        stdout.read_exact(&mut line).unwrap();
        let pid = namespace.0.id();
        wait_until("the process has its name", || {
            fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n")
        });
        namespace
    }
}

impl Drop for OtherNamespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn umount_names_the_processes_that_hold_a_copy_of_the_mount() {
    if !available(is_root(), "root, for a mount namespace") {
        return;
    }
    let mount = Mounted::new(&archive());
    let server = mount.server();
    let other = OtherNamespace::new(&mount.at);
    let (at, pid) = (mount.at.display(), other.0.id());
    let goes_on = format!(
        "npzfs: {at}: unmounted, but the process behind it goes on: still mounted in the mount \
         namespace of sleep (pid {pid})\n"
    );
    assert_eq!(umount(&[], &mount.at), (Some(0), goes_on));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
    let inside = format!("/proc/{pid}/root{at}");
    let row = run(npzfs().arg("mounts"));
    let row = row.out.lines().find(|line| line.starts_with(&inside));
    assert!(row.unwrap().contains(&format!("  {server}")), "{row:?}");
    assert_eq!(fs::read(Path::new(&inside).join("y")).unwrap().len(), 100);
    drop(other);
    wait_until("the end", || !is_running(server));
    wait_until("nothing is left", || !mount.at.exists());
}

#[test]
fn umount_names_the_other_places_of_a_mount() {
    if !available(is_root(), "root, for a bind mount") {
        return;
    }
    let mount = Mounted::new(&archive());
    let server = mount.server();
    let copy = mount.place().join("copy");
    fs::create_dir(&copy).unwrap();
    let mut bind = Command::new("mount");
    let bound = run(bind.arg("--bind").args([&mount.at, &copy]));
    assert_eq!(bound.status, Some(0), "{}", bound.err);
    let goes_on = format!(
        "npzfs: {}: unmounted, but the process behind it goes on: still mounted at {}\n",
        mount.at.display(),
        copy.display()
    );
    let unmounted = umount(&[], &mount.at);
    assert_eq!(umount(&[], &copy), (Some(0), String::new()));
    assert_eq!(unmounted, (Some(0), goes_on));
    assert!(has_exited(server));
}

#[test]
fn other_file_systems_are_not_unmounted() {
    let place = Place::new();
    let shown = place.path().display();
    assert_eq!(
        umount(&[], place.path()),
        (
            Some(1),
            format!("npzfs: {shown}: nothing is mounted there\n")
        )
    );
    assert_eq!(
        umount(&["-l"], Path::new("/proc")),
        (
            Some(1),
            "npzfs: /proc: not an npzfs mount but proc: left alone\n".into()
        )
    );
    let mount = Mounted::new(&Archive::stored([("d/x", "x")]));
    let inside = mount.path("d");
    assert_eq!(
        umount(&[], &inside),
        (
            Some(1),
            format!("npzfs: {}: nothing is mounted there\n", inside.display())
        )
    );
}

/// A process that has mapped a file and read its first page. It reads the page at each offset that it
/// receives as a line.
struct Client {
    child: Child,
    touch: ChildStdin,
    touched: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(file: &Path) -> Self {
        let script = "import mmap, sys\n\
                      file = open(sys.argv[1], 'rb')\n\
                      pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n\
                      pages.madvise(mmap.MADV_RANDOM)\n\
                      pages[0]\n\
                      for line in sys.stdin:\n\
                      \x20   at = int(line)\n\
                      \x20   print(pages[at:at + 4096].hex(), flush=True)\n";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            touch: child.stdin.take().unwrap(),
            touched: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// Reads the page at `offset`, as hexadecimal digits; `None` if this kills the client.
    fn page(&mut self, offset: usize) -> Option<String> {
        writeln!(self.touch, "{offset}").unwrap();
        self.touched.next().map(|line| line.unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn after_kill_9_cached_mapped_pages_stay_others_give_sigbus() {
    let mount = Mounted::new(&archive());
    let data = pattern(3 << 20, 1);
    let hex = |at: usize| -> String {
        let page = &data[at..at + 4096];
        page.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let mut client = Client::start(&mount.path("x"));
    assert_eq!(client.page(0), Some(hex(0)));
    assert_eq!(client.page(1 << 20), Some(hex(1 << 20)));
    send_signal(mount.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || is_dead(&mount.at));
    // These are not in the kernel's caches.
    for name in ["y", "new"] {
        let error = fs::metadata(mount.path(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN), "{name}");
    }
    assert_eq!(client.page(0), Some(hex(0)));
    assert_eq!(client.page(1 << 20), Some(hex(1 << 20)));
    assert_eq!(client.page(2 << 20), None);
    let status = client.child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
fn umount_cleans_up_after_a_killed_server() {
    let mount = Mounted::new(&archive());
    send_signal(mount.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || is_dead(&mount.at));
    assert_eq!(umount(&[], &mount.at), (Some(0), String::new()));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
}

#[test]
fn the_next_mount_cleans_up_after_a_killed_server() {
    let mount = Mounted::new(&archive());
    send_signal(mount.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || is_dead(&mount.at));
    let result = run(npzfs().arg("mount").args([&mount.archive, &mount.at]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let (archive, at) = (mount.archive.display(), mount.at.display());
    assert_eq!(
        result.out,
        format!(
            "mounted {archive} at {at} for this user only, after cleaning up what a killed npzfs \
             had left there: 2 members, 3.1 MB; unmount with: npzfs umount {at}\n"
        )
    );
    assert_eq!(mounts_below(&mount.at).len(), 1);
    assert!(mount.read("y") == pattern(100, 2));
    assert_eq!(mount.umount().status, Some(0));
    // The second mount did not create it, so it stays.
    assert!(mount.at.is_dir());
}

#[test]
fn with_auto_unmount_a_killed_server_leaves_nothing() {
    let mount = Mounted::with_options(&archive(), ["--auto-unmount"]);
    let server = mount.server();
    send_signal(server, Signal::SIGKILL);
    wait_until("the mount is gone", || mounts_below(&mount.at).is_empty());
    wait_until("the mount point is gone", || !mount.at.exists());

    let mount = Mounted::with_options(&archive(), ["--auto-unmount"]);
    assert_eq!(mount.umount().status, Some(0));
    assert!(!mount.at.exists());
}

#[test]
fn with_until_eof_a_mount_ends_with_its_owner() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    // Only another process has the other end of the pipe.
    let (input, held) = std::io::pipe().unwrap();
    let mut owner = Command::new("sleep")
        .arg("60")
        .stdout(held)
        .spawn()
        .unwrap();
    let mut mount = npzfs();
    mount.args(["mount", "--until-eof"]).stdin(input);
    let result = run(mount.args([&path, &place.join("mnt")]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    drop(mount);
    let mount = Mounted::adopt(place, path, result.out);
    let server = mount.server();
    assert!(mount.read("y") == pattern(100, 2));
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the end", || !is_running(server));
    assert_eq!(mounts_below(mount.place()), [""; 0]);
    assert!(!mount.at.exists());
}

#[test]
fn until_eof_lets_users_finish_and_reports_the_unmount() {
    for foreground in [false, true] {
        let place = Place::new();
        let path = archive().write(place.path(), "a.npz");
        let at = place.join("mnt");
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let theirs = std::os::fd::OwnedFd::from(theirs);
        let mut started = None;
        if foreground {
            started = Some(Foreground::start(&place, &path, |command| {
                command.arg("--until-eof").stdin(theirs);
            }));
        } else {
            let mut mount = npzfs();
            mount.args(["mount", "--until-eof"]).stdin(theirs);
            assert_eq!(run(mount.args([&path, &at])).status, Some(0));
        }
        let mut file = fs::File::open(at.join("x")).unwrap();
        let mount = Mounted::adopt(place, path, String::new());
        let server = mount.server();
        // Data before the end has no effect.
        ours.write_all(b"q\n").unwrap();
        assert!(mount.read("y") == pattern(100, 2));
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert_eq!(mounts_below(mount.place()), [""; 0]);
        assert!(!at.exists());
        assert!(is_running(server));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes == pattern(3 << 20, 1));
        drop(file);
        match started {
            Some(started) => assert_eq!(started.end().status, Some(0)),
            None => wait_until("the end", || !is_running(server)),
        }
    }
}

#[test]
fn an_aborted_connection_leaves_no_mount_and_is_a_failure() {
    if !available(is_root(), "root, to abort a FUSE connection") {
        return;
    }
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let control = place.join("control");
    fs::create_dir(&control).unwrap();
    let foreground = Foreground::start(&place, &path, |_| {});
    let device = mounts_below(&foreground.at)[0]
        .split(' ')
        .nth(2)
        .unwrap()
        .to_owned();
    let minor = device.strip_prefix("0:").unwrap();
    let mut mount = Command::new("mount");
    assert_eq!(
        run(mount.args(["-t", "fusectl", "none"]).arg(&control)).status,
        Some(0)
    );
    let aborted = fs::write(control.join(minor).join("abort"), "1");
    assert_eq!(run(Command::new("umount").arg(&control)).status, Some(0));
    aborted.unwrap();
    let at = foreground.at.clone();
    let result = foreground.end();
    assert_eq!(mounts_below(&at), [""; 0]);
    assert!(!at.exists());
    assert_eq!(result.status, Some(1));
    assert!(
        result
            .err
            .contains("npzfs: cannot serve: connection aborted"),
        "{}",
        result.err
    );
}
