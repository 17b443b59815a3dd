//! Connections that the caller has mounted and passes as descriptors.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Output, Place, available, has_exited, is_dead, is_root, is_running, mounts_below, npzfs, run,
    send_signal, wait_until,
};
use crate::users::Home;

/// Mounts as container runtimes do, and becomes npzfs. A shell opens the descriptor, since children of
/// other tests could inherit one of the test process.
const SCRIPT: &str = r#"
    exec 5<> /dev/fuse
    mount -i -t fuse.npzfs -o "fd=5,rootmode=40000,user_id=0,group_id=0$1" me "$2" || exit 99
    program=$3; shift 3
    exec "$program" "$@""#;

struct Caller {
    _place: Place,
    archive: PathBuf,
    at: PathBuf,
}

impl Caller {
    fn new() -> Option<Self> {
        if !available(is_root(), "root, to mount without fusermount3") {
            return None;
        }
        let place = Place::new();
        let archive = Archive::stored([("x", pattern(1 << 16, 1)), ("d/y", vec![1, 2, 3])]);
        let archive = archive.write(place.path(), "a.npz");
        let at = place.join("mnt");
        fs::create_dir(&at).unwrap();
        Some(Self {
            _place: place,
            archive,
            at,
        })
    }

    /// Returns a command that mounts with additional kernel `options` and runs npzfs.
    fn command(&self, options: &str, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", options]).arg(&self.at);
        shell.arg(npzfs().get_program()).args(arguments);
        shell.stdin(Stdio::null());
        shell
    }

    fn serve(&self, options: &str) {
        let archive = self.archive.to_str().unwrap();
        let result = run(&mut self.command(options, &["mount", archive, "/dev/fd/5"]));
        let line = format!("serving {archive} on /dev/fd/5: 2 members, 66 kB\n");
        assert_eq!(
            (result.status, result.out, result.err),
            (Some(0), line, "".into())
        );
    }

    fn umount(&self) {
        let result = run(Command::new("umount").arg(&self.at));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    }

    fn server(&self) -> u32 {
        let stats = xattr::get(&self.at, "user.npzfs.stats").unwrap().unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        stats["pid"].as_u64().unwrap() as u32
    }

    fn reads(&self) {
        assert!(fs::read(self.at.join("x")).unwrap() == pattern(1 << 16, 1));
        assert_eq!(fs::read(self.at.join("d/y")).unwrap(), [1, 2, 3]);
    }
}

fn refused(arguments: &[&str], redirection: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
    run(shell.arg(npzfs().get_program()).args(arguments))
}

#[test]
fn an_existing_mount_is_served_until_it_is_unmounted() {
    let Some(caller) = Caller::new() else { return };
    caller.serve("");
    caller.reads();
    let line = &mounts_below(&caller.at)[0];
    assert!(line.contains(" - fuse.npzfs me "), "{line}");
    let server = caller.server();
    assert!(is_running(server));
    caller.umount();
    wait_until("the end", || !is_running(server));
    assert!(caller.at.is_dir());
}

#[test]
fn in_the_foreground_the_called_process_serves() {
    let Some(caller) = Caller::new() else { return };
    let archive = caller.archive.to_str().unwrap();
    let mut command = caller.command(",ro", &["mount", "-f", archive, "/dev/fd/5"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the mount", || !mounts_below(&caller.at).is_empty());
    caller.reads();
    assert_eq!(caller.server(), child.id());
    caller.umount();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_the_server_and_leaves_the_mount_to_its_owner() {
    let Some(caller) = Caller::new() else { return };
    caller.serve("");
    let server = caller.server();
    send_signal(server, Signal::SIGTERM);
    wait_until("the end", || !is_running(server));
    assert_eq!(mounts_below(&caller.at).len(), 1);
    wait_until("a dead endpoint", || is_dead(&caller.at));
    caller.umount();
}

#[test]
fn npzfs_umount_ends_it_too() {
    let Some(caller) = Caller::new() else { return };
    caller.serve("");
    let server = caller.server();
    let result = run(npzfs().arg("umount").arg(&caller.at));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert!(has_exited(server));
}

#[test]
fn writes_fail_even_if_the_mount_allows_them() {
    let Some(caller) = Caller::new() else { return };
    caller.serve("");
    let line = &mounts_below(&caller.at)[0];
    assert!(line.contains(" rw,"), "{line}");
    let (x, new) = (caller.at.join("x"), caller.at.join("new"));
    for error in [
        fs::File::create(&new).unwrap_err(),
        fs::File::create(&x).unwrap_err(),
        fs::OpenOptions::new().write(true).open(&x).unwrap_err(),
        fs::OpenOptions::new()
            .read(true)
            .append(true)
            .open(&x)
            .unwrap_err(),
        fs::create_dir(&new).unwrap_err(),
        fs::remove_file(&x).unwrap_err(),
        fs::remove_dir(caller.at.join("d")).unwrap_err(),
        fs::rename(&x, &new).unwrap_err(),
        fs::hard_link(&x, &new).unwrap_err(),
        std::os::unix::fs::symlink(&x, &new).unwrap_err(),
        std::os::unix::fs::chown(&x, Some(7), Some(7)).unwrap_err(),
        nix::unistd::mkfifo(&new, nix::sys::stat::Mode::S_IRWXU)
            .unwrap_err()
            .into(),
        nix::unistd::truncate(&x, 1).unwrap_err().into(),
        xattr::set(&x, "user.npy.dtype", b"<f4").unwrap_err(),
        xattr::remove(&x, "user.npzfs.name").unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{error}");
    }
    caller.reads();
    caller.umount();
}

#[test]
fn the_mounter_decides_who_has_access() {
    let Some(home) = Home::new() else { return };
    let Some(mut caller) = Caller::new() else {
        return;
    };
    caller.archive.clone_from(&home.archive);
    let open = |caller: &Caller| {
        let archive = caller.archive.to_str().unwrap();
        let mut command = caller.command(",allow_other", &["mount", "-q", archive, "/dev/fd/5"]);
        assert_eq!(
            run(&mut command),
            Output {
                status: Some(0),
                out: "".into(),
                err: "".into()
            }
        );
    };
    open(&caller);
    let read = home.run(Command::new("cat").arg(caller.at.join("d/y")));
    assert_eq!(read.status, Some(0), "{}", read.err);
    caller.umount();
}

#[test]
fn an_ordinary_user_serves_a_mount_of_its_user_namespace() {
    let Some(home) = Home::new() else { return };
    let mut unshare = Command::new("unshare");
    let tried = home.run(unshare.args(["--map-root-user", "--mount", "true"]));
    if !available(
        tried.status == Some(0),
        "user namespaces for ordinary users",
    ) {
        return;
    }
    fs::create_dir(&home.at).unwrap();
    let uid = home.user.uid.as_raw();
    std::os::unix::fs::chown(&home.at, Some(uid), Some(home.user.gid.as_raw())).unwrap();
    let script = r#"
        sh -c "$1" sh "" "$3" "$2" mount -q "$4" /dev/fd/5 &&
        cksum "$3/d/y" && stat -c '%u %a' "$3/x" && umount "$3""#;
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        SCRIPT,
    ]);
    command.args([&home.program, &home.at, &home.archive]);
    let result = home.run(&mut command);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let (sum, stat) = result.out.split_once('\n').unwrap();
    let expected = home.place.join("expected");
    fs::write(&expected, [1, 2, 3]).unwrap();
    let expected = run(Command::new("cksum").arg(expected)).out;
    assert_eq!(sum.split(' ').next(), expected.split(' ').next());
    assert_eq!(stat, "0 444\n");
}

#[test]
fn a_descriptor_that_is_no_connection_is_refused() {
    let Some(caller) = Caller::new() else { return };
    let archive = caller.archive.to_str().unwrap();
    let arguments = ["mount", archive, "/dev/fd/5"];
    for (redirection, reason) in [
        ("5<&-", "no such descriptor is open"),
        ("5<> /dev/null", "not a descriptor of /dev/fuse"),
        ("5< /", "not a descriptor of /dev/fuse"),
        (
            "5<> /dev/fuse",
            "nothing was mounted with this descriptor: mount with the option fd= first",
        ),
    ] {
        let result = refused(&arguments, redirection);
        let message = format!("npzfs: /dev/fd/5: {reason}\n");
        assert_eq!(
            (result.status, result.err),
            (Some(10), message),
            "{redirection}"
        );
    }
}

#[test]
fn options_that_only_the_mounter_can_honour_are_refused() {
    let Some(caller) = Caller::new() else { return };
    let archive = caller.archive.to_str().unwrap();
    for (option, named) in [
        ("--allow-other", "--allow-other"),
        ("--allow-root", "--allow-root"),
        ("--auto-unmount", "--auto-unmount"),
        ("--until-eof", "--until-eof"),
        ("-oallow_other", "--allow-other"),
        ("-oexec", "the options behind -o"),
        ("-omax_read=4096", "the options behind -o"),
    ] {
        let result = refused(&["mount", option, archive, "/dev/fd/5"], "5<> /dev/fuse");
        let message = format!(
            "npzfs: /dev/fd/5: is mounted already: {named} has to be given to the program that mounts\n"
        );
        assert_eq!((result.status, result.err), (Some(10), message), "{option}");
    }
    // Options that are in effect anyway may be repeated, as runtimes do.
    let arguments = [
        "mount",
        "-q",
        "-oro,nosuid,nodev,uid=7",
        archive,
        "/dev/fd/5",
    ];
    let result = run(&mut caller.command("", &arguments));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    caller.reads();
    caller.umount();
}
