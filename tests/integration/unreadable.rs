//! Unreadable members in archives with readable ones.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::fixture::{Archive, Member, local_record};
use crate::mounted::{Mounted, Place, npzfs, run, umount};

/// Opens the member `bad` of an archive with a good member; returns the error.
fn open_error(bad: Member) -> Option<i32> {
    open_error_with(bad, &[])
}

fn open_error_with(bad: Member, options: &[&str]) -> Option<i32> {
    let size = bad.size;
    let archive = Archive::of([Member::stored("good", "data"), bad]);
    let mount = Mounted::with_options(&archive, options);
    assert_eq!(mount.read("good"), b"data");
    assert!(mount.message.contains("2 members (1 cannot be read), 4 B"));
    let metadata = fs::metadata(mount.path("bad")).unwrap();
    assert_eq!(metadata.size(), size.min(i64::MAX as u64));
    fs::File::open(mount.path("bad"))
        .unwrap_err()
        .raw_os_error()
}

fn bad(change: impl FnOnce(&mut Member)) -> Member {
    Member::stored("bad", "0123456789").with(change)
}

#[test]
fn a_member_of_an_unknown_compression_method_is_unsupported() {
    for method in [9, 95, 1000] {
        let error = open_error(Member::compressed("bad", method, 123_456));
        assert_eq!(error, Some(libc::EOPNOTSUPP), "{method}");
    }
}

#[test]
fn compressed_members_are_unsupported_if_so_configured() {
    for method in [8, 12, 14, 93, 1000] {
        let bad = Member::compressed("bad", method, 123_456);
        let error = open_error_with(bad, &["--deflated=refuse"]);
        assert_eq!(error, Some(libc::EOPNOTSUPP), "{method}");
    }
}

#[test]
fn an_encrypted_member_is_not_permitted() {
    for flags in [1, 1 << 6, 1 << 13, 1 << 6 | 1, 1 << 13 | 1] {
        let error = open_error(bad(|member| member.flags = flags));
        assert_eq!(error, Some(libc::EACCES), "{flags:x}");
    }
    // A masked local header: its name is a number, and its CRC and size are 0.
    let masked = bad(|member| {
        member.flags = 1 << 13;
        member.zip64 = false;
        member.local.name = Some(b"1".to_vec());
        member.local.crc32 = Some(0);
        member.local.size = Some(0);
    });
    assert_eq!(open_error(masked), Some(libc::EACCES));
}

#[test]
fn a_contradicting_local_header_is_an_error() {
    let changes: [fn(&mut Member); 10] = [
        |member| member.local.name = Some(b"abd".to_vec()),
        |member| member.local.name = Some(b"ba".to_vec()),
        |member| member.local.name = Some(b"badly".to_vec()),
        |member| member.local.method = Some(8),
        |member| member.local.flags = Some(1),
        |member| member.local.flags = Some(1 << 6),
        |member| member.local.flags = Some(1 << 13),
        |member| member.local.size = Some(9),
        |member| member.local.crc32 = Some(1),
        |member| member.local.signature = Some(*b"PK\x03\x05"),
    ];
    for change in changes {
        assert_eq!(open_error(bad(change)), Some(libc::EIO));
    }
}

#[test]
fn a_member_outside_the_archive_is_an_error() {
    for offset in [1, 60, 1 << 20, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let bad = bad(|member| member.local_header_offset = Some(offset));
        assert_eq!(open_error(bad), Some(libc::EIO), "{offset}");
    }
}

#[test]
fn a_contradicting_size_is_an_error() {
    for size in [9, 11, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let error = open_error(bad(|member| member.size = size));
        assert_eq!(error, Some(libc::EIO), "{size}");
    }
    // Both headers have the same false size.
    for len in [1 << 20, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX] {
        for size in [len, 10] {
            let error = open_error(bad(|member| {
                member.claimed_len = Some(len);
                member.size = size;
            }));
            assert_eq!(error, Some(libc::EIO), "{len} {size}");
        }
    }
}

#[test]
fn a_member_that_reaches_into_the_central_directory_is_an_error() {
    // Its last byte is the first one of the central directory.
    let reaching = bad(|member| {
        member.claimed_len = Some(11);
        member.size = 11;
    });
    assert_eq!(open_error(reaching), Some(libc::EIO));
    // Its local header and its data are in an extra field of another member's central header.
    let good = Member::stored("good", "data");
    let inside = bad(|_| {});
    let quoting = Member::stored("quoting", "").with(|member| {
        let record = local_record(&inside);
        member.extra = [vec![0xFE, 0xCA, record.len() as u8, 0], record].concat();
    });
    let archive = |offset| {
        let inside = inside.clone().with(|member| {
            member.data.clear();
            member.claimed_len = Some(10);
            member.local_header_offset = offset;
        });
        Archive::of([good.clone(), quoting.clone(), inside])
    };
    let bytes = archive(None).bytes();
    let quoted = bytes.windows(10).rposition(|part| part == b"0123456789");
    let offset = quoted.unwrap() - (local_record(&inside).len() - 10);
    assert_eq!(bytes[offset..][..4], *b"PK\x03\x04");
    let mount = Mounted::new(&archive(Some(offset as u64)));
    assert_eq!(mount.read("good"), b"data");
    let error = fs::read(mount.path("bad")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}

#[test]
fn a_member_on_another_disk_is_an_error() {
    assert_eq!(open_error(bad(|member| member.disk = 3)), Some(libc::EIO));
}

#[test]
fn members_that_overlap_are_refused_and_the_others_served() {
    let inner = Member::stored("inner", "0123456789");
    // The data of one member contains the other one with its header.
    let outer = Member::stored("outer", local_record(&inner));
    let data_at = local_record(&outer).len() - outer.data.len();
    let inner = inner.with(|member| member.local_header_offset = Some(data_at as u64));
    let good = Member::stored("good", "data");
    let mount = Mounted::new(&Archive::of([outer, good, inner]));
    assert_eq!(mount.read("good"), b"data");
    for name in ["outer", "inner"] {
        let error = fs::read(mount.path(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{name}");
    }
}

#[test]
fn members_with_the_same_local_header_are_all_refused() {
    let first = Member::stored("first", "data");
    let at = |offset: usize| {
        move |member: &mut Member| {
            member.data.clear();
            member.claimed_len = Some(4);
            member.local_header_offset = Some(offset as u64);
        }
    };
    let good = Member::stored("good", "data");
    let used_twice = local_record(&first).len() + local_record(&good).len();
    let members = [
        first,
        good,
        Member::stored("twice", "data"),
        Member::stored("again", "data").with(at(used_twice)),
        Member::stored("later", "data").with(at(used_twice)),
    ];
    let mount = Mounted::new(&Archive::of(members.clone()));
    for name in ["twice", "again", "later"] {
        let error = fs::read(mount.path(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{name}");
    }
    assert_eq!(
        (mount.read("first"), mount.read("good")),
        (b"data".into(), b"data".into())
    );
    // Of a repeated name the last member is shown, and it is refused, too.
    let same = Member::stored("twice", "data").with(at(used_twice));
    let same = same.with(|member| member.dos_time = 1);
    let mount = Mounted::new(&Archive::of(members.into_iter().take(3).chain([same])));
    assert!(
        mount.message.contains("3 members (1 cannot be read), 8 B"),
        "{}",
        mount.message
    );
    let error = fs::read(mount.path("twice")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}

#[test]
fn the_reason_is_logged_once_per_member() {
    let place = Place::new();
    let members = [
        Member::stored("good", "data"),
        Member::compressed("deflated\n", 8, 5),
        bad(|member| member.local.method = Some(8)),
    ];
    let archive = Archive::of(members).write(place.path(), "a.npz");
    let (log, at) = (place.join("log"), place.join("mnt"));
    let result = run(npzfs()
        .args(["mount", "--deflated=refuse", "--log"])
        .args([&log, &archive, &at]));
    assert_eq!(result.status, Some(0));
    for _ in 0..3 {
        fs::read(at.join("bad")).unwrap_err();
        fs::read(at.join("deflated\n")).unwrap_err();
        fs::read(at.join("good")).unwrap();
    }
    assert_eq!(umount(&at).status, Some(0));
    let log = fs::read_to_string(log).unwrap();
    let archive = archive.display();
    let lines: Vec<_> = log
        .lines()
        .map(|line| line.split_once("] ").unwrap().1.to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            format!("{archive}: member 'bad': local and central header disagree on the method"),
            format!(
                "{archive}: member 'deflated\\n': compressed (deflated), and such members are not read"
            ),
        ]
    );
}

#[test]
fn an_archive_with_no_readable_member_is_refused() {
    let refused = |members: &[Member], options: &[&str]| {
        let place = Place::new();
        let archive = Archive::of(members.to_vec()).write(place.path(), "a.npz");
        let at = place.join("mnt");
        let result = run(npzfs().arg("mount").args(options).args([&archive, &at]));
        assert!(!at.exists());
        let prefix = format!("npzfs: {}: ", archive.display());
        (result.status, result.err.replace(&prefix, ""), result.out)
    };
    let deflated = Member::compressed("x", 8, 5);
    let damaged = bad(|member| member.size = 11);
    let (status, err, out) = refused(&[deflated.clone(), damaged.clone()], &["--deflated=refuse"]);
    assert_eq!((status, out.as_str()), (Some(23), ""));
    assert_eq!(
        err,
        "member 'x': compressed (deflated), and such members are not read \
         (no member of the archive can be read)\n"
    );
    let (status, err, _) = refused(&[damaged.clone(), deflated.clone()], &["--deflated=refuse"]);
    assert_eq!(status, Some(22));
    assert_eq!(
        err,
        "member 'bad': stored as 10 bytes but 11 bytes long \
         (no member of the archive can be read)\n"
    );
    let encrypted = bad(|member| member.flags = 1);
    assert_eq!(refused(&[encrypted], &[]).0, Some(23));

    let good = Member::stored("good", "data");
    let (status, err, _) = refused(&[good.clone(), damaged], &["--strict"]);
    assert_eq!(status, Some(23));
    assert_eq!(err, "member 'bad': stored as 10 bytes but 11 bytes long\n");
    let mount = Mounted::with_options(&Archive::of([good]), ["--strict"]);
    assert_eq!(mount.read("good"), b"data");
}
