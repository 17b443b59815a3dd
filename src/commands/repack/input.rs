//! The input of a repack: the members of an archive, or the files of a directory.
//!
//! Members keep their names byte for byte, even where no file could have them: a name is the key under
//! which a program finds an array. A directory has only names that files can have.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::warn;

use super::error::RepackError;
use crate::archive::error::OpenErrorKind;
use crate::archive::file::IndexedFile;
use crate::archive::file_kind::FileKind;
use crate::commands::error::Error;
use crate::extent::Extent;
use crate::sys;
use crate::ui::human::Escaped;
use crate::zip::{Decoder, Index, Member, Method, Record, Stamp};

/// A file or a directory to be packed.
pub(super) struct Item {
    /// Its headers in the result.
    pub(super) record: Record,
    /// The number of the member that has the contents.
    member: Option<u32>,
}

/// The source of items.
pub(super) enum Input {
    Archive(Box<Archive>),
    /// A directory, as given on the command line.
    Directory(PathBuf),
}

/// An archive to be packed anew.
pub(super) struct Archive {
    /// The path as given on the command line.
    given: PathBuf,
    file: Arc<File>,
    /// The state of the file before it was indexed.
    pub(super) metadata: Metadata,
    index: Index,
}

/// The contents of an item.
pub(super) struct Contents<'a> {
    /// The bytes. Those of a member end with an error if their CRC-32 is wrong.
    pub(super) bytes: Box<dyn Read + 'a>,
    /// The CRC-32, if it is known.
    pub(super) crc32: Option<u32>,
    /// A file that has the same bytes as they are, and the extent in which they lie.
    pub(super) stored: Option<(Arc<File>, Extent)>,
    /// The state of the file before it was read; `None` if it is a member.
    before: Option<Metadata>,
}

impl Input {
    /// Opens `given` and returns its items in the order in which they are packed.
    ///
    /// # Errors
    /// [`Error::Open`], also for a member that cannot be read; [`RepackError::NoFile`] or
    /// [`RepackError::LongName`] for a file that an archive cannot hold.
    pub(super) fn open(given: &Path) -> Result<(Self, Vec<Item>), Error> {
        if fs::metadata(given).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok((Self::Directory(given.to_owned()), files_below(given)?));
        }
        let archive = IndexedFile::open(given)?;
        let given = given.to_owned();
        let items = members(&given, &archive.index)?;
        let archive = Archive {
            given,
            file: Arc::new(archive.file),
            metadata: archive.metadata,
            index: archive.index,
        };
        Ok((Self::Archive(Box::new(archive)), items))
    }

    /// The contents of an item.
    ///
    /// # Errors
    /// Those of opening a file, and of [`Decoder::new`].
    pub(super) fn contents(&self, item: &Item) -> io::Result<Contents<'_>> {
        match self {
            Self::Archive(archive) => match archive.member(item) {
                Some(member) => {
                    let stored = (Arc::clone(&archive.file), member.extent);
                    Ok(Contents {
                        bytes: Box::new(Decoder::new(&*archive.file, member)?),
                        crc32: Some(member.crc32),
                        stored: (member.method == Method::STORED).then_some(stored),
                        before: None,
                    })
                }
                None => Ok(Contents::nothing()),
            },
            Self::Directory(_) if item.record.name.ends_with(b"/") => Ok(Contents::nothing()),
            Self::Directory(given) => {
                let file = Arc::new(File::open(path_of(given, item))?);
                let whole = Extent {
                    start: 0,
                    len: item.record.size,
                };
                Ok(Contents {
                    before: Some(file.metadata()?),
                    bytes: Box::new(Arc::clone(&file)),
                    crc32: None,
                    stored: Some((file, whole)),
                })
            }
        }
    }

    /// The error for an item whose contents cannot be read.
    pub(super) fn unreadable(&self, item: &Item, error: io::Error) -> RepackError {
        match self {
            Self::Archive(archive) => RepackError::Contents {
                archive: archive.given.clone(),
                member: item.record.name.clone(),
                error,
            },
            Self::Directory(given) => RepackError::Read {
                path: path_of(given, item),
                error,
            },
        }
    }

    /// The error for an item that has become longer or shorter.
    pub(super) fn changed(&self, item: &Item) -> RepackError {
        let path = match self {
            Self::Archive(archive) => archive.given.clone(),
            Self::Directory(given) => path_of(given, item),
        };
        RepackError::Changed { path }
    }

    /// Checks that an archive is still as it was when it was indexed.
    ///
    /// # Errors
    /// [`RepackError::Changed`].
    pub(super) fn check_unchanged(&self) -> Result<(), RepackError> {
        let Self::Archive(archive) = self else {
            return Ok(());
        };
        let path = archive.given.clone();
        match archive.file.metadata() {
            Ok(now) if has_changed(&archive.metadata, &now) => Err(RepackError::Changed { path }),
            Ok(_) => Ok(()),
            Err(error) => Err(RepackError::Read { path, error }),
        }
    }
}

impl Archive {
    fn member(&self, item: &Item) -> Option<&Member> {
        Some(&self.index.members[item.member? as usize])
    }
}

impl Contents<'_> {
    fn nothing() -> Self {
        Self {
            bytes: Box::new(io::empty()),
            crc32: None,
            stored: None,
            before: None,
        }
    }

    /// Whether the file has changed since it was opened; always false for a member.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub(super) fn has_changed(&self) -> io::Result<bool> {
        match (&self.before, &self.stored) {
            (Some(before), Some((file, _))) => Ok(has_changed(before, &file.metadata()?)),
            _ => Ok(false),
        }
    }
}

fn has_changed(before: &Metadata, now: &Metadata) -> bool {
    let state = |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    state(before) != state(now)
}

/// The members of an archive, but for those that a later one of the same name hides.
fn members(archive: &Path, index: &Index) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    let mut hidden = 0u64;
    let members = index.members.iter().zip(index.repeated());
    for ((member, is_repeated), number) in members.zip(0..) {
        let name = index.names.bytes(member.name);
        if is_repeated {
            hidden += 1;
            continue;
        }
        // An entry for a directory has nothing that could not be read.
        let has_contents = member.size > 0 || !name.ends_with(b"/");
        if let Some(problem) = member.problem.as_deref().filter(|_| has_contents) {
            let error = OpenErrorKind::Unreadable {
                member: name.to_vec(),
                error: problem.clone(),
                strict: true,
            };
            return Err(error.of(archive).into());
        }
        let timestamp = i32::try_from(member.modified).ok();
        let timestamp = timestamp.filter(|_| member.stamp.is_extended);
        let mut record = Record::new(name.to_vec(), member.size, member.stamp, timestamp);
        record.is_utf8 = member.has_utf8_name();
        record.is_symlink = member.is_symlink;
        items.push(Item {
            record,
            member: has_contents.then_some(number),
        });
    }
    if hidden > 0 {
        let plural = if hidden == 1 { "" } else { "s" };
        let archive = Escaped::path(archive);
        warn!("{archive}: {hidden} member{plural} left out: a later one has the same name");
    }
    Ok(items)
}

/// The files and the empty directories below a directory, sorted by name.
fn files_below(root: &Path) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    let mut directories = vec![Vec::new()];
    while let Some(directory) = directories.pop() {
        let path = root.join(OsStr::from_bytes(&directory));
        let cannot_read = |error| RepackError::Read {
            path: path.clone(),
            error,
        };
        let mut is_empty = true;
        for entry in fs::read_dir(&path).map_err(cannot_read)? {
            let entry = entry.map_err(cannot_read)?;
            is_empty = false;
            let mut name = [&directory, entry.file_name().as_bytes()].concat();
            let path = entry.path();
            let cannot_read = |error| RepackError::Read {
                path: path.clone(),
                error,
            };
            let is_link = entry.file_type().map_err(cannot_read)?.is_symlink();
            let metadata = fs::metadata(&path).map_err(cannot_read)?;
            if metadata.is_dir() && !is_link {
                name.push(b'/');
                directories.push(name);
            } else if metadata.is_file() {
                items.push(item_of(name, &metadata)?);
            } else {
                let what = match FileKind::of(metadata.file_type()) {
                    FileKind::Directory => "a symbolic link to a directory",
                    kind => kind.name(),
                };
                return Err(RepackError::NoFile { path, what }.into());
            }
        }
        if is_empty && !directory.is_empty() {
            let metadata = fs::metadata(&path).map_err(cannot_read)?;
            items.push(item_of(directory, &metadata)?);
        }
    }
    items.sort_unstable_by(|one, other| one.record.name.cmp(&other.record.name));
    Ok(items)
}

fn item_of(name: Vec<u8>, metadata: &Metadata) -> Result<Item, RepackError> {
    if name.len() > usize::from(u16::MAX) {
        return Err(RepackError::LongName { name });
    }
    let size = if metadata.is_dir() { 0 } else { metadata.len() };
    let modified = metadata.mtime();
    let timestamp = i32::try_from(modified).ok();
    Ok(Item {
        record: Record::new(name, size, stamp_of(modified), timestamp),
        member: None,
    })
}

fn path_of(root: &Path, item: &Item) -> PathBuf {
    root.join(OsStr::from_bytes(&item.record.name))
}

/// The MS-DOS time closest to a time in seconds since 1970 (UTC). There is none before 1980 or after
/// 2107, and seconds are even.
fn stamp_of(modified: i64) -> Stamp {
    let [year, month, day, hour, minute, second] = match sys::time::local_time(modified) {
        Some(time @ [1980..=2107, ..]) => time.map(|number| number as u16),
        _ if modified < 0 => [1980, 1, 1, 0, 0, 0],
        Some([..1980, ..]) => [1980, 1, 1, 0, 0, 0],
        _ => [2107, 12, 31, 23, 59, 58],
    };
    Stamp {
        date: (year - 1980) << 9 | month << 5 | day,
        // The field has no room for a leap second.
        time: hour << 11 | minute << 5 | (second.min(59) / 2),
        is_extended: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_become_the_closest_dos_time() {
        let parts = |modified| {
            let Stamp { date, time, .. } = stamp_of(modified);
            let date = (1980 + (date >> 9), date >> 5 & 15, date & 31);
            (date, (time >> 11, time >> 5 & 63, (time & 31) * 2))
        };
        let first = ((1980, 1, 1), (0, 0, 0));
        let last = ((2107, 12, 31), (23, 59, 58));
        assert_eq!((parts(0), parts(i64::MIN)), (first, first));
        assert_eq!((parts(1 << 40), parts(i64::MAX)), (last, last));
        let new_year = sys::time::local_hour(2024, 1, 1, 0).unwrap();
        assert_eq!(parts(new_year + 3601), ((2024, 1, 1), (1, 0, 0)));
        assert_eq!(parts(new_year - 1), ((2023, 12, 31), (23, 59, 58)));
    }
}
