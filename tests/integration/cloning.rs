//! Members that the kernel reads from reflinked clones.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use memmap2::Mmap;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal;
use npzfs::exit_status;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Archive, Member, pattern};
use crate::loop_image::{FileSystem, Image};
use crate::mounted::{
    Mounted, Output, Place, TIMEOUT, is_dead, npzfs, run, send_signal, umount, wait_until,
};
use crate::users::Home;

/// The length of a member that is long enough for the default limit, and ends within a block.
const LONG: usize = (300 << 10) + 1001;
const SHORT: usize = 5000;

/// Runs a test on each file system with reflinks.
fn on_each(test: impl Fn(&Image)) {
    let images = [FileSystem::Xfs, FileSystem::Btrfs].map(Image::new);
    images.iter().flatten().for_each(test);
}

/// Writes an archive repacked by npzfs to `image`: `long` members that are cloned, and a short one
/// that is not.
fn packed(image: &Image, name: &str, long: u32) -> PathBuf {
    let members = (0..long).map(|at| (format!("{at}.npy"), pattern(LONG + at as usize, at + 1)));
    let short = [("short.npy".to_owned(), pattern(SHORT, 0))];
    repacked(image, name, &Archive::stored(members.chain(short)))
}

fn repacked(image: &Image, name: &str, archive: &Archive) -> PathBuf {
    let plain = archive.write(image.path(), "plain");
    let packed = image.join(name);
    let result = run(npzfs().args(["repack", "-q"]).args([&plain, &packed]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    fs::remove_file(plain).unwrap();
    packed
}

fn mount(archive: &Path, options: &[&str]) -> Mounted {
    Mounted::in_place(Place::new(), archive.to_owned(), options)
}

fn assert_long(mount: &Mounted, at: u32) {
    let read = mount.read(format!("{at}.npy"));
    assert!(read == pattern(LONG + at as usize, at + 1), "{at}");
}

fn lanes(mount: &Mounted) -> Value {
    mount.stats()["lanes"].clone()
}

fn open_error(path: &Path) -> Option<i32> {
    File::open(path)
        .err()
        .and_then(|error| error.raw_os_error())
}

fn map(path: &Path) -> Mmap {
    let file = File::open(path).unwrap();
    // SAFETY: a clone that is open never changes.
    #[allow(unsafe_code)]
    unsafe { Mmap::map(&file) }.unwrap()
}

#[test]
fn cloned_and_mapped_members_have_the_bytes_of_the_archive() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 4), &[]);
        assert_eq!(lanes(&mount), json!({"cloned": 4, "mapped": 1}));
        for _ in 0..2 {
            for at in 0..4 {
                assert_long(&mount, at);
                let path = mount.path(format!("{at}.npy"));
                assert!(map(&path)[..] == pattern(LONG + at as usize, at + 1));
                let len = fs::metadata(&path).unwrap().size();
                assert_eq!(len, (LONG + at as usize) as u64);
            }
        }
        // The kernel has read the clones itself.
        assert_eq!(mount.stats()["bytes_read"], 0);
        assert!(mount.read("short.npy") == pattern(SHORT, 0));
        assert_eq!(mount.stats()["bytes_read"], SHORT);
        let name = mount.attribute("0.npy", "user.npzfs.name");
        assert_eq!(name.as_deref(), Some("0.npy"));
    });
}

#[test]
fn nothing_is_visible_beyond_the_end_of_a_clone() {
    on_each(|image| {
        // A member is followed by the next one, and the last one by the central directory.
        let lens = [LONG, (1 << 20) - 1, (1 << 20) + 1, 1 << 20];
        let members = lens.map(|len| (format!("{len}.npy"), vec![0xFF; len]));
        let mount = mount(&repacked(image, "a.npz", &Archive::stored(members)), &[]);
        for len in lens {
            let path = mount.path(format!("{len}.npy"));
            let file = File::open(&path).unwrap();
            let mut read = vec![1; 8192];
            let count = file.read_at(&mut read, len as u64 - 10).unwrap();
            assert_eq!((count, &read[..10]), (10, &[0xFF; 10][..]));
            assert_eq!(file.read_at(&mut read, len as u64).unwrap(), 0);
            let whole_pages = len.next_multiple_of(4096);
            // SAFETY: a clone that is open never changes, and its last page can be mapped whole.
            #[allow(unsafe_code)]
            let map = unsafe { memmap2::MmapOptions::new().len(whole_pages).map(&file) }.unwrap();
            assert!(map[..len].iter().all(|&byte| byte == 0xFF));
            assert!(map[len..].iter().all(|&byte| byte == 0), "{len}");
        }
        assert_eq!(mount.stats()["bytes_read"], 0);
    });
}

#[test]
fn a_clone_takes_no_more_than_the_block_that_the_member_ends_in() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 48), &[]);
        let before = image.used_bytes();
        (0..48).for_each(|at| assert_long(&mount, at));
        assert_eq!(mount.stats()["clones"], 48);
        // Inodes and trees take some space, too; the members have 14 MiB.
        assert!(image.used_bytes() < before + (48 * 4096) + (1 << 20));
    });
}

#[test]
fn members_in_inner_archives_and_in_folders_are_cloned_too() {
    on_each(|image| {
        let inner = packed(image, "inner.npz", 2);
        // The prefix puts the inner archive at a page boundary.
        let member = Member::stored("in.npz", fs::read(&inner).unwrap());
        let mut outer = Archive::of([member]);
        outer.prefix = vec![0; 4096 - 30 - "in.npz".len() - 20];
        let outer = outer.write(image.path(), "outer.zip");
        for (source, options, below) in [
            (&outer, &["--recursive"][..], "in.npz"),
            (&image.path().to_owned(), &[], "inner.npz"),
        ] {
            let mount = mount(source, options);
            // Only lanes of archives in use are counted.
            let _open = File::open(mount.path(below).join("0.npy")).unwrap();
            for at in 0..2 {
                let read = mount.read(format!("{below}/{at}.npy"));
                assert!(read == pattern(LONG + at as usize, at + 1));
            }
            assert_eq!(mount.stats()["bytes_read"], 0, "{below}");
            // The inner archive is cloned itself, too.
            assert!(lanes(&mount)["cloned"].as_u64() >= Some(2));
        }
    });
}

#[test]
fn without_cloned_members_opens_cost_no_requests() {
    on_each(|image| {
        let archive = packed(image, "a.npz", 1);
        let opens = |options: &[&str]| {
            let mount = mount(&archive, options);
            (0..5).for_each(|_| assert_long(&mount, 0));
            (mount.requests(&["open"]), lanes(&mount))
        };
        let mapped = json!({"mapped": 2});
        assert_eq!(opens(&["--passthrough-min", "2M"]), (1, mapped));
        assert_eq!(opens(&[]), (5, json!({"cloned": 1, "mapped": 1})));
    });
}

#[test]
fn on_a_full_file_system_members_are_mapped() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 3), &[]);
        assert_long(&mount, 0);
        let full = File::create(image.join("full")).unwrap();
        let mut len = 1 << 30;
        while len >= 4096 {
            let end = full.metadata().unwrap().len() as i64;
            if fallocate(&full, FallocateFlags::empty(), end, len).is_err() {
                len /= 2;
            }
        }
        for _ in 0..2 {
            (0..3).for_each(|at| assert_long(&mount, at));
        }
        assert_eq!(lanes(&mount), json!({"cloned": 1, "mapped": 3}));
        // They stay mapped, since they may be open.
        drop(full);
        fs::remove_file(image.join("full")).unwrap();
        assert_long(&mount, 1);
        assert_eq!(lanes(&mount), json!({"cloned": 1, "mapped": 3}));
    });
}

/// A file system on which all writes wait.
struct Frozen(PathBuf);

impl Frozen {
    fn new(image: &Image) -> Self {
        let frozen = run(Command::new("fsfreeze").arg("-f").arg(image.path()));
        assert_eq!(frozen.status, Some(0), "{}", frozen.err);
        Self(image.path().to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0));
    }
}

#[test]
fn on_a_frozen_file_system_members_are_mapped() {
    on_each(|image| {
        let archive = packed(image, "a.npz", 3);
        let mounted_before = mount(&archive, &[]);
        let frozen = Frozen::new(image);
        let (thaw, thawed) = mpsc::channel();
        thread::scope(|scope| {
            // If the test fails, nothing waits for ever.
            scope.spawn(move || {
                let is_in_time = thawed.recv_timeout(TIMEOUT).is_ok();
                drop(frozen);
                assert!(is_in_time, "an open waits for the thaw");
            });
            assert_long(&mounted_before, 0);
            let mounted_since = mount(&archive, &[]);
            assert_long(&mounted_since, 1);
            thaw.send(()).unwrap();
            for mount in [&mounted_before, &mounted_since] {
                wait_until("members are cloned again", || {
                    assert_long(mount, 2);
                    mount.stats()["clones"] == 1
                });
            }
        });
    });
}

#[test]
fn open_clones_outlive_a_change_and_no_other_is_opened() {
    let changes: [fn(&File); 2] = [
        |archive| archive.write_all_at(&[0; 1 << 20], 10_000).unwrap(),
        |archive| archive.set_len(5000).unwrap(),
    ];
    on_each(|image| {
        for change in changes {
            let mount = mount(&packed(image, "a.npz", 2), &[]);
            let [first, second] = ["0.npy", "1.npy"].map(|name| mount.path(name));
            let (file, mapped) = (File::open(&first).unwrap(), map(&first));
            let short = File::open(mount.path("short.npy")).unwrap();
            change(&OpenOptions::new().write(true).open(&mount.archive).unwrap());
            // The kernel knows one of them, and not the other.
            assert_eq!(open_error(&first), Some(libc::EIO));
            assert_eq!(open_error(&second), Some(libc::EIO));
            let mut read = vec![0; LONG];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == pattern(LONG, 1) && mapped[..] == read);
            let error = short.read_at(&mut [0], 0).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            assert_eq!(mount.stats()["stale"], true);
            drop((file, mapped, short));
            drop(mount);
            fs::remove_file(image.join("a.npz")).unwrap();
        }
    });
}

#[test]
fn a_killed_server_leaves_no_clone() {
    on_each(|image| {
        let archive = packed(image, "a.npz", 8);
        let mount = mount(&archive, &[]);
        (0..8).for_each(|at| assert_long(&mount, at));
        assert_eq!(mount.stats()["clones"], 8);
        send_signal(mount.server(), Signal::SIGKILL);
        wait_until("the mount is dead", || is_dead(&mount.at));
        assert_eq!(mount.umount().status, Some(0));
        // Blocks that only a clone could still use are free again.
        let names: Vec<_> = fs::read_dir(image.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1);
        let before = image.used_bytes();
        fs::remove_file(&archive).unwrap();
        wait_until("the blocks are free", || {
            // Btrfs frees blocks with its next transaction.
            before.saturating_sub(image.used_bytes()) >= (8 * LONG) as u64
        });
    });
}

#[test]
fn no_more_clones_are_kept_than_may_be_open() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 40), &["--max-open", "16"]);
        for _ in 0..2 {
            (0..40).for_each(|at| assert_long(&mount, at));
            assert_eq!(mount.stats()["clones"], 16);
        }
        // No member had to be mapped.
        assert_eq!(lanes(&mount), json!({"cloned": 40, "mapped": 1}));
        assert_eq!(mount.stats()["bytes_read"], 0);
    });
}

#[test]
fn beyond_that_limit_members_are_mapped() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 40), &["--max-open", "16"]);
        let open = |at| File::open(mount.path(format!("{at}.npy"))).unwrap();
        let files: Vec<_> = (0..40).map(open).collect();
        assert_eq!(mount.stats()["clones"], 16);
        for (file, at) in files.iter().zip(0..) {
            let mut read = vec![0; LONG];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == pattern(LONG, at + 1));
            assert_long(&mount, at);
        }
        let bytes_read = || mount.stats()["bytes_read"].as_u64().unwrap();
        assert!(bytes_read() >= 24 * LONG as u64);
        drop(files);
        // The kernel does not wait for the replies to releases.
        wait_until("all files are released", || {
            mount.requests(&["release"]) == mount.requests(&["open"])
        });
        let before = bytes_read();
        (0..40).for_each(|at| assert_long(&mount, at));
        assert_eq!(bytes_read(), before);
    });
}

#[test]
fn concurrent_opens_of_one_file_get_the_same_bytes() {
    on_each(|image| {
        // Clones are created and dropped all the time, and some opens exceed the limit.
        let mount = mount(&packed(image, "a.npz", 20), &["--max-open", "16"]);
        thread::scope(|scope| {
            for reader in 0..16 {
                let mount = &mount;
                scope.spawn(move || {
                    (0..60).for_each(|at| assert_long(mount, (at * (reader % 4 + 1)) % 20));
                });
            }
        });
    });
}

#[test]
fn an_ordinary_users_members_are_mapped() {
    let Some(home) = Home::new() else {
        return;
    };
    on_each(|image| {
        let archive = packed(image, "a.npz", 1);
        let options = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&archive, options).unwrap();
        let mounted = home.run(home.npzfs().arg("mount").args([&archive, &home.at]));
        assert_eq!((mounted.status, mounted.err.as_str()), (Some(0), ""));
        let mut stats = Command::new("getfattr");
        stats.args(["--only-values", "-n", "user.npzfs.stats"]);
        let stats: Value = serde_json::from_str(&home.run(stats.arg(&home.at)).out).unwrap();
        assert_eq!(stats["lanes"], json!({"mapped": 2}));
        let mut compare = Command::new("sh");
        compare.args(["-c", "wc -c < $0/0.npy"]).arg(&home.at);
        assert_eq!(home.run(&mut compare).out.trim(), LONG.to_string());
        assert_eq!(
            home.run(home.npzfs().arg("umount").arg(&home.at)).status,
            Some(0)
        );
    });
}

#[test]
fn with_passthrough_off_nothing_is_cloned() {
    on_each(|image| {
        let mount = mount(&packed(image, "a.npz", 1), &["--passthrough=off"]);
        assert_long(&mount, 0);
        assert_eq!(lanes(&mount), json!({"mapped": 2}));
        assert_eq!(mount.stats()["bytes_read"], LONG);
        assert_eq!(mount.stats()["clones"], 0);
    });
}

#[test]
fn with_passthrough_on_a_mount_without_it_is_refused() {
    let try_on = |archive: &Path| -> Output {
        let place = Place::new();
        let at = place.join("mnt");
        let result = run(npzfs()
            .args(["mount", "--passthrough=on"])
            .arg(archive)
            .arg(&at));
        if result.status == Some(0) {
            assert_eq!(umount(&at).status, Some(0));
        }
        result
    };
    on_each(|image| {
        let archive = packed(image, "a.npz", 1);
        assert_eq!(try_on(&archive).status, Some(0));

        let short = repacked(image, "b.npz", &Archive::stored([("x", pattern(SHORT, 1))]));
        let result = try_on(&short);
        assert_eq!(result.status, Some(exit_status::FUSE.into()));
        let short = short.display();
        let expected = format!(
            "npzfs: {short}: --passthrough=on: no member is at a page boundary and at least 262 kB \
             long (npzfs repack makes such archives) (auto serves it all the same)\n"
        );
        assert_eq!(result.err, expected);

        // A tmpfs has no reflinks.
        let memory = TempDir::new_in("/dev/shm").unwrap();
        let copy = memory.path().join("a.npz");
        fs::copy(&archive, &copy).unwrap();
        let result = try_on(&copy);
        let copy = copy.display();
        let expected = format!(
            "npzfs: {copy}: --passthrough=on: members cannot be cloned: Operation not supported \
             (auto serves it all the same)\n"
        );
        assert_eq!(
            (result.status, result.err),
            (Some(exit_status::FUSE.into()), expected)
        );
    });
    if let Some(home) = Home::new() {
        let mut mount = home.npzfs();
        mount
            .args(["mount", "--passthrough=on"])
            .args([&home.archive, &home.at]);
        let result = home.run(&mut mount);
        let expected = "npzfs: --passthrough=on: the kernel takes no files to read by itself: \
                        Operation not permitted: it takes root and Linux 6.9 (auto serves all \
                        members all the same)\n";
        assert_eq!(
            (result.status, result.err.as_str()),
            (Some(exit_status::FUSE.into()), expected)
        );
    }
}

#[test]
fn list_shows_which_members_would_be_cloned() {
    on_each(|image| {
        let archive = packed(image, "a.npz", 1);
        let listed = run(npzfs().args(["list", "--json"]).arg(&archive)).out;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let lanes: Vec<_> = listed["members"].as_array().unwrap().iter().collect();
        let lanes: Vec<_> = lanes.iter().map(|member| &member["lane"]).collect();
        assert_eq!(lanes, ["cloned", "mapped"]);
        let names: Vec<_> = fs::read_dir(image.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1);
    });
}
