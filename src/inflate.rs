//! What compressed members are inflated to: made once, when somebody first wants it, kept within a
//! budget, and dropped again when nobody uses it.
//!
//! Contents are files without a name, in memory as long as there is room, then on a disk. They are
//! checked whole, CRC-32 included, before the first byte is served.

mod cache;
mod error;
mod file;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::archive::Archive;
use crate::archive::served_file::ServedFile;
use crate::archive::slice::FileSlice;
use crate::sys::thread_pool::Pool;
use crate::tree::Ino;
pub use cache::Usage;
use cache::{Cache, Home};
pub use error::InflateError;
pub use file::memory_file;
use file::{allocate, read_only};

/// How much is inflated at once, in bytes.
const STEP: usize = 256 << 10;

/// How much room there is for contents.
#[derive(Debug, Clone)]
pub struct Limits {
    /// In memory, in bytes.
    pub memory: u64,
    /// Where contents go that find no room in memory.
    pub directory: PathBuf,
    /// How many there may be, since each takes a descriptor.
    pub count: usize,
}

/// Which contents: the number of the archive within the mount, and the member's inode in it.
pub type Key = (u32, Ino);

/// What is told to everybody who waits for the same contents.
pub type Inflated = Result<FileSlice, Arc<InflateError>>;

/// Inflates members, and keeps what they were inflated to.
pub struct Inflater {
    limits: Limits,
    cache: Mutex<Cache>,
    /// Locked by whoever takes room on the disk, which may take its time: else two would take the
    /// same.
    disk: Mutex<()>,
    pool: Pool,
}

impl Inflater {
    /// Nothing inflated yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cache: Mutex::default(),
            disk: Mutex::default(),
            pool: Pool::default(),
        }
    }

    /// Has `then` called with the contents of the member `key.1` of `volume`: now if they are there,
    /// otherwise by another thread once they are. However many ask, a member is inflated only once.
    pub fn with(
        self: &Arc<Self>,
        key: Key,
        volume: Arc<Archive>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let mut cache = self.lock();
        if let Some(contents) = cache.ready(key) {
            drop(cache);
            return then(Ok(contents));
        }
        let is_first = cache.wait(key, Box::new(then));
        drop(cache);
        if is_first {
            let this = self.clone();
            self.pool.run(move || this.make(key, &volume));
        }
    }

    /// What there is.
    pub fn usage(&self) -> Usage {
        self.lock().usage()
    }

    /// Nothing that can panic is done while the lock is held, and nothing that may wait: all who
    /// open a file need it.
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, key: Key, volume: &Archive) {
        // Decoders are given what anybody made, and those who wait must not wait for ever.
        let made = panic::catch_unwind(AssertUnwindSafe(|| self.inflate(key.1, volume)));
        let made = made.unwrap_or(Err(InflateError::Decoder));
        let mut cache = self.lock();
        let mut waiters = cache.end_wait(key);
        let last = waiters.pop();
        let told = made.map_err(Arc::new).map(|(contents, room)| {
            let home = match &room {
                Some(_) => Home::Memory,
                None => Home::Disk,
            };
            // From here on the room is that of what is kept.
            std::mem::forget(room);
            cache.keep(key, contents.clone(), home);
            contents
        });
        drop(cache);
        for then in waiters {
            then(told.clone());
        }
        // Nothing is kept here: what nobody else has any more may be dropped at once.
        if let Some(then) = last {
            then(told);
        }
    }

    /// The contents of a member, and the room that they take in memory, if they are there.
    fn inflate(
        &self,
        ino: Ino,
        volume: &Archive,
    ) -> Result<(FileSlice, Option<Room<'_>>), InflateError> {
        let Some(member) = volume.tree.member(ino) else {
            return Err(InflateError::Data(io::ErrorKind::NotFound.into()));
        };
        let size = member.size;
        self.make_place()?;
        let room = self.room_in_memory(size);
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
        // That the archive has changed explains whatever is wrong with the data.
        let as_data = |error| match volume.check() {
            Ok(()) => InflateError::Data(error),
            Err(error) => error.into(),
        };
        let mut decoder = volume.decoder(member).map_err(as_data)?;
        let mut buffer = vec![0; STEP];
        loop {
            let len = decoder.read(&mut buffer).map_err(as_data)?;
            if len == 0 {
                break;
            }
            file.write_all(&buffer[..len]).map_err(cannot_write)?;
        }
        volume.check()?;
        let bytes = read_only(&file)
            .and_then(|file| ServedFile::private(file, size))
            .map_err(cannot_write)?;
        Ok((FileSlice::whole(Arc::new(bytes)), room))
    }

    /// Sees to it that there may be contents more, if need be by dropping some that nobody uses.
    fn make_place(&self) -> Result<(), InflateError> {
        loop {
            let mut cache = self.lock();
            if cache.usage().count < self.limits.count {
                return Ok(());
            }
            let oldest = cache.drop_oldest(None);
            drop(cache);
            drop(oldest.ok_or(InflateError::TooMany)?);
        }
    }

    /// Takes `size` bytes of memory, if need be by dropping what nobody uses; `None` where that would
    /// not be enough.
    fn room_in_memory(&self, size: u64) -> Option<Room<'_>> {
        let (fits, dropped) = self.lock().take_memory(size, self.limits.memory);
        // Memory is given back only now, which takes a while.
        drop(dropped);
        // Not made in vain: it would give back what was not taken.
        fits.then(|| Room {
            inflater: self,
            size,
        })
    }

    /// A new file without a name that has `size` bytes of the disk for itself, if need be because
    /// something that nobody uses was dropped.
    fn disk_file(&self, size: u64) -> io::Result<File> {
        let _turn = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let disk = statvfs(&self.limits.directory)?;
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let no_room = match free.checked_sub(size) {
                Some(_) => match allocate(&self.limits.directory, size) {
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => error,
                    done => return done,
                },
                None => Errno::ENOSPC.into(),
            };
            let mut cache = self.lock();
            let would_do = free.saturating_add(cache.idle_bytes(Home::Disk)) >= size;
            let oldest = would_do.then(|| cache.drop_oldest(Some(Home::Disk)));
            drop(cache);
            // Only once it is closed there is more room.
            drop(oldest.flatten().ok_or(no_room)?);
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

/// Room in memory for contents that are being made, given back when they are not.
struct Room<'a> {
    inflater: &'a Inflater,
    size: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.inflater.lock().give_back(self.size);
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
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Barrier, mpsc};
    use std::thread;

    use zip::write::SimpleFileOptions;

    use super::*;

    const LEN: u64 = 100_000;

    struct Fixture {
        directory: tempfile::TempDir,
        volume: Arc<Archive>,
        inflater: Arc<Inflater>,
    }

    impl Fixture {
        /// Deflated members of `LEN` bytes each, room for `memory` bytes of them in memory, and for
        /// `count` at all.
        fn new(members: &[&str], memory: u64, count: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.npz");
            let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
            let deflated = zip::CompressionMethod::Deflated;
            let options = SimpleFileOptions::default().compression_method(deflated);
            for name in members {
                archive.start_file(*name, options).unwrap();
                archive.write_all(&contents(name)).unwrap();
            }
            archive.finish().unwrap();
            let volume = Archive::open(&path, &path, true, None).unwrap();
            Self {
                volume: Arc::new(volume),
                inflater: Arc::new(Inflater::new(Limits {
                    memory,
                    directory: directory.path().to_owned(),
                    count,
                })),
                directory,
            }
        }

        /// The same with contents that find no room in memory in `directory`.
        fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
            let limits = Limits {
                directory: directory.into(),
                ..self.inflater.limits.clone()
            };
            self.inflater = Arc::new(Inflater::new(limits));
            self
        }

        fn ask(&self, name: &str) -> mpsc::Receiver<Inflated> {
            let ino = self.volume.tree.lookup(Ino::ROOT, name.as_bytes());
            let key = (0, ino.unwrap().ino);
            let (sender, receiver) = mpsc::channel();
            let then = move |inflated| sender.send(inflated).unwrap();
            self.inflater.with(key, self.volume.clone(), then);
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

        /// How many contents there are, their memory, and how often something was inflated.
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
    fn a_member_is_inflated_once_for_all_who_ask() {
        let fixture = Fixture::new(&["a"], 10 * LEN, 9);
        let asked: Vec<_> = (0..32).map(|_| fixture.ask("a")).collect();
        for receiver in asked {
            let inflated = receiver.recv().unwrap().unwrap();
            assert!(inflated.read().unwrap() == contents("a"));
        }
        fixture.inflated("a");
        assert_eq!(fixture.usage(), (1, LEN, 1));
    }

    #[test]
    fn what_was_not_asked_for_longest_is_dropped_first_and_inflated_again() {
        let fixture = Fixture::new(&["a", "b", "c", "d"], 3 * LEN, 9);
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
    fn what_is_in_use_is_kept_and_the_rest_goes_to_the_disk() {
        let fixture = Fixture::new(&["a", "b", "c"], 2 * LEN + 1, 9);
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
    fn what_is_open_elsewhere_is_in_use() {
        let fixture = Fixture::new(&["a", "b", "c"], 2 * LEN, 9);
        let elsewhere = read_only(fixture.inflated("a").file().as_file()).unwrap();
        fixture.inflated("b");
        fixture.inflated("c");
        fixture.inflated("a");
        assert_eq!(fixture.usage(), (2, 2 * LEN, 3));
        drop(elsewhere);
    }

    #[test]
    fn nothing_is_dropped_for_what_finds_no_room_all_the_same() {
        let fixture = Fixture::new(&["a", "b", "c"], 2 * LEN, 9);
        let used = fixture.inflated("a");
        fixture.inflated("b");
        assert!(fixture.inflater.room_in_memory(2 * LEN).is_none());
        assert!(fixture.inflater.room_in_memory(u64::MAX).is_none());
        assert_eq!(fixture.usage(), (2, 2 * LEN, 2));
        assert!(fixture.inflater.room_in_memory(LEN).is_some());
        // Room that was taken and not used is given back.
        assert_eq!(fixture.usage(), (1, LEN, 2));
        drop(used);
        let on_disk = Fixture::new(&["a", "b"], 0, 9);
        on_disk.inflated("a");
        let error = on_disk.inflater.disk_file(1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(on_disk.usage(), (1, 0, 1));
    }

    #[test]
    fn room_that_is_not_to_be_had_after_all_is_not_counted() {
        let fixture = Fixture::new(&["a"], LEN, 9);
        let is_over = AtomicBool::new(false);
        for _ in 0..100 {
            let contents = Arc::downgrade(fixture.inflated("a").file());
            let both = Barrier::new(2);
            is_over.store(false, Ordering::Relaxed);
            let counted = thread::scope(|scope| {
                // Somebody uses them at one moment and not at the next.
                scope.spawn(|| {
                    both.wait();
                    while !is_over.load(Ordering::Relaxed) {
                        drop(contents.upgrade());
                    }
                });
                both.wait();
                let counted = (0..100).map(|_| {
                    let _room = fixture.inflater.room_in_memory(LEN);
                    fixture.usage().1
                });
                let counted: Vec<u64> = counted.collect();
                is_over.store(true, Ordering::Relaxed);
                counted
            });
            // Either the room, or the contents that could not be dropped.
            assert_eq!(counted, [LEN; 100]);
        }
    }

    #[test]
    fn no_room_is_an_error_that_is_not_kept() {
        // There is never any room there.
        let fixture = Fixture::new(&["a", "b"], LEN, 9).with_directory("/proc");
        let used = fixture.inflated("a");
        for _ in 0..2 {
            assert_eq!(
                fixture.error("b"),
                "no room for 100 kB: --inflate-limit is 100 kB, and /proc has not that much left"
            );
        }
        assert_eq!(fixture.usage(), (1, LEN, 3));
        drop(used);
        fixture.inflated("b");
        assert_eq!(fixture.usage(), (1, LEN, 4));
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error() {
        let fixture = Fixture::new(&["a"], 0, 9).with_directory("/no/such\n");
        assert_eq!(
            fixture.error("a"),
            "inflated data cannot be written to /no/such\\n: No such file or directory"
        );
    }

    #[test]
    fn there_are_never_more_contents_than_the_limit() {
        let fixture = Fixture::new(&["a", "b", "c"], 9 * LEN, 2);
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
        let fixture = Fixture::new(&["a"], 9 * LEN, 9);
        let path = fixture.directory.path().join("a.npz");
        let mut bytes = std::fs::read(&path).unwrap();
        // The CRC in both headers.
        let crc = crc32fast::hash(&contents("a"));
        let told = crc.to_le_bytes();
        while let Some(at) = bytes.windows(4).position(|part| part == told) {
            bytes[at] ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        let volume = Archive::open(&path, &path, true, None).unwrap();
        let fixture = Fixture {
            volume: Arc::new(volume),
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
    fn an_archive_that_has_changed_is_said_to_have_whatever_its_data_looks_like() {
        for len in [0, 1] {
            let fixture = Fixture::new(&["a"], 9 * LEN, 9);
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
