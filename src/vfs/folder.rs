//! A folder of the file system, mirrored as it is at the moment: the folders and archives in it.
//!
//! Nothing is cached here: each request reads the directory anew, so that new and replaced archives
//! are found without inotify, which knows no network file systems.
//!
//! Mounts of npzfs in the folder are not shown. A request for the mount itself would come back to
//! this very process and deadlock, and two mounts that mirror one folder would nest without end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::VfsConfig;
use crate::archive::version::FileVersion;
use crate::sys::mountinfo;
use crate::tree::Times;

const SUFFIX: &str = ".npz";

/// A folder.
///
/// It is reached through a descriptor that was opened before anything was mounted, so that a mount
/// may cover the folder itself.
#[derive(Debug, Clone)]
pub struct Folder {
    top: Arc<Top>,
    /// The path from the top to this folder.
    relative: PathBuf,
}

#[derive(Debug)]
struct Top {
    file: File,
    /// The path in messages.
    path: PathBuf,
    /// The mount that the folder is on.
    mount_id: u64,
}

/// An entry of a folder.
#[derive(Debug, Clone)]
pub(super) enum FolderEntry {
    Folder(Folder),
    Archive(ArchiveStat),
}

/// The path, identity and state of an archive in a folder.
#[derive(Debug, Clone)]
pub(super) struct ArchiveStat {
    /// The path by which the archive can be opened.
    pub(super) at: PathBuf,
    /// The path in messages.
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) times: Times,
}

/// The identity and version of a file.
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
    /// Opens the folder at `path`, which must be absolute and without symbolic links.
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

    /// Returns the path in messages.
    pub fn shown_path(&self) -> PathBuf {
        // Joining an empty path would add a slash.
        self.top
            .path
            .components()
            .chain(self.relative.components())
            .collect()
    }

    /// Returns the times of the directory.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(super) fn times(&self) -> io::Result<Times> {
        Ok(Times::from(&fs::metadata(self.path())?))
    }

    /// Returns the names of the entries, sorted. Some may turn out not to be shown:
    /// [`find`](Self::find) decides.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub(super) fn names(&self, config: &VfsConfig) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                names.push(name);
            } else if (kind.is_file() || kind.is_symlink()) && is_archive_name(name.as_bytes()) {
                names.push(self.shown(name, config));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the entry that is shown under `name`.
    ///
    /// # Errors
    /// Those of stat(2), except those that mean that there is no such entry.
    pub(super) fn find(&self, name: &OsStr, config: &VfsConfig) -> io::Result<Option<FolderEntry>> {
        if let Some(directory) = self.directory(name)? {
            let folder = || Self {
                top: self.top.clone(),
                relative: self.relative.join(name),
            };
            let is_shown = !self.is_other_npzfs(&directory)?;
            return Ok(is_shown.then(folder).map(FolderEntry::Folder));
        }
        let mut full_name = name.to_owned();
        if !is_archive_name(name.as_bytes()) || self.shown(name.to_owned(), config) != name {
            full_name.push(SUFFIX);
            if !config.strip_suffix
                || self.shown(full_name.clone(), config) != name
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
                times: Times::from(&metadata),
            })
        }))
    }

    /// Returns the name under which an archive is shown: without its suffix if that is asked for,
    /// and neither a folder nor an archive that keeps its full name has the shorter one.
    fn shown(&self, name: OsString, config: &VfsConfig) -> OsString {
        let stem = name.as_bytes().strip_suffix(SUFFIX.as_bytes());
        let Some(stem) = stem.filter(|stem| config.strip_suffix && !stem.is_empty()) else {
            return name;
        };
        let stem = OsStr::from_bytes(stem).to_owned();
        let is_folder = matches!(self.directory(&stem), Ok(Some(_)));
        let is_archive = || {
            is_archive_name(stem.as_bytes())
                && matches!(self.archive(&stem), Ok(Some(_)))
                && self.shown(stem.clone(), config) == stem
        };
        if is_folder || is_archive() {
            name
        } else {
            stem
        }
    }

    /// Opens the folder of that name, if there is one, without asking the file system mounted
    /// there. Symbolic links are not followed: they may lead out of the folder, or in circles.
    fn directory(&self, name: &OsStr) -> io::Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(self.path().join(name));
        if_exists(opened)
    }

    /// Returns whether `directory` is on a mount of npzfs other than the one that this folder is
    /// on.
    fn is_other_npzfs(&self, directory: &File) -> io::Result<bool> {
        let id = mountinfo::mount_id(directory)?;
        let is_npzfs = |mount: &mountinfo::MountInfo| mount.id == id && mount.is_npzfs();
        Ok(id != self.top.mount_id && mountinfo::all()?.iter().any(is_npzfs))
    }

    /// Returns the metadata of the archive of that name, if there is one.
    fn archive(&self, name: &OsStr) -> io::Result<Option<Metadata>> {
        let found = if_exists(fs::metadata(self.path().join(name)))?;
        Ok(found.filter(Metadata::is_file))
    }

    fn path(&self) -> PathBuf {
        let top = format!("/proc/self/fd/{}", self.top.file.as_raw_fd());
        PathBuf::from(top).join(&self.relative)
    }
}

/// Returns whether a file in a folder is taken for an archive.
fn is_archive_name(name: &[u8]) -> bool {
    name.len() > SUFFIX.len() && name.ends_with(SUFFIX.as_bytes())
}

/// Turns the errors that mean that there is no such file into `None`.
fn if_exists<T>(found: io::Result<T>) -> io::Result<Option<T>> {
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
