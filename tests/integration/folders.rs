//! Folders of archives.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{
    Mounted, Place, TIMEOUT, as_user, available, is_root, map, names, npzfs, ordinary_user, run,
    send_signal, wait_until,
};

const LEN: usize = 5000;

fn archive(seed: u32) -> Archive {
    Archive::stored([("x.npy", pattern(LEN, seed)), ("y.npy", pattern(10, seed))])
}

/// Writes an archive to `path` atomically.
fn put(path: &Path, seed: u32) {
    let new = path.with_extension("new");
    fs::write(&new, archive(seed).bytes()).unwrap();
    fs::rename(new, path).unwrap();
}

/// Returns a place with a folder `data` of `a.npz`, `b.npz` and `sub/c.npz`.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.join("data/sub")).unwrap();
    put(&place.join("data/a.npz"), 1);
    put(&place.join("data/b.npz"), 2);
    put(&place.join("data/sub/c.npz"), 3);
    place
}

fn mounted<O: AsRef<OsStr>>(place: Place, options: impl IntoIterator<Item = O>) -> Mounted {
    let folder = place.join("data");
    Mounted::in_place(place, folder, options)
}

fn list_error(path: &Path) -> Option<i32> {
    fs::read_dir(path)
        .err()
        .and_then(|error| error.raw_os_error())
}

fn read_error(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

/// Waits for an effect of a change that was just made. A look that begins a second after the change,
/// however long it takes itself, has to show the effect.
fn within_a_second(effect: &str, condition: impl Fn() -> bool) {
    let changed = Instant::now();
    loop {
        let age = changed.elapsed();
        if condition() {
            return;
        }
        assert!(age < Duration::from_secs(1), "{effect}: not after {age:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the number of archives that the server has open, by its descriptors.
fn open_archives(server: u32) -> usize {
    let Ok(links) = fs::read_dir(format!("/proc/{server}/fd")) else {
        return 0;
    };
    links
        .flatten()
        .filter_map(|link| fs::read_link(link.path()).ok())
        .filter(|to| to.to_string_lossy().contains(".npz"))
        .count()
}

#[test]
fn folders_and_archives_are_directories_other_files_hidden() {
    let place = place();
    fs::create_dir(place.join("data/dir.npz")).unwrap();
    fs::create_dir(place.join("data/empty")).unwrap();
    for name in ["notes.txt", ".npz", "a.npz.part", "B.NPZ"] {
        fs::write(place.join("data").join(name), "text").unwrap();
    }
    let fifo = run(Command::new("mkfifo").arg(place.join("data/fifo.npz")));
    assert_eq!(fifo.status, Some(0));
    let mount = mounted(place, [""; 0]);
    assert_eq!(
        names(&mount.at),
        ["a.npz", "b.npz", "dir.npz", "empty", "sub"]
    );
    assert_eq!(names(&mount.path("a.npz")), ["x.npy", "y.npy"]);
    assert!(names(&mount.path("empty")).is_empty());
    assert!(names(&mount.path("dir.npz")).is_empty());
    for hidden in ["notes.txt", ".npz", "B.NPZ", "fifo.npz", "a", "none"] {
        assert_eq!(read_error(&mount.path(hidden)), Some(libc::ENOENT));
    }
    assert!(mount.read("a.npz/x.npy") == pattern(LEN, 1));
    assert!(mount.read("sub/c.npz/x.npy") == pattern(LEN, 3));
    let archive = |name| mount.attribute(name, "user.npzfs.archive").unwrap();
    assert_eq!(Path::new(&archive("")), mount.archive);
    assert_eq!(Path::new(&archive("sub")), mount.archive.join("sub"));
    assert_eq!(
        Path::new(&archive("sub/c.npz")),
        mount.archive.join("sub/c.npz")
    );
}

#[test]
fn links_to_archives_are_followed_links_to_folders_hidden() {
    let place = place();
    put(&place.join("target.npz"), 4);
    let data = place.join("data");
    symlink("../target.npz", data.join("link.npz")).unwrap();
    symlink("none.npz", data.join("dangling.npz")).unwrap();
    symlink("round.npz", data.join("round.npz")).unwrap();
    symlink("sub", data.join("folder.npz")).unwrap();
    symlink("..", data.join("up")).unwrap();
    let mount = mounted(place, [""; 0]);
    assert_eq!(names(&mount.at), ["a.npz", "b.npz", "link.npz", "sub"]);
    assert!(mount.read("link.npz/x.npy") == pattern(LEN, 4));
    for hidden in ["dangling.npz", "round.npz", "folder.npz", "up"] {
        assert_eq!(read_error(&mount.path(hidden)), Some(libc::ENOENT));
    }
    put(&mount.place().join("target.npz"), 5);
    within_a_second("the new archive is seen", || {
        mount.read("link.npz/x.npy") == pattern(LEN, 5)
    });
}

#[test]
fn odd_names_of_files_and_folders_are_kept() {
    let place = Place::new();
    let odd: [&[u8]; 4] = [b"\xff\xfe", b"new\nline", b" ", b"\\ \x1b[31m"];
    for (seed, name) in (1..).zip(odd) {
        let folder = place.join("data").join(OsStr::from_bytes(name));
        fs::create_dir_all(&folder).unwrap();
        let mut file = name.to_vec();
        file.extend(b".npz");
        fs::write(folder.join(OsStr::from_bytes(&file)), archive(seed).bytes()).unwrap();
        file.splice(..0, *b"broken ");
        fs::write(folder.join(OsStr::from_bytes(&file)), "no archive").unwrap();
    }
    let log = place.join("log");
    let mount = mounted(
        place,
        [Path::new("--log"), &log, Path::new("--strip-suffix")],
    );
    assert_eq!(names(&mount.at).len(), odd.len());
    for (seed, name) in (1..).zip(odd) {
        let folder = mount.path(OsStr::from_bytes(name));
        let path = folder.join(OsStr::from_bytes(name)).join("x.npy");
        assert!(fs::read(path).unwrap() == pattern(LEN, seed));
        let broken = [b"broken ", name].concat();
        let broken = folder.join(OsStr::from_bytes(&broken));
        assert_eq!(list_error(&broken), Some(libc::EIO));
    }
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().count(), odd.len(), "{log}");
    assert!(log.contains("/new\\nline/broken new\\nline.npz: not a ZIP archive"));
    assert!(log.contains(r"\xff\xfe/broken \xff\xfe.npz"), "{log}");
}

#[test]
fn without_suffixes_all_names_stay_different() {
    let place = Place::new();
    let data = place.join("data");
    fs::create_dir_all(data.join("a")).unwrap();
    for (seed, name) in (1..).zip(["a.npz", "a.npz.npz", "b.npz", "b.npz.npz"]) {
        put(&data.join(name), seed);
    }
    let mount = mounted(place, ["--strip-suffix"]);
    assert_eq!(names(&mount.at), ["a", "a.npz", "a.npz.npz", "b", "b.npz"]);
    let shown = ["a.npz", "a.npz.npz", "b", "b.npz"];
    for (seed, name) in (1..).zip(shown) {
        assert!(mount.read(format!("{name}/x.npy")) == pattern(LEN, seed));
    }
    assert!(!mount.path("b.npz.npz").exists());
    fs::remove_dir(mount.archive.join("a")).unwrap();
    within_a_second("the folder's name is free", || {
        mount.path("a/x.npy").exists()
    });
    assert!(mount.read("a/x.npy") == pattern(LEN, 1));
}

#[test]
fn added_removed_and_replaced_archives_appear_in_a_second() {
    let mount = mounted(place(), [""; 0]);
    let data = mount.archive.clone();
    assert!(mount.read("a.npz/x.npy") == pattern(LEN, 1));
    assert!(mount.read("b.npz/x.npy") == pattern(LEN, 2));
    assert!(!mount.path("new.npz").exists());
    put(&data.join("new.npz"), 4);
    fs::remove_file(data.join("a.npz")).unwrap();
    put(&data.join("b.npz"), 5);
    fs::rename(data.join("sub"), data.join("moved")).unwrap();
    assert_eq!(names(&mount.at), ["b.npz", "moved", "new.npz"]);
    within_a_second("the new archive is seen", || {
        fs::read(mount.path("new.npz/x.npy")).is_ok_and(|read| read == pattern(LEN, 4))
    });
    within_a_second("the removed archive is gone", || {
        !mount.path("a.npz").exists()
    });
    within_a_second("the replaced archive is seen", || {
        mount.read("b.npz/x.npy") == pattern(LEN, 5)
    });
    assert!(mount.read("moved/c.npz/x.npy") == pattern(LEN, 3));
}

#[test]
fn an_archive_may_become_a_folder_and_the_other_way_round() {
    let mount = mounted(place(), [""; 0]);
    let data = mount.archive.clone();
    assert!(mount.read("a.npz/x.npy") == pattern(LEN, 1));
    for seed in [6, 7] {
        fs::remove_file(data.join("a.npz")).unwrap();
        fs::create_dir(data.join("a.npz")).unwrap();
        put(&data.join("a.npz/in.npz"), seed);
        within_a_second("the folder is seen", || {
            fs::read(mount.path("a.npz/in.npz/x.npy")).is_ok_and(|read| read == pattern(LEN, seed))
        });
        fs::remove_dir_all(data.join("a.npz")).unwrap();
        put(&data.join("a.npz"), seed);
        within_a_second("the archive is seen", || {
            fs::read(mount.path("a.npz/x.npy")).is_ok_and(|read| read == pattern(LEN, seed))
        });
    }
}

#[test]
fn open_files_keep_the_archive_that_they_were_opened_in() {
    let mount = mounted(place(), [""; 0]);
    let data = mount.archive.clone();
    let replaced = File::open(mount.path("a.npz/x.npy")).unwrap();
    let removed = File::open(mount.path("b.npz/x.npy")).unwrap();
    let mapped = map(&replaced);
    put(&data.join("a.npz"), 8);
    fs::remove_file(data.join("b.npz")).unwrap();
    within_a_second("the new archive is seen", || {
        fs::read(mount.path("a.npz/x.npy")).is_ok_and(|read| read == pattern(LEN, 8))
    });
    within_a_second("the old archive is gone", || !mount.path("b.npz").exists());
    assert!(mapped[..] == pattern(LEN, 1));
    for (mut file, seed) in [(&replaced, 1), (&removed, 2)] {
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(read == pattern(LEN, seed));
    }
}

#[test]
fn a_changed_archive_fails_and_is_then_opened_anew() {
    let place = place();
    let log = place.join("log");
    let mount = mounted(place, [Path::new("--log"), &log]);
    let path = mount.archive.join("a.npz");
    let file = File::open(mount.path("a.npz/x.npy")).unwrap();
    fs::write(&path, archive(9).bytes()).unwrap();
    let error = file.read_at(&mut [0], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    within_a_second("the new state is seen", || {
        fs::read(mount.path("a.npz/x.npy")).is_ok_and(|read| read == pattern(LEN, 9))
    });
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(mount.read("b.npz/x.npy") == pattern(LEN, 2));
    let read_log = || fs::read_to_string(&log).unwrap();
    wait_until("the change is logged", || !read_log().is_empty());
    let log = read_log();
    let message = format!("] {}: changed while it was open\n", path.display());
    assert!(log.ends_with(&message), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_broken_archive_fails_with_eio_and_is_logged_once() {
    let place = place();
    let data = place.join("data");
    let mut short = archive(4).bytes();
    short.truncate(100);
    fs::write(data.join("broken.npz"), short).unwrap();
    fs::write(data.join("empty.npz"), "").unwrap();
    let log = place.join("log");
    let mount = mounted(place, [Path::new("--log"), &log]);
    for _ in 0..3 {
        let shown = ["a.npz", "b.npz", "broken.npz", "empty.npz", "sub"];
        assert_eq!(names(&mount.at), shown);
        for name in ["broken.npz", "empty.npz"] {
            assert!(mount.path(name).is_dir());
            assert_eq!(list_error(&mount.path(name)), Some(libc::EIO));
            assert_eq!(read_error(&mount.path(name).join("x")), Some(libc::EIO));
        }
        assert!(mount.read("a.npz/x.npy") == pattern(LEN, 1));
    }
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    let message = |name| format!("] {}: not a ZIP archive", data.join(name).display());
    assert!(log.contains(&message("empty.npz")), "{log}");
    put(&data.join("broken.npz"), 4);
    within_a_second("the archive is whole", || {
        mount.path("broken.npz/x.npy").exists()
    });
}

/// Returns a place with ten thousand archives of one member each, in ten folders.
fn ten_thousand() -> Place {
    let place = Place::new();
    for folder in 0..10 {
        fs::create_dir_all(place.join(format!("data/{folder}"))).unwrap();
    }
    for number in 0..10_000 {
        let path = place.join(format!("data/{}/{number}.npz", number % 10));
        let archive = Archive::stored([("x.npy", pattern(64, number))]);
        fs::write(path, archive.bytes()).unwrap();
    }
    place
}

fn read_ten_thousand(at: &Path, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        let path = at.join(format!("{}/{number}.npz/x.npy", number % 10));
        assert!(fs::read(&path).unwrap() == pattern(64, number), "{path:?}");
    }
}

fn anonymous_memory(server: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn ten_thousand_archives_are_never_all_open() {
    let mount = mounted(ten_thousand(), ["--max-open=64"]);
    let server = mount.server();
    assert_eq!(open_archives(server), 0);
    let before = anonymous_memory(server);
    assert!(before < 8 << 20, "{before}");

    let done = AtomicBool::new(false);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(open_archives(server), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let readers: Vec<_> = (0..16)
            .map(|from| {
                let at = &mount.at;
                scope.spawn(move || read_ten_thousand(at, (from..10_000).step_by(16)))
            })
            .collect();
        let walk = run(Command::new("find").arg(&mount.at).args(["-name", "x.npy"]));
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(walk.out.lines().count(), 10_000, "{}", walk.err);
        assert!(read.iter().all(Result::is_ok));
    });
    let most = most.into_inner();
    assert!((1..=64).contains(&most), "{most}");
    let after = anonymous_memory(server);
    assert!(after < 40 << 20, "{after}");
}

#[test]
fn readers_get_every_byte_right_with_few_archives_open() {
    let place = Place::new();
    fs::create_dir(place.join("data")).unwrap();
    for number in 0..200 {
        put(&place.join(format!("data/{number}.npz")), number);
    }
    let mount = mounted(place, ["--max-open=16"]);
    std::thread::scope(|scope| {
        for from in 0..16 {
            let mount = &mount;
            scope.spawn(move || {
                for step in 0..600 {
                    let number = (from * 37 + step * 7) % 200;
                    let read = mount.read(format!("{number}.npz/x.npy"));
                    assert!(read == pattern(LEN, number));
                }
            });
        }
    });
    assert!(open_archives(mount.server()) <= 16);
}

#[test]
fn with_all_archives_in_use_the_next_open_fails() {
    let place = Place::new();
    fs::create_dir(place.join("data")).unwrap();
    for number in 0..20 {
        put(&place.join(format!("data/{number}.npz")), number);
    }
    let log = place.join("log");
    let options = [Path::new("--max-open=16"), Path::new("--log"), &log];
    let mount = mounted(place, options);
    let open = |number| File::open(mount.path(format!("{number}.npz/x.npy")));
    let mut files: Vec<_> = (0..16).map(|number| open(number).unwrap()).collect();
    for _ in 0..2 {
        let error = open(16).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    // Open files are not affected.
    for (number, file) in files.iter().enumerate() {
        let mut read = vec![0; LEN];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == pattern(LEN, number as u32));
    }
    files.remove(3);
    wait_until("there is room again", || open(16).is_ok());
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    let message = "] more than 16 archives are in use (--max-open), or 134 MB of indexes\n";
    assert!(log.ends_with(message), "{log}");
}

#[test]
fn an_archive_that_is_gone_is_closed() {
    let mount = mounted(place(), [""; 0]);
    let server = mount.server();
    for seed in 10..20 {
        put(&mount.archive.join("a.npz"), seed);
        within_a_second("the new archive is seen", || {
            mount.read("a.npz/x.npy") == pattern(LEN, seed)
        });
    }
    wait_until("old archives are closed", || open_archives(server) <= 1);
    let file = File::open(mount.path("a.npz/x.npy")).unwrap();
    fs::remove_file(mount.archive.join("a.npz")).unwrap();
    within_a_second("the archive is gone", || !mount.path("a.npz").exists());
    assert_eq!(open_archives(server), 1);
    drop(file);
    wait_until("the archive is closed", || open_archives(server) == 0);
}

#[test]
fn a_mount_point_may_lie_in_the_folder_under_any_name() {
    for (name, option) in [
        ("mnt", "--quiet"),
        ("mnt.npz", "--quiet"),
        ("mnt.npz", "--strip-suffix"),
    ] {
        let place = place();
        let data = place.join("data");
        let result = run(npzfs()
            .args(["mount", "--threads=1", option])
            .args([&data, &data.join("sub").join(name)]));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        let mut mount = Mounted::adopt(place, data.clone(), result.out);
        mount.at = data.join("sub").join(name);
        assert_eq!(names(&mount.path("sub")).len(), 1);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                for hidden in ["sub/mnt", "sub/mnt.npz"] {
                    let path = mount.path(hidden);
                    scope.spawn(move || assert!(!path.exists()));
                }
            }
        });
        assert!(mount.path("sub").is_dir());
    }
}

#[test]
fn a_folder_may_be_mounted_over_itself() {
    let place = place();
    let data = place.join("data");
    for number in 0..100 {
        put(&data.join(format!("{number}.npz")), number);
    }
    let result = run(npzfs()
        .args(["mount", "--threads=1", "-o", "nonempty"])
        .args([&data, &data]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let mut mount = Mounted::adopt(place, data.clone(), result.out);
    mount.at = data;
    let server = mount.server();
    let found: Vec<_> = (0..100)
        .map(|number| {
            File::options()
                .read(true)
                .custom_flags(libc::O_PATH)
                .open(mount.path(format!("{number}.npz")))
                .unwrap()
        })
        .collect();
    // After this time the kernel has to look names up again, which must not go through the mount.
    std::thread::sleep(Duration::from_millis(600));
    let (read, wait) = std::sync::mpsc::channel();
    for (number, archive) in (0..).zip(&found) {
        let path = format!("/proc/self/fd/{}/x.npy", archive.as_raw_fd());
        let read = read.clone();
        std::thread::spawn(move || read.send(fs::read(path).unwrap() == pattern(LEN, number)));
    }
    for _ in &found {
        let is_right = wait.recv_timeout(TIMEOUT);
        if is_right != Ok(true) {
            send_signal(server, Signal::SIGKILL);
        }
        assert_eq!(is_right, Ok(true));
    }
    assert!(mount.read("sub/c.npz/x.npy") == pattern(LEN, 3));
}

#[test]
fn mounts_of_npzfs_in_a_folder_are_not_shown() {
    let place = place();
    let data = place.join("data");
    let mounts = ["one", "two"].map(|name| {
        let at = data.join(name);
        let result = run(npzfs().args(["mount", "--quiet"]).args([&data, &at]));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        at
    });
    let shown: Vec<_> = mounts.iter().map(|at| names(at)).collect();
    let found = mounts[0].join("two").exists();
    let result = run(npzfs().arg("umount").args(&mounts));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert_eq!(shown, [["a.npz", "b.npz", "sub"]; 2]);
    assert!(!found);
}

#[test]
fn files_without_permission_fail_the_rest_is_served() {
    let Some(user) = ordinary_user().filter(|_| is_root()) else {
        available(false, "root, and a user npzfs-test");
        return;
    };
    let place = place();
    let data = place.join("data");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    set_mode(&data.join("b.npz"), 0);
    set_mode(&data.join("sub"), 0);
    let at = place.join("mnt");
    fs::create_dir(&at).unwrap();
    std::os::unix::fs::chown(&at, Some(user.uid.as_raw()), None).unwrap();
    let script = "\"$0\" mount --quiet \"$1\" \"$2\" || exit 9\n\
                  cat \"$2/a.npz/y.npy\" | wc -c\n\
                  ls \"$2\" \"$2/b.npz\" \"$2/sub\" 2>&1\n\
                  \"$0\" umount \"$2\"\n";
    let result = run(as_user(
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_npzfs")])
            .args([&data, &at]),
        &user,
    ));
    let shown = at.display();
    assert!(result.out.starts_with("10\n"), "{result:?}");
    let listed = format!("{shown}:\na.npz\nb.npz\nsub\n");
    assert!(result.out.contains(&listed), "{result:?}");
    let refused = |name, why| format!("ls: cannot open directory '{shown}/{name}': {why}\n");
    let errors = [
        refused("b.npz", "Input/output error"),
        refused("sub", "Permission denied"),
    ];
    for error in errors {
        assert!(result.out.contains(&error), "{result:?}");
    }
}

#[test]
fn names_and_times_of_a_folder_are_those_of_the_file_system() {
    let mount = mounted(place(), [""; 0]);
    for name in ["", "a.npz", "sub", "sub/c.npz"] {
        let times = |path: PathBuf| {
            let metadata = fs::metadata(path).unwrap();
            let modified = metadata.modified().unwrap();
            (modified, metadata.ctime(), metadata.ctime_nsec())
        };
        assert_eq!(times(mount.path(name)), times(mount.archive.join(name)));
    }
}
