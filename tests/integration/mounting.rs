//! The start of a mount.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::fixture::{Archive, Member, pattern};
use crate::mounted::{
    Foreground, Mounted, Place, TIMEOUT, available, is_root, mounts_below, npzfs, run, umount,
    wait_until,
};

fn archive() -> Archive {
    Archive::stored([("x.npy", "some data"), ("d/y.npy", "more")])
}

/// Returns a column of findmnt for a mount.
fn findmnt(column: &str, at: &Path) -> String {
    let result = run(Command::new("findmnt").args(["-rno", column]).arg(at));
    result.out.trim_end().to_owned()
}

#[test]
fn one_line_shows_the_mount_its_users_and_how_to_unmount_it() {
    let shows = |option: &str, access: &str| {
        let mount = Mounted::with_options(&archive(), [option]);
        let (archive, at) = (mount.archive.display(), mount.at.display());
        let expected = format!(
            "mounted {archive} at {at} for {access}: 2 members, 13 B; unmount with: npzfs umount \
             {at}\n"
        );
        assert_eq!(mount.message, expected);
    };
    shows("--threads=2", "this user only");
    // An ordinary user may not be allowed to share mounts.
    if is_root() {
        shows("--allow-root", "this user and root");
        shows("--allow-other", "all users");
    }
    assert_eq!(Mounted::with_options(&archive(), ["-q"]).message, "");
}

#[test]
fn findmnt_shows_the_type_and_the_absolute_path() {
    let place = Place::new();
    let path = archive().write(place.path(), "my, own \\archive.npz");
    let mount = Mounted::in_place(place, path.clone(), [""; 0]);
    assert_eq!(findmnt("FSTYPE", &mount.at), "fuse.npzfs");
    let escaped = path
        .to_str()
        .unwrap()
        .replace(' ', "\\x20")
        .replace('\\', "\\x5c");
    let escaped = escaped.replace("\\x5cx20", "\\x20");
    assert_eq!(findmnt("SOURCE", &mount.at), escaped);
}

#[test]
fn a_mount_is_read_only_nosuid_nodev_and_noexec() {
    let options = |mount: &Mounted| findmnt("OPTIONS", &mount.at);
    let plain = options(&Mounted::new(&archive()));
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(plain.split(',').any(|given| given == option), "{plain}");
    }
    assert!(!plain.contains("allow_other"));
    let changed = options(&Mounted::with_options(
        &archive(),
        ["-o", "exec,noatime,ro"],
    ));
    assert!(
        !changed.contains("noexec") && changed.contains("noatime"),
        "{changed}"
    );
}

#[test]
fn a_mount_cannot_be_made_writable_not_even_by_root() {
    if !available(is_root(), "root") {
        return;
    }
    let mount = Mounted::new(&archive());
    let bound = mount.place().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = run(Command::new("mount")
        .args(["-o", "bind,ro"])
        .args([&mount.at, &bound]));
    assert_eq!((bind.status, bind.err.as_str()), (Some(0), ""));
    let opened = [&mount.at, &bound].map(|at| {
        // Without -i, mount(8) would ask npzfs.
        let remount = run(Command::new("mount")
            .args(["-i", "-o", "remount,rw"])
            .arg(at));
        let opened = OpenOptions::new().write(true).open(at.join("x.npy"));
        (
            remount.status,
            opened.map(drop).map_err(|error| error.kind()),
        )
    });
    assert_eq!(run(Command::new("umount").arg(&bound)).status, Some(0));
    let refused = (Some(32), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(opened, [refused, refused]);
    // And that costs no request.
    assert_eq!(mount.requests(&["open"]), 0);
}

#[test]
fn a_mount_that_can_be_made_writable_lets_no_file_be_written() {
    let place = Place::new();
    let archive = archive().write(place.path(), "a.npz");
    // Without user namespaces the kernel cannot be kept from it.
    let script = r#"
        echo 0 > /proc/sys/user/max_user_namespaces &&
        "$0" mount -q "$1" "$2" && mount -i -o remount,rw "$2" && cat "$2/x.npy" &&
        if ( : <> "$2/x.npy" ); then echo writable; fi; umount "$2""#;
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script]);
    unshare.arg(npzfs().get_program()).arg(&archive);
    let result = run(unshare.arg(place.join("mnt")));
    if !available(!result.err.starts_with("unshare: "), "user namespaces") {
        return;
    }
    assert_eq!((result.status, result.out.as_str()), (Some(0), "some data"));
    assert!(
        result.err.ends_with(": Read-only file system\n"),
        "{}",
        result.err
    );
}

#[test]
fn relative_paths_work() {
    let place = Place::new();
    archive().write(place.path(), "a.npz");
    let result = run(npzfs()
        .args(["mount", "a.npz", "mnt"])
        .current_dir(place.path()));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert!(
        result
            .out
            .starts_with("mounted a.npz at mnt for this user only: 2 members")
    );
    assert_eq!(fs::read(place.join("mnt/x.npy")).unwrap(), b"some data");
    let result = run(npzfs().args(["umount", "mnt"]).current_dir(place.path()));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

#[test]
fn a_mount_point_may_hold_the_archive() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let mount = |options: &[&str]| {
        run(npzfs()
            .arg("mount")
            .args(options)
            .arg(&path)
            .arg(place.path()))
    };
    assert_eq!(mount(&[]).status, Some(10));
    assert_eq!(mount(&["-o", "nonempty"]).status, Some(0));
    assert_eq!(fs::read(place.join("x.npy")).unwrap(), b"some data");
    assert!(!path.exists());
    assert_eq!(umount(place.path()).status, Some(0));
    assert!(path.exists());
}

#[test]
fn closed_standard_descriptors_do_no_harm() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let at = place.join("mnt");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" mount \"$1\" \"$2\" <&- >&- 2>&-"]);
    let result = run(shell.arg(npzfs().get_program()).args([&path, &at]));
    assert_eq!(result.status, Some(0));
    assert_eq!(fs::read(at.join("x.npy")).unwrap(), b"some data");
    assert_eq!(umount(&at).status, Some(0));
}

#[test]
fn the_server_leaves_the_session_directory_and_descriptors() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let inherited = fs::File::create(place.join("inherited")).unwrap();
    let descriptor = inherited.as_raw_fd();
    nix::fcntl::fcntl(
        &inherited,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let mount = Mounted::in_place(place, path, [""; 0]);
    let process = |name: &str| format!("/proc/{}/{name}", mount.server());
    assert_eq!(fs::read_link(process("cwd")).unwrap(), Path::new("/"));
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(
            fs::read_link(process(stream)).unwrap(),
            Path::new("/dev/null")
        );
    }
    let stat = fs::read_to_string(process("stat")).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
    assert_eq!(session, mount.server().to_string());
    let held = fs::read_link(process(&format!("fd/{descriptor}")));
    assert!(held.is_err() || !held.unwrap().ends_with("inherited"));
    for descriptor in fs::read_dir(process("fd")).unwrap() {
        // The server may have closed it meanwhile.
        let target = fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
        assert!(!target.ends_with("inherited"), "{target:?}");
    }
}

/// Returns the files that a process has open for writing, without pipes and sockets.
fn written(pid: u32) -> BTreeSet<PathBuf> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|descriptor| {
            let descriptor = descriptor.unwrap();
            let name = descriptor.file_name().into_string().unwrap();
            // The process may have closed it meanwhile.
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).ok()?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
            let target = fs::read_link(descriptor.path()).ok()?;
            (flags & libc::O_ACCMODE != libc::O_RDONLY).then_some(target)
        })
        .filter(|target| target.is_absolute())
        .collect()
}

#[test]
fn only_the_device_and_the_log_are_open_for_writing() {
    let (small, large) = (pattern(10_000, 1), pattern(100_000, 2));
    let place = Place::new();
    let path = Archive::of([
        Member::stored("x.npy", "some data"),
        Member::packed("small.npy", 8, &small),
        Member::packed("large.npy", 8, &large),
    ]);
    let path = path.write(place.path(), "a.npz");
    let log = place.join("log");
    // The large one does not fit into memory.
    let options = ["--auto-unmount", "--inflate-limit=50K", "--log"].map(OsStr::new);
    let mount = Mounted::in_place(place, path, options.into_iter().chain([log.as_os_str()]));
    assert_eq!(mount.read("x.npy"), b"some data");
    let _files = ["small.npy", "large.npy"].map(|name| fs::File::open(mount.path(name)).unwrap());
    assert!(mount.read("small.npy") == small && mount.read("large.npy") == large);
    assert_eq!(mount.stats()["inflated"], 2);
    let server = mount.server();
    let device = Path::new("/dev/fuse").to_owned();
    let null = Path::new("/dev/null").to_owned();
    assert_eq!(written(server), [device, null.clone(), log.clone()].into());
    // The same applies to the process that watches the server.
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
    let watcher: u32 = children.trim().parse().unwrap();
    assert_eq!(written(watcher), [null, log].into());
    let session = |pid| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid as i32)));
    assert_eq!(session(watcher).unwrap().as_raw(), watcher as i32);
    let directory = fs::read_link(format!("/proc/{watcher}/cwd")).unwrap();
    assert_eq!(directory, Path::new("/"));
}

#[test]
fn the_foreground_serves_until_it_is_unmounted() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let mount = Foreground::start(&place, &path, |command| {
        command
            .env("RUST_LOG", "npzfs=info")
            .args(["--threads", "1"]);
    });
    assert!(mount.line.contains(": 2 members, 13 B;"), "{}", mount.line);
    assert_eq!(fs::read(mount.at.join("x.npy")).unwrap(), b"some data");
    assert_eq!(umount(&mount.at).status, Some(0));
    let result = mount.end();
    assert_eq!(result.status, Some(0));
    assert_eq!(result.out, "");
    assert_eq!(result.err, "npzfs: unmounted\n");
}

#[test]
fn every_number_of_threads_serves() {
    for threads in ["1", "2", "8", "64"] {
        let mount = Mounted::with_options(&archive(), ["--threads", threads]);
        let server = mount.server();
        let count = || {
            fs::read_dir(format!("/proc/{server}/task"))
                .unwrap()
                .count()
        };
        let threads: usize = threads.parse().unwrap();
        // The others wait for the session, for signals, for either of them, and for files to prefetch.
        wait_until("all threads run", || count() == threads + 4);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(mount.read("d/y.npy"), b"more"));
            }
        });
    }
}

#[test]
fn a_missing_mount_point_is_created_and_removed_again() {
    let mount = Mounted::new(&archive());
    let at = mount.at.clone();
    assert!(at.is_dir());
    assert_eq!(mount.umount().status, Some(0));
    assert!(!at.exists());

    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    fs::create_dir(place.join("mnt")).unwrap();
    let mount = Mounted::in_place(place, path, [""; 0]);
    assert_eq!(mount.umount().status, Some(0));
    assert!(mount.at.is_dir());
}

#[test]
fn an_unusable_mount_point_is_refused_with_the_reason() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let refused = |at: &Path| {
        let result = run(npzfs().arg("mount").args([&path, at]));
        assert_eq!((result.status, result.out.as_str()), (Some(10), ""));
        let prefix = format!("npzfs: {}: mount point ", at.display());
        result
            .err
            .strip_prefix(&prefix)
            .unwrap_or(&result.err)
            .to_owned()
    };
    assert_eq!(refused(&path), "is not a directory\n");
    assert_eq!(
        refused(place.path()),
        "is not empty (-o nonempty mounts over what is there)\n"
    );
    assert_eq!(
        refused(&place.join("no/such")),
        "cannot be created: No such file or directory\n"
    );
    let mount = Mounted::new(&archive());
    assert_eq!(
        refused(&mount.at),
        format!(
            "already carries a mount (fuse.npzfs of {})\n",
            mount.archive.display()
        )
    );
    assert_eq!(mounts_below(place.path()), [""; 0]);
}

#[test]
fn an_archive_can_be_mounted_twice_but_not_inside_itself() {
    let first = Mounted::new(&archive());
    let second = Mounted::in_place(Place::new(), first.archive.clone(), [""; 0]);
    assert_eq!(first.read("x.npy"), second.read("x.npy"));
    let result = run(npzfs()
        .arg("mount")
        .arg(&first.archive)
        .arg(first.path("d")));
    // The directory is not empty, and a new one cannot be created.
    assert_eq!(result.status, Some(10));
    let result = run(npzfs()
        .arg("mount")
        .arg(&first.archive)
        .arg(first.path("new")));
    assert_eq!(result.status, Some(10));
    assert!(
        result
            .err
            .contains("cannot be created: Read-only file system"),
        "{}",
        result.err
    );
}

#[test]
fn an_archive_inside_a_mount_can_be_mounted() {
    let inner = archive().bytes();
    let outer = Mounted::new(&Archive::stored([("inner.npz", inner)]));
    let inner = Mounted::in_place(Place::new(), outer.path("inner.npz"), [""; 0]);
    assert_eq!(inner.read("x.npy"), b"some data");
}

#[test]
fn options_after_o_are_those_of_fstab() {
    let options = [
        "-o",
        "ro,defaults,noauto,x-systemd.automount,_netdev,uid=1234,umask=002",
    ];
    let mount = Mounted::with_options(&archive(), options);
    let metadata = fs::metadata(mount.path("d")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), 1234);
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    for (options, reason) in [
        (
            "rw",
            "'rw' is refused: an archive is never written through a mount",
        ),
        ("nosuch", "unknown mount option 'nosuch'"),
    ] {
        let at = place.join("mnt");
        let result = run(npzfs().args(["mount", "-o", options]).args([&path, &at]));
        assert_eq!(result.status, Some(2));
        assert!(result.err.contains(reason), "{}", result.err);
        assert!(!at.exists());
    }
}

#[test]
fn without_fuse_the_message_says_what_to_do() {
    if !crate::mounted::available(is_root(), "root, to hide /dev/fuse in a namespace") {
        return;
    }
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let at = place.join("mnt");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /dev && exec \"$0\" mount -f \"$1\" \"$2\"";
    command.args(["--mount", "sh", "-c", script]);
    let result = run(command.arg(npzfs().get_program()).args([&path, &at]));
    assert_eq!(result.status, Some(11));
    assert_eq!(
        result.err,
        "npzfs: /dev/fuse does not exist: load the kernel's module (modprobe fuse), or let the \
         container have the device\n"
    );
    assert!(!at.exists());
}

/// Receives the messages for syslogd.
struct Syslogd {
    ended: std::sync::Arc<std::sync::atomic::AtomicBool>,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Syslogd {
    fn start(socket: &Path) -> Self {
        let socket = std::os::unix::net::UnixDatagram::bind(socket).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let ended = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let (send, lines) = std::sync::mpsc::channel();
        let end = ended.clone();
        std::thread::spawn(move || {
            let mut line = [0; 10_000];
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok(len) = socket.recv(&mut line) {
                    let _ = send.send(String::from_utf8_lossy(&line[..len]).into_owned());
                }
            }
        });
        Self { ended, lines }
    }
}

impl Drop for Syslogd {
    fn drop(&mut self) {
        self.ended.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_background_logs_to_syslog() {
    if !crate::mounted::available(is_root(), "root, to put a syslogd into a namespace") {
        return;
    }
    let place = Place::new();
    let archive = Archive::stored([("x", "first"), ("x", "second")]);
    let path = archive.write(place.path(), "a.npz");
    let devices = place.join("dev");
    fs::create_dir(&devices).unwrap();
    let syslogd = Syslogd::start(&devices.join("log"));
    let script = "mknod \"$0/fuse\" c 10 229 && mknod \"$0/null\" c 1 3 && \
                  mount --bind \"$0\" /dev && \"$1\" mount \"$2\" \"$3\" && \"$1\" umount \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&devices);
    command
        .arg(npzfs().get_program())
        .args([&path, &place.join("mnt")]);
    let result = run(&mut command);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let line = syslogd.lines.recv_timeout(TIMEOUT).unwrap();
    // Facility 3 (daemon), severity 4 (warning).
    assert!(line.starts_with("<28>"), "{line}");
    let message = "]: member 'x' is hidden: it comes again later in the archive";
    assert!(
        line.contains(" npzfs[") && line.ends_with(message),
        "{line}"
    );
}
