//! Extended attributes: what the archive and the npy header say of a file, the paths of archives and
//! folders, and the counters of the mount.
//!
//! Metadata is not shown as files, since readers of a directory would take each of them for a member.

use std::error::Error;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use serde_json::Value;

use super::stats::Stats;
use crate::archive::Archive;
use crate::archive::error::ReadError;
use crate::npy::NpyHeader;
use crate::tree::Ino;
use crate::ui::human::error_text;
use crate::vfs::{Vfs, VfsError};
use crate::zip::Member;

/// The absolute path of an archive or a folder, on its root directory.
const ARCHIVE: &str = "user.npzfs.archive";
/// The counters and the state of the mount as a JSON object, on the root of the mount.
const STATS: &str = "user.npzfs.stats";

const DTYPE: &str = "user.npy.dtype";
const SHAPE: &str = "user.npy.shape";
const FORTRAN_ORDER: &str = "user.npy.fortran_order";
const VERSION: &str = "user.npy.version";
const NAME: &str = "user.npzfs.name";
const OFFSET: &str = "user.npzfs.offset";
const CRC32: &str = "user.npzfs.crc32";
const METHOD: &str = "user.npzfs.method";

const OF_FILE: [&str; 4] = [NAME, OFFSET, CRC32, METHOD];
const OF_ARRAY: [&str; 4] = [DTYPE, SHAPE, FORTRAN_ORDER, VERSION];

/// The counters may grow between the request for the length and the one for the value, so the value is
/// padded with blanks to a multiple of this length.
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
        let text = match name {
            NAME => return Ok(Some(archive.tree.name_of(member).to_vec())),
            OFFSET => member.data_offset().map(|offset| offset.to_string()),
            CRC32 => Some(format!("{:08x}", member.crc32)),
            METHOD => Some(member.method.to_string()),
            _ if OF_ARRAY.contains(&name) => {
                npy_header(&archive, local, member)?.and_then(|header| match name {
                    DTYPE => Some(header.descr),
                    SHAPE => Some(header.shape_text()),
                    FORTRAN_ORDER => Some(python_bool(header.fortran_order).to_owned()),
                    VERSION => Some(header.version_text()),
                    _ => None,
                })
            }
            _ => None,
        };
        Ok(text.map(String::into_bytes))
    }

    /// Returns the names of an inode's attributes, each with a NUL behind it, as listxattr(2) has them.
    pub(super) fn list(&self, ino: Ino) -> Result<Vec<u8>, XattrError> {
        let mut names = Vec::new();
        if self.vfs.source_path(ino)?.is_some() {
            names.push(ARCHIVE);
        }
        if ino == Ino::ROOT {
            names.push(STATS);
        } else if let Some((archive, local)) = self.archive_of(ino)?
            && let Some(member) = archive.tree.member(local)
        {
            if npy_header(&archive, local, member)?.is_some() {
                names.extend(OF_ARRAY);
            }
            let is_known = |name: &&str| *name != OFFSET || member.data_offset().is_some();
            names.extend(OF_FILE.into_iter().filter(is_known));
        }
        Ok(names
            .iter()
            .flat_map(|name| [name.as_bytes(), b"\0"].concat())
            .collect())
    }

    /// Returns the archive that an inode belongs to, and the inode number there; `None` for a folder.
    fn archive_of(&self, ino: Ino) -> Result<Option<(Arc<Archive>, Ino)>, XattrError> {
        match self.vfs.archive_of(ino) {
            Err(VfsError::NotADirectory) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    fn stats_json(&self) -> String {
        let mut json = self.stats.to_json();
        json.insert("pid".to_owned(), std::process::id().into());
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

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
