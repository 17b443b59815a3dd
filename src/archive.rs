//! An open archive: its tree of members, their bytes, and the lane by which each is served.

pub mod error;
pub mod file;
pub mod file_kind;
pub mod lane;
pub mod reflink;
pub mod served_file;
pub mod slice;
pub mod version;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use log::{Level, warn};

use crate::tree::{Ino, Times, Tree};
use crate::ui::human::Escaped;
use crate::zip::{self, ArchiveError, Decoder, Member, MemberError, Method};
use error::{OpenError, OpenErrorKind, ReadError};
use file::IndexedFile;
use lane::{Lane, Lanes};
use reflink::Reflinker;
use served_file::{Notice, ServedFile};
use slice::FileSlice;

/// The most unreadable members of an archive that are logged each.
const LOGGED_MAX: usize = 1000;

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    /// The path that messages show. For an archive inside another one it goes on with the member's
    /// name there.
    pub path: PathBuf,
    /// The members as files and directories.
    pub tree: Tree,
    /// How many members each lane serves while none is cloned.
    lanes: Lanes,
    data: FileSlice,
    /// The archive that holds this one.
    outer: Option<Arc<Archive>>,
    /// Clones members, also those of archives inside.
    reflinker: Option<Arc<Reflinker>>,
    /// Whether the log has the reason why a member cannot be read, by inode.
    logged: Vec<AtomicBool>,
    /// How many reasons were logged, or left out because there were too many.
    logged_count: AtomicUsize,
}

/// What an archive is opened for, which decides what the log says when it is found changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A command that reads it once and reports a change by itself.
    Command,
    /// A mount of this very archive.
    Mount,
    /// A mount of the folder that it is in, where the changed archive will be seen.
    Folder,
}

impl Purpose {
    fn notice_of_change(self, path: &Path) -> Option<Notice> {
        let shown = Escaped::path(path);
        match self {
            Self::Command => None,
            Self::Mount => Some(Notice {
                level: Level::Error,
                text: format!("{shown}: changed while mounted; mount it again"),
            }),
            Self::Folder => Some(Notice {
                level: Level::Warn,
                text: format!("{shown}: changed while it was open"),
            }),
        }
    }
}

/// The way to the contents of a member.
#[derive(Debug)]
pub enum Contents<'a> {
    /// The archive has them as they are.
    Stored(FileSlice),
    /// They have to be decompressed.
    Compressed(&'a Member),
}

impl Archive {
    /// Opens and indexes the archive at `at`. Messages call it `given`; where both are the same, they
    /// show the absolute path. Without `inflate_enabled`, compressed members cannot be read.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        at: &Path,
        given: &Path,
        inflate_enabled: bool,
        purpose: Purpose,
    ) -> Result<Self, OpenError> {
        let mut archive = if at == given {
            IndexedFile::open(at)?
        } else {
            IndexedFile::open_as(at, given)?
        };
        if !inflate_enabled {
            archive.index.refuse_compressed();
        }
        let times = Times::from(&archive.metadata);
        let tree = Tree::new(archive.index, times)
            .map_err(|_| OpenErrorKind::Archive(ArchiveError::TooLarge).of(given))?;
        let notice = purpose.notice_of_change(&archive.path);
        let file = ServedFile::shared(archive.file, &archive.metadata, notice);
        let data = FileSlice::whole(Arc::new(file));
        Ok(Self::new(archive.path, data, tree, None))
    }

    /// Indexes the archive whose bytes are `data`: those of `member`, a member of `outer`.
    ///
    /// # Errors
    /// Any [`ArchiveError`].
    pub fn nested(
        outer: &Arc<Self>,
        path: PathBuf,
        data: FileSlice,
        member: &Member,
        inflate_enabled: bool,
    ) -> Result<Self, ArchiveError> {
        let mut index = zip::index(&data, data.len(), member.modified)?;
        if !inflate_enabled {
            index.refuse_compressed();
        }
        let times = outer.tree.times_of(member);
        let tree = Tree::new(index, times).map_err(|_| ArchiveError::TooLarge)?;
        let mut archive = Self::new(path, data, tree, Some(outer.clone()));
        if let Some(reflinker) = &outer.reflinker {
            // The log has the reason where this fails.
            let _ = archive.enable_reflinks(reflinker.clone());
        }
        Ok(archive)
    }

    fn new(path: PathBuf, data: FileSlice, tree: Tree, outer: Option<Arc<Self>>) -> Self {
        let mut lanes = Lanes::default();
        for member in tree.files() {
            lanes.count(Lane::of(member));
        }
        // Only archives with members that may fail need this, which are few.
        let logged = if lanes.is_all_mapped() {
            0
        } else {
            tree.inode_count()
        };
        Self {
            path,
            tree,
            lanes,
            data,
            outer,
            reflinker: None,
            logged: std::iter::repeat_with(AtomicBool::default)
                .take(logged)
                .collect(),
            logged_count: AtomicUsize::new(0),
        }
    }

    /// Clones members from now on, as far as that is possible. Returns whether any member is fit for
    /// it.
    ///
    /// # Errors
    /// Those of [`Reflinker::reflink`].
    pub fn enable_reflinks(&mut self, reflinker: Arc<Reflinker>) -> io::Result<bool> {
        let stored = self.tree.files().filter_map(|member| self.stored(member));
        let tried = reflinker.try_out(stored);
        match &tried {
            Ok(_) => self.reflinker = Some(reflinker),
            Err(error) => reflink::log_failure(&self.path, None, error),
        }
        tried
    }

    /// Returns what may clone a member with these contents. The answer never changes.
    pub fn reflinker_for(&self, contents: &FileSlice) -> Option<&Reflinker> {
        let reflinker = self.reflinker.as_deref();
        reflinker.filter(|reflinker| reflinker.is_candidate(contents))
    }

    /// Whether a member is cloned.
    pub fn is_reflinked(&self, member: &Member) -> bool {
        let contents = self.stored(member);
        contents.is_some_and(|contents| {
            let reflinker = self.reflinker.as_deref();
            reflinker.is_some_and(|reflinker| reflinker.is_reflinked(&contents))
        })
    }

    /// Returns the lane of a member; `None` where it cannot be read.
    pub fn lane(&self, member: &Member) -> Option<Lane> {
        Lane::of(member).map(|lane| match lane {
            Lane::Mapped if self.is_reflinked(member) => Lane::Cloned,
            lane => lane,
        })
    }

    /// Counts the members of each lane; without `passthrough` none is cloned.
    pub fn lanes(&self, passthrough: bool) -> Lanes {
        if !passthrough || self.reflinker.is_none() {
            return self.lanes;
        }
        let mut lanes = Lanes::default();
        for member in self.tree.files() {
            lanes.count(self.lane(member));
        }
        lanes
    }

    fn stored(&self, member: &Member) -> Option<FileSlice> {
        match self.contents(member) {
            Ok(Contents::Stored(contents)) => Some(contents),
            _ => None,
        }
    }

    /// Returns the path that messages show for an archive that is the member `name` of this one.
    pub fn nested_path(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Checks that the archive is still what it was. A nested archive is a part of the outermost one,
    /// or was made of it, so only that one can change.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn check(&self) -> Result<(), ReadError> {
        self.outermost().data.file().check()
    }

    /// Whether [`check`](Self::check) is answered by this machine's kernel.
    pub fn is_local(&self) -> bool {
        self.outermost().data.file().is_local()
    }

    /// Whether the archive was found changed. Where that is known without a wait, it is checked.
    pub fn is_stale(&self) -> bool {
        if self.is_local() {
            return self.outermost().data.file().has_changed();
        }
        self.outermost().data.file().is_stale()
    }

    /// Whether the archive is inside another one.
    pub fn is_nested(&self) -> bool {
        self.outer.is_some()
    }

    /// Returns the archive that is a file: this one, or the one around all others.
    pub fn outermost(&self) -> &Self {
        self.outer.as_ref().map_or(self, |outer| outer.outermost())
    }

    /// The bytes of the archive.
    pub fn data(&self) -> &FileSlice {
        &self.data
    }

    /// Returns the way to the contents of a member.
    ///
    /// # Errors
    /// The [`MemberError`] of a member that cannot be read.
    pub fn contents<'a>(&self, member: &'a Member) -> Result<Contents<'a>, &'a MemberError> {
        match &member.problem {
            Some(problem) => Err(problem),
            None if is_stored(member) => {
                let part = self.data.part(member.extent.start, member.size);
                Ok(Contents::Stored(part))
            }
            None => Ok(Contents::Compressed(member)),
        }
    }

    /// Whether every member can be read, and is stored.
    pub fn is_all_stored(&self) -> bool {
        self.lanes.is_all_mapped()
    }

    /// Decompresses a member as it is read. The bytes are only known to be right once the end was
    /// reached, and the archive passed [`check`](Self::check) afterwards.
    ///
    /// # Errors
    /// Those of [`Decoder::new`].
    pub fn decoder(&self, member: &Member) -> io::Result<Decoder<'_>> {
        Decoder::new(&self.data, member)
    }

    /// Returns the first `len` bytes of a member, or all where there are fewer, and none where the
    /// member cannot be read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_start(&self, member: &Member, len: u64) -> Result<Vec<u8>, ReadError> {
        match self.contents(member) {
            Ok(Contents::Stored(contents)) => contents.part(0, len).read(),
            Ok(Contents::Compressed(member)) => {
                let mut start = Vec::new();
                // One byte more reaches the end of a short member, where its CRC is checked.
                let read = self.decoder(member).and_then(|decoder| {
                    decoder.take(len.saturating_add(1)).read_to_end(&mut start)
                });
                start.truncate(len as usize);
                self.check()?;
                read.map_err(ReadError::Io)?;
                Ok(start)
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Notes that a member could be read, so that a later failure is logged again.
    pub fn reset_logged(&self, ino: Ino) {
        if let Some(logged) = self.logged_flag(ino) {
            logged.store(false, Ordering::Relaxed);
        }
    }

    /// Logs the reason why a member cannot be read, unless it was logged before.
    pub fn log_once(&self, ino: Ino, reason: &dyn fmt::Display) {
        if self
            .logged_flag(ino)
            .is_some_and(|logged| logged.swap(true, Ordering::Relaxed))
        {
            return;
        }
        let archive = Escaped::path(&self.path);
        match self.logged_count.fetch_add(1, Ordering::Relaxed) {
            ..LOGGED_MAX => {}
            LOGGED_MAX => return warn!("{archive}: more members cannot be read"),
            _ => return,
        }
        let member = self.tree.member(ino);
        let name = member.map(|member| self.tree.name_of(member));
        let name = Escaped::member(name.unwrap_or_default());
        warn!("{archive}: member '{name}': {reason}");
    }

    fn logged_flag(&self, ino: Ino) -> Option<&AtomicBool> {
        self.logged.get(ino.0.wrapping_sub(1) as usize)
    }
}

fn is_stored(member: &Member) -> bool {
    member.method == Method::STORED
}
