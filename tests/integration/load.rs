//! Many concurrent readers whose bytes are all compared, also with few descriptors or little memory.
//!
//! `NPZFS_LOAD_SECONDS` is the duration of each test in seconds, by default 3.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::Signal;

use crate::cgroup::Cgroup;
use crate::fixture::{Archive, Member};
use crate::mounted::{
    Foreground, Place, TIMEOUT, exec_after, map, memory, mounts_below, send_signal, umount,
};

const READERS: usize = 64;
const MEMBERS: usize = 10_000;
/// Members from this one on are in directories, so that there are long and short listings.
const FIRST_IN_DIRECTORY: usize = 5_000;
const DIRECTORIES: usize = 50;
/// The length of the longest member, in bytes.
const LEN_MAX: usize = 300 << 10;
/// The distance between the starts of two members in the noise, in bytes.
const STEP: usize = 389;
/// The number of files that a reader keeps open while it uses others.
const HELD_OPEN: usize = 4;
/// The limit for the memory of the server, in bytes.
const MEMORY_MAX: u64 = 64 << 20;

#[test]
fn under_load_64_readers_get_every_byte_right() {
    load(true, |_| {});
}

#[test]
fn under_load_64_descriptors_are_enough_for_the_server() {
    // With an unreadable member each open is a request.
    load(false, |command| exec_after("ulimit -n 64", command));
}

#[test]
fn under_load_64_mib_of_memory_are_enough_for_the_server() {
    let Some(group) = Cgroup::new(MEMORY_MAX) else {
        return;
    };
    load(true, |command| exec_after(&group.enter(), command));
    println!("{}", group.pressure());
    assert_eq!(group.oom_kills(), 0);
}

/// Mounts, runs the readers, and checks the memory of the server and the unmount.
fn load(all_readable: bool, limit: impl FnOnce(&mut Command)) {
    let seconds = std::env::var("NPZFS_LOAD_SECONDS").map_or(3, |seconds| {
        seconds.parse().expect("NPZFS_LOAD_SECONDS is a number")
    });
    let place = Place::new();
    let noise = Noise::new();
    let archive = write_archive(&place, &noise, all_readable);
    let mount = Foreground::start(&place, &archive, limit);
    let server = mount.child.id();

    let end = Instant::now() + Duration::from_secs(seconds);
    let done = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS as u64)
            .map(|seed| {
                let mut reader = Reader::new(&mount.at, &noise, seed);
                scope.spawn(move || {
                    while Instant::now() < end {
                        reader.step();
                    }
                    reader.done
                })
            })
            .collect();
        while readers.iter().any(|reader| !reader.is_finished()) {
            if Instant::now() > end + TIMEOUT {
                // This gives an error to readers that hang, so that the test ends.
                send_signal(server, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        readers
            .into_iter()
            .map(|reader| reader.join().expect("no reader fails"))
            .fold(Done::default(), Done::add)
    });

    let (resident, peak) = (memory(server, "VmRSS"), memory(server, "VmHWM"));
    println!(
        "{} operations, {} bytes compared in {seconds} s; server: {} MiB, at most {} MiB",
        done.operations,
        done.bytes,
        resident >> 20,
        peak >> 20
    );
    assert!(done.bytes > 0);
    assert!(resident < MEMORY_MAX, "{resident} bytes");
    let mut last = Reader::new(&mount.at, &noise, READERS as u64);
    (0..10).for_each(|_| last.step());
    drop(last);

    let at = mount.at.clone();
    let unmounted = umount(&at);
    assert_eq!((unmounted.status, unmounted.err.as_str()), (Some(0), ""));
    assert_eq!(mounts_below(&at), [""; 0]);
    let result = mount.end();
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
}

/// Random bytes. Each member is a part of them, so that any byte of it can be checked without a copy.
struct Noise(Vec<u8>);

impl Noise {
    fn new() -> Self {
        let mut random = Random::new(0);
        let words = (MEMBERS * STEP + LEN_MAX).div_ceil(8);
        Self(
            (0..words)
                .flat_map(|_| random.next().to_le_bytes())
                .collect(),
        )
    }

    fn member(&self, number: usize) -> &[u8] {
        &self.0[number * STEP..][..len_of(number)]
    }
}

/// Returns the length of a member. Most are short, as in frames of many columns; some are empty.
fn len_of(number: usize) -> usize {
    let random = Random::new(number as u64).next() as usize;
    match number % 100 {
        0 => 0,
        1..=3 => random % (LEN_MAX + 1),
        4..=9 => 4096 * (random % 16) + [4095, 0, 1][random % 3],
        _ => random % 10_000,
    }
}

fn name_of(number: usize) -> String {
    if number < FIRST_IN_DIRECTORY {
        format!("{number}.npy")
    } else {
        format!("{}/{number}.npy", number % DIRECTORIES)
    }
}

fn write_archive(place: &Place, noise: &Noise, all_readable: bool) -> PathBuf {
    let member = |number: usize| {
        let data = noise.member(number).to_vec();
        // Without a CRC, which npzfs does not check for stored members, to save time.
        Member::stored(name_of(number), "").with(|member| {
            member.size = data.len() as u64;
            member.data = data;
        })
    };
    let mut archive = Archive::of((0..MEMBERS).map(member));
    if !all_readable {
        archive.members.push(Member::compressed("0/deflated", 8, 5));
    }
    let path = archive.write(place.path(), "a.npz");
    // Drop the pages, since the control group that reads them next is charged for them.
    let file = File::open(&path).unwrap();
    file.sync_all().unwrap();
    drop_pages(&file);
    path
}

fn drop_pages(file: &File) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("advice is taken");
}

/// Pseudorandom numbers, the same in each run (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
}

/// The numbers of operations and of compared bytes.
#[derive(Default)]
struct Done {
    operations: u64,
    bytes: u64,
}

impl Done {
    fn add(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            bytes: self.bytes + other.bytes,
        }
    }
}

struct Reader<'a> {
    at: &'a Path,
    noise: &'a Noise,
    random: Random,
    held_open: Vec<(usize, File)>,
    done: Done,
}

impl<'a> Reader<'a> {
    fn new(at: &'a Path, noise: &'a Noise, seed: u64) -> Self {
        Self {
            at,
            noise,
            random: Random::new(seed),
            held_open: Vec::new(),
            done: Done::default(),
        }
    }

    /// Performs a random operation.
    fn step(&mut self) {
        let number = self.random.below(MEMBERS);
        match self.random.below(200) {
            0 => self.list_root(),
            1..10 => self.list_directory(number % DIRECTORIES),
            10..20 => self.look_up_missing(number),
            20..60 => self.stat(number),
            60..90 => self.read_held_open(),
            90..130 => self.map(number),
            130..160 => self.read_all(number),
            _ => self.read_parts(number),
        }
        self.done.operations += 1;
    }

    fn path(&self, number: usize) -> PathBuf {
        self.at.join(name_of(number))
    }

    /// Opens a member, and often drops its cached pages, or else the server would soon be idle.
    fn open(&mut self, number: usize) -> File {
        let file = File::open(self.path(number)).expect("member is opened");
        if self.random.below(2) == 0 {
            drop_pages(&file);
        }
        file
    }

    fn compare(&mut self, number: usize, offset: usize, read: &[u8], len: usize) {
        let expected = self.noise.member(number);
        let expected = expected.get(offset..).unwrap_or_default();
        let expected = &expected[..expected.len().min(len)];
        // assert_eq would print all bytes.
        assert!(read == expected, "member {number}: {len} at {offset}");
        self.done.bytes += read.len() as u64;
    }

    fn read_part(&mut self, number: usize, file: &File) {
        let offset = self.random.below(len_of(number) + 10);
        let len = 1 + self.random.below(20_000);
        let mut buffer = vec![0; len];
        let read = file.read_at(&mut buffer, offset as u64).expect("pread");
        self.compare(number, offset, &buffer[..read], len);
    }

    fn read_parts(&mut self, number: usize) {
        let file = self.open(number);
        (0..4).for_each(|_| self.read_part(number, &file));
        if self.held_open.len() == HELD_OPEN {
            let oldest = self.random.below(HELD_OPEN);
            self.held_open.swap_remove(oldest);
        }
        self.held_open.push((number, file));
    }

    fn read_held_open(&mut self) {
        if let Some((number, file)) = self.held_open.pop() {
            self.read_part(number, &file);
            self.held_open.insert(0, (number, file));
        }
    }

    fn read_all(&mut self, number: usize) {
        let mut file = self.open(number);
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes).expect("member is read");
        self.compare(number, 0, &bytes, usize::MAX);
    }

    fn map(&mut self, number: usize) {
        let file = self.open(number);
        let mapping = map(&file);
        self.compare(number, 0, &mapping, usize::MAX);
    }

    fn stat(&mut self, number: usize) {
        let metadata = fs::metadata(self.path(number)).expect("member is there");
        assert!(metadata.is_file());
        assert_eq!(metadata.len(), len_of(number) as u64);
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o444);
    }

    fn look_up_missing(&mut self, number: usize) {
        let missing = self.path(number).with_extension("missing");
        let error = File::open(missing).expect_err("the file is missing");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    fn list_root(&mut self) {
        let files = (0..FIRST_IN_DIRECTORY).map(name_of);
        let directories = (0..DIRECTORIES).map(|number| number.to_string());
        assert!(list(self.at) == files.chain(directories).collect());
    }

    fn list_directory(&mut self, number: usize) {
        let at = self.at.join(number.to_string());
        let mut listed = list(&at);
        listed.remove("deflated");
        let expected = (FIRST_IN_DIRECTORY..MEMBERS)
            .filter(|member| member % DIRECTORIES == number)
            .map(|member| format!("{member}.npy"))
            .collect();
        assert_eq!(listed, expected);
    }
}

/// Returns the names in a directory, each of which must occur once.
fn list(directory: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("directory is opened") {
        let name = entry.expect("directory is read").file_name();
        let name = name.into_string().expect("name is text");
        assert!(names.insert(name));
    }
    names
}
