//! Compressed members: inflated once, checked as a whole, and kept within limits.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use nix::sys::signal::Signal;
use npzfs::exit_status;

use crate::cgroup::Cgroup;
use crate::fixture::{Archive, METHODS, Member, compress, pattern};
use crate::mounted::{
    Mounted, Place, available, exec_after, is_dead, is_root, map, memory, npzfs, pin, run,
    send_signal, umount, wait_until,
};
use crate::users::Home;

const MIB: usize = 1 << 20;

fn deflated(name: &str, len: usize) -> Member {
    Member::packed(name, 8, &contents(name, len))
}

fn contents(name: &str, len: usize) -> Vec<u8> {
    pattern(len, name.bytes().map(u32::from).sum())
}

/// Returns a member that takes long to inflate, and its contents: the same compressed block `count`
/// times.
fn slow(name: &str, count: usize) -> (Member, Vec<u8>) {
    let block = pattern(256 << 10, 9);
    let contents = block.repeat(count);
    let data = compress(12, &block).repeat(count);
    (Member::of_compressed(name, 12, data, &contents), contents)
}

/// Runs an attempt to do something during an inflation, with slower members until it has not come too
/// late.
fn during_an_inflation(mut attempt: impl FnMut(usize) -> bool) {
    let counts = [32, 128, 512];
    assert!(counts.into_iter().any(&mut attempt));
}

fn count(mount: &Mounted, name: &str) -> u64 {
    mount.stats()[name].as_u64().expect("a number")
}

fn open_error(path: &Path) -> Option<i32> {
    File::open(path).unwrap_err().raw_os_error()
}

/// Returns the link texts of a server's descriptors of unnamed files.
fn nameless_files(server: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{server}/fd")).expect("the server runs");
    let mut links: Vec<_> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str().map(str::to_owned))
        .filter(|link| link.ends_with(" (deleted)"))
        .collect();
    links.sort();
    // Put those on a disk first.
    links.sort_by_key(|link| link.starts_with("/memfd:"));
    links
}

/// Returns the lines of the log without times, levels and the archive.
fn log_lines(log: &Path, archive: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).expect("a log");
    let archive = format!("{}: ", archive.display());
    text.lines()
        .map(|line| line.split_once("] ").expect("a level").1)
        .map(|line| line.replace(&archive, ""))
        .collect()
}

/// A file system of the test's own, for contents that do not fit into memory.
struct Disk {
    at: PathBuf,
    mounts: Vec<PathBuf>,
    // Dropped last.
    _place: Place,
}

impl Disk {
    /// Mounts a tmpfs of `size` bytes.
    fn tmpfs(size: usize) -> Self {
        let place = Place::new();
        let mut disk = Self {
            at: place.join("disk"),
            mounts: Vec::new(),
            _place: place,
        };
        let at = disk.at.clone();
        assert!(disk.mount(&at, "tmpfs", &format!("size={size}")));
        disk
    }

    /// Mounts a file system without passthrough, if the kernel has overlayfs.
    fn overlay() -> Option<Self> {
        let mut disk = Self::tmpfs(64 * MIB);
        for name in ["lower", "upper", "work"] {
            fs::create_dir(disk.at.join(name)).expect("directory is made");
        }
        let at = disk.at.display();
        let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
        let merged = disk.at.join("merged");
        let mounted = disk.mount(&merged, "overlay", &options);
        disk.at = merged;
        available(mounted, "overlayfs").then_some(disk)
    }

    fn mount(&mut self, at: &Path, kind: &str, options: &str) -> bool {
        fs::create_dir(at).expect("directory is made");
        let mut mount = Command::new("mount");
        let result = run(mount.args(["-t", kind, "-o", options, "none"]).arg(at));
        if result.status == Some(0) {
            self.mounts.push(at.to_owned());
        }
        result.status == Some(0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for at in self.mounts.iter().rev() {
            let result = run(Command::new("umount").arg(at));
            if !thread::panicking() {
                assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
            }
        }
    }
}

#[test]
fn members_of_every_method_are_read_bit_for_bit() {
    let lens = [0, 1, 4096, 300_001];
    let members = METHODS.iter().flat_map(|&method| {
        lens.map(|len| {
            let name = format!("{method} {len}");
            let contents = contents(&name, len);
            Member::packed(name, method, &contents)
        })
    });
    let mount = Mounted::new(&Archive::of(members));
    // Cold, then warm.
    for _ in 0..2 {
        for (method, len) in METHODS
            .iter()
            .flat_map(|method| lens.map(|len| (method, len)))
        {
            let name = format!("{method} {len}");
            let contents = contents(&name, len);
            assert!(mount.read(&name) == contents, "{name}");
            let file = File::open(mount.path(&name)).unwrap();
            for at in [0, 1, len / 2, len.saturating_sub(9), len, len + 5] {
                let mut buffer = [0; 5000];
                let read = file.read_at(&mut buffer, at as u64).unwrap();
                let rest = contents.get(at..).unwrap_or_default();
                assert_eq!(buffer[..read], rest[..rest.len().min(5000)], "{name} {at}");
            }
            assert_eq!(map(&file)[..], contents, "{name}");
        }
    }
    let inflated = (METHODS.len() * lens.len()) as u64;
    assert_eq!(count(&mount, "inflations"), inflated);
    assert_eq!(count(&mount, "inflated"), inflated);
    let bytes = METHODS.len() * lens.iter().sum::<usize>();
    assert_eq!(count(&mount, "inflated_bytes"), bytes as u64);
}

#[test]
fn a_wrong_crc_or_size_is_never_served_and_logged_once() {
    let good = || deflated("x", MIB);
    let bad = [
        ("crc", good().with(|member| member.crc32 ^= 1)),
        ("short", good().with(|member| member.size += 1)),
        ("long", good().with(|member| member.size -= 1)),
        ("much", good().with(|member| member.size = 1)),
        ("cut", good().with(|member| member.data.truncate(MIB / 2))),
        ("empty", good().with(|member| member.data.clear())),
        ("noise", good().with(|member| member.data.fill(0x55))),
    ];
    let members = bad.iter().map(|(name, member)| {
        let name = name.as_bytes().to_vec();
        member.clone().with(|member| member.name = name)
    });
    let place = Place::new();
    let archive = Archive::of(members.chain([good()])).write(place.path(), "a.npz");
    let log = place.join("log");
    let mount = Mounted::in_place(place, archive, [Path::new("--log"), &log]);
    for _ in 0..3 {
        for (name, _) in &bad {
            assert_eq!(open_error(&mount.path(name)), Some(libc::EIO), "{name}");
        }
    }
    assert_eq!(count(&mount, "inflated"), 0);
    assert_eq!(count(&mount, "inflated_bytes"), 0);
    assert_eq!(count(&mount, "inflations"), 3 * bad.len() as u64);
    assert!(mount.read("x") == contents("x", MIB));
    let crc = crc32fast::hash(&contents("x", MIB));
    let mut lines = log_lines(&log, &mount.archive);
    assert_eq!(lines.len(), bad.len(), "{lines:?}");
    let noise = lines.pop().unwrap();
    let damaged = "member 'noise': compressed data is damaged: ";
    assert!(noise.starts_with(damaged), "{noise}");
    let declared = crc ^ 1;
    assert_eq!(
        lines,
        [
            format!("member 'crc': CRC-32 of the data is {crc:08x} instead of {declared:08x}"),
            "member 'short': 1048576 bytes of data instead of 1048577".to_owned(),
            "member 'long': more than 1048575 bytes of data".to_owned(),
            "member 'much': more than 1 bytes of data".to_owned(),
            "member 'cut': compressed data is damaged: incomplete deflate stream".to_owned(),
            "member 'empty': compressed data is damaged: incomplete deflate stream".to_owned(),
        ]
    );
}

#[test]
fn thirty_two_readers_of_one_cold_member_inflate_it_once() {
    let mount = Mounted::new(&Archive::of([deflated("x", 4 * MIB)]));
    let start = Barrier::new(32);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                start.wait();
                assert!(mount.read("x") == contents("x", 4 * MIB));
            });
        }
    });
    assert_eq!(count(&mount, "inflations"), 1);
    assert_eq!(count(&mount, "inflated"), 1);
}

#[test]
fn other_files_are_served_while_a_large_member_is_inflated() {
    during_an_inflation(|slowness| {
        let (slow, slow_contents) = slow("slow", slowness);
        let mut members = vec![slow, Member::stored("stored", contents("stored", MIB))];
        members.extend((0..20).map(|at| deflated(&at.to_string(), 5000)));
        let mount = Mounted::new(&Archive::of(members));
        let warm = File::open(mount.path("0")).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| File::open(mount.path("slow")).unwrap());
            wait_until("the inflation", || count(&mount, "inflations") == 2);
            for at in 1..20 {
                let name = at.to_string();
                assert!(mount.read(&name) == contents(&name, 5000));
            }
            let mut buffer = [0; 100];
            warm.read_exact_at(&mut buffer, 4000).unwrap();
            assert_eq!(buffer, contents("0", 5000)[4000..4100]);
            assert!(mount.read("stored") == contents("stored", MIB));
            assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 22);
            let was_in_time = !reader.is_finished();
            let file = reader.join().unwrap();
            assert!(map(&file)[..] == slow_contents);
            was_in_time
        })
    });
}

#[test]
fn a_reader_that_is_killed_leaves_nothing() {
    during_an_inflation(|slowness| {
        let (slow, slow_contents) = slow("slow", slowness);
        let archive = Archive::of([slow, deflated("x", 5 * MIB)]);
        let limit = format!("--inflate-limit={}", slow_contents.len() + MIB);
        let mount = Mounted::with_options(&archive, [limit]);
        let mut reader = Command::new("tail");
        reader
            .arg("-f")
            .arg(mount.path("slow"))
            .stdout(Stdio::null());
        let mut readers = [reader.spawn().unwrap(), reader.spawn().unwrap()];
        wait_until("the inflation", || count(&mount, "inflations") == 1);
        wait_until("the other open", || mount.requests(&["open"]) == 2);
        let was_in_time = count(&mount, "inflated") == 0;
        for reader in &mut readers {
            send_signal(reader.id(), Signal::SIGKILL);
        }
        for reader in &mut readers {
            assert_eq!(reader.wait().unwrap().code(), None);
        }
        wait_until("the releases", || mount.requests(&["release"]) == 2);
        assert_eq!(count(&mount, "inflations"), 1);
        assert_eq!(count(&mount, "inflated_bytes"), slow_contents.len() as u64);
        // It is not open any more, so it is dropped for the next one.
        assert!(mount.read("x") == contents("x", 5 * MIB));
        assert_eq!(count(&mount, "inflated_bytes"), 5 * MIB as u64);
        assert_eq!(nameless_files(mount.server()).len(), 1);
        was_in_time
    });
}

#[test]
fn memory_is_used_first_then_the_cache_directory() {
    let place = Place::new();
    let cache = place.join("cache");
    fs::create_dir(&cache).unwrap();
    let archive = Archive::of(["a", "b", "c"].map(|name| deflated(name, MIB)));
    let archive = archive.write(place.path(), "a.npz");
    let cache_dir = format!("--cache-dir={}", cache.display());
    let options = ["--inflate-limit=2M".to_owned(), cache_dir];
    let mount = Mounted::in_place(place, archive, options);
    let open = ["a", "b", "c"].map(|name| {
        assert!(mount.read(name) == contents(name, MIB));
        File::open(mount.path(name)).unwrap()
    });
    let server = mount.server();
    let files = nameless_files(server);
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files[0].starts_with(cache.to_str().unwrap()), "{files:?}");
    assert_eq!(files[1..], ["/memfd:npzfs (deleted)"; 2]);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
    assert_eq!(count(&mount, "inflated"), 3);
    assert_eq!(count(&mount, "inflated_bytes"), 2 * MIB as u64);
    drop(open);
    for name in ["c", "b", "a"] {
        assert!(mount.read(name) == contents(name, MIB));
    }
    assert_eq!(count(&mount, "inflations"), 3);
}

/// Returns an archive of small deflated members: many more than may be kept at a time.
fn small(count: usize) -> Archive {
    let member = |at: usize| {
        let name = format!("{}/{at}", at % 100);
        deflated(&name, 2000)
    };
    Archive::of((0..count).map(member))
}

/// Reads and compares all members of such an archive, with several readers.
fn read_small(mount: &Mounted, count: usize) {
    const READERS: usize = 4;
    thread::scope(|scope| {
        for reader in 0..READERS {
            scope.spawn(move || {
                for at in (reader..count).step_by(READERS) {
                    let name = format!("{}/{at}", at % 100);
                    assert!(mount.read(&name) == contents(&name, 2000), "{name}");
                }
            });
        }
    });
}

#[test]
fn small_members_never_exceed_the_limit_of_memory() {
    let mount = Mounted::with_options(&small(20_000), ["--inflate-limit=8M"]);
    let before = memory(mount.server(), "VmRSS");
    read_small(&mount, 20_000);
    // Each takes a page, and a file in the kernel.
    let kept = count(&mount, "inflated");
    assert!(kept > 1000 && kept * (4096 + 2048) <= 8 << 20, "{kept}");
    let grown = memory(mount.server(), "VmRSS").saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn in_64_mib_any_number_of_small_members_can_be_read() {
    let Some(group) = Cgroup::new(64 << 20) else {
        return;
    };
    let place = Place::new();
    let archive = small(20_000).write(place.path(), "a.npz");
    let mut command = npzfs();
    command.arg("mount").arg(&archive).arg(place.join("mnt"));
    exec_after(&group.enter(), &mut command);
    let said = run(&mut command);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    let mount = Mounted::adopt(place, archive, said.out);
    for _ in 0..2 {
        read_small(&mount, 20_000);
    }
    println!("{}", group.pressure());
    assert_eq!(group.oom_kills(), 0);
    drop(mount);
}

#[test]
fn the_least_recently_opened_unused_contents_go_first() {
    let names = ["a", "b", "c", "d"];
    let archive = Archive::of(names.map(|name| deflated(name, MIB)));
    let mount = Mounted::with_options(&archive, ["--inflate-limit=3M"]);
    let read = |names: &[&str]| {
        for name in names {
            let before = mount.requests(&["release"]);
            assert!(mount.read(name) == contents(name, MIB), "{name}");
            wait_until("the file is released", || {
                mount.requests(&["release"]) > before
            });
        }
        count(&mount, "inflations")
    };
    assert_eq!(read(&["a", "b", "c", "a"]), 3);
    let open = File::open(mount.path("b")).unwrap();
    // Of a, b and c, c was opened longest ago.
    assert_eq!(read(&["d"]), 4);
    assert_eq!(read(&["a", "b", "d"]), 4);
    // Now b was, but it is open.
    assert_eq!(read(&["a", "d", "c"]), 5);
    assert_eq!(read(&["b", "d", "c"]), 5);
    assert_eq!(read(&["a"]), 6);
    assert_eq!(count(&mount, "inflated_bytes"), 3 * MIB as u64);
    drop(open);
}

#[test]
fn open_and_mapped_contents_keep_their_bytes_when_room_is_short() {
    let names = ["mapped", "open", "c", "d", "e"];
    let archive = Archive::of(names.map(|name| deflated(name, MIB)));
    let mount = Mounted::with_options(&archive, ["--inflate-limit=2M"]);
    // The mapping outlives the file.
    let mapped = map(&File::open(mount.path("mapped")).unwrap());
    let open = File::open(mount.path("open")).unwrap();
    for name in ["c", "d", "e", "c"] {
        assert!(mount.read(name) == contents(name, MIB), "{name}");
    }
    assert_eq!(count(&mount, "inflated_bytes"), 2 * MIB as u64);
    assert!(mapped[..] == contents("mapped", MIB));
    let mut buffer = vec![0; MIB];
    open.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == contents("open", MIB));
    assert!(mount.read("mapped") == contents("mapped", MIB));
    // The others went to the disk, where there is room for all.
    assert_eq!(count(&mount, "inflations"), 5);
}

#[test]
fn without_room_an_open_fails_until_there_is_some() {
    if !available(is_root(), "root") {
        return;
    }
    let disk = Disk::tmpfs(3 * MIB);
    let place = Place::new();
    let names = ["a", "b", "c", "d"];
    let archive = Archive::of(names.map(|name| deflated(name, MIB)));
    let archive = archive.write(place.path(), "a.npz");
    let log = place.join("log");
    let options = [
        "--inflate-limit=1M".to_owned(),
        format!("--cache-dir={}", disk.at.display()),
        format!("--log={}", log.display()),
    ];
    let mount = Mounted::in_place(place, archive, options);
    let is_short = |open: &[&str], wanted: &str| {
        let open: Vec<_> = open
            .iter()
            .map(|name| File::open(mount.path(name)).unwrap())
            .collect();
        for _ in 0..3 {
            assert_eq!(open_error(&mount.path(wanted)), Some(libc::EIO));
        }
        for (file, name) in open.iter().zip(names) {
            let mut buffer = vec![0; MIB];
            file.read_exact_at(&mut buffer, 0).unwrap();
            assert!(buffer == contents(name, MIB), "{name}");
        }
    };
    fs::write(disk.at.join("ballast"), vec![1; MIB]).unwrap();
    is_short(&["a", "b", "c"], "d");
    // The three opens that failed have no release.
    let wait_until_released = || {
        wait_until("all files are released", || {
            mount.requests(&["release"]) + 3 == mount.requests(&["open"])
        });
    };
    wait_until_released();
    assert!(mount.read("d") == contents("d", MIB));
    wait_until_released();
    // After a success the failure is logged again.
    is_short(&["a", "b", "c"], "d");
    fs::remove_file(disk.at.join("ballast")).unwrap();
    for name in names {
        assert!(mount.read(name) == contents(name, MIB));
    }
    let line = format!(
        "member 'd': no room for 1.0 MB: --inflate-limit is 1.0 MB, and {} has not that much left",
        disk.at.display()
    );
    assert_eq!(log_lines(&log, &mount.archive), [line.clone(), line]);
    assert_eq!(mount.umount().status, Some(0));
    drop(disk);
}

#[test]
fn a_size_beyond_all_room_is_refused_at_once() {
    let place = Place::new();
    let bomb = deflated("bomb", MIB).with(|member| member.size = 1 << 50);
    let archive = Archive::of([bomb, deflated("x", MIB)]).write(place.path(), "a.npz");
    let log = place.join("log");
    let options = [
        "--inflate-limit=4M".to_owned(),
        format!("--cache-dir={}", place.path().display()),
        format!("--log={}", log.display()),
    ];
    let cache = place.path().to_owned();
    let mount = Mounted::in_place(place, archive, options);
    assert!(mount.read("x") == contents("x", MIB));
    assert_eq!(open_error(&mount.path("bomb")), Some(libc::EIO));
    // Nothing was dropped for it.
    assert_eq!(count(&mount, "inflated"), 1);
    assert_eq!(
        log_lines(&log, &mount.archive),
        [format!(
            "member 'bomb': no room for 1.1 PB: --inflate-limit is 4.2 MB, and {} has not that \
             much left",
            cache.display()
        )]
    );
}

#[test]
fn an_unusable_cache_directory_is_an_error() {
    let place = Place::new();
    let archive = Archive::of([deflated("x", 100)]).write(place.path(), "a.npz");
    let at = place.join("mnt");
    for (directory, why) in [
        ("missing\n", "No such file or directory"),
        ("a.npz", "Not a directory"),
    ] {
        let directory = place.join(directory);
        let mut mount = npzfs();
        mount.arg("mount").arg("--cache-dir").arg(&directory);
        let result = run(mount.args([&archive, &at]));
        let shown = directory.to_str().unwrap().replace('\n', "\\n");
        let message = format!("npzfs: {shown}: cannot inflate there: {why}\n");
        assert_eq!((result.status, result.err), (Some(1), message));
        assert!(!at.exists());
    }
    // A relative path is resolved in the directory where npzfs was started.
    fs::create_dir(place.join("cache")).unwrap();
    let mut mount = npzfs();
    mount.current_dir(place.path());
    mount.args(["mount", "--cache-dir=cache", "--inflate-limit=0"]);
    let result = run(mount.args([&archive, &at]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let cache = place.join("cache");
    let mount = Mounted::adopt(place, archive, result.out);
    assert!(mount.read("x") == contents("x", 100));
    let files = nameless_files(mount.server());
    assert!(files[0].starts_with(cache.to_str().unwrap()), "{files:?}");
}

#[test]
fn a_killed_server_leaves_no_file_in_the_cache_directory() {
    if !available(is_root(), "root") {
        return;
    }
    let disk = Disk::tmpfs(8 * MIB);
    let archive = Archive::of(["a", "b"].map(|name| deflated(name, MIB)));
    let cache_dir = format!("--cache-dir={}", disk.at.display());
    let mount = Mounted::with_options(&archive, ["--inflate-limit=0", &cache_dir]);
    let used = || {
        let disk = nix::sys::statvfs::statvfs(&disk.at).unwrap();
        (disk.blocks() - disk.blocks_free()) * disk.fragment_size()
    };
    assert_eq!(used(), 0);
    let open = ["a", "b"].map(|name| File::open(mount.path(name)).unwrap());
    assert!(used() >= 2 * MIB as u64);
    assert_eq!(fs::read_dir(&disk.at).unwrap().count(), 0);
    send_signal(mount.server(), Signal::SIGKILL);
    wait_until("the mount is dead", || is_dead(&mount.at));
    drop(open);
    assert_eq!(mount.umount().status, Some(0));
    wait_until("the disk is empty", || used() == 0);
    drop(mount);
    drop(disk);
}

#[test]
fn roots_kernel_reads_inflated_files_without_requests() {
    if !available(is_root(), "root") {
        return;
    }
    let mount = Mounted::new(&Archive::of(["a", "b"].map(|name| deflated(name, MIB))));
    for _ in 0..2 {
        for name in ["a", "b"] {
            assert!(mount.read(name) == contents(name, MIB));
            let file = File::open(mount.path(name)).unwrap();
            assert!(map(&file)[..] == contents(name, MIB));
        }
    }
    assert_eq!(count(&mount, "bytes_read"), 0);
    assert_eq!(mount.requests(&["read"]), 0);
}

#[test]
fn an_ordinary_users_kernel_sends_each_read_once() {
    let archive = Archive::of(["a", "b"].map(|name| deflated(name, MIB)));
    let Some(home) = Home::of(&archive) else {
        return;
    };
    assert_eq!(home.mount(&[]).status, Some(0));
    for name in ["a", "b"] {
        let expected = home.place.join(name);
        fs::write(&expected, contents(name, MIB)).unwrap();
        let is_same = || {
            let mut cmp = Command::new("cmp");
            home.run(cmp.arg(home.at.join(name)).arg(&expected)).status == Some(0)
        };
        assert!(is_same());
        assert!(home.stats()["read"].as_u64() >= Some(1));
        // The kernel may drop its cache at any time.
        wait_until("a pass without reads", || {
            let before = home.stats()["read"].clone();
            assert!(is_same());
            home.stats()["read"] == before
        });
    }
    assert_eq!(home.stats()["inflations"], 2);
    assert_eq!(home.umount(&[]).status, Some(0));
}

#[test]
fn a_file_that_is_open_can_be_opened_again_in_either_way() {
    if !available(is_root(), "root") {
        return;
    }
    let Some(disk) = Disk::overlay() else { return };
    let names = ["passthrough", "server", "later"];
    let archive = Archive::of(names.map(|name| deflated(name, MIB)));
    let cache_dir = format!("--cache-dir={}", disk.at.display());
    let mount = Mounted::with_options(&archive, ["--inflate-limit=1M", &cache_dir]);
    let mut open = Vec::new();
    for _ in 0..3 {
        for name in ["passthrough", "server"] {
            let file = File::open(mount.path(name)).unwrap();
            let mapped = pin(&file);
            assert!(mapped[..] == contents(name, MIB), "{name}");
            let mut buffer = vec![0; MIB];
            file.read_exact_at(&mut buffer, 0).unwrap();
            assert!(buffer == contents(name, MIB), "{name}");
            open.push((file, mapped));
        }
    }
    // The kernel has read one of the two from the server, once. Some pages that were read ahead it may
    // have dropped before they were locked.
    let bytes_read = count(&mount, "bytes_read");
    assert!(
        (MIB as u64..2 * MIB as u64).contains(&bytes_read),
        "{bytes_read}"
    );
    // Another file is read by passthrough again.
    drop(open);
    wait_until("all files are released", || {
        mount.requests(&["release"]) == mount.requests(&["open"])
    });
    assert!(mount.read("later") == contents("later", MIB));
    assert_eq!(count(&mount, "bytes_read"), bytes_read);
    drop(mount);
    drop(disk);
}

#[test]
fn inflated_contents_are_not_opened_after_a_change() {
    let place = Place::new();
    let archive = Archive::of(["a", "b"].map(|name| deflated(name, MIB)));
    let archive = archive.write(place.path(), "a.npz");
    let log = place.join("log");
    let mount = Mounted::in_place(place, archive, [Path::new("--log"), &log]);
    assert!(mount.read("a") == contents("a", MIB));
    let time = std::time::SystemTime::now();
    let file = File::options().write(true).open(&mount.archive).unwrap();
    file.set_modified(time + std::time::Duration::from_secs(5))
        .unwrap();
    for name in ["a", "b"] {
        assert_eq!(open_error(&mount.path(name)), Some(libc::EIO));
    }
    assert_eq!(mount.stats()["stale"], true);
    wait_until("both lines are logged", || {
        log_lines(&log, &mount.archive).len() >= 2
    });
    let mut lines = log_lines(&log, &mount.archive);
    lines.sort();
    assert_eq!(
        lines,
        [
            "changed while mounted; mount it again",
            "member 'b': the archive changed while the member was inflated",
        ]
    );
}

#[test]
fn with_passthrough_on_the_cache_directory_must_allow_it() {
    if !available(is_root(), "root") {
        return;
    }
    let Some(disk) = Disk::overlay() else { return };
    let place = Place::new();
    let archive = Archive::of([deflated("x", MIB)]).write(place.path(), "a.npz");
    let mount = |cache: &Path, passthrough| {
        let at = place.join("mnt");
        let mut mount = npzfs();
        mount.arg("mount").args(["--passthrough", passthrough]);
        mount.arg("--cache-dir").arg(cache).arg(&archive).arg(&at);
        let result = run(&mut mount);
        if result.status == Some(0) {
            assert_eq!(umount(&at).status, Some(0));
        }
        result
    };
    let result = mount(&disk.at, "on");
    let expected = format!(
        "npzfs: --passthrough=on: the kernel takes no files in {}: its file system is on top of \
         another one: choose another --cache-dir (auto serves all members all the same)\n",
        disk.at.display()
    );
    let status = Some(exit_status::FUSE.into());
    assert_eq!((result.status, result.err), (status, expected));
    assert_eq!(mount(place.path(), "on").status, Some(0));
    assert_eq!(mount(&disk.at, "auto").status, Some(0));
    drop(disk);
}
