//! Disks that fail or stall: the archive is on a file system of the test, which controls the faults.

use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, Request,
};

use nix::sys::signal::Signal;

use crate::fixture::{Archive, Member, local_record, pattern};
use crate::mounted::{Mounted, Place, TIMEOUT, is_dead, pin, send_signal, wait_until};

/// The effect on reads of one part of the file.
#[derive(Clone, Default)]
enum Fault {
    #[default]
    None,
    Fails,
    /// Reads wait until the fault is another one.
    Stalls,
}

struct Disk {
    bytes: Vec<u8>,
    part: Range<u64>,
    fault: Mutex<Fault>,
    fault_changed: Condvar,
    /// Whether there was a read of the part with the fault.
    hit: AtomicBool,
}

impl Disk {
    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.fault_changed.notify_all();
    }
}

/// A file system with one file, `a.npz`.
struct FaultyFs(Arc<Disk>);

impl FaultyFs {
    fn attr(&self, ino: u64) -> FileAttr {
        let kind = if ino == 1 {
            FileType::Directory
        } else {
            FileType::RegularFile
        };
        FileAttr {
            ino: INodeNo(ino),
            size: if ino == 1 {
                0
            } else {
                self.0.bytes.len() as u64
            },
            blocks: 0,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind,
            perm: 0o755,
            nlink: 1,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for FaultyFs {
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "a.npz" {
            reply.entry(&Duration::from_secs(60), &self.attr(2), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::from_secs(60), &self.attr(ino.0));
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.0.clone();
        let end = (offset + u64::from(size)).min(disk.bytes.len() as u64);
        if offset >= disk.part.end || end <= disk.part.start {
            return reply.data(&disk.bytes[offset as usize..end as usize]);
        }
        disk.hit.store(true, Ordering::Relaxed);
        thread::spawn(move || {
            let fault = disk.fault.lock().unwrap();
            let stalls = |fault: &mut Fault| matches!(fault, Fault::Stalls);
            let fault = disk
                .fault_changed
                .wait_while(fault, stalls)
                .unwrap()
                .clone();
            match fault {
                Fault::None => reply.data(&disk.bytes[offset as usize..end as usize]),
                Fault::Fails | Fault::Stalls => reply.error(Errno::EIO),
            }
        });
    }
}

const LEN: usize = 4 << 20;

/// A mount of an archive whose member `bad` is in the part with the fault.
struct Faulty {
    // Dropped first.
    mount: Mounted,
    disk: Arc<Disk>,
    _lower: Lower,
}

struct Lower {
    session: Option<BackgroundSession>,
    at: PathBuf,
    _place: Place,
}

impl Drop for Lower {
    fn drop(&mut self) {
        // Not by fuser, which might unmount a later mount at the same place.
        let unmounted = std::process::Command::new("fusermount3")
            .arg("-u")
            .arg(&self.at)
            .status();
        if unmounted.is_ok_and(|status| status.success())
            && let Some(session) = self.session.take()
        {
            let _ = session.join();
        }
    }
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let good = Member::stored("good", pattern(LEN, 1));
        let bad = Member::stored("bad", pattern(LEN, 2));
        let start = (local_record(&good).len() + local_record(&bad).len() - LEN) as u64;
        let other = Member::stored("other", pattern(LEN, 3));
        let bytes = Archive::of([good, bad, other]).bytes();
        let disk = Arc::new(Disk {
            // Not at its ends, whose pages are shared with the neighbours, and are read ahead.
            part: start + (1 << 20)..start + (3 << 20),
            bytes,
            fault: Mutex::new(fault),
            fault_changed: Condvar::new(),
            hit: AtomicBool::new(false),
        });
        let place = Place::new();
        let at = place.join("lower");
        fs::create_dir(&at).unwrap();
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::RO];
        let session = fuser::spawn_mount(FaultyFs(disk.clone()), &at, &config).unwrap();
        let lower = Lower {
            session: Some(session),
            at: at.clone(),
            _place: place,
        };
        // If the test fails, nothing stalls for ever.
        let watched = disk.clone();
        thread::spawn(move || {
            thread::sleep(TIMEOUT);
            watched.set(Fault::Fails);
        });
        let mount = Mounted::in_place(Place::new(), at.join("a.npz"), [""; 0]);
        Self {
            mount,
            disk,
            _lower: lower,
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.disk.set(Fault::Fails);
    }
}

#[test]
fn a_disk_that_fails_gives_eio_and_recovers_when_the_disk_does() {
    let faulty = Faulty::new(Fault::Fails);
    let mount = &faulty.mount;
    for _ in 0..3 {
        let error = fs::read(mount.path("bad")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert!(mount.read("good") == pattern(LEN, 1));
    assert!(mount.read("other") == pattern(LEN, 3));
    faulty.disk.set(Fault::None);
    assert!(mount.read("bad") == pattern(LEN, 2));
    assert_eq!(mount.stats()["stale"], false);
}

#[test]
fn a_disk_that_stalls_one_read_delays_no_other_request() {
    let faulty = Faulty::new(Fault::Stalls);
    let mount = &faulty.mount;
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let path = mount.path("bad");
            thread::spawn(move || fs::read(path))
        })
        .collect();
    wait_until("a stalled read", || faulty.disk.hit.load(Ordering::Relaxed));
    // More than there are worker threads.
    let attributes: Vec<_> = (0..8)
        .map(|_| {
            let path = mount.path("bad");
            thread::spawn(move || xattr::get(path, "user.npy.dtype"))
        })
        .collect();
    // Time for the requests to arrive.
    thread::sleep(Duration::from_millis(100));
    assert!(mount.read("good") == pattern(LEN, 1));
    assert!(mount.read("other") == pattern(LEN, 3));
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 3);
    assert_eq!(fs::metadata(mount.path("bad")).unwrap().len(), LEN as u64);
    assert!(!mount.path("missing").exists());
    assert_eq!(
        mount.attribute("good", "user.npzfs.method").unwrap(),
        "stored"
    );
    assert!(stalled.iter().all(|reader| !reader.is_finished()));
    faulty.disk.set(Fault::None);
    for reader in stalled {
        assert!(reader.join().unwrap().unwrap() == pattern(LEN, 2));
    }
    for reader in attributes {
        assert_eq!(reader.join().unwrap().unwrap(), None);
    }
}

#[test]
fn an_archive_whose_file_system_is_gone_is_no_longer_served() {
    let archive = Archive::stored([("x", pattern(LEN, 1)), ("y", pattern(LEN, 2))]);
    let lower = Mounted::new(&Archive::stored([("a.npz", archive.bytes())]));
    let place = Place::new();
    let log = place.join("log");
    let options = [Path::new("--log"), &log];
    let mount = Mounted::in_place(place, lower.path("a.npz"), options);
    let server = mount.server();
    let cached = pin(&fs::File::open(mount.path("x")).unwrap());
    send_signal(lower.server(), Signal::SIGKILL);
    wait_until("the file system is gone", || is_dead(&lower.at));
    for _ in 0..3 {
        let error = fs::read(mount.path("y")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert!(cached[..] == pattern(LEN, 1));
    drop(cached);
    assert_eq!(mount.stats()["stale"], true);
    assert_eq!(mount.server(), server);
    assert_eq!(fs::read_dir(&mount.at).unwrap().count(), 2);
    assert_eq!(mount.umount().status, Some(0));
    let shown = mount.archive.display();
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    let message = format!("] {shown}: changed while mounted; mount it again\n");
    assert!(log.ends_with(&message), "{log}");
}
