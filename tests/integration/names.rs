//! The names of files.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::fixture::{Archive, Member};
use crate::mounted::{Mounted, Place, npzfs, run, umount};

/// Returns every path below `directory`, sorted; those of directories end with a slash.
fn paths(directory: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = String::from_utf8_lossy(entry.file_name().as_bytes()).into_owned();
        if entry.file_type().unwrap().is_dir() {
            let below = self::paths(&entry.path());
            paths.push(format!("{name}/"));
            paths.extend(below.iter().map(|below| format!("{name}/{below}")));
        } else {
            assert!(entry.file_type().unwrap().is_file());
            paths.push(name);
        }
    }
    paths.sort();
    paths
}

fn shown(names: &[&[u8]]) -> Vec<String> {
    let mount = Mounted::new(&Archive::stored(names.iter().map(|name| (name, "x"))));
    paths(&mount.at)
}

#[test]
fn slashes_make_directories_and_no_name_leads_out_of_the_mount() {
    assert_eq!(
        shown(&[
            b"a/b/c",
            b"/etc/passwd",
            b"../../up",
            b"./here",
            b"a//d",
            b".."
        ]),
        [
            "a/",
            "a/b/",
            "a/b/c",
            "a/d",
            "etc/",
            "etc/passwd",
            "here",
            "up"
        ]
    );
}

#[test]
fn unusual_characters_are_kept() {
    assert_eq!(
        shown(&[
            b"with space",
            br"C:\dir\x",
            b"tab\tnew\nline\x1b",
            "größe".as_bytes(),
            b"\x81"
        ]),
        [
            r"C:\dir\x",
            "größe",
            "tab\tnew\nline\u{1b}",
            "with space",
            "ü"
        ]
    );
}

#[test]
fn names_that_differ_only_in_case_are_different_files() {
    let mount = Mounted::new(&Archive::stored([
        ("x", "1"),
        ("X", "2"),
        ("d/y", "3"),
        ("D", "4"),
    ]));
    assert_eq!(paths(&mount.at), ["D", "X", "d/", "d/y", "x"]);
    assert_eq!(
        (mount.read("x"), mount.read("X")),
        (b"1".into(), b"2".into())
    );
}

#[test]
fn the_last_of_repeated_names_wins_as_in_numpy() {
    let members = [
        ("x", "first"),
        ("y", "only"),
        ("x", "second"),
        ("x", "last"),
    ];
    let mount = Mounted::new(&Archive::stored(members));
    assert_eq!(paths(&mount.at), ["x", "y"]);
    assert_eq!(mount.read("x"), b"last");
    assert!(
        mount.message.contains("2 members, 8 B"),
        "{}",
        mount.message
    );
}

#[test]
fn names_that_clash_are_numbered_before_their_extension() {
    let members = [
        ("x.npy", "1"),
        ("/x.npy", "2"),
        ("d", "3"),
        ("d/y", "4"),
        ("./x.npy", "5"),
    ];
    let mount = Mounted::new(&Archive::stored(members));
    assert_eq!(
        paths(&mount.at),
        ["d (1)", "d/", "d/y", "x (1).npy", "x (2).npy", "x.npy"]
    );
    assert_eq!(mount.read("x (1).npy"), b"2");
    assert_eq!(mount.read("d (1)"), b"3");
    assert_eq!(
        mount.attribute("x (2).npy", "user.npzfs.name").unwrap(),
        "./x.npy"
    );
}

#[test]
fn a_name_over_255_bytes_is_shortened_and_keeps_its_extension() {
    let long = |len: usize| ["x".repeat(len), ".npy".into()].concat();
    let (fits, over, far_over) = (long(251), long(252), long(65_531));
    let shown = shown(&[fits.as_bytes(), over.as_bytes(), far_over.as_bytes()]);
    let numbered = |number| format!("{} ({number}).npy", "x".repeat(238));
    assert_eq!(shown, [numbered(1), numbered(2), fits]);
}

#[test]
fn a_name_with_nul_or_with_no_usable_part_is_not_shown() {
    assert_eq!(shown(&[b"a\0b", b"./..", b"/", b"c"]), ["c"]);
}

#[test]
fn deep_paths_can_be_walked() {
    let deep = "d/".repeat(500) + "x";
    let mount = Mounted::new(&Archive::stored([(deep.as_str(), "bottom")]));
    assert_eq!(mount.read(&deep), b"bottom");
}

#[test]
fn empty_directories_of_the_archive_are_shown() {
    let archive = Archive::of([Member::stored("empty/", ""), Member::stored("d/x", "x")]);
    assert_eq!(paths(&Mounted::new(&archive).at), ["d/", "d/x", "empty/"]);
}

#[test]
fn a_symbolic_link_is_a_regular_file_that_contains_its_target() {
    let mount = Mounted::new(&Archive::of([
        Member::stored("x.npy", "an array"),
        Member::symlink("y.npy", "x.npy"),
        Member::symlink("out", "/etc/passwd"),
    ]));
    for (name, target) in [("y.npy", "x.npy"), ("out", "/etc/passwd")] {
        let metadata = fs::symlink_metadata(mount.path(name)).unwrap();
        assert!(metadata.is_file());
        assert_eq!(mount.read(name), target.as_bytes());
    }
}

#[test]
fn each_changed_or_hidden_name_is_logged_once_and_escaped() {
    let place = Place::new();
    let names: [&[u8]; 6] = [b"plain", b"x", b"x", b"/abs\x1b", b"a\0b", b"\x81"];
    let archive = Archive::stored(names.map(|name| (name, "x"))).write(place.path(), "a.npz");
    let log = place.join("log");
    let at = place.join("mnt");
    let result = run(npzfs().args(["mount", "--log"]).args([&log, &archive, &at]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    fs::read_dir(&at).unwrap().for_each(drop);
    assert_eq!(umount(&at).status, Some(0));
    let log = fs::read_to_string(log).unwrap();
    let mut lines: Vec<_> = log
        .lines()
        .map(|line| line.split_once("] ").expect("time and level first").1)
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r"member '/abs\u{1b}' is shown as 'abs\u{1b}'",
            r"member '\x81' is shown as 'ü'",
            r"member 'a\u{0}b' is hidden: it has a NUL in its name",
            "member 'x' is hidden: it comes again later in the archive",
        ]
    );
}
