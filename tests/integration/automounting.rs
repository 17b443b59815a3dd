//! Automounters: autofs(5) and systemd.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fixture::{Archive, pattern};
use crate::mounted::{Output, Place, available, installed, is_running, npzfs, run, wait_until};
use crate::namespace::Namespace;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

/// A running automounter with the map in `packaging`, and a map of one fixed mount point.
struct Automounter {
    daemon: Child,
    indirect: PathBuf,
    direct: PathBuf,
    namespace: Namespace,
    place: Place,
}

impl Automounter {
    fn start() -> Option<Self> {
        if !installed(&["automount", "getfattr"]) {
            return None;
        }
        let place = Place::new();
        let namespace = Namespace::new(&place, npzfs().get_program().as_ref(), "", &["automount"])?;
        let data = place.join("data");
        fs::create_dir(&data).unwrap();
        let archive = Archive::stored([("x", pattern(1 << 16, 1))]);
        let archive = archive.write(&data, "frame.npz");
        let (indirect, direct) = (place.join("npz"), place.join("direct"));
        for directory in [&indirect, &direct] {
            fs::create_dir(directory).unwrap();
        }
        let map = fs::read_to_string(format!("{PACKAGING}/autofs/auto.npz")).unwrap();
        assert_eq!(map.matches(":/data/&.npz").count(), 1);
        let map = map.replace(":/data/", &format!(":{}/", data.display()));
        fs::write(place.join("auto.npz"), map).unwrap();
        let line = format!(
            "{} -fstype=fuse.npzfs,ro :{}\n",
            direct.display(),
            archive.display()
        );
        fs::write(place.join("auto.direct"), line).unwrap();
        let master = format!(
            "{} {at}/auto.npz --timeout=1\n/- {at}/auto.direct --timeout=1\n",
            indirect.display(),
            at = place.path().display()
        );
        fs::write(place.join("auto.master"), master).unwrap();
        let mut command = namespace.command(None, "/sbin/automount");
        command.args([
            "--dont-check-daemon",
            "--foreground",
            "--verbose",
            "--pid-file",
        ]);
        command
            .arg(place.join("pid"))
            .arg(place.join("auto.master"));
        let log = fs::File::create(place.join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let daemon = command.spawn().expect("automount starts");
        let automounter = Self {
            daemon,
            indirect,
            direct,
            namespace,
            place,
        };
        for path in [&automounter.indirect, &automounter.direct] {
            wait_until("automount starts", || {
                automounter.fs_types(path) == "autofs"
            });
        }
        Some(automounter)
    }

    /// Returns the types of all mounts at a path, the topmost last.
    fn fs_types(&self, path: &Path) -> String {
        let line = [
            "findmnt",
            "-rn",
            "-o",
            "FSTYPE",
            "--mountpoint",
            path.to_str().unwrap(),
        ];
        self.namespace
            .run(None, &line)
            .out
            .trim_end()
            .replace('\n', " ")
    }

    /// Returns how often the automounter has mounted at a path so far.
    fn count_of_mounts(&self, path: &Path) -> usize {
        let log = fs::read_to_string(self.place.join("log")).unwrap();
        let mounted = format!("mounted {}", path.display());
        log.lines().filter(|line| *line == mounted).count()
    }

    /// Returns the process ID of the server of a mount.
    fn server(&self, path: &Path) -> u32 {
        let line = [
            "getfattr",
            "--only-values",
            "-n",
            "user.npzfs.stats",
            path.to_str().unwrap(),
        ];
        let result = self.namespace.run(None, &line);
        let stats: serde_json::Value = serde_json::from_str(&result.out).unwrap();
        stats["pid"].as_u64().unwrap() as u32
    }

    /// Returns a command in a process group of its own: autofs does not mount for that of the
    /// automounter, which was started in the group of the tests.
    fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command(None, program);
        command.process_group(0);
        command
    }

    /// Reads a file below a mount point.
    fn read(&self, path: &Path) -> Output {
        run(self.command("cat").arg(path.join("x")))
    }

    /// Starts a process with a file below a mount point open, so that the mount does not expire.
    fn start_user(&self, path: &Path) -> User {
        let mut command = self.command("sh");
        command.args(["-c", "exec < \"$0\" && echo && exec sleep infinity"]);
        command.arg(path.join("x")).stdout(Stdio::piped());
        let mut user = User(command.spawn().expect("sh starts"));
        let opened = user.0.stdout.take().unwrap().read(&mut [0]);
        assert_eq!(opened.unwrap(), 1);
        user
    }
}

/// A process that uses a mount until it is dropped.
struct User(Child);

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Automounter {
    fn drop(&mut self) {
        // SIGTERM makes it unmount everything.
        let pid = nix::unistd::Pid::from_raw(self.daemon.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let status = self.daemon.wait();
        if !std::thread::panicking() {
            assert!(status.expect("automount is waited for").success());
        }
    }
}

#[test]
fn an_archive_is_mounted_on_access_and_unmounted_when_unused() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let by_name = automounter.indirect.join("frame");
    for (path, mounted, idle) in [
        (&by_name, "fuse.npzfs", ""),
        (&automounter.direct, "autofs fuse.npzfs", "autofs"),
    ] {
        for _ in 0..2 {
            let result = automounter.read(path);
            assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
            let user = automounter.start_user(path);
            assert_eq!(automounter.fs_types(path), mounted);
            drop(user);
            wait_until("the mount expires", || automounter.fs_types(path) == idle);
        }
    }
}

#[test]
fn the_end_of_a_server_does_not_mount_the_archive_again() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let by_name = automounter.indirect.join("frame");
    let user = automounter.start_user(&by_name);
    let server = automounter.server(&by_name);
    drop(user);
    wait_until("the end of the server", || !is_running(server));
    assert_eq!(automounter.fs_types(&by_name), "");
    assert_eq!(automounter.count_of_mounts(&by_name), 1);
}

#[test]
fn a_file_that_is_no_archive_is_not_mounted() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let result = automounter.read(&automounter.indirect.join("nosuch"));
    assert_eq!(result.status, Some(1));
    assert!(
        result.err.contains("No such file or directory"),
        "{}",
        result.err
    );
}

#[test]
fn the_systemd_units_are_valid() {
    if !installed(&["systemd-analyze", "man", "make"]) {
        return;
    }
    let place = Place::new();
    let program = npzfs();
    let Some(namespace) = Namespace::new(&place, program.get_program().as_ref(), "", &[]) else {
        return;
    };
    // Install the program and its manual page at the paths in the units.
    let local = place.join("usr/local");
    for (from, to) in [
        (Path::new(program.get_program()), "bin/npzfs"),
        (
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/man/npzfs.1")),
            "share/man/man1/npzfs.1",
        ),
    ] {
        let installed = run(Command::new("install")
            .arg("-D")
            .arg(from)
            .arg(local.join(to)));
        assert_eq!(installed.status, Some(0), "{}", installed.err);
    }
    let script = r#"
        mount --bind "$0/usr/local" /usr/local && mount --bind "$0/units" /etc/systemd/system &&
        cd /etc/systemd/system && exec systemd-analyze verify "$@""#;
    let units = ["npzfs@.service", "mnt-frame.mount", "mnt-frame.automount"];
    let verify = || {
        let mut command = namespace.command(None, "unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(place.path());
        run(command.args(units))
    };
    fs::create_dir(place.join("units")).unwrap();
    for name in units {
        let unit = format!("{PACKAGING}/systemd/{name}");
        fs::copy(unit, place.join("units").join(name)).unwrap();
    }
    let result = verify();
    assert_eq!(
        (result.status, result.out.as_str(), result.err.as_str()),
        (Some(0), "", "")
    );
    // A wrong name of a unit and a missing program would have been reported.
    let unit = place.join("units/mnt-frame.mount");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("Where=/mnt/frame", "Where=/mnt/frames")).unwrap();
    fs::remove_file(local.join("bin/npzfs")).unwrap();
    let result = verify();
    assert_ne!(result.status, Some(0));
    assert!(
        result
            .err
            .contains("Where= setting doesn't match unit name"),
        "{}",
        result.err
    );
    assert!(
        result
            .err
            .contains("/usr/local/bin/npzfs is not executable"),
        "{}",
        result.err
    );
}

#[test]
fn systemd_makes_units_of_the_fstab_line_in_the_readme() {
    let generator = Path::new("/lib/systemd/system-generators/systemd-fstab-generator");
    if !available(generator.exists(), "systemd-fstab-generator") {
        return;
    }
    let place = Place::new();
    let readme = include_str!("../../README.md");
    let line = readme.lines().find(|line| line.contains(" fuse.npzfs "));
    let line = line.expect("a line for fstab");
    let fstab = place.join("fstab");
    fs::write(&fstab, format!("{line}\n")).unwrap();
    let mut command = Command::new(generator);
    command.env("SYSTEMD_FSTAB", fstab).args([place.path(); 3]);
    assert_eq!(run(&mut command).status, Some(0));
    let unit = |name| fs::read_to_string(place.join(name)).unwrap();
    assert!(unit("mnt-frame.automount").contains("\nWhere=/mnt/frame\n"));
    let mount = unit("mnt-frame.mount");
    let value = |key: &str| {
        mount
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
    };
    assert_eq!(value("What="), "/data/frame.npz");
    assert_eq!(value("Type="), "fuse.npzfs");
    // systemd passes these to mount(8), which passes them to npzfs.
    let archive = Archive::stored([("x", "data")]).write(place.path(), "frame.npz");
    let mut helper = npzfs();
    helper
        .arg0("mount.fuse.npzfs")
        .args([&archive, place.path()]);
    let result = run(helper.args(["-f", "-o", value("Options=")]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}
