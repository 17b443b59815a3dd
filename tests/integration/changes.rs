//! Archives that change while they are mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::fixture::{Archive, pattern};
use crate::mounted::{Mounted, Place, npzfs, pin, run};

const LEN: usize = 1 << 20;

fn archive() -> Archive {
    Archive::stored([
        ("read", pattern(LEN, 1)),
        ("d/read too", pattern(LEN, 2)),
        ("unread", pattern(LEN, 3)),
    ])
}

fn read_error(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

/// Changes the archive of a mount. Files that were read in full before stay, mapped or opened again;
/// other reads fail.
fn changed_by(change: impl FnOnce(&Path)) {
    let mount = Mounted::new(&archive());
    // The kernel may drop pages that are not locked at any time.
    let array = pin(&File::open(mount.path("read")).unwrap());
    let other = pin(&File::open(mount.path("d/read too")).unwrap());
    change(&mount.archive);
    let unread = File::open(mount.path("unread")).unwrap();
    for offset in [0, LEN as u64 - 1] {
        let error = unread.read_at(&mut [0], offset).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert_eq!(mount.stats()["stale"], true);
    assert!(array[..] == pattern(LEN, 1) && other[..] == pattern(LEN, 2));
    assert!(mount.read("read") == pattern(LEN, 1));
    // Names and attributes are still served.
    let len = fs::metadata(mount.path("unread")).unwrap().len();
    assert_eq!(len, LEN as u64);
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 3);
}

#[test]
fn an_array_that_was_read_in_full_survives_a_save_in_place() {
    changed_by(|archive| {
        let saved = Archive::stored([("read", pattern(2 * LEN, 4)), ("unread", pattern(9, 5))]);
        fs::write(archive, saved.bytes()).unwrap();
    });
}

#[test]
fn after_a_change_in_place_unread_bytes_are_not_served() {
    changed_by(|archive| {
        let mut file = OpenOptions::new().write(true).open(archive).unwrap();
        file.seek(SeekFrom::Start(100)).unwrap();
        file.write_all(b"changed").unwrap();
    });
}

#[test]
fn after_a_truncation_unread_bytes_are_not_served() {
    changed_by(|archive| {
        let file = OpenOptions::new().write(true).open(archive).unwrap();
        file.set_len(5000).unwrap();
    });
}

#[test]
fn after_an_append_unread_bytes_are_not_served() {
    changed_by(|archive| {
        let mut file = OpenOptions::new().append(true).open(archive).unwrap();
        file.write_all(b"more").unwrap();
    });
}

#[test]
fn after_a_change_of_the_modification_time_unread_bytes_fail() {
    changed_by(|archive| {
        let file = File::open(archive).unwrap();
        let time = SystemTime::now() + Duration::from_nanos(1_000_000_001);
        file.set_modified(time).unwrap();
    });
}

#[test]
fn an_archive_changed_back_stays_refused_until_remounted() {
    let mount = Mounted::new(&archive());
    let modified = fs::metadata(&mount.archive).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&mount.archive).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(read_error(&mount.path("read")), Some(libc::EIO));
    file.set_modified(modified).unwrap();
    assert_eq!(read_error(&mount.path("read")), Some(libc::EIO));
    assert_eq!(mount.umount().status, Some(0));
    let again = run(npzfs().arg("mount").args([&mount.archive, &mount.at]));
    assert_eq!(again.status, Some(0));
    assert!(mount.read("read") == pattern(LEN, 1));
}

#[test]
fn a_change_is_logged_once() {
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
        assert_eq!(read_error(&mount.path("read")), Some(libc::EIO));
        assert_eq!(mount.stats()["stale"], true);
    }
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(&log).unwrap();
    let shown = mount.archive.display();
    assert_eq!(log.lines().count(), 1, "{log}");
    let message = format!("] {shown}: changed while mounted; mount it again\n");
    assert!(log.ends_with(&message), "{log}");
}

#[test]
fn a_mapped_page_not_in_memory_at_the_change_gives_sigbus() {
    let mount = Mounted::new(&archive());
    let script = "import mmap, sys\n\
                  file = open(sys.argv[1], 'rb')\n\
                  pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n\
                  print('mapped', flush=True)\n\
                  sys.stdin.readline()\n\
                  pages[0]\n";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .arg(mount.path("unread"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 7];
    python.stdout.take().unwrap().read_exact(&mut line).unwrap();
    let file = OpenOptions::new().write(true).open(&mount.archive).unwrap();
    file.set_len(0).unwrap();
    python.stdin.take().unwrap().write_all(b"\n").unwrap();
    let status = python.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGBUS)
    );
}

#[test]
fn rename_replacement_deletion_and_chmod_are_harmless() {
    let mount = Mounted::new(&archive());
    let check = || {
        assert_eq!(mount.stats()["stale"], false);
        assert!(mount.read("read") == pattern(LEN, 1));
        assert!(mount.read("d/read too") == pattern(LEN, 2));
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
