//! Compressed members, inflated once and kept within a limit.
//!
//! A member is inflated whole at its first open, into a file without a name: in memory as long as
//! there is room, then on a disk. Nothing is served before its CRC-32 was checked, which is why a
//! reader of the first bytes waits for all of them. Files in use are kept; of the others the least
//! recently used go first.

mod cache;
mod error;
mod limits;
mod unnamed_file;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::archive::Archive;
use crate::archive::served_file::ServedFile;
use crate::archive::slice::FileSlice;
use crate::sys::buffer::Buffer;
use crate::sys::sync::lock;
use crate::sys::thread_pool::Pool;
use crate::tree::Ino;
pub use cache::Usage;
use cache::{Cache, Storage};
pub use error::InflateError;
pub use limits::Limits;
use unnamed_file::{allocate, read_only};
pub use unnamed_file::{disk_file, memory_file};

/// How much is inflated at once, in bytes.
const STEP: usize = 256 << 10;

/// The number of the archive within the mount, and the member's inode in it.
pub type Key = (u32, Ino);

/// The answer to all who wait for the same contents.
pub type Inflated = Result<FileSlice, Arc<InflateError>>;

/// Inflates members, and keeps their contents.
pub struct Inflater {
    limits: Limits,
    /// Not locked while anything may wait: each open of a compressed member needs it.
    cache: Mutex<Cache>,
    /// Held while room on the disk is allocated: two threads would count on the same free space.
    disk: Mutex<()>,
    pool: Pool,
}

impl Inflater {
    /// Creates an inflater that has inflated nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cache: Mutex::default(),
            disk: Mutex::default(),
            pool: Pool::default(),
        }
    }

    /// Calls `then` with the contents of the member `key.1` of `archive`: at once where they are
    /// kept, otherwise on another thread when they are inflated. Concurrent requests for a member
    /// inflate it once.
    pub fn request(
        self: &Arc<Self>,
        key: Key,
        archive: Arc<Archive>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let mut cache = lock(&self.cache);
        if let Some(contents) = cache.ready(key) {
            drop(cache);
            return then(Ok(contents));
        }
        let is_first = cache.add_waiter(key, Box::new(then));
        drop(cache);
        if is_first {
            let this = self.clone();
            self.pool.run(move || this.answer_waiters(key, &archive));
        }
    }

    /// Returns what the kept contents take.
    pub fn usage(&self) -> Usage {
        lock(&self.cache).usage()
    }

    fn answer_waiters(&self, key: Key, archive: &Archive) {
        // Decoders read hostile data; should one panic, the waiters still need an answer.
        let result = panic::catch_unwind(AssertUnwindSafe(|| self.inflate(key.1, archive)));
        let result = result.unwrap_or(Err(InflateError::Decoder));
        let mut cache = lock(&self.cache);
        let mut waiters = cache.take_waiters(key);
        let last = waiters.pop();
        let answer = result.map_err(Arc::new).map(|(contents, room)| {
            let storage = match &room {
                Some(_) => Storage::Memory,
                None => Storage::Disk,
            };
            // The cache counts the room from here on.
            std::mem::forget(room);
            cache.keep(key, contents.clone(), storage);
            contents
        });
        drop(cache);
        for then in waiters {
            then(answer.clone());
        }
        // The last one takes the answer itself: a copy left here would count as a use.
        if let Some(then) = last {
            then(answer);
        }
    }

    /// Inflates a member. Returns its contents, and the room that they take if it is in memory.
    fn inflate(
        &self,
        ino: Ino,
        archive: &Archive,
    ) -> Result<(FileSlice, Option<Room<'_>>), InflateError> {
        let Some(member) = archive.tree.member(ino) else {
            return Err(InflateError::Data(io::ErrorKind::NotFound.into()));
        };
        let size = member.size;
        self.make_room_for_one()?;
        let room = self.reserve_memory(size);
        let directory = &self.limits.directory;
        let cannot_write = |error: io::Error| match (&room, error.raw_os_error()) {
            (None, Some(libc::ENOSPC | libc::EDQUOT)) => self.no_room(size),
            (None, _) => InflateError::Write {
                directory: Some(directory.clone()),
                error,
            },
            (Some(_), _) => InflateError::Write {
                directory: None,
                error,
            },
        };
        let mut file = match &room {
            Some(_) => memory_file().map_err(cannot_write)?,
            None => self.disk_file(size).map_err(cannot_write)?,
        };
        // A change of the archive explains any fault of the data.
        let as_data = |error| match archive.check() {
            Ok(()) => InflateError::Data(error),
            Err(error) => error.into(),
        };
        let mut decoder = archive.decoder(member).map_err(as_data)?;
        let mut buffer = Buffer::take().map_err(as_data)?;
        let buffer = &mut buffer[..STEP];
        loop {
            let len = decoder.read(buffer).map_err(as_data)?;
            if len == 0 {
                break;
            }
            file.write_all(&buffer[..len]).map_err(cannot_write)?;
        }
        archive.check()?;
        let file = ServedFile::private(read_only(&file).map_err(cannot_write)?, size);
        Ok((FileSlice::whole(Arc::new(file)), room))
    }

    /// Drops unused contents until one more may be kept.
    fn make_room_for_one(&self) -> Result<(), InflateError> {
        loop {
            let mut cache = lock(&self.cache);
            if cache.usage().count < self.limits.count {
                return Ok(());
            }
            let oldest = cache.drop_oldest();
            drop(cache);
            drop(oldest.ok_or(InflateError::TooMany)?);
        }
    }

    /// Reserves `size` bytes of memory, and drops unused contents for it; `None` where that would not
    /// be enough.
    fn reserve_memory(&self, size: u64) -> Option<Room<'_>> {
        let dropped = lock(&self.cache).reserve_memory(size, self.limits.memory)?;
        // Unlocked, since freeing memory takes a while.
        drop(dropped);
        Some(Room {
            inflater: self,
            size,
        })
    }

    /// Creates an unnamed file with `size` bytes of the disk, and drops unused contents for it.
    fn disk_file(&self, size: u64) -> io::Result<File> {
        let _turn = lock(&self.disk);
        loop {
            let disk = statvfs(&self.limits.directory)?;
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let no_room = match free.checked_sub(size) {
                Some(_) => match allocate(&self.limits.directory, size) {
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => error,
                    result => return result,
                },
                None => Errno::ENOSPC.into(),
            };
            let missing = size.saturating_sub(free).max(1);
            let dropped = lock(&self.cache).drop_unused(Storage::Disk, missing);
            // The space is free only once the files are closed.
            drop(dropped.ok_or(no_room)?);
        }
    }

    fn no_room(&self, size: u64) -> InflateError {
        InflateError::NoRoom {
            size,
            memory: self.limits.memory,
            directory: self.limits.directory.clone(),
        }
    }
}

/// Memory reserved for contents that are being inflated, released unless they are kept.
struct Room<'a> {
    inflater: &'a Inflater,
    size: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        lock(&self.inflater.cache).release_memory(self.size);
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Barrier, mpsc};
    use std::thread;

    use zip::write::SimpleFileOptions;

    use super::cache::charge;
    use super::*;
    use crate::archive::Purpose;

    const LEN: u64 = 100_000;

    struct Fixture {
        directory: tempfile::TempDir,
        archive: Arc<Archive>,
        inflater: Arc<Inflater>,
    }

    impl Fixture {
        /// Deflated members of `LEN` bytes each, `in_memory` of which may be kept in memory, and `count`
        /// of which may be kept at all.
        fn new(members: &[&str], in_memory: u64, count: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.npz");
            let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
            let deflated = zip::CompressionMethod::Deflated;
            let options = SimpleFileOptions::default().compression_method(deflated);
            for name in members {
                writer.start_file(*name, options).unwrap();
                writer.write_all(&contents(name)).unwrap();
            }
            writer.finish().unwrap();
            let archive = Archive::open(&path, &path, true, Purpose::Command).unwrap();
            Self {
                archive: Arc::new(archive),
                inflater: Arc::new(Inflater::new(Limits {
                    memory: in_memory * charge(LEN),
                    directory: directory.path().to_owned(),
                    count,
                })),
                directory,
            }
        }

        /// Puts contents that find no room in memory into `directory`.
        fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
            let limits = Limits {
                directory: directory.into(),
                ..self.inflater.limits.clone()
            };
            self.inflater = Arc::new(Inflater::new(limits));
            self
        }

        fn ask(&self, name: &str) -> mpsc::Receiver<Inflated> {
            let ino = self.archive.tree.lookup(Ino::ROOT, name.as_bytes());
            let key = (0, ino.unwrap().ino);
            let (sender, receiver) = mpsc::channel();
            let then = move |inflated| sender.send(inflated).unwrap();
            self.inflater.request(key, self.archive.clone(), then);
            receiver
        }

        fn inflated(&self, name: &str) -> FileSlice {
            let inflated = self.ask(name).recv().unwrap().unwrap();
            assert!(inflated.read().unwrap() == contents(name), "{name}");
            inflated
        }

        fn error(&self, name: &str) -> String {
            self.ask(name).recv().unwrap().unwrap_err().to_string()
        }

        /// The number of kept contents, their memory, and the number of inflations.
        fn usage(&self) -> (usize, u64, u64) {
            let usage = self.inflater.usage();
            (usage.count, usage.memory, usage.inflations)
        }
    }

    fn contents(name: &str) -> Vec<u8> {
        let seed = u64::from(name.as_bytes()[0]);
        (0..LEN).map(|at| (at * at / 7 * seed) as u8).collect()
    }

    #[test]
    fn concurrent_requests_inflate_a_member_once() {
        let fixture = Fixture::new(&["a"], 10, 9);
        let asked: Vec<_> = (0..32).map(|_| fixture.ask("a")).collect();
        for receiver in asked {
            let inflated = receiver.recv().unwrap().unwrap();
            assert!(inflated.read().unwrap() == contents("a"));
        }
        fixture.inflated("a");
        assert_eq!(fixture.usage(), (1, LEN, 1));
    }

    #[test]
    fn the_least_recently_used_is_dropped_first() {
        let fixture = Fixture::new(&["a", "b", "c", "d"], 3, 9);
        for name in ["a", "b", "c", "a", "d"] {
            fixture.inflated(name);
        }
        assert_eq!(fixture.usage(), (3, 3 * LEN, 4));
        for name in ["a", "c", "d"] {
            fixture.inflated(name);
        }
        assert_eq!(fixture.usage(), (3, 3 * LEN, 4));
        fixture.inflated("b");
        assert_eq!(fixture.usage(), (3, 3 * LEN, 5));
    }

    #[test]
    fn contents_in_use_are_kept_and_others_go_to_the_disk() {
        let fixture = Fixture::new(&["a", "b", "c"], 2, 9);
        let used = [fixture.inflated("a"), fixture.inflated("b")];
        let on_disk = fixture.inflated("c");
        assert_eq!(fixture.usage(), (3, 2 * LEN, 3));
        let metadata = on_disk.file().as_file().metadata().unwrap();
        let directory = fixture.directory.path().metadata().unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((metadata.dev(), metadata.nlink()), (directory.dev(), 0));
        drop(used);
        fixture.inflated("a");
        assert_eq!(fixture.usage(), (3, 2 * LEN, 3));
    }

    #[test]
    fn contents_open_elsewhere_are_in_use() {
        let fixture = Fixture::new(&["a", "b", "c"], 2, 9);
        let elsewhere = read_only(fixture.inflated("a").file().as_file()).unwrap();
        fixture.inflated("b");
        fixture.inflated("c");
        fixture.inflated("a");
        assert_eq!(fixture.usage(), (2, 2 * LEN, 3));
        drop(elsewhere);
    }

    #[test]
    fn nothing_is_dropped_in_vain() {
        let fixture = Fixture::new(&["a", "b", "c"], 2, 9);
        let used = fixture.inflated("a");
        fixture.inflated("b");
        assert!(fixture.inflater.reserve_memory(2 * LEN).is_none());
        assert!(fixture.inflater.reserve_memory(u64::MAX).is_none());
        assert_eq!(fixture.usage(), (2, 2 * LEN, 2));
        assert!(fixture.inflater.reserve_memory(LEN).is_some());
        // Unused room is released.
        assert_eq!(fixture.usage(), (1, LEN, 2));
        drop(used);
        let on_disk = Fixture::new(&["a", "b"], 0, 9);
        on_disk.inflated("a");
        let error = on_disk.inflater.disk_file(1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(on_disk.usage(), (1, 0, 1));
    }

    #[test]
    fn memory_that_is_not_reserved_is_not_counted() {
        let fixture = Fixture::new(&["a"], 1, 9);
        let is_over = AtomicBool::new(false);
        for _ in 0..100 {
            let contents = Arc::downgrade(fixture.inflated("a").file());
            let both = Barrier::new(2);
            is_over.store(false, Ordering::Relaxed);
            let counted = thread::scope(|scope| {
                // In use at one moment and not at the next.
                scope.spawn(|| {
                    both.wait();
                    while !is_over.load(Ordering::Relaxed) {
                        drop(contents.upgrade());
                    }
                });
                both.wait();
                let counted = (0..100).map(|_| {
                    let _room = fixture.inflater.reserve_memory(LEN);
                    fixture.usage().1
                });
                let counted: Vec<u64> = counted.collect();
                is_over.store(true, Ordering::Relaxed);
                counted
            });
            // Either the room is counted, or the contents that could not be dropped.
            assert_eq!(counted, [LEN; 100]);
        }
    }

    #[test]
    fn a_lack_of_room_is_not_remembered() {
        // /proc never has any room.
        let fixture = Fixture::new(&["a", "b"], 1, 9).with_directory("/proc");
        let used = fixture.inflated("a");
        for _ in 0..2 {
            assert_eq!(
                fixture.error("b"),
                "no room for 100 kB: --inflate-limit is 104 kB, and /proc has not that much left"
            );
        }
        assert_eq!(fixture.usage(), (1, LEN, 3));
        drop(used);
        fixture.inflated("b");
        assert_eq!(fixture.usage(), (1, LEN, 4));
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let fixture = Fixture::new(&["a"], 0, 9).with_directory("/no/such\n");
        assert_eq!(
            fixture.error("a"),
            "inflated data cannot be written to /no/such\\n: No such file or directory"
        );
    }

    #[test]
    fn contents_never_exceed_the_limit() {
        let fixture = Fixture::new(&["a", "b", "c"], 9, 2);
        for name in ["a", "b", "c"] {
            fixture.inflated(name);
        }
        assert_eq!(fixture.usage(), (2, 2 * LEN, 3));
        let used = [fixture.inflated("b"), fixture.inflated("c")];
        assert_eq!(
            fixture.error("a"),
            "too many inflated members are in use (--max-open, ulimit -n)"
        );
        drop(used);
        fixture.inflated("a");
    }

    #[test]
    fn a_member_that_fails_leaves_nothing() {
        let fixture = Fixture::new(&["a"], 9, 9);
        let path = fixture.directory.path().join("a.npz");
        let mut bytes = std::fs::read(&path).unwrap();
        // The CRC in both headers.
        let crc = crc32fast::hash(&contents("a"));
        let stored = crc.to_le_bytes();
        while let Some(at) = bytes.windows(4).position(|part| part == stored) {
            bytes[at] ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        let archive = Archive::open(&path, &path, true, Purpose::Command).unwrap();
        let fixture = Fixture {
            archive: Arc::new(archive),
            ..fixture
        };
        for _ in 0..2 {
            let wrong = crc ^ 1;
            assert_eq!(
                fixture.error("a"),
                format!("CRC-32 of the data is {crc:08x} instead of {wrong:08x}")
            );
        }
        assert_eq!(fixture.usage(), (0, 0, 2));
    }

    #[test]
    fn a_changed_archive_is_reported_before_damaged_data() {
        for len in [0, 1] {
            let fixture = Fixture::new(&["a"], 9, 9);
            let path = fixture.directory.path().join("a.npz");
            let archive = File::options().append(len > 0).write(true).open(&path);
            let mut archive = archive.unwrap();
            match len {
                0 => archive.set_len(0).unwrap(),
                _ => archive.write_all(b"x").unwrap(),
            }
            assert_eq!(
                fixture.error("a"),
                "the archive changed while the member was inflated"
            );
            assert_eq!(fixture.usage(), (0, 0, 1));
        }
    }
}
