//! Mounts of ordinary users, and access to mounts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::User;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Output, Place, as_user, available, has_exited, installed, is_root, is_running, mounts_below,
    npzfs, ordinary_user, run, send_signal, umount, uses, wait_until,
};

/// A directory of an ordinary user, with an archive and a copy of the program.
pub struct Home {
    pub place: Place,
    pub user: User,
    pub program: PathBuf,
    pub archive: PathBuf,
    pub at: PathBuf,
}

impl Home {
    pub fn new() -> Option<Self> {
        Self::of(&Archive::stored([
            ("x", pattern(1 << 20, 1)),
            ("d/y", vec![1, 2, 3]),
        ]))
    }

    /// Returns `None` if there is no such user.
    pub fn of(archive: &Archive) -> Option<Self> {
        let user = ordinary_user().filter(|_| is_root());
        if !available(user.is_some(), "root and the user npzfs-test")
            || !installed(&["fusermount3", "getfattr"])
        {
            return None;
        }
        let (user, place) = (user?, Place::new());
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        std::os::unix::fs::chown(place.path(), Some(uid), Some(gid)).unwrap();
        let archive = archive.write(place.path(), "my, own.npz");
        let at = place.join("mnt");
        // The user may have no access to the directory of the sources.
        let program = place.join("npzfs");
        // Another process copies it, since a child of another test could inherit a descriptor that is
        // open for writing, and then the copy could not be executed.
        let copied = run(Command::new("cp").arg(npzfs().get_program()).arg(&program));
        assert_eq!(copied.status, Some(0));
        Some(Self {
            place,
            user,
            program,
            archive,
            at,
        })
    }

    pub fn run(&self, command: &mut Command) -> Output {
        run(as_user(command, &self.user))
    }

    pub fn npzfs(&self) -> Command {
        Command::new(&self.program)
    }

    pub fn mount(&self, options: &[&str]) -> Output {
        self.run(
            self.npzfs()
                .arg("mount")
                .args(options)
                .args([&self.archive, &self.at]),
        )
    }

    pub fn umount(&self, options: &[&str]) -> Output {
        self.run(self.npzfs().arg("umount").args(options).arg(&self.at))
    }

    pub fn cat(&self, name: &str) -> Output {
        self.run(Command::new("cksum").arg(self.at.join(name)))
    }

    fn is_dead(&self) -> bool {
        let result = self.run(Command::new("stat").arg("-f").arg(&self.at));
        result.err.contains("not connected")
    }

    pub fn stats(&self) -> serde_json::Value {
        let mut command = Command::new("getfattr");
        command
            .args(["--only-values", "-n", "user.npzfs.stats"])
            .arg(&self.at);
        let stats = self.run(&mut command).out;
        serde_json::from_str(&stats).unwrap()
    }

    fn server(&self) -> u32 {
        self.stats()["pid"].as_u64().unwrap() as u32
    }
}

fn ok(result: &Output) {
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

#[test]
fn an_ordinary_user_mounts_and_unmounts_with_fusermount3() {
    let Some(home) = Home::new() else { return };
    ok(&home.mount(&[]));
    let line = &mounts_below(&home.at)[0];
    assert!(line.contains(" - fuse.npzfs "), "{line}");
    assert!(line.contains("/my,\\040own.npz "), "{line}");
    assert!(
        line.contains(&format!("user_id={}", home.user.uid)),
        "{line}"
    );
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(line.split([' ', ',']).any(|word| word == option), "{line}");
    }
    ok(&home.cat("x"));
    ok(&home.cat("d/y"));
    let owner = home.run(
        Command::new("stat")
            .args(["-c", "%u %g %a"])
            .arg(home.at.join("x")),
    );
    assert_eq!(
        owner.out,
        format!("{} {} 444\n", home.user.uid, home.user.gid)
    );
    let server = home.server();
    assert_eq!(
        fs::metadata(format!("/proc/{server}")).unwrap().uid(),
        home.user.uid.as_raw()
    );
    ok(&home.umount(&[]));
    assert!(has_exited(server));
    assert!(!home.at.exists());
}

#[test]
fn no_other_user_has_access_to_a_mount_not_even_root() {
    let Some(home) = Home::new() else { return };
    ok(&home.mount(&[]));
    for error in [
        fs::read_dir(&home.at).unwrap_err(),
        fs::metadata(&home.at).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
    ok(&home.umount(&[]));
}

#[test]
fn a_users_mount_ends_by_signal_lazily_and_in_use() {
    let Some(home) = Home::new() else { return };
    ok(&home.mount(&[]));
    let server = home.server();
    send_signal(server, Signal::SIGTERM);
    wait_until("the end", || !is_running(server));
    assert_eq!(mounts_below(&home.at), [""; 0]);

    ok(&home.mount(&[]));
    let mut tail = Command::new("tail");
    tail.arg("-f")
        .arg(home.at.join("d/y"))
        .stdout(Stdio::null());
    let mut tail = as_user(&mut tail, &home.user).spawn().unwrap();
    wait_until("tail opens the file", || uses(tail.id(), &home.at));
    let busy = home.umount(&[]);
    assert_eq!(busy.status, Some(1));
    assert!(
        busy.err
            .contains(&format!("in use by tail (pid {})", tail.id())),
        "{}",
        busy.err
    );
    ok(&home.umount(&["--lazy"]));
    assert_eq!(mounts_below(&home.at), [""; 0]);
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_users_mount_ends_with_its_owner_and_its_users_finish() {
    let Some(home) = Home::new() else { return };
    let (input, held) = std::io::pipe().unwrap();
    let mut mount = home.npzfs();
    mount.args(["mount", "--until-eof"]).stdin(input);
    ok(&home.run(mount.args([&home.archive, &home.at])));
    drop(mount);
    let server = home.server();
    let mut user = Command::new("sh");
    user.args(["-c", "exec 3< \"$0\"; echo; read -r go; cksum <&3"]);
    user.arg(home.at.join("x"));
    user.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut user = as_user(&mut user, &home.user).spawn().unwrap();
    let mut result = BufReader::new(user.stdout.take().unwrap());
    result.read_line(&mut String::new()).unwrap();

    drop(held);
    wait_until("the mount is gone", || mounts_below(&home.at).is_empty());
    wait_until("the mount point is gone", || !home.at.exists());
    assert!(is_running(server));
    drop(user.stdin.take());
    let mut sum = String::new();
    result.read_line(&mut sum).unwrap();
    assert!(sum.ends_with(" 1048576\n"), "{sum}");
    user.wait().unwrap();
    wait_until("the end", || !is_running(server));
}

#[test]
fn the_mount_of_a_users_killed_server_is_cleaned_up() {
    let Some(home) = Home::new() else { return };
    ok(&home.mount(&[]));
    send_signal(home.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || home.is_dead());
    ok(&home.umount(&[]));

    ok(&home.mount(&[]));
    send_signal(home.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || home.is_dead());
    ok(&home.mount(&[]));
    ok(&home.cat("x"));
    ok(&home.umount(&[]));

    ok(&home.mount(&["--auto-unmount"]));
    send_signal(home.server(), Signal::SIGKILL);
    wait_until("the mount is gone", || mounts_below(&home.at).is_empty());
}

#[test]
fn a_user_cannot_unmount_a_mount_of_another_user() {
    let Some(home) = Home::new() else { return };
    let mount = crate::mounted::Mounted::new(&Archive::stored([("x", "data")]));
    let result = home.run(home.npzfs().arg("umount").arg(&mount.at));
    assert_eq!(result.status, Some(1));
    assert_eq!(
        result.err,
        format!("npzfs: {}: mounted by another user\n", mount.at.display())
    );
    assert_eq!(mount.read("x"), b"data");
}

#[test]
fn allow_other_admits_every_user_allow_root_only_root() {
    let Some(home) = Home::new() else { return };
    // Root mounts, so /etc/fuse.conf does not matter.
    let mount = |options: &[&str]| {
        ok(&run(npzfs()
            .arg("mount")
            .args(options)
            .args([&home.archive, &home.at])));
    };
    let other_reads = || home.cat("x").status == Some(0);
    let end = || ok(&umount(&home.at));

    mount(&[]);
    assert!(!other_reads());
    end();
    mount(&["--allow-other"]);
    assert!(other_reads());
    let line = &mounts_below(&home.at)[0];
    assert!(line.contains(",default_permissions,allow_other"), "{line}");
    end();
    for umask in ["0007", "077"] {
        mount(&["-o", &format!("allow_other,umask={umask}")]);
        // Everything is cached now, which must not grant access.
        fs::read(home.at.join("x")).unwrap();
        assert!(!other_reads(), "the kernel must check modes");
        let list = home.run(Command::new("ls").arg(&home.at));
        assert_ne!(list.status, Some(0));
        end();
    }
    mount(&["--allow-root"]);
    // Everything is cached now, which must not grant access.
    fs::read(home.at.join("x")).unwrap();
    assert!(!other_reads());
    end();
}

#[test]
fn a_refusal_to_share_names_the_line_for_fuse_conf() {
    let Some(home) = Home::new() else { return };
    // Another fuse.conf, in a mount namespace.
    let conf = home.place.join("fuse.conf");
    fs::write(&conf, "").unwrap();
    let script = "mount --bind \"$0\" /etc/fuse.conf && \
                  exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups \
                  \"$2\" mount -f --allow-other \"$3\" \"$4\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(conf);
    command
        .arg(home.user.uid.to_string())
        .args([&home.program, &home.archive, &home.at]);
    let result = run(&mut command);
    assert_eq!(result.status, Some(11));
    assert_eq!(
        result.err,
        "npzfs: --allow-other and --allow-root need a line 'user_allow_other' in /etc/fuse.conf\n"
    );
    assert_eq!(mounts_below(home.place.path()), [""; 0]);
}

#[test]
fn a_refusal_names_fusermount3_or_the_mount_point() {
    let Some(home) = Home::new() else { return };
    let empty_path = |command: &mut Command| {
        command.env("PATH", "/nowhere");
    };
    let mut command = home.npzfs();
    empty_path(command.arg("mount").args([&home.archive, &home.at]));
    let result = home.run(&mut command);
    assert_eq!(result.status, Some(11));
    assert_eq!(
        result.err,
        "npzfs: mounting without root needs fusermount3, which was not found: install the \
         package fuse3\n"
    );
    let other = Place::new();
    let result = home.run(
        home.npzfs()
            .arg("mount")
            .arg(&home.archive)
            .arg(other.path()),
    );
    assert_eq!(result.status, Some(10), "{}", result.err);
    let prefix = format!("npzfs: {}: mount point refused: ", other.path().display());
    assert!(result.err.starts_with(&prefix), "{}", result.err);
    assert!(Path::new("/dev/fuse").exists());
}

#[test]
fn a_refusal_to_open_the_device_names_the_mode_it_needs() {
    let Some(home) = Home::new() else { return };
    // A device with another mode, in a mount namespace.
    let script = "mknod -m 600 \"$0\" c 10 229 && mount --bind \"$0\" /dev/fuse && \
                  exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups \
                  \"$2\" mount -f \"$3\" \"$4\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(home.place.join("fuse"));
    command
        .arg(home.user.uid.to_string())
        .args([&home.program, &home.archive, &home.at]);
    let result = run(&mut command);
    assert_eq!(result.status, Some(11), "{}", result.err);
    assert_eq!(
        result.err,
        "npzfs: /dev/fuse cannot be opened: permission denied: it needs mode 0666\n"
    );
    assert!(!home.at.exists());
}
