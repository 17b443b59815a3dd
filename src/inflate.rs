//! What compressed members are inflated to: made once, when somebody first wants it, kept within a
//! budget, and dropped again when nobody uses it.
//!
//! Contents are files without a name, in memory as long as there is room, then on a disk. They are
//! checked whole, CRC-32 included, before the first byte is served.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::statvfs;

use crate::bytes::{Bytes, ReadError, Slice};
use crate::human::{Escaped, Size};
use crate::pool::Pool;
use crate::tree::Ino;
use crate::volume::Volume;

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

/// Why a member was not inflated.
#[derive(Debug)]
pub enum InflateError {
    /// The archive has changed.
    Stale,
    /// The archive cannot be read, or the member is not what it should be.
    Data(io::Error),
    /// There is no room for so much, not even on the disk.
    NoRoom {
        /// What is needed, in bytes.
        size: u64,
        /// What may be used of the memory, in bytes.
        memory: u64,
        /// Where there is no room either.
        directory: PathBuf,
    },
    /// More contents are in use than there may be.
    TooMany,
    /// The contents could not be written.
    Write(io::Error),
    /// The decoder failed in a way in which it never should.
    Decoder,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the archive changed while the member was inflated"),
            Self::Data(error) => error.fmt(f),
            Self::NoRoom {
                size,
                memory,
                directory,
            } => write!(
                f,
                "no room for {}: --inflate-limit is {}, and {} has not that much left",
                Size(*size),
                Size(*memory),
                Escaped(directory.as_os_str().as_encoded_bytes())
            ),
            Self::TooMany => f.write_str("too many inflated members are in use (--max-open)"),
            Self::Write(error) => write!(f, "inflated data cannot be written: {error}"),
            Self::Decoder => f.write_str("the decoder failed: please report it"),
        }
    }
}

impl From<ReadError> for InflateError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stale => Self::Stale,
            ReadError::Io(error) => Self::Data(error),
        }
    }
}

/// What is told to everybody who waits for the same contents.
pub type Inflated = Result<Slice, Arc<InflateError>>;

type Waiter = Box<dyn FnOnce(Inflated) + Send>;

/// Where contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Memory,
    Disk,
}

enum Entry {
    /// Is being made; these want it.
    Pending(Vec<Waiter>),
    Ready {
        contents: Slice,
        home: Home,
        /// When it was last asked for: its key in `State::by_use`.
        used: u64,
    },
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// What is ready, least recently used first.
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    /// Bytes in memory, what is being made included.
    in_memory: u64,
    /// Bytes that are still to be written to the disk.
    promised: u64,
}

/// Inflates members, and keeps what they were inflated to.
pub struct Inflater {
    limits: Limits,
    state: Mutex<State>,
    pool: Pool,
}

impl Inflater {
    /// Nothing inflated yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            pool: Pool::default(),
        }
    }

    /// Has `then` called with the contents of the member `key.1` of `volume`: now if they are there,
    /// otherwise by another thread once they are. However many ask, a member is inflated only once.
    pub fn with(
        self: &Arc<Self>,
        key: Key,
        volume: Arc<Volume>,
        then: impl FnOnce(Inflated) + Send + 'static,
    ) {
        let mut state = self.lock();
        match state.entries.get_mut(&key) {
            Some(Entry::Pending(waiters)) => waiters.push(Box::new(then)),
            Some(Entry::Ready { .. }) => {
                let contents = state.use_ready(key);
                drop(state);
                if let Some(contents) = contents {
                    then(Ok(contents));
                }
            }
            None => {
                let waiters: Vec<Waiter> = vec![Box::new(then)];
                state.entries.insert(key, Entry::Pending(waiters));
                drop(state);
                let this = self.clone();
                self.pool.run(move || this.make(key, &volume));
            }
        }
    }

    /// How many contents there are, and how many bytes of memory they take.
    pub fn usage(&self) -> (usize, u64) {
        let state = self.lock();
        (state.by_use.len(), state.in_memory)
    }

    /// Nothing that can panic is done while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, key: Key, volume: &Volume) {
        // Decoders are given what anybody made, and those who wait must not wait for ever.
        let made = panic::catch_unwind(AssertUnwindSafe(|| self.inflate(key.1, volume)));
        let made = made.unwrap_or(Err(InflateError::Decoder));
        let mut state = self.lock();
        let waiters = match state.entries.remove(&key) {
            Some(Entry::Pending(waiters)) => waiters,
            _ => Vec::new(),
        };
        let told = made.map_err(Arc::new).map(|(contents, room)| {
            let home = room.home;
            // From here on the room is that of the entry.
            room.keep(&mut state);
            let used = state.tick(key);
            let entry = Entry::Ready {
                contents: contents.clone(),
                home,
                used,
            };
            state.entries.insert(key, entry);
            contents
        });
        drop(state);
        for then in waiters {
            then(told.clone());
        }
    }

    fn inflate(&self, ino: Ino, volume: &Volume) -> Result<(Slice, Room<'_>), InflateError> {
        let Some(member) = volume.tree.member(ino) else {
            return Err(InflateError::Data(io::ErrorKind::NotFound.into()));
        };
        let size = member.size;
        let room = self.reserve(size)?;
        let mut file = match room.home {
            Home::Memory => memory_file(),
            Home::Disk => tempfile::tempfile_in(&self.limits.directory),
        }
        .map_err(InflateError::Write)?;
        let mut decoder = volume.decoder(member).map_err(InflateError::Data)?;
        let mut buffer = vec![0; STEP];
        loop {
            let len = decoder.read(&mut buffer).map_err(InflateError::Data)?;
            if len == 0 {
                break;
            }
            file.write_all(&buffer[..len])
                .map_err(InflateError::Write)?;
        }
        volume.check()?;
        let bytes = Bytes::of_private_file(file, size).map_err(InflateError::Write)?;
        Ok((Slice::whole(Arc::new(bytes)), room))
    }

    /// Finds room for `size` bytes, if need be by dropping what nobody uses.
    fn reserve(&self, size: u64) -> Result<Room<'_>, InflateError> {
        let mut state = self.lock();
        let mut dropped = Vec::new();
        let limits = &self.limits;
        while state.entries.len() > limits.count {
            let oldest = state.drop_oldest(None).ok_or(InflateError::TooMany)?;
            dropped.push(oldest);
        }
        let mut home = Home::Disk;
        if size <= limits.memory {
            loop {
                if state.in_memory <= limits.memory - size {
                    home = Home::Memory;
                    break;
                }
                match state.drop_oldest(Some(Home::Memory)) {
                    Some(oldest) => dropped.push(oldest),
                    None => break,
                }
            }
        }
        match home {
            Home::Memory => state.in_memory += size,
            Home::Disk => {
                while !self.disk_holds(size.saturating_add(state.promised)) {
                    // Only once it is closed there is more room.
                    let oldest = state.drop_oldest(Some(Home::Disk));
                    drop(oldest.ok_or_else(|| InflateError::NoRoom {
                        size,
                        memory: limits.memory,
                        directory: limits.directory.clone(),
                    })?);
                }
                state.promised += size;
            }
        }
        drop(state);
        Ok(Room {
            inflater: self,
            home,
            size,
        })
    }

    fn disk_holds(&self, size: u64) -> bool {
        statvfs(&self.limits.directory)
            .is_ok_and(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()) >= size)
    }
}

impl State {
    /// Marks an entry as used just now; returns when that is.
    fn tick(&mut self, key: Key) -> u64 {
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        self.clock
    }

    fn use_ready(&mut self, key: Key) -> Option<Slice> {
        let now = self.tick(key);
        let Some(Entry::Ready { contents, used, .. }) = self.entries.get_mut(&key) else {
            return None;
        };
        let before = std::mem::replace(used, now);
        let contents = contents.clone();
        self.by_use.remove(&before);
        Some(contents)
    }

    /// Drops, of the contents that nobody uses, those that were not asked for longest.
    fn drop_oldest(&mut self, home: Option<Home>) -> Option<Slice> {
        let idle = |key: &Key| match self.entries.get(key) {
            Some(Entry::Ready {
                contents, home: at, ..
            }) => home.is_none_or(|home| home == *at) && Arc::strong_count(contents.bytes()) == 1,
            _ => false,
        };
        let (&used, &key) = self.by_use.iter().find(|(_, key)| idle(key))?;
        self.by_use.remove(&used);
        let Some(Entry::Ready { contents, home, .. }) = self.entries.remove(&key) else {
            return None;
        };
        if home == Home::Memory {
            self.in_memory -= contents.len();
        }
        Some(contents)
    }
}

/// Room for contents that are being made, given back when they are not.
struct Room<'a> {
    inflater: &'a Inflater,
    home: Home,
    size: u64,
}

impl Room<'_> {
    /// The contents are there: on the disk they count as what they are, no more as promised.
    fn keep(self, state: &mut State) {
        if self.home == Home::Disk {
            state.promised -= self.size;
        }
        std::mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.inflater.lock();
        match self.home {
            Home::Memory => state.in_memory -= self.size,
            Home::Disk => state.promised -= self.size,
        }
    }
}

fn memory_file() -> io::Result<File> {
    Ok(memfd_create(c"npzfs", MFdFlags::MFD_CLOEXEC)?.into())
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
