//! The extended attributes of files and of the root: what the archive and the npy header tell.
//!
//! They are how metadata reaches a client: a file more in a directory would be taken for a member.

use serde_json::Value;

use crate::content::{Content, ReadError};
use crate::member::Member;
use crate::npy::NpyHeader;
use crate::stats::Stats;
use crate::tree::{Ino, Tree};

/// The archive's absolute path, on the root.
pub const ARCHIVE: &str = "user.npzfs.archive";
/// The counters of the mount as a JSON object, on the root.
pub const STATS: &str = "user.npzfs.stats";

const DTYPE: &str = "user.npy.dtype";
const SHAPE: &str = "user.npy.shape";
const FORTRAN_ORDER: &str = "user.npy.fortran_order";
const VERSION: &str = "user.npy.version";
const NAME: &str = "user.npzfs.name";
const OFFSET: &str = "user.npzfs.offset";
const CRC32: &str = "user.npzfs.crc32";
const METHOD: &str = "user.npzfs.method";

const OF_ROOT: [&str; 2] = [ARCHIVE, STATS];
const OF_FILE: [&str; 4] = [NAME, OFFSET, CRC32, METHOD];
const OF_ARRAY: [&str; 4] = [DTYPE, SHAPE, FORTRAN_ORDER, VERSION];

/// All that attributes are made from.
pub(crate) struct Attributes<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) content: &'a Content,
    pub(crate) stats: &'a Stats,
    /// The archive's absolute path.
    pub(crate) archive: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The value of an attribute; `None` where the inode has no such attribute.
    pub(crate) fn value(&self, ino: Ino, name: &[u8]) -> Result<Option<Vec<u8>>, ReadError<'a>> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(None);
        };
        if ino == Ino::ROOT {
            return Ok(match name {
                ARCHIVE => Some(self.archive.to_vec()),
                STATS => Some(self.stats_json().into_bytes()),
                _ => None,
            });
        }
        let Some(member) = self.tree.member(ino) else {
            return Ok(None);
        };
        let text = match name {
            NAME => return Ok(Some(self.tree.name_of(member).to_vec())),
            OFFSET => member.data_offset().map(|offset| offset.to_string()),
            CRC32 => Some(format!("{:08x}", member.crc32)),
            METHOD => Some(member.method.to_string()),
            _ if OF_ARRAY.contains(&name) => {
                self.npy_header(member)?.and_then(|header| match name {
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
    pub(crate) fn list(&self, ino: Ino) -> Result<Vec<u8>, ReadError<'a>> {
        let mut names = Vec::new();
        if ino == Ino::ROOT {
            names.extend(OF_ROOT);
        } else if let Some(member) = self.tree.member(ino) {
            if self.npy_header(member)?.is_some() {
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

    fn stats_json(&self) -> String {
        let mut json = self.stats.to_json();
        json.insert("pid".to_owned(), std::process::id().into());
        json.insert("stale".to_owned(), self.content.is_stale().into());
        // Blanks up to a round length: the kernel asks for the length first, and by then a counter
        // may have one digit more.
        let text = Value::Object(json).to_string();
        format!("{text:<width$}", width = text.len().next_multiple_of(256))
    }

    /// The npy header of a member, read anew each time: it is asked for too rarely to be kept.
    fn npy_header(&self, member: &'a Member) -> Result<Option<NpyHeader>, ReadError<'a>> {
        if member.problem.is_some() {
            return Ok(None);
        }
        NpyHeader::find(|len| self.content.read(Content::extent(member, 0, len as u64)?))
    }
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
