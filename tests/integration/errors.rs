//! The text and the exit status of each error that a user can cause.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::fixture::{Archive, Member, npy};
use crate::mounted::{
    Mounted, Place, available, is_root, npzfs, run, send_signal, stop, wait_until,
};

/// Returns a directory with an invalid input of every kind.
fn place() -> Place {
    let place = Place::new();
    let array = || Member::stored("x.npy", npy("'<f8'", "(1,)", &[0; 8]));
    let encrypted = || Member::stored("secret", "text").with(|member| member.flags = 1);
    let wrong_crc = array().with(|member| member.crc32 = 1);
    let outside = array().with(|member| member.local_header_offset = Some(1 << 20));
    for (name, archive) in [
        ("a.npz", Archive::of([array()])),
        ("encrypted.npz", Archive::of([encrypted()])),
        ("mixed.npz", Archive::of([array(), encrypted()])),
        ("damaged.npz", Archive::of([outside])),
        ("wrong.npz", Archive::of([wrong_crc])),
    ] {
        archive.write(place.path(), name);
    }
    fs::write(place.join("text.npz"), "text").unwrap();
    let whole = fs::read(place.join("a.npz")).unwrap();
    fs::write(place.join("short.npz"), &whole[..whole.len() - 30]).unwrap();
    fs::create_dir(place.join("full")).unwrap();
    fs::write(place.join("full/file"), "file").unwrap();
    fs::create_dir(place.join("empty")).unwrap();
    fs::create_dir(place.join("odd")).unwrap();
    symlink("..", place.join("odd/link")).unwrap();
    fs::create_dir(place.join("dangling")).unwrap();
    symlink("nowhere", place.join("dangling/x.npy")).unwrap();
    fs::write(place.join("script"), "echo").unwrap();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.join("script"), mode).unwrap();
    place
}

const MISSING: &str = "missing.npz: cannot be opened: No such file or directory";
const TEXT: &str = "text.npz: not a ZIP archive";
const SHORT: &str =
    "short.npz: the end of central directory record is missing: the file was truncated";
const DIRECTORY: &str = "full: is a directory, not an archive: name the archives in it";
const DEVICE: &str = "/dev/null: is a device, not an archive";
const ENCRYPTED: &str =
    "encrypted.npz: member 'secret': encrypted (no member of the archive can be read)";

/// The command line, the exit status and the message, without the name of the program.
const ERRORS: [(&str, u8, &str); 45] = [
    ("list missing.npz", 20, MISSING),
    ("list full", 20, DIRECTORY),
    ("list /dev/null", 20, DEVICE),
    ("list text.npz", 21, TEXT),
    ("list short.npz", 22, SHORT),
    ("verify missing.npz", 20, MISSING),
    ("verify full", 20, DIRECTORY),
    ("verify /dev/null", 20, DEVICE),
    ("verify text.npz", 21, TEXT),
    ("verify short.npz", 22, SHORT),
    ("mount missing.npz mnt", 20, MISSING),
    ("mount /dev/null mnt", 20, DEVICE),
    ("mount text.npz mnt", 21, TEXT),
    ("mount short.npz mnt", 22, SHORT),
    ("mount encrypted.npz mnt", 23, ENCRYPTED),
    (
        "mount damaged.npz mnt",
        22,
        "damaged.npz: member 'x.npy': local header at 1048576 lies past the end of the archive's \
         members (no member of the archive can be read)",
    ),
    (
        "mount --strict mixed.npz mnt",
        23,
        "mixed.npz: member 'secret': encrypted",
    ),
    (
        "mount a.npz text.npz",
        10,
        "text.npz: mount point is not a directory",
    ),
    (
        "mount a.npz full",
        10,
        "full: mount point is not empty (-o nonempty mounts over what is there)",
    ),
    (
        "mount a.npz no/mnt",
        10,
        "no/mnt: mount point cannot be created: No such file or directory",
    ),
    (
        "mount a.npz text.npz/mnt",
        10,
        "text.npz/mnt: mount point cannot be used: Not a directory",
    ),
    (
        "mount --log no/log a.npz mnt",
        1,
        "no/log: cannot log there: No such file or directory",
    ),
    (
        "mount --cache-dir no a.npz mnt",
        1,
        "no: cannot inflate there: No such file or directory",
    ),
    ("umount empty", 1, "PLACE/empty: nothing is mounted there"),
    (
        "umount missing",
        1,
        "PLACE/missing: cannot be unmounted: No such file or directory",
    ),
    (
        "umount /proc",
        1,
        "/proc: not an npzfs mount but proc: left alone",
    ),
    ("run missing.npz -- true", 20, MISSING),
    ("run text.npz -- true", 21, TEXT),
    ("run short.npz -- true", 22, SHORT),
    ("run encrypted.npz -- true", 23, ENCRYPTED),
    (
        "run a.npz -- ./no-such-command",
        127,
        "./no-such-command: cannot be run: No such file or directory",
    ),
    (
        "run a.npz -- ./script",
        126,
        "./script: cannot be run: Permission denied",
    ),
    ("repack missing.npz out", 20, MISSING),
    ("repack /dev/null out", 20, DEVICE),
    ("repack text.npz out", 21, TEXT),
    ("repack short.npz out", 22, SHORT),
    (
        "repack mixed.npz out",
        23,
        "mixed.npz: member 'secret': encrypted",
    ),
    (
        "repack wrong.npz out",
        22,
        "wrong.npz: member 'x.npy': CRC-32 of the data is 75011b3b instead of 00000001",
    ),
    (
        "repack odd out",
        1,
        "odd/link: is a symbolic link to a directory, which an archive cannot hold",
    ),
    (
        "repack dangling out",
        20,
        "dangling/x.npy: cannot be read: No such file or directory",
    ),
    (
        "repack a.npz text.npz",
        1,
        "text.npz: exists already (--force replaces it)",
    ),
    (
        "repack --force a.npz full",
        1,
        "full: is a directory, and only files are replaced",
    ),
    (
        "repack full full/out",
        1,
        "full/out: lies in the directory that is packed: write it somewhere else",
    ),
    (
        "repack a.npz no/out",
        1,
        "no/out: cannot be written: No such file or directory",
    ),
    ("--color=always list text.npz --color=never", 21, TEXT),
];

#[test]
fn each_error_has_its_status_and_its_text() {
    let place = place();
    let mut wrong = Vec::new();
    for (line, status, text) in ERRORS {
        let mut command = npzfs();
        let result = run(command.current_dir(place.path()).args(line.split(' ')));
        let text = text.replace("PLACE", place.path().to_str().unwrap());
        let expected = (Some(status.into()), format!("npzfs: {text}\n"));
        if (result.status, result.err.clone()) != expected || !result.out.is_empty() {
            wrong.push(format!("{line}: {result:?}"));
        }
        assert!(!place.join("mnt").exists() && !place.join("out").exists());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_stale_mount_in_the_way_is_called_stale() {
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    let archive = mount.archive.display();
    fs::write(&mount.archive, "something else").unwrap();
    wait_until("the change is noticed", || mount.stats()["stale"] == true);
    let other = Archive::stored([("x", "data")]).write(mount.place(), "other.npz");
    let result = run(npzfs().arg("mount").args([&other, &mount.at]));
    let stale = format!(
        "npzfs: {}: mount point already carries a mount of {archive} that is stale, since its \
         archive has changed (npzfs umount unmounts it)\n",
        mount.at.display(),
    );
    assert_eq!((result.status, result.err), (Some(10), stale));
}

#[test]
fn a_mount_in_the_way_that_hangs_is_given_up() {
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    let server = mount.server();
    stop(server);
    let result = run(npzfs().arg("mount").args([&mount.archive, &mount.at]));
    send_signal(server, Signal::SIGCONT);
    let hangs = format!(
        "npzfs: {}: mount point already carries a mount of {}, and the process behind it does not \
         answer (npzfs umount --lazy unmounts it all the same)\n",
        mount.at.display(),
        mount.archive.display()
    );
    assert_eq!((result.status, result.err), (Some(10), hangs));
}

#[test]
fn without_proc_the_message_names_it() {
    if !available(is_root(), "root, for a mount namespace without /proc") {
        return;
    }
    let place = place();
    let message = "npzfs: /proc is not mounted, and npzfs needs it: mount -t proc proc /proc\n";
    for line in [
        "mount a.npz mnt",
        "run a.npz -- true",
        "umount empty",
        "mounts",
    ] {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "umount -l /proc && exec \"$0\" \"$@\"",
        ]);
        command.arg(npzfs().get_program()).args(line.split(' '));
        let result = run(command.current_dir(place.path()));
        assert_eq!(
            (result.status, result.err.as_str()),
            (Some(1), message),
            "{line}"
        );
    }
    assert!(!place.join("mnt").exists());
}

#[test]
fn a_mount_point_in_use_is_reported() {
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    let result = run(npzfs().arg("mount").args([&mount.archive, &mount.at]));
    let at = mount.at.display();
    let occupied = format!(
        "npzfs: {at}: mount point already carries a mount (fuse.npzfs of {})\n",
        mount.archive.display()
    );
    assert_eq!((result.status, result.err), (Some(10), occupied));
    let open = fs::File::open(mount.path("x")).unwrap();
    let result = mount.umount();
    let busy = format!("npzfs: {at}: in use by ");
    assert!(result.err.starts_with(&busy), "{}", result.err);
    let advice = " (--lazy unmounts all the same)\n";
    assert!(result.err.ends_with(advice), "{}", result.err);
    assert_eq!(result.status, Some(1));
    drop(open);
}

#[test]
fn unwritable_output_is_an_error_of_every_command() {
    let place = place();
    for line in [
        "list a.npz",
        "list a.npz a.npz",
        "list --json a.npz",
        "verify a.npz",
        "verify a.npz a.npz",
        "mounts --json",
        "completions zsh",
        "--help",
        "--version",
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = npzfs();
        command.current_dir(place.path()).args(line.split(' '));
        let output = command.stdout(full).output().unwrap();
        let result = "npzfs: standard output cannot be written: No space left on device\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), result, "{line}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
}

#[test]
fn typing_errors_get_a_suggestion() {
    for (line, suggestion) in [
        ("verfy a.npz", "'verify'"),
        ("lst a.npz", "'list'"),
        ("list --jsno a.npz", "'--json'"),
        ("verify --jbos 2 a.npz", "'--jobs'"),
        ("mount --allow-othr a.npz mnt", "'--allow-other'"),
        ("umount --lzy mnt", "'--lazy'"),
        ("repack --algin 64 a b", "'--align'"),
        ("run --recursiv a.npz -- ls", "'--recursive'"),
        ("mounts --jsn", "'--json'"),
        ("completions bsh", "'bash'"),
        ("list --colour=never a.npz", "'--color'"),
    ] {
        let result = run(npzfs().args(line.split(' ')));
        assert_eq!(
            (result.status, result.out.as_str()),
            (Some(2), ""),
            "{line}"
        );
        assert!(result.err.contains("similar"), "{line}: {}", result.err);
        assert!(result.err.contains(suggestion), "{line}: {}", result.err);
    }
}

#[test]
fn names_that_are_not_utf8_survive_every_command() {
    let place = Place::new();
    let odd = |end: &str| {
        let mut name = b"\xff\xfe".to_vec();
        name.extend(end.bytes());
        OsString::from_vec(name)
    };
    let data = npy("'<f8'", "(1,)", &[0; 8]);
    let archive = Archive::stored([(&b"x\xe4.npy"[..], data.clone())]);
    fs::write(place.join(odd(".npz")), archive.bytes()).unwrap();
    let result = |arguments: &[&OsStr]| {
        let mut command = npzfs();
        run(command.current_dir(place.path()).args(arguments))
    };
    let [input, output, mnt] = [odd(".npz"), odd("2.npz"), odd("mnt")];
    let word = OsStr::new;

    let listed = result(&[word("list"), &input]);
    assert_eq!((listed.status, listed.err.as_str()), (Some(0), ""));
    assert!(listed.out.contains("\nx\\xe4.npy "), "{}", listed.out);
    let json = result(&[word("list"), word("--json"), &input]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["archive"], "\\xff\\xfe.npz");
    assert_eq!(json["members"][0]["name"], "x\\xe4.npy");

    let verified = result(&[word("verify"), &input]);
    let sound = "\\xff\\xfe.npz: 1 member, 136 B: sound\n";
    assert_eq!((verified.status, verified.out.as_str()), (Some(0), sound));

    let packed = result(&[word("repack"), &input, &output]);
    assert_eq!(packed.status, Some(0), "{}", packed.err);
    assert!(packed.out.contains("\\xff\\xfe2.npz"), "{}", packed.out);
    assert!(place.join(&output).exists());

    let ran = result(&[word("run"), &output, word("--"), word("ls"), word("{}")]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out.lines().count(), 1);

    let mounted = result(&[word("mount"), &input, &mnt]);
    assert_eq!((mounted.status, mounted.err.as_str()), (Some(0), ""));
    let first = fs::read_dir(place.join(&mnt)).unwrap().next().unwrap();
    let read = fs::read(first.unwrap().path());
    let mounts = result(&[word("mounts")]);
    let unmounted = result(&[word("umount"), &mnt]);
    assert_eq!((unmounted.status, unmounted.err.as_str()), (Some(0), ""));
    assert_eq!(read.unwrap(), data);
    let at = format!("{}/\\xff\\xfemnt ", place.path().display());
    assert!(
        mounts.out.lines().any(|line| line.starts_with(&at)),
        "{}",
        mounts.out
    );

    let missing = result(&[word("list"), OsStr::from_bytes(b"\xff")]);
    let text = "npzfs: \\xff: cannot be opened: No such file or directory\n";
    assert_eq!((missing.status, missing.err.as_str()), (Some(20), text));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = place();
    // `mounts` has something to print.
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    let lines = [
        "list a.npz",
        "verify a.npz",
        "mounts",
        "mounts --json",
        "completions bash",
        "--help",
    ];
    for line in lines {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = npzfs();
        command.current_dir(place.path()).args(line.split(' '));
        let output = command.stdout(writer).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
    }
    assert_eq!(mount.umount().status, Some(0));
}
