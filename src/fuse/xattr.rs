//! Extended attributes: what the archive and the npy header say of a file, the paths of archives
//! and folders, and the counters of the mount.
//!
//! Metadata is not shown as files, since readers of a directory would take each of them for a
//! member.
//!
//! Programs that copy files copy the attributes that listxattr(2) lists. So only those are listed
//! that are true of a copy, too, and only as far as they fit where a file system has little room
//! for them. All others are answered to those who ask by name.

use std::error::Error;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use serde_json::Value;

use super::stats::Stats;
use crate::archive::Archive;
use crate::archive::error::ReadError;
use crate::npy::NpyHeader;
use crate::sys::process;
use crate::tree::Ino;
use crate::ui::human::error_text;
use crate::vfs::{Vfs, VfsError};
use crate::zip::Member;

const ARCHIVE: &str = "user.npzfs.archive";
const STATS: &str = "user.npzfs.stats";
const NAME: &str = "user.npzfs.name";
const OFFSET: &str = "user.npzfs.offset";
const CRC32: &str = "user.npzfs.crc32";
const METHOD: &str = "user.npzfs.method";

const DTYPE: &str = "user.npy.dtype";
const SHAPE: &str = "user.npy.shape";
const FORTRAN_ORDER: &str = "user.npy.fortran_order";
const VERSION: &str = "user.npy.version";
const OF_ARRAY: [&str; 4] = [DTYPE, SHAPE, FORTRAN_ORDER, VERSION];

/// The room that the listed attributes of a file may take, in bytes. ext4 keeps all attributes of a
/// file in one block, which has 1 KiB on small file systems, and SELinux, access control lists and
/// overlayfs have attributes there, too. So a dtype of more than about 20 fields is not listed.
const LISTED_MAX: usize = 768;

/// The room that ext4 takes for an attribute besides its name and value.
const ENTRY_LEN: usize = 16;

/// The counters may grow between the request for the length and the one for the value, so the value
/// is padded with blanks to a multiple of this length.
const STATS_STEP: usize = 256;

/// The reason why an extended attribute cannot be read.
#[derive(Debug)]
pub(super) enum XattrError {
    /// The request for the inode fails.
    Vfs(VfsError),
    /// The member cannot be read.
    Read {
        archive: Arc<Archive>,
        ino: Ino,
        error: ReadError,
    },
}

impl fmt::Display for XattrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vfs(error) => error.fmt(f),
            Self::Read { error, .. } => match error {
                ReadError::Stale => f.write_str("archive has changed"),
                ReadError::Io(error) => f.write_str(&error_text(error)),
            },
        }
    }
}

impl Error for XattrError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Vfs(error) => Some(error),
            Self::Read {
                error: ReadError::Io(error),
                ..
            } => Some(error),
            Self::Read { .. } => None,
        }
    }
}

impl From<VfsError> for XattrError {
    fn from(error: VfsError) -> Self {
        Self::Vfs(error)
    }
}

/// The sources of all extended attributes.
pub(super) struct Xattrs<'a> {
    pub(super) vfs: &'a Vfs,
    pub(super) stats: &'a Stats,
    /// The number of clones.
    pub(super) clones: usize,
}

impl Xattrs<'_> {
    /// Returns whether an attribute takes a look at the contents of its file.
    pub(super) fn is_read_from_file(name: &[u8]) -> bool {
        name.starts_with(b"user.npy.")
    }

    /// Returns the value of an attribute; `None` if the inode does not have it.
    pub(super) fn value(&self, ino: Ino, name: &[u8]) -> Result<Option<Vec<u8>>, XattrError> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(None);
        };
        match name {
            STATS if ino == Ino::ROOT => return Ok(Some(self.stats_json().into_bytes())),
            ARCHIVE => {
                let path = self.vfs.source_path(ino)?;
                return Ok(path.map(|path| path.into_os_string().into_vec()));
            }
            _ => {}
        }
        let Some((archive, local)) = self.archive_of(ino)? else {
            return Ok(None);
        };
        let Some(member) = archive.tree.member(local) else {
            return Ok(None);
        };
        if OF_ARRAY.contains(&name) {
            let header = npy_header(&archive, local, member)?;
            let values = header.into_iter().flat_map(of_array);
            let value = values.into_iter().find(|(known, _)| *known == name);
            return Ok(value.map(|(_, value)| value));
        }
        Ok(match name {
            NAME => Some(archive.tree.name_of(member).to_vec()),
            OFFSET => member
                .data_offset()
                .map(|offset| offset.to_string().into_bytes()),
            CRC32 => Some(crc32(member)),
            METHOD => Some(member.method.to_string().into_bytes()),
            _ => None,
        })
    }

    /// Returns the names of the attributes that are listed, each with a NUL behind it, as
    /// listxattr(2) has them. If there is not enough room for all, those of the longest values are
    /// left out.
    pub(super) fn list(&self, ino: Ino) -> Result<Vec<u8>, XattrError> {
        let Some((archive, local)) = self.archive_of(ino)? else {
            return Ok(Vec::new());
        };
        let Some(member) = archive.tree.member(local) else {
            return Ok(Vec::new());
        };
        let header = npy_header(&archive, local, member)?;
        let mut listed: Vec<_> = header.into_iter().flat_map(of_array).collect();
        listed.push((NAME, archive.tree.name_of(member).to_vec()));
        listed.push((CRC32, crc32(member)));
        let room = |(name, value): &(&str, Vec<u8>)| ENTRY_LEN + name.len() + value.len();
        while listed.iter().map(room).sum::<usize>() > LISTED_MAX {
            let longest = listed.iter().map(room).max();
            listed.retain(|attribute| Some(room(attribute)) != longest);
        }
        let names = listed
            .iter()
            .map(|(name, _)| [name.as_bytes(), b"\0"].concat());
        Ok(names.flatten().collect())
    }

    /// Returns the archive that an inode belongs to, and the inode number there; `None` for a
    /// folder.
    fn archive_of(&self, ino: Ino) -> Result<Option<(Arc<Archive>, Ino)>, XattrError> {
        match self.vfs.archive_of(ino) {
            Err(VfsError::NotADirectory) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    fn stats_json(&self) -> String {
        let mut json = self.stats.to_json();
        json.insert("pid".to_owned(), std::process::id().into());
        if let Ok(namespace) = process::pid_namespace() {
            json.insert("pid_namespace".to_owned(), namespace.into());
        }
        let uptime = self.stats.uptime().as_secs();
        json.insert("uptime_seconds".to_owned(), uptime.into());
        json.extend(self.vfs.status());
        json.insert("clones".to_owned(), self.clones.into());
        let text = Value::Object(json).to_string();
        let width = text.len().next_multiple_of(STATS_STEP);
        format!("{text:<width$}")
    }
}

/// Reads the npy header of a member. It is not cached, since hardly any client asks for it.
fn npy_header(
    archive: &Arc<Archive>,
    ino: Ino,
    member: &Member,
) -> Result<Option<NpyHeader>, XattrError> {
    NpyHeader::find(|len| {
        let start = archive.read_start(member, len as u64);
        start.map_err(|error| XattrError::Read {
            archive: archive.clone(),
            ino,
            error,
        })
    })
}

/// Returns the attributes of an array.
fn of_array(header: NpyHeader) -> [(&'static str, Vec<u8>); 4] {
    let order = python_bool(header.fortran_order);
    [
        (SHAPE, header.shape_text()),
        (FORTRAN_ORDER, order.to_owned()),
        (VERSION, header.version_text()),
        (DTYPE, header.descr),
    ]
    .map(|(name, value)| (name, value.into_bytes()))
}

fn crc32(member: &Member) -> Vec<u8> {
    format!("{:08x}", member.crc32).into_bytes()
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
