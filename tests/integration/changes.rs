//! Archives that change while they are mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::fixture::{Archive, pattern};
use crate::mounted::{Mounted, Place, npzfs, run, wait_until};

const LEN: usize = 1 << 20;

fn archive() -> Archive {
    Archive::stored([("a", pattern(LEN, 1)), ("d/b", pattern(LEN, 2))])
}

/// A mount of which everything is cached.
fn cached() -> Mounted {
    let mount = Mounted::new(&archive());
    assert!(mount.read("a") == pattern(LEN, 1));
    assert!(mount.read("d/b") == pattern(LEN, 2));
    mount
}

fn read_error(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

/// Nobody reads, and still nothing is served any more within moments.
fn assert_forgotten(mount: &Mounted, file: &File) {
    wait_until("the change is noticed", || mount.stats()["stale"] == true);
    wait_until("pages are dropped", || file.read_at(&mut [0], 100).is_err());
    for name in ["a", "d/b"] {
        wait_until("pages are dropped", || {
            read_error(&mount.path(name)) == Some(libc::EIO)
        });
    }
    let error = file.read_at(&mut [0], 5000).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    // The tree is still there.
    assert_eq!(fs::metadata(mount.path("a")).unwrap().len(), LEN as u64);
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 2);
}

fn changed_by(change: impl FnOnce(&Path)) {
    let mount = cached();
    let file = File::open(mount.path("a")).unwrap();
    change(&mount.archive);
    assert_forgotten(&mount, &file);
}

#[test]
fn an_archive_changed_in_place_is_not_served_any_more() {
    changed_by(|archive| {
        let mut file = OpenOptions::new().write(true).open(archive).unwrap();
        file.seek(SeekFrom::Start(100)).unwrap();
        file.write_all(b"changed").unwrap();
    });
}

#[test]
fn a_truncated_archive_is_not_served_any_more() {
    changed_by(|archive| {
        let file = OpenOptions::new().write(true).open(archive).unwrap();
        file.set_len(5000).unwrap();
    });
}

#[test]
fn an_archive_that_grew_is_not_served_any_more() {
    changed_by(|archive| {
        let mut file = OpenOptions::new().append(true).open(archive).unwrap();
        file.write_all(b"more").unwrap();
    });
}

#[test]
fn an_archive_with_another_modification_time_is_not_served_any_more() {
    changed_by(|archive| {
        let file = File::open(archive).unwrap();
        let time = SystemTime::now() + Duration::from_nanos(1_000_000_001);
        file.set_modified(time).unwrap();
    });
}

#[test]
fn an_archive_that_is_changed_back_stays_refused_until_it_is_mounted_again() {
    let mount = cached();
    let modified = fs::metadata(&mount.archive).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&mount.archive).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    wait_until("the change is noticed", || mount.stats()["stale"] == true);
    file.set_modified(modified).unwrap();
    wait_until("pages are dropped", || {
        read_error(&mount.path("a")) == Some(libc::EIO)
    });
    assert_eq!(mount.umount().status, Some(0));
    let again = run(npzfs().arg("mount").args([&mount.archive, &mount.at]));
    assert_eq!(again.status, Some(0));
    assert!(mount.read("a") == pattern(LEN, 1));
}

#[test]
fn the_log_tells_of_the_change_once() {
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let log = place.join("log");
    let mount = Mounted::in_place(place, path, [Path::new("--log"), &log]);
    let file = OpenOptions::new()
        .append(true)
        .open(&mount.archive)
        .unwrap();
    for _ in 0..3 {
        (&file).write_all(b"x").unwrap();
        wait_until("the change is noticed", || mount.stats()["stale"] == true);
        assert_eq!(read_error(&mount.path("a")), Some(libc::EIO));
    }
    // By a thread of its own, which an unmount does not wait for.
    let has_line = || fs::read_to_string(&log).is_ok_and(|log| !log.is_empty());
    wait_until("the log tells", has_line);
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(&log).unwrap();
    let shown = mount.archive.display();
    assert_eq!(log.lines().count(), 1, "{log}");
    let message = format!("] {shown}: changed while mounted; mount it again\n");
    assert!(log.ends_with(&message), "{log}");
}

#[test]
fn pages_that_a_process_has_mapped_are_taken_from_it() {
    let mount = cached();
    let script = "import mmap, sys, time\n\
                  file = open(sys.argv[1], 'rb')\n\
                  pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n\
                  print(pages[:4].hex(), flush=True)\n\
                  sys.stdin.readline()\n\
                  for _ in range(500):\n\
                  \x20   pages[0]\n\
                  \x20   time.sleep(0.01)\n";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .arg(mount.path("a"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 9];
    let mut stdout = python.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    let bytes: String = pattern(4, 1)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(first, *format!("{bytes}\n").as_bytes());
    File::options()
        .write(true)
        .open(&mount.archive)
        .unwrap()
        .set_len(0)
        .unwrap();
    wait_until("pages are dropped", || {
        read_error(&mount.path("a")) == Some(libc::EIO)
    });
    python.stdin.take().unwrap().write_all(b"\n").unwrap();
    let status = python.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGBUS)
    );
}

#[test]
fn an_archive_that_is_renamed_replaced_deleted_or_given_other_modes_is_still_served() {
    let mount = Mounted::new(&archive());
    let check = || {
        assert_eq!(mount.stats()["stale"], false);
        assert!(mount.read("a") == pattern(LEN, 1));
        assert!(mount.read("d/b") == pattern(LEN, 2));
    };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    fs::set_permissions(&mount.archive, mode).unwrap();
    check();
    let other = mount.place().join("other");
    fs::write(&other, "something else").unwrap();
    fs::rename(&other, &mount.archive).unwrap();
    check();
    fs::remove_file(&mount.archive).unwrap();
    check();
}
