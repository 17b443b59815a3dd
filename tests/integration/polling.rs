//! Busy polling: the server polls for requests while they keep arriving, and sleeps otherwise.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixture::{Archive, pattern};
use crate::mounted::{Mounted, is_running, mounts_below, send_signal, wait_until};

const COUNT: u32 = 20;
const LEN: usize = 300 << 10;

/// Polls longer than other work delays a client.
const LONG_POLL: &str = "--poll-us=200000";

fn contents(at: u32) -> Vec<u8> {
    pattern(LEN, at)
}

fn mounted(options: &[&str]) -> Mounted {
    let archive = Archive::stored((0..COUNT).map(|at| (format!("{at}.npy"), contents(at))));
    Mounted::with_options(&archive, options)
}

/// Waits until a request was polled for. Not every one is, if others need the processors.
fn wait_until_polled(mount: &Mounted) {
    wait_until("a request is polled for", || {
        mount.requests(&["polled"]) > 0
    });
}

/// Sends requests for as long as `work` takes.
fn under_requests<T>(mount: &Mounted, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The mount may end at any time.
                let _ = xattr::get(&mount.at, "user.npzfs.archive");
            }
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn cpu_ticks(server: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn requests_are_polled_for_while_they_keep_arriving() {
    for threads in ["--threads=1", "--threads=2", "--threads=4"] {
        let mount = mounted(&[threads, LONG_POLL]);
        assert_eq!(mount.requests(&["polled"]), 0);
        under_requests(&mount, || wait_until_polled(&mount));
    }
}

#[test]
fn an_idle_server_takes_no_processor_time() {
    let mount = mounted(&[]);
    let server = mount.server();
    under_requests(&mount, || wait_until_polled(&mount));
    thread::sleep(Duration::from_millis(50));
    let before = cpu_ticks(server);
    thread::sleep(Duration::from_millis(500));
    assert!(cpu_ticks(server) <= before + 1);
}

#[test]
fn with_poll_us_0_nothing_is_polled() {
    let mount = mounted(&["--poll-us=0"]);
    under_requests(&mount, || thread::sleep(Duration::from_millis(300)));
    assert_eq!(mount.requests(&["polled"]), 0);
}

#[test]
fn a_polled_mount_is_served_right_by_all_threads() {
    let mount = mounted(&["--threads=4", LONG_POLL]);
    let read_all = |reader: u32| {
        for at in 0..COUNT {
            let at = (at + 5 * reader) % COUNT;
            assert_eq!(mount.read(format!("{at}.npy")), contents(at));
        }
    };
    under_requests(&mount, || {
        thread::scope(|scope| {
            for reader in 0..4 {
                scope.spawn(move || read_all(reader));
            }
        });
    });
}

#[test]
fn a_polled_mount_ends_as_any_other() {
    let ways: [fn(&Mounted); 3] = [
        |mount| assert_eq!(mount.umount().status, Some(0)),
        |mount| send_signal(mount.server(), Signal::SIGTERM),
        |mount| send_signal(mount.server(), Signal::SIGKILL),
    ];
    for end in ways {
        let mount = mounted(&["--threads=2", "--poll-us=1000000", "--auto-unmount"]);
        let server = mount.server();
        under_requests(&mount, || wait_until_polled(&mount));
        // The mount is not in use, but the server still polls.
        end(&mount);
        wait_until("the server has ended", || !is_running(server));
        wait_until("the mount has ended", || mounts_below(&mount.at).is_empty());
    }
}
