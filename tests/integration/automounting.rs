//! Mounts that come when somebody looks, and go when nobody does: autofs(5) and systemd.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fixture::{Archive, pattern};
use crate::mounted::{Place, Said, available, installed, is_running, npzfs, run, wait_until};
use crate::namespace::Namespace;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

/// A running automounter with the map that comes with npzfs, and a map of one fixed mount point.
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
            wait_until("automount watches", || {
                automounter.fs_types(path) == "autofs"
            });
        }
        Some(automounter)
    }

    /// The types of all that is mounted at a path, the topmost last.
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

    /// How often something was mounted at a path so far.
    fn count_of_mounts(&self, path: &Path) -> usize {
        let log = fs::read_to_string(self.place.join("log")).unwrap();
        let mounted = format!("mounted {}", path.display());
        log.lines().filter(|line| *line == mounted).count()
    }

    /// The process behind a mount.
    fn server(&self, path: &Path) -> u32 {
        let line = [
            "getfattr",
            "--only-values",
            "-n",
            "user.npzfs.stats",
            path.to_str().unwrap(),
        ];
        let said = self.namespace.run(None, &line);
        let stats: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        stats["pid"].as_u64().unwrap() as u32
    }

    /// Looks into a mount point as any process does.
    fn look(&self, path: &Path) -> Said {
        let x = path.join("x");
        self.namespace
            .run(None, &["timeout", "20", "cat", x.to_str().unwrap()])
    }
}

impl Drop for Automounter {
    fn drop(&mut self) {
        // It unmounts what it has mounted.
        let pid = nix::unistd::Pid::from_raw(self.daemon.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let status = self.daemon.wait();
        if !std::thread::panicking() {
            assert!(status.expect("automount is waited for").success());
        }
    }
}

#[test]
fn an_archive_is_mounted_when_somebody_looks_and_goes_when_nobody_does() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let by_name = automounter.indirect.join("frame");
    for (path, mounted, idle) in [
        (&by_name, "fuse.npzfs", ""),
        (&automounter.direct, "autofs fuse.npzfs", "autofs"),
    ] {
        for _ in 0..2 {
            let said = automounter.look(path);
            assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
            assert_eq!(automounter.fs_types(path), mounted);
            wait_until("nobody uses it", || automounter.fs_types(path) == idle);
        }
    }
}

#[test]
fn what_an_automounter_has_unmounted_is_not_mounted_again_by_the_end_of_its_server() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let by_name = automounter.indirect.join("frame");
    assert_eq!(automounter.look(&by_name).status, Some(0));
    let server = automounter.server(&by_name);
    wait_until("the end of the server", || !is_running(server));
    assert_eq!(automounter.fs_types(&by_name), "");
    assert_eq!(automounter.count_of_mounts(&by_name), 1);
}

#[test]
fn what_is_no_archive_is_not_there() {
    let Some(automounter) = Automounter::start() else {
        return;
    };
    let said = automounter.look(&automounter.indirect.join("nosuch"));
    assert_eq!(said.status, Some(1));
    assert!(
        said.err.contains("No such file or directory"),
        "{}",
        said.err
    );
}

#[test]
fn the_units_for_systemd_are_sound() {
    if !installed(&["systemd-analyze", "man", "make"]) {
        return;
    }
    let place = Place::new();
    let program = npzfs();
    let Some(namespace) = Namespace::new(&place, program.get_program().as_ref(), "", &[]) else {
        return;
    };
    // Each unit as it is installed, with the program and its manual page where the units look.
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
    let said = verify();
    assert_eq!(
        (said.status, said.out.as_str(), said.err.as_str()),
        (Some(0), "", "")
    );
    // It would have told of a name that no such unit has, and of a program that is not there.
    let unit = place.join("units/mnt-frame.mount");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("Where=/mnt/frame", "Where=/mnt/frames")).unwrap();
    fs::remove_file(local.join("bin/npzfs")).unwrap();
    let said = verify();
    assert_ne!(said.status, Some(0));
    assert!(
        said.err.contains("Where= setting doesn't match unit name"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("/usr/local/bin/npzfs is not executable"),
        "{}",
        said.err
    );
}

#[test]
fn systemd_makes_units_of_the_line_for_fstab_in_the_readme() {
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
    // These go to mount(8), which hands them to npzfs.
    let archive = Archive::stored([("x", "data")]).write(place.path(), "frame.npz");
    let mut helper = npzfs();
    helper
        .arg0("mount.fuse.npzfs")
        .args([&archive, place.path()]);
    let said = run(helper.args(["-f", "-o", value("Options=")]));
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
}
