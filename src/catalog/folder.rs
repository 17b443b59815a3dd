//! A folder of the file system, mirrored as it is at the moment: the folders and archives in it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use crate::bytes::Version;

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
    /// Where the mount itself is, from the top down, if it is anywhere below. It must not be looked
    /// into: it would ask this very process, and wait for ever.
    hidden: Option<PathBuf>,
}

/// What is found under a name in a folder.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Folder(Folder),
    Archive(SeenArchive),
}

/// An archive in a folder, as it was when it was seen.
#[derive(Debug, Clone)]
pub(super) struct SeenArchive {
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
    version: Version,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            version: Version::of(metadata),
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
                file,
                path: path.to_owned(),
                hidden: None,
            }),
            relative: PathBuf::new(),
        })
    }

    /// The same folder without what is at `mount_point`, an absolute path without symbolic links.
    pub fn without(mut self, mount_point: &Path) -> Self {
        if let Some(top) = Arc::get_mut(&mut self.top) {
            top.hidden = mount_point.strip_prefix(&top.path).ok().map(Path::to_owned);
        }
        self
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

    /// The names of what is shown, in order.
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
                if !self.is_hidden(&name) {
                    names.push(name);
                }
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
    pub(super) fn find(&self, name: &OsStr, options: &Options) -> io::Result<Option<Seen>> {
        if self.is_directory(name)? {
            let folder = Self {
                top: self.top.clone(),
                relative: self.relative.join(name),
            };
            return Ok(Some(Seen::Folder(folder)));
        }
        let is_full_name = is_archive_name(name.as_bytes());
        let full_name = if is_full_name && self.shown(name.to_owned(), options) == name {
            name.to_owned()
        } else if options.strip_suffix {
            let mut full_name = name.to_owned();
            full_name.push(SUFFIX);
            full_name
        } else {
            return Ok(None);
        };
        let at = self.path().join(&full_name);
        let found = there_or_not(fs::metadata(&at))?.filter(Metadata::is_file);
        Ok(found.map(|metadata| {
            Seen::Archive(SeenArchive {
                at,
                path: self.shown_path().join(full_name),
                identity: Identity::of(&metadata),
                modified: metadata.mtime(),
            })
        }))
    }

    /// The name under which an archive is shown: without its suffix if that is wanted, and no
    /// folder has that name.
    fn shown(&self, name: OsString, options: &Options) -> OsString {
        let stem = name.as_bytes().strip_suffix(SUFFIX.as_bytes());
        match stem.map(OsStr::from_bytes) {
            Some(stem)
                if options.strip_suffix
                    && !stem.is_empty()
                    && !self.is_directory(stem).unwrap_or(false) =>
            {
                stem.to_owned()
            }
            _ => name,
        }
    }

    /// Whether a name is that of a folder in this one, which is shown. Symbolic links to folders are
    /// not: they may lead out, or round in circles.
    fn is_directory(&self, name: &OsStr) -> io::Result<bool> {
        if self.is_hidden(name) {
            return Ok(false);
        }
        let found = there_or_not(fs::symlink_metadata(self.path().join(name)))?;
        Ok(found.is_some_and(|metadata| metadata.is_dir()))
    }

    fn is_hidden(&self, name: &OsStr) -> bool {
        let hidden = self.top.hidden.as_deref();
        hidden.is_some_and(|hidden| hidden == self.relative.join(name))
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

fn there_or_not(metadata: io::Result<Metadata>) -> io::Result<Option<Metadata>> {
    match metadata {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) || error.raw_os_error() == Some(libc::ELOOP)
                || error.raw_os_error() == Some(libc::ENAMETOOLONG) =>
        {
            Ok(None)
        }
        metadata => metadata.map(Some),
    }
}
