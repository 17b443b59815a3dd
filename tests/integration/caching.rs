//! What the kernel is asked for only once, and what the server keeps.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};

use crate::fixture::{Archive, Member, pattern};
use crate::mounted::{
    Mounted, Place, available, exec_after, installed, is_root, mounts_below, npzfs, run, wait_until,
};

/// The requests that a second pass over the same files must not cost.
const PASS: [&str; 6] = [
    "lookup",
    "getattr",
    "open",
    "read",
    "readdir",
    "readdirplus",
];

fn many(count: u32) -> Archive {
    Archive::stored((0..count).map(|at| (format!("{at}.npy"), pattern(9000, at))))
}

/// That a pass over what is cached costs none of these requests. The kernel may drop what it has
/// cached at any time, so one pass that costs some shows nothing.
fn costs_nothing(mount: &Mounted, requests: &[&str], pass: impl Fn()) {
    wait_until("a pass without requests", || {
        let before = mount.requests(requests);
        pass();
        mount.requests(requests) == before
    });
}

fn read_all(mount: &Mounted) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(&mount.at).unwrap() {
        let path = entry.unwrap().path();
        sum += fs::metadata(&path).unwrap().len();
        sum += fs::read(&path)
            .unwrap()
            .iter()
            .map(|&byte| u64::from(byte))
            .sum::<u64>();
    }
    sum
}

#[test]
fn a_second_pass_over_the_same_files_costs_no_requests() {
    let mount = Mounted::new(&many(200));
    let first = read_all(&mount);
    assert!(mount.requests(&["read"]) >= 200);
    costs_nothing(&mount, &PASS, || assert_eq!(read_all(&mount), first));
}

#[test]
fn files_are_opened_without_a_request_where_every_member_can_be_read() {
    let mount = Mounted::new(&many(50));
    read_all(&mount);
    assert_eq!(mount.requests(&["open", "release"]), 1);
    // The directory is opened with one: it is not listed alike for everybody.
    assert_eq!(mount.requests(&["opendir"]), 1);
    let mount = Mounted::with_options(&many(50), ["--prefetch=off"]);
    for _ in 0..2 {
        read_all(&mount);
    }
    assert_eq!(mount.requests(&["opendir", "releasedir"]), 1);
}

#[test]
fn cached_pages_are_kept_also_where_opens_are_answered() {
    let mut archive = many(50);
    archive.members.push(Member::compressed("bad", 8, 5));
    let mount = Mounted::new(&archive);
    let pass = || {
        for at in 0..50 {
            assert!(mount.read(format!("{at}.npy")) == pattern(9000, at));
        }
    };
    pass();
    costs_nothing(&mount, &["read", "lookup", "getattr"], pass);
    assert!(mount.requests(&["open"]) >= 100);
}

#[test]
fn listing_ten_thousand_members_costs_no_lookups_and_no_getattrs() {
    let archive = Archive::stored((0..10_000).map(|at| (format!("{at}.npy"), "x")));
    // The kernel may drop what it has just listed, so that not every listing is as cheap.
    wait_until("a listing without lookups", || {
        let mount = Mounted::new(&archive);
        let before = mount.requests(&["lookup", "getattr"]);
        let listed = run(Command::new("ls").arg("-l").arg(&mount.at));
        assert_eq!(listed.out.lines().count(), 10_001);
        // Two of them the test's own.
        assert!(mount.requests(&["getxattr"]) < 20);
        assert!(mount.requests(&["readdirplus"]) < 200);
        mount.requests(&["lookup", "getattr", "readdir"]) == before
    });
}

#[test]
fn names_that_are_not_there_are_asked_for_once() {
    let mount = Mounted::new(&many(1));
    for _ in 0..5 {
        assert!(!mount.path("__meta__.json").exists());
    }
    assert_eq!(mount.requests(&["lookup"]), 1);
    let long = mount.path("x".repeat(256));
    let error = fs::metadata(long).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

/// Bytes of memory that a process has in its page tables, those of mapped files among them.
fn resident_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// An archive with one stored member of `len` bytes, of which only a few are not zero.
fn sparse_archive(place: &Place, len: u64) -> std::path::PathBuf {
    let path = place.join("sparse.npz");
    let mut file = fs::File::create(&path).unwrap();
    let member = Member::stored("big.npy", "").with(|member| member.size = len);
    let name = member.name.len() as u16;
    let mut local = b"PK\x03\x04\x2d\0\0\0\0\0\0\0\x21\0\0\0\0\0".to_vec();
    local.extend([0xFF; 8]);
    local.extend(name.to_le_bytes());
    local.extend(20u16.to_le_bytes());
    local.extend(&member.name);
    local.extend([1, 0, 16, 0]);
    local.extend(len.to_le_bytes());
    local.extend(len.to_le_bytes());
    file.write_all(&local).unwrap();
    let end = local.len() as u64 + len;
    file.seek(SeekFrom::Start(end - 8)).unwrap();
    file.write_all(b"the end.").unwrap();
    let mut central = b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\x21\0\0\0\0\0".to_vec();
    central.extend([0xFF; 8]);
    central.extend(name.to_le_bytes());
    central.extend(20u16.to_le_bytes());
    central.extend([0; 14]);
    central.extend(&member.name);
    central.extend([1, 0, 16, 0]);
    central.extend(len.to_le_bytes());
    central.extend(len.to_le_bytes());
    file.write_all(&central).unwrap();
    let tail = Archive {
        zip64_end: true,
        ..Archive::default()
    };
    let mut tail = tail.bytes();
    for (at, number) in [(24, 1), (32, 1), (40, central.len() as u64), (48, end)] {
        tail[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    tail[64..72].copy_from_slice(&(end + central.len() as u64).to_le_bytes());
    file.write_all(&tail).unwrap();
    path
}

#[test]
fn memory_of_the_server_does_not_grow_with_the_bytes_served() {
    let place = Place::new();
    let len = 4 << 30;
    let archive = sparse_archive(&place, len);
    let mount = Mounted::in_place(place, archive, [""; 0]);
    let mut file = fs::File::open(mount.path("big.npy")).unwrap();
    assert_eq!(file.metadata().unwrap().size(), len);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..len >> 20 {
        file.read_exact(&mut buffer).unwrap();
    }
    assert!(buffer.ends_with(b"the end."));
    let resident = resident_memory(mount.server());
    assert!(resident < 32 << 20, "{resident} bytes");
}

#[test]
fn an_archive_larger_than_the_address_space_of_the_server_is_listed_and_served() {
    let place = Place::new();
    let len = 4 << 30;
    let archive = sparse_archive(&place, len);
    let limited = |arguments: &[&std::ffi::OsStr]| {
        let mut command = npzfs();
        command.args(arguments);
        exec_after("ulimit -v 262144", &mut command);
        let said = run(&mut command);
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
        said.out
    };
    let listed = limited(&["list".as_ref(), archive.as_ref()]);
    assert!(listed.contains("big.npy"), "{listed}");
    let at = place.join("mnt");
    let said = limited(&["mount".as_ref(), archive.as_ref(), at.as_ref()]);
    let mount = Mounted::adopt(place, archive, said);
    let file = fs::File::open(mount.path("big.npy")).unwrap();
    let mut end = [1; 16];
    file.read_exact_at(&mut end, len - 16).unwrap();
    assert_eq!(end, *b"\0\0\0\0\0\0\0\0the end.");
    file.read_exact_at(&mut end, len / 2).unwrap();
    assert_eq!(end, [0; 16]);
}

#[test]
fn a_big_archive_is_mounted_as_fast_as_a_small_one() {
    // A program that is traced cannot mount through fusermount3.
    if !available(is_root(), "root") || !installed(&["strace"]) {
        return;
    }
    let place = Place::new();
    let archive = sparse_archive(&place, 9 << 30);
    let traced = place.join("reads");
    let at = place.join("mnt");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=pread64", "-o"])
        .arg(&traced);
    command
        .arg(npzfs().get_program())
        .args(["mount", "-f"])
        .args([&archive, &at]);
    let mut traced_npzfs = command.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the mount", || !mounts_below(&at).is_empty());
    assert_eq!(run(npzfs().arg("umount").arg(&at)).status, Some(0));
    assert!(traced_npzfs.wait().unwrap().success());
    let read: u64 = fs::read_to_string(traced)
        .unwrap()
        .lines()
        .filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok())
        .sum();
    assert!(
        read > 0 && read < 1 << 20,
        "{read} bytes are read of the archive"
    );
}
