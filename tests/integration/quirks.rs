//! Archives that deviate from the format without leaving any byte of a member in doubt.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::fixture::{Archive, Member, central_record, compress, local_record, npy, pattern};
use crate::mounted::{Mounted, Output, Place, npzfs, run, umount};

fn array() -> Vec<u8> {
    npy("'<f8'", "(3, 4)", &pattern(96, 1))
}

fn archive() -> Archive {
    Archive::stored([("x.npy", array()), ("y.npy", array())])
}

/// Returns an archive of a member and another one.
fn archive_of(member: Member) -> Archive {
    Archive::of([member, Member::stored("y.npy", array())])
}

fn npzfs_in(place: &Place, arguments: &[&str]) -> Output {
    run(npzfs().args(arguments).current_dir(place.path()))
}

/// Mounts, lists, verifies and repacks an archive with the members `x.npy` and `y.npy`.
fn assert_read(bytes: &[u8], notes: &[&str]) {
    assert_members_read(bytes, &["x.npy", "y.npy"], &array(), notes);
}

fn assert_members_read(bytes: &[u8], names: &[&str], contents: &[u8], notes: &[&str]) {
    let place = Place::new();
    fs::write(place.join("a.npz"), bytes).unwrap();
    let verified = |archive: &str, notes: &[&str]| {
        let result = npzfs_in(&place, &["verify", archive]);
        let notes = notes
            .iter()
            .map(|note| format!("note: {archive}: {note}\n"));
        let (start, end) = result.out.rsplit_once(&format!("{archive}: ")).unwrap();
        assert_eq!(start, notes.collect::<String>());
        assert!(end.ends_with(": sound\n"), "{end}");
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    };
    verified("a.npz", notes);

    let result = npzfs_in(&place, &["repack", "a.npz", "repacked.npz"]);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    verified("repacked.npz", &[]);
    for archive in ["a.npz", "repacked.npz"] {
        let result = npzfs_in(&place, &["list", "--json", archive]);
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        let listing: Value = serde_json::from_str(&result.out).unwrap();
        let members = listing["members"].as_array().unwrap();
        let listed: Vec<_> = members
            .iter()
            .map(|member| {
                assert_eq!(
                    (&member["problem"], &member["path"]),
                    (&Value::Null, &member["name"])
                );
                member["name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(listed, names);
    }
    for archive in ["repacked.npz", "a.npz"] {
        let path = place.join(archive);
        let at = place.join("mnt");
        let result = run(npzfs().arg("mount").args([&path, &at]));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        let mut listed: Vec<_> = fs::read_dir(&at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        listed.sort();
        let read: Vec<_> = listed
            .iter()
            .map(|name| fs::read(at.join(name)).ok())
            .collect();
        let result = umount(&at);
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        let mut names = names.to_vec();
        names.sort();
        assert_eq!(listed, names);
        assert!(read.iter().all(|read| read.as_deref() == Some(contents)));
    }
}

/// Checks that mount, list, verify and repack refuse an archive with status 22 and a reason.
fn assert_refused(bytes: &[u8], reason: &str) {
    let place = Place::new();
    fs::write(place.join("a.npz"), bytes).unwrap();
    assert_file_refused(&place, reason);
}

fn assert_file_refused(place: &Place, reason: &str) {
    for arguments in [
        &["mount", "a.npz", "mnt"][..],
        &["list", "a.npz"],
        &["verify", "a.npz"],
        &["repack", "a.npz", "repacked.npz"],
    ] {
        let result = npzfs_in(place, arguments);
        let expected = format!("npzfs: a.npz: {reason}\n");
        assert_eq!(
            (result.err, result.out),
            (expected, String::new()),
            "{arguments:?}"
        );
        assert_eq!(result.status, Some(22), "{arguments:?}");
    }
    assert!(!Path::new(&place.join("mnt")).exists());
    assert!(!Path::new(&place.join("repacked.npz")).exists());
}

#[test]
fn zeros_after_an_archive_are_padding() {
    let zip64 = Archive {
        zip64_end: true,
        ..archive()
    };
    let commented = Archive {
        comment: b"a comment".to_vec(),
        ..archive()
    };
    for archive in [archive(), zip64, commented] {
        let bytes = archive.bytes();
        let padded = |len: usize| [&bytes[..], &vec![0; len]].concat();
        assert_read(&padded(1), &["a zero byte follows the archive"]);
        let room = (1 << 16) - archive.comment.len();
        for len in [512, 10_240, room] {
            let note = format!("{len} zero bytes follow the archive");
            assert_read(&padded(len), &[&note]);
        }
        // NumPy searches the end record no further from the end of the file, either.
        let reason = "no end of central directory record in the last 64 KiB, which are mostly \
                      zeros: the file is incomplete, or has too much padding";
        assert_refused(&padded(room + 1), reason);
    }
}

#[test]
fn a_newline_after_an_archive_is_padding() {
    let bytes = [archive().bytes(), b"\n".to_vec()].concat();
    assert_read(&bytes, &["a newline follows the archive"]);
}

#[test]
fn other_bytes_after_an_archive_are_refused() {
    let bytes = archive().bytes();
    let len = bytes.len();
    let end = len - 22;
    for more in [
        &b"garbage behind it"[..],
        b"\n\n",
        b"\0\n",
        &[0, 0, 0, 1, 0, 0],
    ] {
        assert_refused(
            &[&bytes[..], more].concat(),
            &format!(
                "the end record at {end} ends the archive at {len}, but the file ends at {}: \
                 something was appended",
                len + more.len()
            ),
        );
    }
    let cut = Archive {
        comment: b"a comment".to_vec(),
        ..archive()
    };
    let cut = cut.bytes();
    let len = cut.len();
    assert_refused(
        &cut[..len - 1],
        &format!(
            "the end record at {end} ends the archive at {len}, but the file ends at {}: it was \
             truncated",
            len - 1
        ),
    );
}

#[test]
fn an_archive_in_the_comment_of_another_one_is_refused() {
    let end = archive().bytes().len() - 22;
    let inner = Archive::stored([("z.npy", array())]).bytes();
    let other = end + inner.len();
    let with_comment = |comment: Vec<u8>| {
        let outer = Archive {
            comment,
            ..archive()
        };
        outer.bytes()
    };
    let both = format!("the end records at {end} and {other} both end the file");
    assert_refused(&with_comment(inner.clone()), &both);
    let zeros = vec![0; 100];
    assert_refused(&with_comment([&inner[..], &zeros].concat()), &both);
    let padded = [with_comment(inner.clone()), zeros].concat();
    assert_refused(&padded, &both);
    assert_refused(
        &with_comment([&inner[..], b"more"].concat()),
        &format!(
            "the comment of the end record at {end} holds another one, at {other}: programs differ \
             in which archive they read"
        ),
    );
    // This comment is no archive to any program.
    assert_read(
        &with_comment(b"PK\x05\x06 is how an end record starts".to_vec()),
        &[],
    );
}

#[test]
fn the_utf_8_flag_of_an_ascii_name_may_be_in_one_header() {
    let note = ["member 'x.npy': only one of its headers flags the name as UTF-8"];
    let x = || Member::stored("x.npy", array());
    let local = x().with(|member| member.local.flags = Some(1 << 11));
    assert_read(&archive_of(local).bytes(), &note);
    let central = x().with(|member| {
        member.flags = 1 << 11;
        member.local.flags = Some(0);
    });
    assert_read(&archive_of(central).bytes(), &note);
    // Other names differ between the two encodings.
    let name =
        Member::stored("größe.npy", array()).with(|member| member.local.flags = Some(1 << 11));
    let place = Place::new();
    archive_of(name).write(place.path(), "a.npz");
    let result = npzfs_in(&place, &["verify", "a.npz"]);
    let fault = "a.npz: member 'größe.npy': local and central header disagree on the flags\n";
    assert!(result.out.starts_with(fault), "{}", result.out);
    assert_eq!(result.status, Some(1));
}

#[test]
fn the_local_header_may_lack_crc_and_sizes() {
    let stored = Member::stored("x.npy", array());
    let deflated = Member::of_compressed("x.npy", 8, compress(8, &array()), &array());
    let zero: [fn(&mut Member); 4] = [
        |member| member.local.crc32 = Some(0),
        |member| member.local.size = Some(0),
        |member| member.local.compressed_len = Some(0),
        |member| {
            member.local.crc32 = Some(0);
            member.local.size = Some(0);
            member.local.compressed_len = Some(0);
        },
    ];
    for member in [stored, deflated] {
        for zero in zero {
            let member = member
                .clone()
                .with(|member| member.zip64 = false)
                .with(zero);
            let note = "member 'x.npy': the local header lacks the CRC-32 or a size: NumPy reads the \
                        member, but unzip and 7-Zip do not";
            assert_read(&archive_of(member).bytes(), &[note]);
        }
    }
}

#[test]
fn identical_entries_of_the_central_directory_are_one_member() {
    let twice = Member::stored("x.npy", array()).with(|member| member.listed_twice = true);
    let place = Place::new();
    let path = archive_of(twice).write(place.path(), "a.npz");
    let note = "member 'x.npy': listed more than once in the central directory";
    // The member has the place of its last entry.
    assert_members_read(
        &fs::read(path).unwrap(),
        &["y.npy", "x.npy"],
        &array(),
        &[note],
    );
}

#[test]
fn a_count_of_entries_may_wrap_at_65_536() {
    let names: Vec<_> = (0..65_537).map(|number| format!("{number:05}")).collect();
    let archive = Archive::stored(names.iter().map(|name| (name, "")));
    let wrapped = |entries: u16| {
        let mut bytes = archive.bytes();
        // The ZIP64 end record, its locator and the end record.
        let end = bytes.split_off(bytes.len() - 98);
        let number = |at: usize| u64::from_le_bytes(end[at..at + 8].try_into().unwrap()) as u32;
        let (len, start) = (number(40), number(48));
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([entries.to_le_bytes(); 2].concat());
        bytes.extend([len.to_le_bytes(), start.to_le_bytes()].concat());
        bytes.extend([0; 2]);
        bytes
    };
    let place = Place::new();
    let path = place.join("a.npz");
    fs::write(&path, wrapped(1)).unwrap();
    let result = npzfs_in(&place, &["verify", "a.npz"]);
    let note = "note: a.npz: the end record declares 1 of 65537 entries: it counts modulo 65536, \
                without ZIP64\n";
    assert!(result.out.starts_with(note), "{}", result.out);
    let mount = Mounted::in_place(place, path, [""; 0]);
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 65_537);
    assert_eq!(mount.read("65536"), b"");
    drop(mount);
    for entries in [0, 2, u16::MAX] {
        let reason =
            format!("the end record declares {entries} entries, the central directory holds 65537");
        assert_refused(&wrapped(entries), &reason);
    }
}

#[test]
fn an_archive_over_4_gib_with_wrapped_offsets_is_refused() {
    let reason = "larger than 4 GiB, but written without ZIP64, so its offsets are wrong: write it \
                  again with a program that knows ZIP64";
    let member = Member::stored("x.npy", array());
    for end in [1u64 << 32, (1 << 32) + 5000, (1 << 33) + 5000] {
        let place = Place::new();
        let file = File::create(place.join("a.npz")).unwrap();
        file.write_all_at(&local_record(&member), 0).unwrap();
        let mut behind = central_record(&member, 0);
        let len = behind.len() as u64;
        // The number wraps.
        let start = u64::from(end as u32);
        Archive::default().end_records(&mut behind, 1, start, len);
        file.write_all_at(&behind, end).unwrap();
        assert_file_refused(&place, reason);
    }
}

/// Returns a Unicode Path field (APPNOTE 4.6.9) for the name `replaced`.
pub fn unicode_path(replaced: &[u8], name: &str) -> Vec<u8> {
    let mut field = vec![0x75, 0x70, name.len() as u8 + 5, 0, 1];
    field.extend(crc32fast::hash(replaced).to_le_bytes());
    field.extend(name.bytes());
    field
}

#[test]
fn a_unicode_path_that_fits_is_the_name() {
    let note = "named by its Unicode Path field, which Python reads from version 3.12 on";
    for raw in [&b"x.npy"[..], b"gr\x94\xe1e.npy", b"gr#U00f6#U00dfe.npy"] {
        let field = unicode_path(raw, "größe.npy");
        let member = Member::stored(raw, array()).with(|member| member.extra = field);
        assert_members_read(
            &archive_of(member).bytes(),
            &["größe.npy", "y.npy"],
            &array(),
            &[&format!("member 'größe.npy': {note}")],
        );
    }
}

#[test]
fn a_unicode_path_that_does_not_fit_is_ignored() {
    // The member was renamed by a program that does not know the field.
    let renamed = unicode_path(b"old.npy", "größe.npy");
    let empty = unicode_path(b"x.npy", "");
    let mut other_version = unicode_path(b"x.npy", "größe.npy");
    other_version[4] = 2;
    let same = unicode_path(b"x.npy", "x.npy");
    for field in [renamed, empty, other_version, same] {
        let member = Member::stored("x.npy", array()).with(|member| member.extra = field);
        assert_read(&archive_of(member).bytes(), &[]);
    }
}

#[test]
fn a_data_descriptor_may_have_saturated_sizes() {
    let descriptor = [
        &b"PK\x07\x08"[..],
        &crc32fast::hash(&array()).to_le_bytes(),
        &[0xFF; 8],
    ]
    .concat();
    let member = Member::stored("x.npy", array()).with(|member| {
        member.descriptor = true;
        member.odd_descriptor = Some(descriptor);
    });
    let note = "member 'x.npy': the data descriptor has 4294967295 for both sizes";
    assert_read(&archive_of(member).bytes(), &[note]);
}

#[test]
fn an_empty_member_may_have_a_descriptor_of_64_bits() {
    for (method, data) in [(0, vec![]), (8, compress(8, b""))] {
        let mut descriptor = b"PK\x07\x08\0\0\0\0".to_vec();
        descriptor.extend((data.len() as u64).to_le_bytes());
        descriptor.extend([0; 8]);
        let empty = |name: &str| {
            Member::of_compressed(name, method, data.clone(), b"").with(|member| {
                member.descriptor = true;
                member.odd_descriptor = Some(descriptor.clone());
            })
        };
        // One is followed by another member, one by the central directory.
        let archive = Archive::of([empty("x"), empty("y")]);
        assert_members_read(&archive.bytes(), &["x", "y"], b"", &[]);
    }
}
