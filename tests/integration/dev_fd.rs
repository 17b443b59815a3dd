//! Connections to the kernel that somebody else has mounted, and hands over as descriptors.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Place, Said, available, is_dead, is_root, is_running, mounts_below, npzfs, run, send_signal,
    wait_until,
};
use crate::users::Home;

/// Mounts as container runtimes do, and leaves the shell as npzfs. The descriptor stays in this
/// process and those that come of it: no process of another test must hold it.
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

    /// Mounts with more `options` of the kernel, and runs npzfs.
    fn command(&self, options: &str, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", options]).arg(&self.at);
        shell.arg(npzfs().get_program()).args(arguments);
        shell.stdin(Stdio::null());
        shell
    }

    fn serve(&self, options: &str) {
        let archive = self.archive.to_str().unwrap();
        let said = run(&mut self.command(options, &["mount", archive, "/dev/fd/5"]));
        let line = format!("serving {archive} on /dev/fd/5: 2 members, 66 kB\n");
        assert_eq!(
            (said.status, said.out, said.err),
            (Some(0), line, "".into())
        );
    }

    fn umount(&self) {
        let said = run(Command::new("umount").arg(&self.at));
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
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

fn refused(arguments: &[&str], redirection: &str) -> Said {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
    run(shell.arg(npzfs().get_program()).args(arguments))
}

#[test]
fn what_was_mounted_already_is_served_until_it_is_unmounted() {
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
fn in_the_foreground_it_is_served_by_the_process_that_was_called() {
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
    let said = run(npzfs().arg("umount").arg(&caller.at));
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    assert!(!is_running(server));
}

#[test]
fn nothing_can_be_written_even_if_it_was_mounted_for_writing() {
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
fn whoever_mounts_says_who_may_look_inside() {
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
            Said {
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
fn an_ordinary_user_serves_what_it_has_mounted_in_a_namespace_of_its_own() {
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
    let said = home.run(&mut command);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    let (sum, stat) = said.out.split_once('\n').unwrap();
    let expected = home.place.join("expected");
    fs::write(&expected, [1, 2, 3]).unwrap();
    let expected = run(Command::new("cksum").arg(expected)).out;
    assert_eq!(sum.split(' ').next(), expected.split(' ').next());
    assert_eq!(stat, "0 444\n");
}

#[test]
fn a_descriptor_that_is_no_connection_is_refused_with_the_reason() {
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
        let said = refused(&arguments, redirection);
        let message = format!("npzfs: /dev/fd/5: {reason}\n");
        assert_eq!(
            (said.status, said.err),
            (Some(10), message),
            "{redirection}"
        );
    }
}

#[test]
fn options_that_only_whoever_mounts_can_keep_are_refused() {
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
        let said = refused(&["mount", option, archive, "/dev/fd/5"], "5<> /dev/fuse");
        let message = format!(
            "npzfs: /dev/fd/5: is mounted already: {named} has to be given to the program that mounts\n"
        );
        assert_eq!((said.status, said.err), (Some(10), message), "{option}");
    }
    // What is in force anyway may be said, as runtimes do.
    let arguments = [
        "mount",
        "-q",
        "-oro,nosuid,nodev,uid=7",
        archive,
        "/dev/fd/5",
    ];
    let said = run(&mut caller.command("", &arguments));
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    caller.reads();
    caller.umount();
}
