//! Archives that are crafted to exhaust memory, time or disk space.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Archive, Member, central_record, local_record, pattern};
use crate::mounted::{Mounted, Output, Place, npzfs, run};

const MILLION: u32 = 1_000_000;
/// The limit for the memory of the server, in bytes.
const MEMORY_MAX: u64 = 512 << 20;
/// The limit for the length of the log, in bytes.
const LOG_MAX: u64 = 4 << 20;

/// The headers of an archive.
struct Headers {
    members: Vec<u8>,
    directory: Vec<u8>,
    entries: u64,
}

impl Headers {
    /// Returns the headers of an archive with one good member.
    fn new() -> Self {
        let good = Member::stored("good", "data");
        Self {
            members: local_record(&good),
            directory: central_record(&good, 0),
            entries: 1,
        }
    }

    /// Adds the central headers of `count` members that are copies of `member`, with a number in place
    /// of the six zeros in its name.
    fn add_numbered(&mut self, member: &Member, offset: usize, count: u32) {
        let header = central_record(member, offset as u64);
        let digits = 46
            + member
                .name
                .windows(6)
                .position(|part| part == b"000000")
                .unwrap();
        for number in 0..count {
            let start = self.directory.len() + digits;
            self.directory.extend(&header);
            let mut rest = number;
            for digit in self.directory[start..start + 6].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        self.entries += u64::from(count);
    }

    fn write(&self, place: &Place) -> PathBuf {
        let mut end = Vec::new();
        let (start, len) = (self.members.len() as u64, self.directory.len() as u64);
        Archive::default().end_records(&mut end, self.entries, start, len);
        let path = place.join("a.npz");
        let file = File::create(&path).unwrap();
        file.write_all_at(&self.members, 0).unwrap();
        file.write_all_at(&self.directory, start).unwrap();
        file.write_all_at(&end, start + len).unwrap();
        path
    }
}

/// Runs `npzfs mount` with limited memory, and with the log in `place`. It has seconds to end, or more
/// in a debug build on a busy machine: [`run`] limits the time.
fn try_mount(place: &Place, archive: &Path) -> Output {
    let script = format!(
        "ulimit -d {} && exec \"$0\" mount --log \"$1\" \"$2\" \"$3\"",
        MEMORY_MAX >> 10
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(npzfs().get_program());
    run(command.args([&place.join("log"), archive, &place.join("mnt")]))
}

/// Mounts an archive, and reads its good member.
fn mount(place: Place, archive: PathBuf) -> Mounted {
    let result = try_mount(&place, &archive);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let mount = Mounted::adopt(place, archive, result.out);
    assert_eq!(mount.read("good"), b"data");
    mount
}

/// Checks that neither the server nor its log have become big.
fn assert_small(mount: &Mounted) {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.server())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().strip_suffix(" kB").unwrap();
    let peak = peak.parse::<u64>().unwrap() << 10;
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    let log = fs::metadata(mount.place().join("log")).unwrap().len();
    assert!(log < LOG_MAX, "{log} bytes");
}

fn refused(place: &Place, archive: &Path) -> (Option<i32>, String) {
    let result = try_mount(place, archive);
    assert_eq!(result.out, "");
    assert!(!place.join("mnt").exists());
    let prefix = format!("npzfs: {}: ", archive.display());
    (result.status, result.err.replace(&prefix, ""))
}

const TOO_LARGE: &str = "more than npzfs can index, which is 1048576 members with 128 MiB of \
                         names: split it\n";

fn open_error(mount: &Mounted, name: &str) -> Option<i32> {
    File::open(mount.path(name)).unwrap_err().raw_os_error()
}

#[test]
fn a_million_members_with_one_local_header_are_all_refused() {
    let mut headers = Headers::new();
    let offset = headers.members.len();
    let member = Member::stored("000000", "x");
    // Its extra field has the maximum length, so that reading the header takes long.
    let mut record = local_record(&member);
    let len = record.len() - 1 - 20 + 0xFFFF;
    record[28..30].fill(0xFF);
    record.resize(len, 0);
    headers.members.extend(record);
    headers.add_numbered(&member, offset, MILLION);
    let place = Place::new();
    let path = headers.write(&place);
    let mount = mount(place, path);
    let totals = "1000001 members (1000000 cannot be read), 4 B";
    assert!(mount.message.contains(totals), "{}", mount.message);
    for name in ["000000", "000001", "999999"] {
        assert_eq!(open_error(&mount, name), Some(libc::EIO), "{name}");
    }
    assert_small(&mount);
}

#[test]
fn the_log_has_reasons_for_a_thousand_unreadable_members() {
    let mut headers = Headers::new();
    headers.add_numbered(&Member::stored("000000", "x"), 1 << 30, 2000);
    let place = Place::new();
    let path = headers.write(&place);
    let mount = mount(place, path);
    for number in 0..2000 {
        let name = format!("{number:06}");
        assert_eq!(open_error(&mount, &name), Some(libc::EIO), "{name}");
    }
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(mount.place().join("log")).unwrap();
    assert_eq!(log.lines().count(), 1001);
    assert!(log.ends_with(": more members cannot be read\n"));
}

#[test]
fn a_million_odd_names_fill_neither_memory_nor_log() {
    let mut headers = Headers::new();
    let member = Member::stored(b"/\x1b\xff000000\n", "x");
    headers.add_numbered(&member, 1 << 30, MILLION);
    let place = Place::new();
    let path = headers.write(&place);
    let mount = mount(place, path);
    let totals = "1000001 members (1000000 cannot be read), 4 B";
    assert!(mount.message.contains(totals), "{}", mount.message);
    // The name is not UTF-8, so it is code page 437.
    assert_eq!(open_error(&mount, "\u{1b}\u{a0}999999\n"), Some(libc::EIO));
    assert_small(&mount);
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(mount.place().join("log")).unwrap();
    assert_eq!(log.lines().count(), 1002);
    let more = "] 999000 more members are hidden or shown under another name";
    assert!(log.lines().any(|line| line.ends_with(more)));
}

#[test]
fn a_name_that_occurs_a_million_times_is_one_file() {
    let mut headers = Headers::new();
    let member = Member::stored("000000", "last");
    let offset = headers.members.len();
    headers.members.extend(local_record(&member));
    let on_another_disk = Member::stored("000000", "x").with(|member| member.disk = 1);
    let header = central_record(&on_another_disk, 0);
    headers.directory.extend(header.repeat(MILLION as usize));
    headers.entries += u64::from(MILLION);
    headers.add_numbered(&member, offset, 1);
    let place = Place::new();
    let path = headers.write(&place);
    let mount = mount(place, path);
    assert!(
        mount.message.contains(": 2 members, 8 B;"),
        "{}",
        mount.message
    );
    assert_eq!(mount.read("000000"), b"last");
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 2);
    assert_small(&mount);
}

#[test]
fn deep_names_end_at_a_million_directories() {
    let mut headers = Headers::new();
    let name = format!("000000{}x", "/d".repeat(32_000) + "/");
    headers.add_numbered(&Member::stored(&name, "x"), 1 << 30, 400);
    let place = Place::new();
    let path = headers.write(&place);
    let mount = mount(place, path);
    // 32 of them fit.
    let totals = "33 members (32 cannot be read), 4 B";
    assert!(mount.message.contains(totals), "{}", mount.message);
    let inodes = nix::sys::statvfs::statvfs(&mount.at).unwrap().files() as u64;
    assert!((1 << 20..(1 << 20) + 100).contains(&inodes), "{inodes}");
    // Nearly the maximum length of a path.
    assert!(fs::metadata(mount.path(&name[..4000])).unwrap().is_dir());
    let log = fs::read_to_string(mount.place().join("log")).unwrap();
    let hidden = "is hidden: there are too many directories";
    assert_eq!(
        log.lines().filter(|line| line.ends_with(hidden)).count(),
        368
    );
    assert_small(&mount);
}

#[test]
fn names_that_would_fill_the_memory_are_refused() {
    // Half a gigabyte of names, most of it in the holes of a sparse file.
    let name = [b"000000".to_vec(), vec![0; 65_529]].concat();
    let header = central_record(&Member::stored(&name, ""), 0);
    let mut end = Vec::new();
    let (count, len) = (8100, header.len() as u64);
    Archive::default().end_records(&mut end, count, 0, count * len);
    let place = Place::new();
    let path = place.join("a.npz");
    let file = File::create(&path).unwrap();
    for at in 0..count {
        file.write_all_at(&header[..60], at * len).unwrap();
    }
    file.write_all_at(&end, count * len).unwrap();
    assert_eq!(refused(&place, &path), (Some(22), TOO_LARGE.into()));
    // Names that become longer as text: each byte becomes three here.
    let component = [vec![b'/'], vec![0xB0; 77]].concat();
    let name = ["000000".into(), component.repeat(840)].concat();
    let mut headers = Headers::new();
    for number in 0..60u8 {
        let distinct = name.chunks(78).flat_map(|part| [part, &[number]].concat());
        let name: Vec<_> = distinct.take(65_000).collect();
        headers
            .directory
            .extend(central_record(&Member::stored(name, ""), 0));
        headers.entries += 1;
    }
    let path = headers.write(&place);
    assert_eq!(try_mount(&place, &path).status, Some(22));
}

#[test]
fn a_sparse_file_of_200_gib_with_false_numbers_is_refused() {
    let place = Place::new();
    let path = place.join("a.npz");
    let file = File::create(&path).unwrap();
    let len = 200u64 << 30;
    let ends_with = |entries: u64, start: u64, directory_len: u64| {
        let mut end = Vec::new();
        let archive = Archive {
            zip64_end: true,
            ..Archive::default()
        };
        archive.end_records(&mut end, entries, start, directory_len);
        file.set_len(len).unwrap();
        file.write_all_at(&end, len).unwrap();
        refused(&place, &path)
    };
    let too_large = (Some(22), TOO_LARGE.to_owned());
    for entries in [1 << 20, (1 << 20) + 1, 1 << 31, 1 << 32, len / 46] {
        assert_eq!(ends_with(entries, 0, len), too_large, "{entries}");
    }
    for gib in [1, 2, 199] {
        assert_eq!(ends_with(1, len - (gib << 30), gib << 30), too_large);
    }
    let directory_len = 400 << 20;
    let start = len - directory_len;
    let no_header = format!("entry 0 of the central directory, at {start}, is no central header\n");
    assert_eq!(
        ends_with(1 << 20, start, directory_len),
        (Some(22), no_header)
    );
    let (status, reason) = ends_with(u64::MAX, start, directory_len);
    assert_eq!(status, Some(22));
    assert!(reason.starts_with("the end record declares 18446744073709551615 entries"));
}

#[test]
fn a_valid_sparse_file_of_200_gib_is_served() {
    let members = [
        Member::stored("good", "data"),
        Member::stored("far", "away"),
    ];
    let records = members.each_ref().map(local_record);
    let mut directory = central_record(&members[0], 0);
    let (far, start) = (100u64 << 30, 200u64 << 30);
    directory.extend(central_record(&members[1], far));
    let mut end = Vec::new();
    Archive::default().end_records(&mut end, 2, start, directory.len() as u64);
    let place = Place::new();
    let path = place.join("a.npz");
    let file = File::create(&path).unwrap();
    file.write_all_at(&records[0], 0).unwrap();
    file.write_all_at(&records[1], far).unwrap();
    file.write_all_at(&[directory, end].concat(), start)
        .unwrap();
    let mount = mount(place, path);
    assert_eq!(mount.read("far"), b"away");
    assert_small(&mount);
}

/// Returns the headers of a zip bomb: each member contains the local headers and the data of all
/// later ones. A naive decompressor writes the last data once per member.
fn quoted_overlap(method: u16, claimed_size: Option<u64>) -> Headers {
    let mut headers = Headers::new();
    let kernel = pattern(10_000, 5);
    let numbered = |number: u32, len: usize| {
        Member::stored(format!("{number:06}"), "").with(|member| {
            member.method = method;
            member.claimed_len = Some(len as u64);
            member.size = claimed_size.unwrap_or(len as u64);
        })
    };
    // From the last to the first, since each header has the length of those after it.
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut len = kernel.len();
    for number in (0..1000).rev() {
        records.push(local_record(&numbered(number, len)));
        let record_len = records.last().unwrap().len();
        len += record_len;
    }
    let mut offset = headers.members.len();
    for (number, record) in (0..1000).zip(records.iter().rev()) {
        let inside = len - record.len();
        headers
            .directory
            .extend(central_record(&numbered(number, inside), offset as u64));
        headers.members.extend(record);
        offset += record.len();
        len = inside;
    }
    headers.members.extend(kernel);
    headers.entries += 1000;
    headers
}

#[test]
fn the_members_of_a_zip_bomb_are_refused() {
    // Members that contain each other, with true sizes and with sizes of petabytes.
    let mut bombs: Vec<_> = [
        (0, None),
        (8, Some(4 << 30)),
        (8, Some(1 << 47)),
        (93, Some(1 << 62)),
    ]
    .map(|(method, size)| quoted_overlap(method, size))
    .into();
    // Members that all have the same data.
    for (method, size) in [(0, 1000), (8, 1 << 47)] {
        let member = Member::stored("000000", vec![7; 1000]).with(|member| {
            member.method = method;
            member.size = size;
        });
        let mut full = Headers::new();
        let offset = full.members.len();
        full.members.extend(local_record(&member));
        full.add_numbered(&member, offset, 1000);
        bombs.push(full);
    }
    for bomb in bombs {
        let place = Place::new();
        let path = bomb.write(&place);
        let mount = mount(place, path);
        let totals = "1001 members (1000 cannot be read), 4 B";
        assert!(mount.message.contains(totals), "{}", mount.message);
        for number in 0..1000 {
            let name = format!("{number:06}");
            assert_eq!(open_error(&mount, &name), Some(libc::EIO), "{name}");
        }
        assert_small(&mount);
    }
}

#[test]
fn archives_with_large_indexes_are_not_all_kept_open() {
    let mut headers = Headers::new();
    let member = Member::stored("000000 of many", "x");
    headers.add_numbered(&member, 1 << 30, MILLION / 3);
    let place = Place::new();
    let data = place.join("data");
    fs::create_dir(&data).unwrap();
    let archive = headers.write(&place);
    for number in 0..8 {
        fs::hard_link(&archive, data.join(format!("{number}.npz"))).unwrap();
    }
    let result = try_mount(&place, &data);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let mount = Mounted::adopt(place, data, result.out);
    let readers: Vec<_> = (0..8)
        .map(|number| {
            let good = mount.path(format!("{number}.npz/good"));
            std::thread::spawn(move || fs::read(good).unwrap())
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), b"data");
    }
    assert_small(&mount);
    assert!(mount.stats()["open_archives"].as_u64().unwrap() < 6);
}

#[test]
fn decoders_with_large_windows_run_one_after_another() {
    // A zstd frame with a window of 128 MiB, for a member of that length.
    let frame = [&b"\x28\xb5\x2f\xfd\x00\x88"[..], b"\x03\0\x80x"].concat();
    let archive = Archive::of(
        (0..8)
            .map(|number| {
                Member::stored(format!("{number}"), frame.clone()).with(|member| {
                    member.method = 93;
                    member.size = 128 << 20;
                })
            })
            .chain([Member::stored("good", "data")]),
    );
    let place = Place::new();
    let path = archive.write(place.path(), "a.npz");
    let mount = mount(place, path);
    let readers: Vec<_> = (0..8)
        .map(|number| {
            let bomb = mount.path(number.to_string());
            std::thread::spawn(move || fs::read(bomb).unwrap_err().raw_os_error())
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), Some(libc::EIO));
    }
    assert_small(&mount);
}

#[test]
fn a_name_of_64_kib_is_shortened_in_messages() {
    let name = "\u{1b}".repeat(65_535);
    let bad = Member::stored(&name, "x").with(|member| member.size = 9);
    let place = Place::new();
    let path = Archive::of([bad.clone()]).write(place.path(), "a.npz");
    let (status, reason) = refused(&place, &path);
    assert_eq!(status, Some(22));
    let shown = r"\u{1b}".repeat(200);
    assert_eq!(
        reason,
        format!(
            "member '{shown}': stored as 1 bytes but 9 bytes long \
             (no member of the archive can be read)\n"
        )
    );
    let place = Place::new();
    let path = Archive::of([Member::stored("good", "data"), bad]).write(place.path(), "a.npz");
    let mount = mount(place, path);
    let shown_as = "\u{1b}".repeat(255);
    assert_eq!(open_error(&mount, &shown_as), Some(libc::EIO));
    assert_eq!(mount.umount().status, Some(0));
    let log = fs::read_to_string(mount.place().join("log")).unwrap();
    assert_eq!(log.lines().count(), 2);
    assert!(log.len() < 5000, "{log}");
}
