//! The extended attributes of files, of archives and folders, and of the mount: what the archive and
//! the npy header tell, and what was asked.
//!
//! They are how metadata reaches a client: a file more in a directory would be taken for a member.

use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use serde_json::Value;

use crate::archive::Archive;
use crate::archive::served_file::ReadError;
use crate::fuse::stats::Stats;
use crate::npy::NpyHeader;
use crate::tree::Ino;
use crate::vfs::{Vfs, VfsError};
use crate::zip::member::Member;

/// The absolute path of an archive or a folder, on its root directory.
pub const ARCHIVE: &str = "user.npzfs.archive";
/// The counters of the mount as a JSON object, on the root of the mount.
pub const STATS: &str = "user.npzfs.stats";

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

/// Why an attribute cannot be had.
#[derive(Debug)]
pub(crate) enum AttributeError {
    /// Nothing can be said of the inode.
    VfsError(VfsError),
    /// The member cannot be read.
    Read {
        volume: Arc<Archive>,
        ino: Ino,
        error: ReadError,
    },
}

impl From<VfsError> for AttributeError {
    fn from(error: VfsError) -> Self {
        Self::VfsError(error)
    }
}

/// All that attributes are made from.
pub(crate) struct Attributes<'a> {
    pub(crate) catalog: &'a Vfs,
    pub(crate) stats: &'a Stats,
    /// How many clones there are.
    pub(crate) clones: usize,
}

impl Attributes<'_> {
    /// The value of an attribute; `None` where the inode has no such attribute.
    pub(crate) fn value(&self, ino: Ino, name: &[u8]) -> Result<Option<Vec<u8>>, AttributeError> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(None);
        };
        match name {
            STATS if ino == Ino::ROOT => return Ok(Some(self.stats_json().into_bytes())),
            ARCHIVE => {
                let path = self.catalog.path_of_root(ino)?;
                return Ok(path.map(|path| path.into_os_string().into_vec()));
            }
            _ => {}
        }
        let Some((volume, local)) = self.file(ino)? else {
            return Ok(None);
        };
        let Some(member) = volume.tree.member(local) else {
            return Ok(None);
        };
        let text = match name {
            NAME => return Ok(Some(volume.tree.name_of(member).to_vec())),
            OFFSET => member.data_offset().map(|offset| offset.to_string()),
            CRC32 => Some(format!("{:08x}", member.crc32)),
            METHOD => Some(member.method.to_string()),
            _ if OF_ARRAY.contains(&name) => {
                npy_header(&volume, local, member)?.and_then(|header| match name {
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

    /// The names of an inode's attributes, each with a NUL behind it, as listxattr(2) has them.
    pub(crate) fn list(&self, ino: Ino) -> Result<Vec<u8>, AttributeError> {
        let mut names = Vec::new();
        if self.catalog.path_of_root(ino)?.is_some() {
            names.push(ARCHIVE);
        }
        if ino == Ino::ROOT {
            names.push(STATS);
        } else if let Some((volume, local)) = self.file(ino)?
            && let Some(member) = volume.tree.member(local)
        {
            if npy_header(&volume, local, member)?.is_some() {
                names.extend(OF_ARRAY);
            }
            let known = |name: &&str| *name != OFFSET || member.data_offset().is_some();
            names.extend(OF_FILE.into_iter().filter(known));
        }
        Ok(names
            .iter()
            .flat_map(|name| [name.as_bytes(), b"\0"].concat())
            .collect())
    }

    /// The archive that an inode belongs to, and its number there; `None` for a folder.
    fn file(&self, ino: Ino) -> Result<Option<(Arc<Archive>, Ino)>, AttributeError> {
        match self.catalog.archive_of(ino) {
            Err(VfsError::NotADirectory) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    fn stats_json(&self) -> String {
        let mut json = self.stats.to_json();
        json.insert("pid".to_owned(), std::process::id().into());
        let uptime = self.stats.uptime().as_secs();
        json.insert("uptime_seconds".to_owned(), uptime.into());
        json.extend(self.catalog.state());
        json.insert("clones".to_owned(), self.clones.into());
        // Blanks up to a round length: the kernel asks for the length first, and by then a counter
        // may have one digit more.
        let text = Value::Object(json).to_string();
        format!("{text:<width$}", width = text.len().next_multiple_of(256))
    }
}

/// The npy header of a member, read anew each time: it is asked for too rarely to be kept.
fn npy_header(
    volume: &Arc<Archive>,
    ino: Ino,
    member: &Member,
) -> Result<Option<NpyHeader>, AttributeError> {
    NpyHeader::find(|len| {
        let start = volume.read_start(member, len as u64);
        start.map_err(|error| AttributeError::Read {
            volume: volume.clone(),
            ino,
            error,
        })
    })
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
