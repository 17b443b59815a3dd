//! Archives that are not mounted, and the exit status for each.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Archive, Member, damaged, local_record, pattern};
use crate::mounted::{Mounted, Place, npzfs, run};

/// The exit status, and what is said of the archive.
fn refused(place: &Place, archive: &Path) -> (i32, String) {
    let at = place.join("mnt");
    let said = run(npzfs().arg("mount").args([archive, &at]));
    assert!(!at.exists(), "the mount point is left");
    assert_eq!(said.out, "");
    let prefix = format!("npzfs: {}: ", archive.display());
    let reason = said
        .err
        .strip_prefix(&prefix)
        .expect("the archive is named");
    (said.status.unwrap(), reason.to_owned())
}

fn refused_bytes(bytes: &[u8]) -> (i32, String) {
    let place = Place::new();
    let path = place.join("a.npz");
    fs::write(&path, bytes).unwrap();
    refused(&place, &path)
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let place = Place::new();
    let missing = place.join("missing.npz");
    assert_eq!(
        refused(&place, &missing),
        (20, "cannot be opened: No such file or directory\n".into())
    );
    let fifo = place.join("fifo.npz");
    assert_eq!(run(Command::new("mkfifo").arg(&fifo)).status, Some(0));
    assert_eq!(
        refused(&place, &fifo),
        (20, "is a FIFO, not an archive\n".into())
    );
    assert_eq!(
        refused(&place, Path::new("/dev/null")),
        (20, "is a device, not an archive\n".into())
    );
}

#[test]
fn what_is_no_archive_is_told_from_a_damaged_one() {
    for bytes in [&b""[..], b"x", b"\x93NUMPY\x01\x00", &[0; 100_000]] {
        assert_eq!(refused_bytes(bytes), (21, "not a ZIP archive\n".into()));
    }
    let whole = Archive::stored([("x", "data")]).bytes();
    assert_eq!(
        refused_bytes(&whole[..whole.len() - 30]),
        (
            22,
            "the end of central directory record is missing: the file was truncated\n".into()
        )
    );
}

#[test]
fn an_archive_truncated_anywhere_is_refused() {
    let whole = Archive::stored([("x", "data"), ("y", "more")]).bytes();
    for len in 4..whole.len() {
        let (status, reason) = refused_bytes(&whole[..len]);
        assert_eq!(status, 22, "{len}: {reason}");
    }
    // One with every structure that there is, at the ends of them and beside.
    let described = Member::stored("y", "more").with(|member| member.descriptor = true);
    let mut archive = Archive::of([Member::stored("x", "data"), described]);
    archive.zip64_end = true;
    archive.comment = b"a comment".to_vec();
    let whole = archive.bytes();
    let ends = (4..whole.len()).filter(|&len| {
        let around = &whole[len.saturating_sub(4)..(len + 4).min(whole.len())];
        around.windows(2).any(|part| part == b"PK") || len + 30 > whole.len()
    });
    for len in ends {
        let (status, reason) = refused_bytes(&whole[..len]);
        assert_eq!(status, 22, "{len}: {reason}");
    }
}

#[test]
fn several_end_records_that_end_the_file_are_refused() {
    let mut archive = Archive::stored([("x", "data")]);
    archive.comment = Archive::stored([("y", "more")]).bytes();
    let bytes = archive.bytes();
    let other = bytes.len() - archive.comment.len() - 22;
    assert_eq!(
        refused_bytes(&bytes),
        (
            22,
            format!(
                "the end records at {other} and {} both end the file\n",
                bytes.len() - 22
            )
        )
    );
    // What follows the last end record is not passed over.
    let appended = [archive.bytes(), b"junk".to_vec()].concat();
    let (status, reason) = refused_bytes(&appended);
    assert_eq!(status, 22);
    assert!(reason.contains("something was appended"), "{reason}");
}

/// An archive in whose last bytes, which are an end record, `number` stands at `at`.
fn with_end_record(archive: &Archive, at: usize, number: &[u8]) -> Vec<u8> {
    let mut bytes = archive.bytes();
    let at = bytes.len() - 22 + at;
    bytes[at..at + number.len()].copy_from_slice(number);
    bytes
}

#[test]
fn a_central_directory_that_is_not_where_the_end_records_say_is_refused() {
    let archive = Archive::stored([("x", "data")]);
    let len = archive.bytes().len() as u32;
    // Past the end of the file, and reaching before its start.
    for (at, number) in [
        (16, len),
        (16, len - 22),
        (16, u32::MAX),
        (12, len),
        (12, u32::MAX),
    ] {
        let bytes = with_end_record(&archive, at, &number.to_le_bytes());
        let (status, reason) = refused_bytes(&bytes);
        assert_eq!(status, 22);
        assert!(
            reason.starts_with("the central directory (offset "),
            "{reason}"
        );
    }
    // Starting within the data.
    let directory_len = 46 + 1u32;
    let (status, reason) = refused_bytes(&with_end_record(
        &archive,
        12,
        &(directory_len + 4).to_le_bytes(),
    ));
    assert_eq!(status, 22);
    assert!(
        reason.starts_with("the central directory (offset "),
        "{reason}"
    );
    let start = len - 22 - directory_len;
    let overlapping = [directory_len + 4, start - 4]
        .map(u32::to_le_bytes)
        .concat();
    assert_eq!(
        refused_bytes(&with_end_record(&archive, 12, &overlapping)),
        (
            22,
            format!(
                "entry 0 of the central directory, at {}, is no central header\n",
                start - 4
            )
        )
    );
}

#[test]
fn zip64_end_records_that_lie_are_refused() {
    let mut archive = Archive::stored([("x", "data")]);
    archive.zip64_end = true;
    let len = archive.bytes().len();
    let changed = |at: usize, number: u64| {
        let mut bytes = archive.bytes();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let (status, reason) = refused_bytes(&bytes);
        assert_eq!(status, 22, "{at} {number}");
        reason
    };
    let (locator, record) = (len - 22 - 20, len - 22 - 20 - 56);
    for number in [len as u64, 1 << 32, 1 << 63, u64::MAX] {
        // Length and offset of the central directory.
        for at in [40, 48] {
            let reason = changed(record + at, number);
            assert!(
                reason.starts_with("the central directory (offset "),
                "{reason}"
            );
        }
        // Length and offset of the record itself.
        for at in [record + 4, locator + 8] {
            let reason = changed(at, number);
            assert!(
                reason.starts_with("the ZIP64 end record is not at "),
                "{reason}"
            );
        }
        // Entries on this disk, and entries.
        for at in [24, 32] {
            assert!(changed(record + at, number).starts_with("one part of a split archive"));
        }
        let mut bytes = archive.bytes();
        bytes[record + 24..record + 40].copy_from_slice(&[number.to_le_bytes(); 2].concat());
        let (status, reason) = refused_bytes(&bytes);
        assert_eq!(status, 22);
        assert!(
            reason.starts_with(&format!("the end record declares {number} entries")),
            "{reason}"
        );
    }
}

#[test]
fn one_part_of_a_split_archive_is_refused() {
    let mut archive = Archive::stored([("x", "data")]);
    let split = "one part of a split archive: join the parts first (zip -s 0)\n";
    // This disk, the one of the central directory, and how many of its entries are on this one.
    for (at, number) in [(4, 1u16), (6, 1), (8, 0)] {
        let bytes = with_end_record(&archive, at, &number.to_le_bytes());
        assert_eq!(refused_bytes(&bytes), (22, split.into()), "{at}");
    }
    archive.zip64_end = true;
    let mut bytes = archive.bytes();
    let disks = bytes.len() - 22 - 4;
    bytes[disks] = 2;
    assert_eq!(refused_bytes(&bytes), (22, split.into()));
}

#[test]
fn a_truncated_outer_archive_is_not_mounted_as_the_one_it_holds() {
    let inner = Archive::stored([("secret", "data")]).bytes();
    let outer = Member::stored("inner.npz", inner);
    let (status, reason) = refused_bytes(&local_record(&outer));
    assert_eq!(status, 22);
    assert!(
        reason.contains("are the start of another archive"),
        "{reason}"
    );
}

#[test]
fn numbers_of_entries_that_lie_are_refused() {
    let archive = Archive::stored([("x", "data"), ("y", "more")]);
    for count in [0u16, 1, 3, 1000] {
        let mut bytes = archive.bytes();
        let end = bytes.len() - 22;
        bytes[end + 8..end + 10].copy_from_slice(&count.to_le_bytes());
        bytes[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
        let (status, reason) = refused_bytes(&bytes);
        assert_eq!(status, 22);
        assert!(
            reason.starts_with(&format!("the end record declares {count} entries")),
            "{reason}"
        );
    }
}

#[test]
fn a_central_directory_with_something_else_in_it_is_refused() {
    let archive = Archive::stored([("x", "data"), ("y", "more")]);
    let mut bytes = archive.bytes();
    let second = bytes
        .windows(4)
        .rposition(|part| part == b"PK\x01\x02")
        .unwrap();
    bytes[second] = b'Q';
    let (status, reason) = refused_bytes(&bytes);
    assert_eq!(status, 22);
    assert_eq!(
        reason,
        format!("entry 1 of the central directory, at {second}, is no central header\n")
    );
}

#[test]
fn names_are_escaped_in_messages() {
    let place = Place::new();
    let said = run(npzfs()
        .arg("mount")
        .args([place.join("a\x1b[31m\n.npz"), place.join("mnt")]));
    assert_eq!(said.status, Some(20));
    assert_eq!(said.err.lines().count(), 1);
    assert!(said.err.contains(r"a\u{1b}[31m\n.npz"), "{}", said.err);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &["mount"][..],
        &["mnt"],
        &[],
        &["mount", "a.npz"],
        &["umount"],
    ] {
        let said = run(npzfs().args(arguments));
        assert_eq!(said.status, Some(2), "{arguments:?}");
        assert!(!said.err.is_empty() && said.out.is_empty());
    }
    let said = run(npzfs().args(["mount", "--\x1b[31mX", "a", "b"]));
    assert!(
        said.err
            .starts_with("npzfs: unexpected argument '--\\u{1b}[31mX'"),
        "{}",
        said.err
    );
    let said = run(npzfs().arg("moun"));
    assert!(said.err.contains("'mount'"), "{}", said.err);
    for arguments in [&["--help"][..], &["--version"], &["mount", "--help"]] {
        let said = run(npzfs().args(arguments));
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
        assert!(!said.out.is_empty());
    }
}

#[test]
fn an_unusable_log_file_is_an_error() {
    let place = Place::new();
    let archive = Archive::stored([("x", "data")]).write(place.path(), "a.npz");
    let log = place.join("no/log");
    let said = run(npzfs()
        .args(["mount", "--log"])
        .args([&log, &archive, &place.join("mnt")]));
    assert_eq!(said.status, Some(1));
    assert_eq!(
        said.err,
        format!(
            "npzfs: {}: cannot log there: No such file or directory\n",
            log.display()
        )
    );
}

#[test]
fn random_damage_is_refused_or_served_but_never_a_crash() {
    let names = ["x.npy", "d/y.npy", "z"];
    let archive = Archive::stored(names.map(|name| (name, pattern(50, 3))));
    let bytes = archive.bytes();
    for seed in 0..100 {
        let place = Place::new();
        let path = place.join("a.npz");
        fs::write(&path, damaged(&bytes, seed)).unwrap();
        let at = place.join("mnt");
        let said = run(npzfs().arg("mount").args([&path, &at]));
        match said.status {
            Some(0) => {
                let mount = Mounted::adopt(place, path, said.out);
                for entry in fs::read_dir(&mount.at).unwrap() {
                    // It may be refused; it may not hang or take the server down.
                    let _ = fs::read(entry.unwrap().path());
                }
                assert_eq!(mount.umount().status, Some(0), "seed {seed}");
            }
            Some(21..=23) => assert_eq!(said.err.lines().count(), 1),
            status => panic!("seed {seed}: {status:?}: {}", said.err),
        }
    }
}
