//! The contents and the attributes of files.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::fixture::{Archive, Member, UNSET_DATE, pattern};
use crate::mounted::{Mounted, Place, npzfs, run, umount};

/// Returns sizes around those of pages, readahead and requests.
fn sizes() -> impl Iterator<Item = usize> {
    [
        0,
        1,
        4095,
        4096,
        4097,
        131_072,
        1 << 20,
        (1 << 20) + 1,
        5_000_003,
    ]
    .into_iter()
}

#[test]
fn each_member_is_a_file_of_its_own_bytes() {
    let members: Vec<_> = sizes()
        .map(|size| (format!("{size}.bin"), pattern(size, size as u32)))
        .collect();
    let mount = Mounted::new(&Archive::stored(members.clone()));
    for (name, data) in &members {
        assert_eq!(mount.read(name), *data, "{name}");
        let metadata = fs::metadata(mount.path(name)).unwrap();
        assert_eq!(metadata.len(), data.len() as u64);
        assert!(metadata.is_file());
    }
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), members.len());
}

#[test]
fn reads_at_any_offset_return_the_bytes_there() {
    let data = pattern(300_001, 7);
    let mount = Mounted::new(&Archive::stored([("x", data.clone())]));
    let file = fs::File::open(mount.path("x")).unwrap();
    for at in [
        0, 1, 4095, 4096, 131_071, 299_999, 300_000, 300_001, 400_000,
    ] {
        for len in [1, 2, 4096, 65_537] {
            let mut buffer = vec![0; len];
            let read = file.read_at(&mut buffer, at as u64).unwrap();
            let expected = data.get(at..).unwrap_or_default();
            let expected = &expected[..expected.len().min(len)];
            assert_eq!(&buffer[..read], expected, "{len} at {at}");
        }
    }
}

#[test]
fn zip64_descriptors_a_prefix_and_a_comment_change_nothing() {
    let data = pattern(10_000, 3);
    let plain = |member: &mut Member| member.zip64 = false;
    let described = |member: &mut Member| {
        member.zip64 = false;
        member.descriptor = true;
    };
    let barely = |member: &mut Member| {
        described(member);
        member.bare_descriptor = true;
    };
    let members = [
        Member::stored("a", data.clone()),
        Member::stored("b", data.clone()).with(plain),
        Member::stored("c", data.clone()).with(described),
        Member::stored("d", data.clone()).with(barely),
        Member::stored("e", data.clone()),
    ];
    let whole_archive = [&b"this one: "[..], &Archive::default().bytes(), b" "].concat();
    for (zip64_end, prefix, comment) in [
        (false, &b""[..], &b""[..]),
        (true, b"", b""),
        (
            false,
            b"#!/usr/bin/env python3\n",
            b"a comment with PK\x05\x06 in it",
        ),
        (true, b"MZ and so on", b"a comment"),
        (false, b"", &whole_archive),
    ] {
        let mut archive = Archive::of(members.clone());
        archive.zip64_end = zip64_end;
        archive.prefix = prefix.to_vec();
        archive.comment = comment.to_vec();
        let mount = Mounted::new(&archive);
        for name in ["a", "b", "c", "d", "e"] {
            assert!(mount.read(name) == data, "{name}");
        }
    }
}

#[test]
fn a_hundred_thousand_members_are_all_present() {
    let members = (0..100_000u32).map(|at| (format!("{at:06}.bin"), at.to_le_bytes()));
    let mount = Mounted::new(&Archive::stored(members));
    assert!(
        mount.message.contains("100000 members, 400 kB"),
        "{}",
        mount.message
    );
    let mut names: Vec<_> = fs::read_dir(&mount.at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 100_000);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 100_000);
    for at in (0..100_000u32).step_by(997) {
        assert_eq!(mount.read(format!("{at:06}.bin")), at.to_le_bytes());
    }
}

#[test]
fn an_archive_without_members_is_an_empty_directory() {
    let mount = Mounted::new(&Archive::default());
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 0);
    assert!(
        mount.message.contains("0 members, 0 B"),
        "{}",
        mount.message
    );
}

#[test]
fn modes_are_0444_and_0555_whatever_the_archive_says() {
    let mode = |name: &str, mode: u32| {
        Member::stored(name, "x").with(|member| member.external_attributes = mode << 16)
    };
    let members = [
        mode("plain", 0o600),
        mode("setuid", 0o104_755),
        mode("symlink", 0o120_777).with(|member| {
            member.data = b"/etc/passwd".to_vec();
            member.size = 11;
        }),
        mode("device", 0o060_666),
        mode("terminal", 0o020_666),
        mode("fifo", 0o010_666),
        mode("socket", 0o140_777),
        mode("directory", 0o042_777),
        mode("d/none", 0),
    ];
    let mount = Mounted::new(&Archive::of(members.clone()));
    for member in &members {
        let name = str::from_utf8(&member.name).unwrap();
        let metadata = fs::symlink_metadata(mount.path(name)).unwrap();
        assert!(metadata.is_file(), "{name}");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o444, "{name}");
        assert_eq!((metadata.uid(), metadata.gid()), ids(), "{name}");
        assert_eq!((metadata.nlink(), metadata.blksize()), (1, 4096));
        assert_eq!(mount.read(name), member.data);
    }
    let directory = fs::metadata(mount.path("d")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o555);
    assert_eq!(directory.nlink(), 2);

    let changed = |option| Mounted::with_options(&Archive::of(members.clone()), [option]);
    let file = |mount: &Mounted| fs::metadata(mount.path("d/none")).unwrap();
    assert_eq!(file(&changed("--uid=1234")).uid(), 1234);
    assert_eq!(file(&changed("--gid=4321")).gid(), 4321);
    let masked = changed("--umask=037");
    assert_eq!(file(&masked).permissions().mode() & 0o7777, 0o440);
    let directory = fs::metadata(masked.path("d")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o540);
}

fn ids() -> (u32, u32) {
    (
        nix::unistd::getuid().as_raw(),
        nix::unistd::getgid().as_raw(),
    )
}

#[test]
fn times_are_the_timestamp_else_the_dos_time_else_the_archives() {
    let timestamp = |seconds: i32| {
        let mut extra = vec![0x55, 0x54, 5, 0, 1];
        extra.extend(seconds.to_le_bytes());
        extra
    };
    let dos = |member: &mut Member| {
        member.dos_date = (2021 - 1980) << 9 | 7 << 5 | 20;
        member.dos_time = 12 << 11 | 34 << 5 | 28;
    };
    let archive = Archive::of([
        Member::stored("extended", "x").with(|member| {
            dos(member);
            member.extra = timestamp(1_000_000_001);
        }),
        Member::stored("old", "x").with(|member| member.extra = timestamp(-5)),
        Member::stored("dos", "x").with(dos),
        Member::stored("unset", "x").with(|member| member.dos_date = UNSET_DATE),
        Member::stored("d/impossible", "x").with(|member| member.dos_date = 15 << 5),
    ]);
    let mount = Mounted::new(&archive);
    let modified = |name: &str| fs::metadata(mount.path(name)).unwrap().mtime();
    assert_eq!(modified("extended"), 1_000_000_001);
    assert_eq!(modified("old"), -5);
    // The archive's own time is not cut to seconds.
    let of_archive = fs::metadata(&mount.archive).unwrap().modified().unwrap();
    for name in ["unset", "d/impossible", "d", "."] {
        let time = fs::metadata(mount.path(name)).unwrap().modified().unwrap();
        assert_eq!(time, of_archive, "{name}");
    }
    // In a time zone three hours ahead of UTC.
    let at = mount.place().join("zone");
    let mut command = npzfs();
    command
        .env("TZ", "XYZ-3")
        .arg("mount")
        .args([&mount.archive, &at]);
    assert_eq!(run(&mut command).status, Some(0));
    let dos = fs::metadata(at.join("dos")).unwrap().mtime();
    assert_eq!(umount(&at).status, Some(0));
    assert_eq!(dos, 1_626_773_696, "2021-07-20 09:34:56 UTC");
}

#[test]
fn the_time_of_change_is_that_of_the_archive() {
    let changed = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let inner = Archive::stored([("y", "inner")]).bytes();
    let version = |data: &str| {
        let member =
            Member::stored("d/x", data).with(|member| member.dos_date = 31 << 9 | 1 << 5 | 1);
        Archive::of([member, Member::stored("in.npz", inner.clone())])
    };
    let place = Place::new();
    let archive = version("old").write(place.path(), "a.npz");
    let mount = Mounted::in_place(place, archive, ["-r"]);
    let names = [".", "d", "d/x", "in.npz", "in.npz/y"];
    let old = changed(&mount.archive);
    for name in names {
        assert_eq!(changed(&mount.path(name)), old, "{name}");
    }
    assert_eq!(mount.umount().status, Some(0));
    // Rename another archive with members of the same sizes and dates over it. A backup program that
    // compares times has to notice that.
    let new = version("new").write(mount.place(), "new.npz");
    fs::rename(new, &mount.archive).unwrap();
    let result = run(npzfs()
        .args(["mount", "-r"])
        .args([&mount.archive, &mount.at]));
    assert_eq!(result.status, Some(0), "{}", result.err);
    let new = changed(&mount.archive);
    assert_ne!(old, new);
    for name in names {
        assert_eq!(changed(&mount.path(name)), new, "{name}");
    }
}

#[test]
fn inodes_times_and_order_are_the_same_at_every_mount() {
    let names = ["z", "d/y", "a", "d/x", "b"];
    let archive = Archive::stored(names.map(|name| (name, name)));
    let listing = || {
        let mount = Mounted::new(&archive);
        let filetime = fs::File::open(&mount.archive).unwrap();
        filetime.set_modified(std::time::UNIX_EPOCH).unwrap();
        let again = Mounted::in_place(crate::mounted::Place::new(), mount.archive.clone(), [""; 0]);
        fs::read_dir(&again.at)
            .unwrap()
            .chain(fs::read_dir(again.path("d")).unwrap())
            .map(|entry| {
                let metadata = entry.as_ref().unwrap().metadata().unwrap();
                (entry.unwrap().file_name(), metadata.ino(), metadata.mtime())
            })
            .collect::<Vec<_>>()
    };
    let first = listing();
    assert_eq!(first, listing());
    assert_eq!(first.len(), 6);
}

#[test]
fn statfs_shows_the_archives_size_and_no_free_space() {
    let mount = Mounted::new(&Archive::stored([("d/x", pattern(1 << 20, 1))]));
    let stat = nix::sys::statvfs::statvfs(&mount.at).unwrap();
    let len = fs::metadata(&mount.archive).unwrap().len();
    assert_eq!(
        stat.blocks() as u64 * stat.fragment_size() as u64,
        len.next_multiple_of(4096)
    );
    assert_eq!((stat.blocks_free(), stat.blocks_available()), (0, 0));
    assert_eq!((stat.files(), stat.files_free()), (3, 0));
    assert_eq!(stat.name_max(), 255);
    assert!(stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
}

#[test]
fn every_writing_operation_fails_with_erofs() {
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    let (file, new) = (mount.path("x"), mount.path("new"));
    let errors = [
        fs::write(&file, "y").unwrap_err(),
        fs::OpenOptions::new().append(true).open(&file).unwrap_err(),
        fs::File::create(&new).unwrap_err(),
        fs::create_dir(&new).unwrap_err(),
        fs::remove_file(&file).unwrap_err(),
        fs::rename(&file, &new).unwrap_err(),
        fs::hard_link(&file, &new).unwrap_err(),
        std::os::unix::fs::symlink("x", &new).unwrap_err(),
        fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap_err(),
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap_err(),
        xattr::set(&file, "user.x", b"y").unwrap_err(),
        xattr::remove(&file, "user.npzfs.crc32").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{error}");
    }
    assert_eq!(mount.read("x"), b"data");
}
