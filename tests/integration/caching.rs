//! The requests that the kernel's caches save, and the memory of the server.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};

use crate::fixture::{Archive, Member, pattern};
use crate::mounted::{
    Mounted, Place, available, exec_after, installed, is_root, memory, mounts_below, npzfs, run,
    umount, wait_until,
};

/// The requests that a second pass over the same files must not cost.
const SAVED: [&str; 6] = [
    "lookup",
    "getattr",
    "open",
    "read",
    "readdir",
    "readdirplus",
];

fn archive_of(count: u32) -> Archive {
    Archive::stored((0..count).map(|at| (format!("{at}.npy"), pattern(9000, at))))
}

/// Checks that a pass over cached files costs none of these requests. The kernel may drop its caches
/// at any time, so the pass is repeated until it costs none.
fn assert_free(mount: &Mounted, requests: &[&str], pass: impl Fn()) {
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
    let mount = Mounted::new(&archive_of(200));
    let first = read_all(&mount);
    assert!(mount.requests(&["read"]) >= 200);
    assert_free(&mount, &SAVED, || assert_eq!(read_all(&mount), first));
}

#[test]
fn opens_cost_no_requests_if_all_members_are_readable() {
    let mount = Mounted::new(&archive_of(50));
    read_all(&mount);
    assert_eq!(mount.requests(&["open", "release"]), 1);
    // With prefetching enabled, opening a directory costs a request.
    assert_eq!(mount.requests(&["opendir"]), 1);
    let mount = Mounted::with_options(&archive_of(50), ["--prefetch=off"]);
    for _ in 0..2 {
        read_all(&mount);
    }
    assert_eq!(mount.requests(&["opendir", "releasedir"]), 1);
}

#[test]
fn cached_pages_are_kept_even_if_opens_cost_requests() {
    let mut archive = archive_of(50);
    archive.members.push(Member::compressed("bad", 8, 5));
    let mount = Mounted::new(&archive);
    let pass = || {
        for at in 0..50 {
            assert!(mount.read(format!("{at}.npy")) == pattern(9000, at));
        }
    };
    pass();
    assert_free(&mount, &["read", "lookup", "getattr"], pass);
    assert!(mount.requests(&["open"]) >= 100);
}

#[test]
fn listing_10_000_members_costs_no_lookups_and_no_getattrs() {
    let archive = Archive::stored((0..10_000).map(|at| (format!("{at}.npy"), "x")));
    // The kernel may drop entries before `ls` needs them, so this is tried until it does not.
    wait_until("a listing without lookups", || {
        let mount = Mounted::new(&archive);
        let before = mount.requests(&["lookup", "getattr"]);
        let listed = run(Command::new("ls").arg("-l").arg(&mount.at));
        assert_eq!(listed.out.lines().count(), 10_001);
        // Two of these are the test's own.
        assert!(mount.requests(&["getxattr"]) < 20);
        assert!(mount.requests(&["readdirplus"]) < 200);
        mount.requests(&["lookup", "getattr", "readdir"]) == before
    });
}

#[test]
fn missing_names_are_looked_up_once() {
    let mount = Mounted::new(&archive_of(1));
    let look = || assert!(!mount.path("__meta__.json").exists());
    look();
    assert_eq!(mount.requests(&["lookup"]), 1);
    assert_free(&mount, &["lookup"], look);
    let long = mount.path("x".repeat(256));
    let error = fs::metadata(long).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

/// Writes an archive with one stored member of `len` bytes, all zero but the last ones.
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
fn the_servers_memory_does_not_grow_with_the_bytes_served() {
    let place = Place::new();
    let len = 4 << 30;
    let archive = sparse_archive(&place, len);
    let mount = Mounted::in_place(place, archive, [""; 0]);
    let mut file = fs::File::open(mount.path("big.npy")).unwrap();
    assert_eq!(file.metadata().unwrap().size(), len);
    let mut buffer = vec![0; 1 << 20];
    // Many times the limit below.
    for _ in 0..512 {
        file.read_exact(&mut buffer).unwrap();
    }
    file.seek(SeekFrom::End(-8)).unwrap();
    file.read_exact(&mut buffer[..8]).unwrap();
    assert_eq!(&buffer[..8], b"the end.");
    let resident = memory(mount.server(), "VmRSS");
    assert!(resident < 32 << 20, "{resident} bytes");
}

#[test]
fn an_archive_larger_than_the_address_space_is_served() {
    let place = Place::new();
    let len = 4 << 30;
    let archive = sparse_archive(&place, len);
    let limited = |arguments: &[&std::ffi::OsStr]| {
        let mut command = npzfs();
        command.args(arguments);
        exec_after("ulimit -v 262144", &mut command);
        let result = run(&mut command);
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        result.out
    };
    let listed = limited(&["list".as_ref(), archive.as_ref()]);
    assert!(listed.contains("big.npy"), "{listed}");
    let at = place.join("mnt");
    let message = limited(&["mount".as_ref(), archive.as_ref(), at.as_ref()]);
    let mount = Mounted::adopt(place, archive, message);
    let file = fs::File::open(mount.path("big.npy")).unwrap();
    let mut end = [1; 16];
    file.read_exact_at(&mut end, len - 16).unwrap();
    assert_eq!(end, *b"\0\0\0\0\0\0\0\0the end.");
    file.read_exact_at(&mut end, len / 2).unwrap();
    assert_eq!(end, [0; 16]);
}

#[test]
fn a_big_archive_is_mounted_as_fast_as_a_small_one() {
    // A traced program cannot mount through fusermount3.
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
    assert_eq!(umount(&at).status, Some(0));
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
