//! A folder of the file system, mirrored as it is at the moment: the folders and archives in it.
//!
//! Mounts of npzfs in it are not shown: the mount itself would ask this very process and wait for
//! ever, and two that mirror one folder would show each other without end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use crate::archive::version::FileVersion;
use crate::sys::mountinfo;

const SUFFIX: &str = ".npz";

/// A folder.
///
/// It is reached from a descriptor that was opened before anything was mounted, so that a mount over
/// the folder itself does not get in the way.
#[derive(Debug, Clone)]
pub struct Folder {
    top: Arc<Top>,
    /// From the top down to this folder.
    relative: PathBuf,
}

#[derive(Debug)]
struct Top {
    file: File,
    /// What messages call it.
    path: PathBuf,
    /// The mount that it is on.
    mount_id: u64,
}

/// What is found under a name in a folder.
#[derive(Debug, Clone)]
pub(super) enum FolderEntry {
    Folder(Folder),
    Archive(ArchiveStat),
}

/// An archive in a folder, as it was when it was seen.
#[derive(Debug, Clone)]
pub(super) struct ArchiveStat {
    /// Where it can be opened.
    pub(super) at: PathBuf,
    /// What messages call it.
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// Seconds since 1970 (UTC).
    pub(super) modified: i64,
}

/// Which file it is, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    version: FileVersion,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            version: FileVersion::of(metadata),
        }
    }
}

impl Folder {
    /// The folder at `path`, which is absolute and without symbolic links.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path)?;
        Ok(Self {
            top: Arc::new(Top {
                mount_id: mountinfo::mount_id(&file)?,
                file,
                path: path.to_owned(),
            }),
            relative: PathBuf::new(),
        })
    }

    /// Its path, as messages have it.
    pub fn shown_path(&self) -> PathBuf {
        // To join nothing would add a slash.
        self.top
            .path
            .components()
            .chain(self.relative.components())
            .collect()
    }

    /// Time of last modification, in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// Those of stat(2).
    pub(super) fn modified(&self) -> io::Result<i64> {
        Ok(fs::metadata(self.path())?.mtime())
    }

    /// The names of what may be shown, in order: what becomes of each, [`find`](Self::find) tells.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub(super) fn names(&self, options: &Options) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                names.push(name);
            } else if (kind.is_file() || kind.is_symlink()) && is_archive_name(name.as_bytes()) {
                names.push(self.shown(name, options));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What is shown under `name`.
    ///
    /// # Errors
    /// Those of stat(2), but for those that say that there is nothing.
    pub(super) fn find(&self, name: &OsStr, options: &Options) -> io::Result<Option<FolderEntry>> {
        if let Some(directory) = self.directory(name)? {
            let folder = || Self {
                top: self.top.clone(),
                relative: self.relative.join(name),
            };
            let is_shown = !self.is_other_npzfs(&directory)?;
            return Ok(is_shown.then(folder).map(FolderEntry::Folder));
        }
        let mut full_name = name.to_owned();
        if !is_archive_name(name.as_bytes()) || self.shown(name.to_owned(), options) != name {
            full_name.push(SUFFIX);
            if !options.strip_suffix
                || self.shown(full_name.clone(), options) != name
                || self.directory(&full_name)?.is_some()
            {
                return Ok(None);
            }
        }
        let found = self.archive(&full_name)?;
        Ok(found.map(|metadata| {
            FolderEntry::Archive(ArchiveStat {
                at: self.path().join(&full_name),
                path: self.shown_path().join(full_name),
                identity: Identity::of(&metadata),
                modified: metadata.mtime(),
            })
        }))
    }

    /// The name under which an archive is shown: without its suffix if that is wanted, and no
    /// folder has that name, nor an archive that has to keep its own.
    fn shown(&self, name: OsString, options: &Options) -> OsString {
        let stem = name.as_bytes().strip_suffix(SUFFIX.as_bytes());
        let Some(stem) = stem.filter(|stem| options.strip_suffix && !stem.is_empty()) else {
            return name;
        };
        let stem = OsStr::from_bytes(stem).to_owned();
        let is_folder = matches!(self.directory(&stem), Ok(Some(_)));
        let is_archive = || {
            is_archive_name(stem.as_bytes())
                && matches!(self.archive(&stem), Ok(Some(_)))
                && self.shown(stem.clone(), options) == stem
        };
        if is_folder || is_archive() {
            name
        } else {
            stem
        }
    }

    /// The folder of that name, if there is one. Symbolic links to folders are none: they may lead
    /// out, or round in circles. The folder's own file system is not asked.
    fn directory(&self, name: &OsStr) -> io::Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(self.path().join(name));
        there_or_not(opened)
    }

    /// Whether a folder is on a mount of npzfs that is not the one which this folder is on.
    fn is_other_npzfs(&self, directory: &File) -> io::Result<bool> {
        let id = mountinfo::mount_id(directory)?;
        let is_npzfs = |mount: &mountinfo::MountInfo| mount.id == id && mount.is_npzfs();
        Ok(id != self.top.mount_id && mountinfo::all()?.iter().any(is_npzfs))
    }

    /// What the archive of that name is like, if there is one; `name` is no folder's.
    fn archive(&self, name: &OsStr) -> io::Result<Option<Metadata>> {
        let found = there_or_not(fs::metadata(self.path().join(name)))?;
        Ok(found.filter(Metadata::is_file))
    }

    fn path(&self) -> PathBuf {
        let top = format!("/proc/self/fd/{}", self.top.file.as_raw_fd());
        PathBuf::from(top).join(&self.relative)
    }
}

/// Whether a file in a folder is taken for an archive.
fn is_archive_name(name: &[u8]) -> bool {
    name.len() > SUFFIX.len() && name.ends_with(SUFFIX.as_bytes())
}

fn there_or_not<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) || error.raw_os_error() == Some(libc::ELOOP)
                || error.raw_os_error() == Some(libc::ENAMETOOLONG) =>
        {
            Ok(None)
        }
        found => found.map(Some),
    }
}
