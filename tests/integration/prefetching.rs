//! Prefetching: the next files of a sequential reader are in the page cache before it reads them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixture::{Archive, Member, pattern};
use crate::mounted::{Mounted, is_running, mounts_below, run, send_signal, wait_until};

const COUNT: u32 = 400;
const LEN: usize = 50_000;

fn contents(at: u32) -> &'static [u8] {
    static CONTENTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let of = |at| pattern(LEN + at as usize, at);
    &CONTENTS.get_or_init(|| (0..=COUNT).map(of).collect())[at as usize]
}

/// The order of the members is not that of their names.
fn archive() -> Archive {
    Archive::stored((0..COUNT).map(|at| (format!("{at}.npy"), contents(at))))
}

fn prefetched(mount: &Mounted) -> u64 {
    mount.requests(&["prefetched"])
}

/// Reads whole files and compares them.
fn read(mount: &Mounted, order: impl IntoIterator<Item = u32>) {
    for at in order {
        assert!(mount.read(format!("{at}.npy")) == contents(at), "{at}");
    }
}

fn by_name() -> Vec<u32> {
    let mut names: Vec<_> = (0..COUNT).map(|at| (format!("{at}.npy"), at)).collect();
    names.sort();
    names.into_iter().map(|(_, at)| at).collect()
}

/// Uses new mounts until more than `least` files are prefetched in one of them: other work may delay
/// the thread that prefetches.
fn until_prefetched(archive: &Archive, least: u32, pass: impl Fn(&Mounted)) -> Mounted {
    let mut mount = Mounted::new(archive);
    pass(&mount);
    wait_until("enough files are prefetched", || {
        let is_enough = prefetched(&mount) > least.into();
        if !is_enough {
            mount = Mounted::new(archive);
            pass(&mount);
        }
        is_enough
    });
    mount
}

#[test]
fn files_read_in_sequence_are_prefetched_with_their_bytes() {
    let mount = until_prefetched(&archive(), COUNT / 2, |mount| read(mount, 0..COUNT));
    assert!(mount.requests(&["read"]) < u64::from(COUNT));
    // The kernel may drop names and pages at any time.
    wait_until("a second pass with few requests", || {
        let before = mount.requests(&["lookup", "read"]);
        read(&mount, 0..COUNT);
        mount.requests(&["lookup", "read"]) - before < u64::from(COUNT) / 10
    });
}

#[test]
fn name_order_and_a_listing_before_are_recognized() {
    until_prefetched(&archive(), 0, |mount| {
        let mut listed: Vec<_> = fs::read_dir(&mount.at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        listed.sort();
        let names: Vec<_> = by_name().iter().map(|at| format!("{at}.npy")).collect();
        assert_eq!(listed, names);
        read(mount, by_name());
    });
}

#[test]
fn files_in_a_directory_of_the_archive_are_prefetched_too() {
    let members = (0..COUNT).flat_map(|at| {
        let name = |directory| format!("{directory}/x/{at}.npy");
        [(name("a"), contents(at)), (name("b"), contents(at + 1))]
    });
    until_prefetched(&Archive::stored(members), COUNT / 2, |mount| {
        for at in 0..COUNT {
            assert!(mount.read(format!("b/x/{at}.npy")) == contents(at + 1));
        }
    });
}

#[test]
fn files_are_prefetched_even_if_opens_cost_requests() {
    let mut archive = archive();
    archive.members.push(Member::compressed("bad", 8, 5));
    until_prefetched(&archive, COUNT / 2, |mount| read(mount, 0..COUNT));
}

#[test]
fn nothing_is_prefetched_for_reads_in_random_order() {
    let mount = Mounted::new(&archive());
    read(&mount, (0..COUNT).map(|at| at * 149 % COUNT));
    assert_eq!(prefetched(&mount), 0);
}

#[test]
fn nothing_is_prefetched_for_files_that_are_only_opened() {
    let mount = Mounted::new(&archive());
    for at in 0..COUNT {
        assert_eq!(
            fs::metadata(mount.path(format!("{at}.npy"))).unwrap().len(),
            contents(at).len() as u64
        );
    }
    assert_eq!(prefetched(&mount), 0);
}

#[test]
fn as_much_is_prefetched_as_was_read_of_earlier_files() {
    let long = pattern(300 << 10, 1);
    let members = (0..80).map(|at| (format!("{at}.npy"), long.clone()));
    let mount = until_prefetched(&Archive::stored(members), 40, |mount| {
        for at in 0..80 {
            let mut start = [0; 100];
            let mut file = File::open(mount.path(format!("{at}.npy"))).unwrap();
            file.read_exact(&mut start).unwrap();
            assert_eq!(start, long[..100]);
        }
    });
    let (files, bytes) = (prefetched(&mount), mount.requests(&["bytes_prefetched"]));
    // The kernel reads ahead a bit itself.
    assert!(bytes <= files * (128 << 10), "{files} {bytes}");
}

#[test]
fn with_prefetch_off_nothing_is_prefetched() {
    let mount = Mounted::with_options(&archive(), ["--prefetch=off"]);
    read(&mount, 0..COUNT);
    assert_eq!(prefetched(&mount), 0);
    assert_eq!(mount.requests(&["lookup"]), u64::from(COUNT));
}

#[test]
fn concurrent_readers_get_the_right_bytes() {
    for threads in ["--threads=1", "--threads=2", "--threads=8"] {
        let mount = Mounted::with_options(&archive(), [threads]);
        read(&mount, 0..50);
        thread::scope(|scope| {
            scope.spawn(|| read(&mount, 50..COUNT));
            scope.spawn(|| read(&mount, 200..COUNT));
            scope.spawn(|| read(&mount, by_name()));
            scope.spawn(|| read(&mount, (0..COUNT).map(|at| at * 149 % COUNT)));
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), COUNT as usize);
                }
            });
        });
    }
}

#[test]
fn a_mount_is_not_busy_once_its_reader_has_ended() {
    let archive = archive();
    for round in 0..20 {
        let mount = Mounted::new(&archive);
        let files = (0..50 + round * 16).map(|at| mount.path(format!("{at}.npy")));
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "at=$1; shift; cat \"$@\" | cksum && umount \"$at\"",
            "sh",
        ]);
        let result = run(command.arg(&mount.at).args(files));
        assert_eq!(
            (result.status, result.err.as_str()),
            (Some(0), ""),
            "{round}"
        );
    }
}

#[test]
fn a_server_killed_while_prefetching_ends_with_its_readers() {
    let archive = archive();
    for round in 0..25 {
        let mount = Mounted::new(&archive);
        let server = mount.server();
        let read = |start: u32| {
            let files = (start..COUNT).map(|at| mount.path(format!("{at}.npy")));
            let mut command = Command::new("cat");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.args(files).spawn().unwrap()
        };
        let mut readers = [read(0), read(20), read(60)];
        wait_until("something is prefetched", || prefetched(&mount) > 0);
        thread::sleep(Duration::from_micros(100 * round));
        send_signal(server, Signal::SIGKILL);
        wait_until("the server ends", || !is_running(server));
        for reader in &mut readers {
            wait_until("the reader ends", || reader.try_wait().unwrap().is_some());
        }
    }
}

#[test]
fn the_thread_that_lists_the_mount_keeps_nothing_open() {
    let mount = Mounted::new(&archive());
    read(&mount, 0..50);
    let tasks = fs::read_dir(format!("/proc/{}/task", mount.server())).unwrap();
    let is_warmer = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap() == "warmer\n";
    let mut warmers = tasks.map(|task| task.unwrap().path()).filter(is_warmer);
    let warmer = warmers.next().unwrap();
    wait_until("all is closed", || {
        fs::read_dir(warmer.join("fd")).unwrap().count() == 0
    });
}

#[test]
fn prefetched_data_stays_as_it_was_before_a_change() {
    let mount = until_prefetched(&archive(), 0, |mount| read(mount, 0..200));
    let len = fs::metadata(&mount.archive).unwrap().len();
    let changed = File::options().write(true).open(&mount.archive).unwrap();
    changed.write_all_at(&vec![0xEE; len as usize], 0).unwrap();
    let mut errors = 0;
    for at in 0..COUNT {
        match fs::read(mount.path(format!("{at}.npy"))) {
            Ok(bytes) => assert!(bytes == contents(at), "{at}"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO));
                errors += 1;
            }
        }
    }
    assert!(errors > 0);
}

#[test]
fn a_mount_ends_while_files_are_prefetched() {
    let archive = archive();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mount = Mounted::new(&archive);
        let server = mount.server();
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..COUNT {
                    let _ = fs::read(mount.path(format!("{at}.npy")));
                }
            });
            wait_until("something is prefetched", || prefetched(&mount) > 0);
            send_signal(server, signal);
            wait_until("the server ends", || !is_running(server));
        });
        assert_eq!(mounts_below(mount.place()), [""; 0]);
    }
}
