//! Archives on another FUSE server, as with sshfs, rclone and mountpoint-s3, or on a loop device.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;

use crate::fixture::{Archive, Member, pattern};
use crate::loop_image::{FileSystem, Image};
use crate::mounted::{
    Mounted, Place, TIMEOUT, installed, is_dead, map, mounts_below, pin, run, send_signal, state,
    wait_until,
};

const LEN: usize = 1 << 20;

/// More than there are worker threads.
const READERS: u32 = 12;

fn archive() -> Archive {
    Archive::stored([("x", pattern(LEN, 1)), ("y", pattern(LEN, 2))])
}

/// A directory and its mirror through a FUSE server. inotify does not report changes of the directory to
/// users of the mirror, as if another machine had made them.
struct Mirror {
    server: Child,
    other_side: PathBuf,
    at: PathBuf,
    _place: Place,
}

impl Mirror {
    /// Mounts with options of bindfs; returns `None` if it is not installed.
    fn new(options: &str) -> Option<Self> {
        if !installed(&["bindfs"]) {
            return None;
        }
        let place = Place::new();
        let (other_side, at) = (place.join("other side"), place.join("mirror"));
        fs::create_dir(&other_side).unwrap();
        fs::create_dir(&at).unwrap();
        let mut bindfs = Command::new("bindfs");
        bindfs.args(["-f", "-o", options]).arg(&other_side).arg(&at);
        let server = bindfs.stdin(Stdio::null()).spawn().unwrap();
        let mirror = Self {
            server,
            other_side,
            at,
            _place: place,
        };
        wait_until("the mirror", || !mounts_below(&mirror.at).is_empty());
        Some(mirror)
    }

    /// Writes an archive and mounts it through the mirror.
    fn mount(&self, archive: &Archive) -> Mounted {
        self.mount_with(archive, &["--log", "/dev/null"])
    }

    fn mount_with(&self, archive: &Archive, options: &[&str]) -> Mounted {
        archive.write(&self.other_side, "a.npz");
        Mounted::in_place(Place::new(), self.at.join("a.npz"), options)
    }

    /// Changes bytes of the archive, and thus its time, as another machine would.
    fn change(&self) {
        let path = self.other_side.join("a.npz");
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"changed", 100).unwrap();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // The server may still be stopped.
        send_signal(self.server.id(), Signal::SIGCONT);
        let unmount = |how: &str| run(Command::new("fusermount3").arg(how).arg(&self.at)).status;
        if !mounts_below(&self.at).is_empty() && unmount("-u") != Some(0) {
            unmount("-uz");
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

fn read_error(path: &Path) -> Option<i32> {
    fs::read(path).err().and_then(|error| error.raw_os_error())
}

/// Checks that nothing of the archive is read any more.
fn assert_refused(mount: &Mounted) {
    assert_eq!(read_error(&mount.path("y")), Some(libc::EIO));
    assert_eq!(mount.stats()["stale"], true);
}

#[test]
fn over_another_fuse_server_the_bytes_are_those_of_the_archive() {
    let Some(mirror) = Mirror::new("attr_timeout=1") else {
        return;
    };
    let mount = mirror.mount(&archive());
    for _ in 0..2 {
        assert!(mount.read("x") == pattern(LEN, 1));
    }
    let file = File::open(mount.path("y")).unwrap();
    assert!(map(&file)[..] == pattern(LEN, 2));
}

#[test]
fn a_remote_change_fails_the_next_read() {
    let Some(mirror) = Mirror::new("ro,attr_timeout=3600") else {
        return;
    };
    let mount = mirror.mount(&archive());
    assert!(mount.read("x") == pattern(LEN, 1));
    mirror.change();
    let modified = |directory: &Path| {
        let metadata = fs::metadata(directory.join("a.npz")).unwrap();
        metadata.modified().unwrap()
    };
    // Other programs still see the old time.
    assert_ne!(modified(&mirror.at), modified(&mirror.other_side));
    assert_refused(&mount);
}

#[test]
fn pages_cached_before_a_remote_change_stay() {
    let Some(mirror) = Mirror::new("attr_timeout=0") else {
        return;
    };
    let mount = mirror.mount(&archive());
    let _cached = pin(&File::open(mount.path("x")).unwrap());
    mirror.change();
    for _ in 0..3 {
        assert!(mount.read("x") == pattern(LEN, 1));
    }
    assert_eq!(mount.stats()["stale"], false);
    assert_refused(&mount);
    assert!(mount.read("x") == pattern(LEN, 1));
}

#[test]
fn on_a_name_based_server_a_replaced_archive_has_changed() {
    let Some(mirror) = Mirror::new("attr_timeout=1") else {
        return;
    };
    let mount = mirror.mount(&archive());
    assert!(mount.read("x") == pattern(LEN, 1));
    let other = Archive::stored([("x", pattern(LEN, 3)), ("y", pattern(LEN, 4))]);
    let other = other.write(&mirror.other_side, "b.npz");
    fs::rename(other, mirror.other_side.join("a.npz")).unwrap();
    assert_refused(&mount);
}

#[test]
fn a_stopped_server_below_delays_reads_only() {
    let Some(mirror) = Mirror::new("attr_timeout=1") else {
        return;
    };
    let mount = mirror.mount(&archive());
    let _cached = pin(&File::open(mount.path("x")).unwrap());
    let before = mount.requests(&["read"]);
    send_signal(mirror.server.id(), Signal::SIGSTOP);
    let path = mount.path("y");
    let reader = thread::spawn(move || fs::read(path));
    wait_until("a read", || mount.requests(&["read"]) > before);
    assert!(mount.read("x") == pattern(LEN, 1));
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 2);
    assert_eq!(fs::metadata(mount.path("y")).unwrap().len(), LEN as u64);
    assert!(!reader.is_finished());
    send_signal(mirror.server.id(), Signal::SIGCONT);
    assert!(reader.join().unwrap().unwrap() == pattern(LEN, 2));
}

#[test]
fn no_number_of_delayed_reads_delays_other_requests() {
    let name = |at: u32| format!("{at}.npy");
    let contents = |at: u32| pattern(LEN / 16, at);
    let stored = |at| Member::stored(name(at), contents(at));
    let deflated = |at| Member::packed(name(at), 8, &contents(at));
    let ways: [&dyn Fn(u32) -> Member; 2] = [&stored, &deflated];
    for member in ways {
        let Some(mirror) = Mirror::new("attr_timeout=0") else {
            return;
        };
        let archive = Archive::of((0..READERS).map(member));
        let mount = mirror.mount_with(&archive, &["--passthrough=off"]);
        // All bytes are cached; whether the archive has changed, only the server below knows.
        fs::read(mirror.at.join("a.npz")).unwrap();
        let files = (0..READERS).map(|at| File::open(mount.path(name(at))).unwrap());
        let files: Vec<_> = files.collect();
        let reads = || mount.requests(&["read"]);
        let before = reads();
        let server = mirror.server.id();
        let is_stopped = || state(Path::new(&format!("/proc/{server}"))) == Some('T');
        let (done, wait) = mpsc::channel::<()>();
        send_signal(server, Signal::SIGSTOP);
        wait_until("the server stops", is_stopped);
        thread::scope(|scope| {
            for (mut file, at) in files.into_iter().zip(0..) {
                scope.spawn(move || {
                    let mut read = Vec::new();
                    file.read_to_end(&mut read).unwrap();
                    assert!(read == contents(at));
                });
            }
            // If all requests wait for the server, the test has to fail and not to hang.
            scope.spawn(move || {
                let _ = wait.recv_timeout(TIMEOUT / 2);
                send_signal(server, Signal::SIGCONT);
            });
            wait_until("all reads", || reads() >= before + u64::from(READERS));
            assert_eq!(fs::read_dir(&mount.at).unwrap().count(), READERS as usize);
            assert!(is_stopped());
            drop(done);
        });
    }
}

#[test]
fn with_a_killed_server_below_reads_fail_and_umount_works() {
    let Some(mut mirror) = Mirror::new("attr_timeout=3600") else {
        return;
    };
    let mount = mirror.mount(&archive());
    assert!(mount.read("x") == pattern(LEN, 1));
    mirror.server.kill().unwrap();
    wait_until("the server is gone", || is_dead(&mirror.at));
    assert_refused(&mount);
    assert_eq!(mount.umount().status, Some(0));
}

#[test]
fn mounts_have_separate_page_caches_users_of_one_share_it() {
    let first = Mounted::new(&archive());
    let read = |mount: &Mounted| {
        let before = mount.requests(&["read"]);
        let copied = run(Command::new("cat").arg(mount.path("x")));
        assert_eq!(copied.status, Some(0));
        mount.requests(&["read"]) - before
    };
    assert!(read(&first) > 0);
    wait_until("a copy without reads", || read(&first) == 0);
    let second = Mounted::in_place(Place::new(), first.archive.clone(), [""; 0]);
    assert!(read(&second) > 0);
}

#[test]
fn on_a_loop_device_the_bytes_are_right_even_when_it_is_full() {
    for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
        let Some(image) = Image::new(file_system) else {
            return;
        };
        let written = archive().write(image.path(), "a.npz");
        let mount = Mounted::in_place(Place::new(), written, [""; 0]);
        assert!(mount.read("x") == pattern(LEN, 1));
        let mut rest = File::create(image.join("rest")).unwrap();
        while rest.write_all(&[1; LEN]).is_ok() {}
        assert!(mount.read("y") == pattern(LEN, 2));
    }
}

#[test]
fn the_archives_file_system_is_busy_and_may_be_detached() {
    let Some(image) = Image::new(FileSystem::Ext4) else {
        return;
    };
    // A second mount of it, which is the one to be unmounted.
    let place = Place::new();
    let second = place.join("second");
    fs::create_dir(&second).unwrap();
    let bind = run(Command::new("mount")
        .arg("--bind")
        .args([image.path(), &second]));
    assert_eq!(bind.status, Some(0), "{}", bind.err);
    archive().write(image.path(), "a.npz");
    let mount = Mounted::in_place(place, second.join("a.npz"), [""; 0]);
    assert!(mount.read("x") == pattern(LEN, 1));
    let umount = |options: &[&str]| run(Command::new("umount").args(options).arg(&second)).status;
    assert_eq!(umount(&[]), Some(32));
    assert_eq!(umount(&["-l"]), Some(0));
    assert!(mount.read("y") == pattern(LEN, 2));
    assert_eq!(mount.stats()["stale"], false);
}
