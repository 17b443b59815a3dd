//! Archives in archives.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::fixture::{Archive, Member, npy, pattern};
use crate::mounted::{Mounted, Place, names, run, wait_until};

const LEN: usize = 300_000;

fn inner(seed: u32) -> Archive {
    Archive::stored([("x.npy", npy("'|u1'", "(300000,)", &pattern(LEN, seed)))])
}

fn contents(seed: u32) -> Vec<u8> {
    npy("'|u1'", "(300000,)", &pattern(LEN, seed))
}

/// Returns a ZIP archive of deflated members.
fn deflated(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, data) in members {
        writer.start_file(*name, options).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn mounted(bytes: Vec<u8>, options: &[&str]) -> Mounted {
    let place = Place::new();
    let path = place.join("bus.zip");
    fs::write(&path, bytes).unwrap();
    Mounted::in_place(place, path, ["--recursive"].iter().chain(options))
}

/// Returns the error of listing a directory. Opening it may succeed without a request.
fn errno(path: &Path) -> Option<i32> {
    let listed = fs::read_dir(path).and_then(|mut entries| entries.next().transpose());
    listed.err().and_then(|error| error.raw_os_error())
}

/// Returns `archive` as the member `in.npz` of an archive, and so on, `times` times.
fn wrapped(mut archive: Vec<u8>, times: usize) -> Vec<u8> {
    for _ in 0..times {
        archive = Archive::stored([("in.npz", archive)]).bytes();
    }
    archive
}

#[test]
fn archives_in_archives_are_files_by_default() {
    let members = [
        ("a.npz", inner(1).bytes()),
        ("d/b.ZIP", inner(2).bytes()),
        ("other", inner(3).bytes()),
    ];
    let archive = Archive::stored(members.clone());
    let plain = Mounted::new(&archive);
    for (name, bytes) in &members {
        assert!(plain.read(name) == *bytes);
    }
    let mount = mounted(archive.bytes(), &[]);
    assert_eq!(names(&mount.at), ["a.npz", "d", "other"]);
    assert!(mount.read("a.npz/x.npy") == contents(1));
    assert!(mount.read("d/b.ZIP/x.npy") == contents(2));
    assert!(mount.read("other") == members[2].1);
}

#[test]
fn a_stored_inner_archive_is_served_without_a_copy() {
    let mount = mounted(wrapped(inner(1).bytes(), 3), &["--threads=1"]);
    let server = mount.server();
    let descriptors = || {
        let links = fs::read_dir(format!("/proc/{server}/fd")).unwrap();
        links
            .flatten()
            .filter_map(|link| fs::read_link(link.path()).ok())
            .filter(|to| !to.starts_with("/dev"))
            .collect::<Vec<_>>()
    };
    let before = descriptors().len();
    assert!(mount.read("in.npz/in.npz/in.npz/x.npy") == contents(1));
    let stats = mount.stats();
    assert_eq!(stats["inflated"], 0);
    assert_eq!(stats["inflated_bytes"], 0);
    assert_eq!(stats["open_archives"], 4);
    wait_until("no descriptor more", || descriptors().len() == before);
}

#[test]
fn a_compressed_inner_archive_is_inflated_once() {
    let outer = deflated(&[("a.npz", inner(1).bytes()), ("b.npz", inner(2).bytes())]);
    let mount = mounted(deflated(&[("bus.zip", outer)]), &[]);
    assert!(mount.read("bus.zip/a.npz/x.npy") == contents(1));
    assert_eq!(mount.stats()["inflated"], 2);
    assert!(mount.read("bus.zip/b.npz/x.npy") == contents(2));
    assert!(mount.read("bus.zip/a.npz/x.npy") == contents(1));
    assert_eq!(mount.stats()["inflated"], 3);
    let shape = mount.attribute("bus.zip/a.npz/x.npy", "user.npy.shape");
    assert_eq!(shape.as_deref(), Some("300000"));
}

#[test]
fn a_compressed_inner_archive_stays_a_file_without_inflating() {
    let mut members = vec![("stored", b"data".to_vec())];
    members.push(("a.npz", inner(1).bytes()));
    let mount = mounted(deflated(&members[1..]), &[]);
    assert!(mount.path("a.npz").is_dir());
    drop(mount);
    let mut archive = Archive::stored([members[0].clone()]);
    archive.members.push(Member::compressed("a.npz", 8, 100));
    let mount = mounted(archive.bytes(), &["--deflated=refuse"]);
    assert!(mount.path("a.npz").is_file());
}

#[test]
fn archives_are_opened_eight_deep() {
    let mount = mounted(wrapped(inner(1).bytes(), 9), &[]);
    let mut path = mount.at.clone();
    for _ in 0..8 {
        path.push("in.npz");
        assert!(path.is_dir());
    }
    path.push("in.npz");
    assert!(path.is_file());
    assert!(fs::read(&path).unwrap() == inner(1).bytes());
    drop(mount);
    let mount = mounted(wrapped(inner(1).bytes(), 8), &["--max-open=16"]);
    let path = "in.npz/".repeat(8) + "x.npy";
    assert!(mount.read(path) == contents(1));
}

#[test]
fn a_broken_inner_archive_fails_with_eio_logged_once() {
    let mut short = inner(1).bytes();
    short.truncate(short.len() - 10);
    let bytes = Archive::stored([
        ("good.npz", inner(2).bytes()),
        ("short.npz", short),
        ("text.npz", b"not an archive".to_vec()),
    ]);
    let place = Place::new();
    let log = place.join("log");
    let path = bytes.write(place.path(), "bus.zip");
    let options = [Path::new("-r"), Path::new("--log"), &log];
    let mount = Mounted::in_place(place, path, options);
    assert_eq!(names(&mount.at), ["good.npz", "short.npz", "text.npz"]);
    for _ in 0..3 {
        for name in ["short.npz", "text.npz"] {
            assert!(mount.path(name).is_dir());
            assert_eq!(errno(&mount.path(name)), Some(libc::EIO));
            let error = fs::read(mount.path(name).join("x.npy")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
        }
        assert!(mount.read("good.npz/x.npy") == contents(2));
    }
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(log).unwrap();
    let shown = mount.archive.display();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains(&format!("{shown}/text.npz: ")), "{log}");
    assert!(log.contains(&format!("{shown}/short.npz: ")), "{log}");
}

#[test]
fn statfs_counts_the_bytes_of_inner_archives_once() {
    let mount = mounted(wrapped(inner(1).bytes(), 3), &[]);
    let blocks = || nix::sys::statvfs::statvfs(&mount.at).unwrap().blocks();
    let len = fs::metadata(&mount.archive).unwrap().len();
    assert_eq!(blocks(), len.div_ceil(4096));
    assert!(mount.read("in.npz/in.npz/in.npz/x.npy") == contents(1));
    assert_eq!(blocks(), len.div_ceil(4096));
}

#[test]
fn link_counts_do_not_hide_archives_from_find_and_fts() {
    let mount = mounted(wrapped(inner(1).bytes(), 2), &[]);
    for path in ["", "in.npz", "in.npz/in.npz"] {
        let metadata = fs::metadata(mount.path(path)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1);
    }
    let found = run(Command::new("find").arg(&mount.at).args(["-name", "*.npy"]));
    let path = mount.path("in.npz/in.npz/x.npy");
    assert_eq!(found.out, format!("{}\n", path.display()));
}
