//! Several archives and folders in one mount.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::fixture::{Archive, pattern};
use crate::mounted::{Mounted, Place, TIMEOUT, names, npzfs, run};

fn write(directory: &Path, name: &str, seed: u32) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    Archive::stored([("x.npy", pattern(1000, seed))]).write(directory, name)
}

/// Mounts several paths.
fn mounted(place: Place, options: &[&str], mut paths: Vec<PathBuf>) -> Mounted {
    let last = paths.pop().unwrap();
    let options = options.iter().map(OsString::from);
    let paths = paths.into_iter().map(OsString::from);
    Mounted::in_place(place, last, options.chain(paths))
}

#[test]
fn several_archives_are_directories_of_their_names() {
    for (option, shown) in [
        ("--quiet", ["a.npz", "b.NPZ", "model.zip"]),
        ("--strip-suffix", ["a", "b.NPZ", "model.zip"]),
    ] {
        let place = Place::new();
        let paths = ["a.npz", "b.NPZ", "model.zip"];
        let paths: Vec<_> = (1..)
            .zip(paths)
            .map(|(seed, name)| write(place.path(), name, seed))
            .collect();
        let mount = mounted(place, &[option], paths.clone());
        assert_eq!(names(&mount.at), shown);
        for ((seed, path), name) in (1..).zip(paths).zip(shown) {
            assert!(mount.read(format!("{name}/x.npy")) == pattern(1000, seed));
            let archive = mount.attribute(name, "user.npzfs.archive");
            assert_eq!(archive.as_deref(), path.to_str());
        }
        assert!(!mount.path("c.npz").exists());
    }
}

#[test]
fn the_line_shows_the_number_of_archives_and_folders() {
    let place = Place::new();
    let paths = vec![
        write(place.path(), "a.npz", 1),
        write(place.path(), "b.npz", 2),
        place.join("folder"),
    ];
    fs::create_dir(place.join("folder")).unwrap();
    let mount = mounted(place, &[], paths);
    let at = mount.at.display();
    assert_eq!(
        mount.message,
        format!(
            "mounted 3 sources at {at} for this user only: 2 archives, 1 folder, 2 members, 2.0 kB; \
             unmount with: npzfs umount {at}\n"
        )
    );
}

#[test]
fn archives_of_the_same_name_are_numbered() {
    let place = Place::new();
    let at = |directory: &str, seed| write(&place.join(directory), "a.npz", seed);
    let mut paths = vec![at("1", 1), at("2", 2), at("3", 3)];
    paths.insert(1, write(&place.join("4"), "a (1).npz", 4));
    paths.push(paths[0].clone());
    let mount = mounted(place, &[], paths);
    let shown = ["a (1).npz", "a (2).npz", "a (3).npz", "a (4).npz", "a.npz"];
    assert_eq!(names(&mount.at), shown);
    for (name, seed) in shown.iter().zip([4, 2, 3, 1, 1]) {
        assert!(mount.read(format!("{name}/x.npy")) == pattern(1000, seed));
    }
}

#[test]
fn ten_thousand_archives_of_one_name_mount_within_seconds() {
    let place = Place::new();
    let archive = write(place.path(), "frame.npz", 1);
    let mut paths = vec![archive.clone(); 9_999];
    paths.push(write(&place.join("other"), "frame.npz", 2));
    let start = Instant::now();
    let mount = mounted(place, &["--quiet"], paths);
    assert_eq!(names(&mount.at).len(), 10_000);
    for (number, seed) in [(1, 1), (5_000, 1), (9_998, 1), (9_999, 2)] {
        let name = format!("frame ({number}).npz/x.npy");
        assert!(mount.read(name) == pattern(1000, seed));
    }
    // Seconds, but many where other work takes most of the processors.
    let took = start.elapsed();
    assert!(took < TIMEOUT / 2, "{took:?}");
}

#[test]
fn archives_and_folders_are_mounted_side_by_side() {
    let place = Place::new();
    let single = write(place.path(), "single.npz", 1);
    write(&place.join("folder/sub"), "a.npz", 2);
    let folder = place.join("folder");
    let mount = mounted(place, &["--strip-suffix"], vec![single, folder.clone()]);
    assert_eq!(names(&mount.at), ["folder", "single"]);
    assert!(mount.read("single/x.npy") == pattern(1000, 1));
    assert!(mount.read("folder/sub/a/x.npy") == pattern(1000, 2));
    // A folder that is gone does not affect the others.
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(names(&mount.at), ["folder", "single"]);
    assert!(mount.read("single/x.npy") == pattern(1000, 1));
}

#[test]
fn folders_without_a_name_have_that_of_their_target() {
    let place = Place::new();
    write(&place.join("outer/inner"), "a.npz", 1);
    let at = place.join("mnt");
    let result = run(npzfs()
        .current_dir(place.join("outer/inner"))
        .args(["mount", "--quiet", ".", "..", "/"])
        .arg(&at));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let mount = Mounted::adopt(place, PathBuf::new(), result.out);
    assert_eq!(names(&mount.at), ["inner", "outer", "root"]);
    assert!(mount.read("inner/a.npz/x.npy") == pattern(1000, 1));
    assert!(mount.read("outer/inner/a.npz/x.npy") == pattern(1000, 1));
    let below = mount.place().strip_prefix("/").unwrap();
    let root = mount.at.join("root").join(below);
    assert!(fs::read(root.join("outer/inner/a.npz/x.npy")).unwrap() == pattern(1000, 1));
    assert_eq!(names(&root), ["outer"]);
}

#[test]
fn one_archive_that_cannot_be_mounted_fails_the_mount() {
    let place = Place::new();
    let paths = [write(place.path(), "a.npz", 1), place.join("none.npz")];
    let result = run(npzfs().arg("mount").args(&paths).arg(place.join("mnt")));
    let message = format!(
        "npzfs: {}: cannot be opened: No such file or directory\n",
        paths[1].display()
    );
    assert_eq!((result.status, result.err), (Some(20), message));
    assert!(!place.join("mnt").exists());
}
