//! Archives that are refused, and the exit status for each.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Archive, Member, damaged, local_record, pattern};
use crate::mounted::{Mounted, Place, npzfs, run};

/// Mounts an archive, which must fail; returns the exit status and the message without its start.
fn refused(place: &Place, archive: &Path) -> (i32, String) {
    let at = place.join("mnt");
    let result = run(npzfs().arg("mount").args([archive, &at]));
    assert!(!at.exists(), "the mount point is left");
    assert_eq!(result.out, "");
    let prefix = format!("npzfs: {}: ", archive.display());
    let reason = result
        .err
        .strip_prefix(&prefix)
        .expect("the archive is named");
    (result.status.unwrap(), reason.to_owned())
}

fn refused_bytes(bytes: &[u8]) -> (i32, String) {
    let place = Place::new();
    let path = place.join("a.npz");
    fs::write(&path, bytes).unwrap();
    refused(&place, &path)
}

#[test]
fn anything_but_a_regular_file_is_refused_at_once() {
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
fn other_files_are_distinguished_from_damaged_archives() {
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
    // An archive with every structure, truncated at their boundaries and beside these.
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
fn several_end_records_at_the_end_of_the_file_are_refused() {
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
    // Bytes after the last end record are not ignored.
    let appended = [archive.bytes(), b"junk".to_vec()].concat();
    let (status, reason) = refused_bytes(&appended);
    assert_eq!(status, 22);
    assert!(reason.contains("something was appended"), "{reason}");
}

/// Returns an archive with `number` at offset `at` of its end record.
fn with_end_record(archive: &Archive, at: usize, number: &[u8]) -> Vec<u8> {
    let mut bytes = archive.bytes();
    let at = bytes.len() - 22 + at;
    bytes[at..at + number.len()].copy_from_slice(number);
    bytes
}

#[test]
fn a_misplaced_central_directory_is_refused() {
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
fn contradicting_zip64_end_records_are_refused() {
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
    // This disk, the disk of the central directory, and the number of its entries on this disk.
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
fn a_truncated_outer_archive_is_not_taken_for_its_inner_one() {
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
fn a_contradicting_number_of_entries_is_refused() {
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
fn a_central_directory_with_foreign_bytes_is_refused() {
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
    let result = run(npzfs()
        .arg("mount")
        .args([place.join("a\x1b[31m\n.npz"), place.join("mnt")]));
    assert_eq!(result.status, Some(20));
    assert_eq!(result.err.lines().count(), 1);
    assert!(result.err.contains(r"a\u{1b}[31m\n.npz"), "{}", result.err);
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
        let result = run(npzfs().args(arguments));
        assert_eq!(result.status, Some(2), "{arguments:?}");
        assert!(!result.err.is_empty() && result.out.is_empty());
    }
    let result = run(npzfs().args(["mount", "--\x1b[31mX", "a", "b"]));
    assert!(
        result
            .err
            .starts_with("npzfs: unexpected argument '--\\u{1b}[31mX'"),
        "{}",
        result.err
    );
    let result = run(npzfs().arg("moun"));
    assert!(result.err.contains("'mount'"), "{}", result.err);
    for arguments in [&["--help"][..], &["--version"], &["mount", "--help"]] {
        let result = run(npzfs().args(arguments));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        assert!(!result.out.is_empty());
    }
}

#[test]
fn an_unusable_log_file_is_an_error() {
    let place = Place::new();
    let archive = Archive::stored([("x", "data")]).write(place.path(), "a.npz");
    let log = place.join("no/log");
    let result = run(npzfs()
        .args(["mount", "--log"])
        .args([&log, &archive, &place.join("mnt")]));
    assert_eq!(result.status, Some(1));
    assert_eq!(
        result.err,
        format!(
            "npzfs: {}: cannot log there: No such file or directory\n",
            log.display()
        )
    );
}

#[test]
fn random_damage_never_causes_a_crash() {
    let names = ["x.npy", "d/y.npy", "z"];
    let archive = Archive::stored(names.map(|name| (name, pattern(50, 3))));
    let bytes = archive.bytes();
    for seed in 0..100 {
        let place = Place::new();
        let path = place.join("a.npz");
        fs::write(&path, damaged(&bytes, seed)).unwrap();
        let at = place.join("mnt");
        let result = run(npzfs().arg("mount").args([&path, &at]));
        match result.status {
            Some(0) => {
                let mount = Mounted::adopt(place, path, result.out);
                for entry in fs::read_dir(&mount.at).unwrap() {
                    // It may fail, but must neither hang nor end the server.
                    let _ = fs::read(entry.unwrap().path());
                }
                assert_eq!(mount.umount().status, Some(0), "seed {seed}");
            }
            Some(21..=23) => assert_eq!(result.err.lines().count(), 1),
            status => panic!("seed {seed}: {status:?}: {}", result.err),
        }
    }
}
