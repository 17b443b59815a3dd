//! An archive that is being listed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{SysconfVar, geteuid, sysconf};

use super::frame::{self, Frame};
use super::headers::HeaderReader;
use super::row::{Npy, Row};
use crate::archive::error::{OpenError, OpenErrorKind, ReadError};
use crate::archive::reflink::{self, Reflinker};
use crate::archive::{Archive, Purpose};
use crate::tree::Ino;
use crate::zip::{ArchiveError, Member, Method};

/// An open archive, opened as a mount would open it.
pub(super) struct Listing<'a> {
    /// The path as given on the command line.
    pub(super) given: &'a Path,
    archive: Archive,
    pub(super) page_bytes: u64,
}

impl<'a> Listing<'a> {
    /// Opens the archive at `given`. [`check`](Self::check) looks for changes once,
    /// at the end.
    pub(super) fn open(given: &'a Path) -> Result<Self, OpenError> {
        let mut archive = Archive::open(given, given, true, Purpose::Command)?;
        if geteuid().is_root()
            && let Ok(reflinker) = Reflinker::beside(&archive.path, reflink::MIN_DEFAULT)
        {
            // If reflinks fail, a mount maps the members, and that is what is listed.
            let _ = archive.enable_reflinks(Arc::new(reflinker));
        }
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        Ok(Self {
            given,
            archive,
            page_bytes: page_bytes.map_or(4096, |bytes| bytes.unsigned_abs()),
        })
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.archive.data().len()
    }

    /// The members in the order of the archive. Each call reads all npy headers again, since those of
    /// a million members would take more memory than the reading takes time.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, OpenError>> {
        let mut headers = HeaderReader::new(&self.archive);
        self.archive.tree.members().map(move |(member, ino)| {
            let path = ino.and_then(|ino| self.archive.tree.path(ino));
            let header = headers
                .read(member)
                .map_err(|error| self.read_error(error))?;
            let is_stored = member.method == Method::STORED;
            let mut row = Row {
                member,
                name: self.archive.tree.name_of(member),
                path,
                npy: header.map(|header| Npy {
                    data_offset: is_stored.then_some(member.extent.start + header.data_offset),
                    header,
                }),
                lane: None,
            };
            if row.path.is_some() && !row.is_directory() {
                row.lane = self.archive.lane(member);
            }
            Ok(row)
        })
    }

    /// The StaticFrame frame that the archive holds, if it holds one.
    pub(super) fn frame(&self) -> Result<Option<Frame>, OpenError> {
        let meta = self
            .file(frame::META)
            .filter(|member| member.size <= frame::META_MAX);
        let Some(meta) = meta else {
            return Ok(None);
        };
        let meta = match self.archive.read_start(meta, frame::META_MAX) {
            Ok(meta) => meta,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(None);
            }
            Err(ReadError::Io(error)) => return Err(self.read_error(error)),
            Err(ReadError::Stale) => return Err(self.changed()),
        };
        let mut headers = HeaderReader::new(&self.archive);
        let header = |name: &str| match self.file(name) {
            Some(member) => headers.read(member),
            None => Ok(None),
        };
        Frame::parse(&meta, header).map_err(|error| self.read_error(error))
    }

    /// The member that a mount shows under `name` in its root directory.
    fn file(&self, name: &str) -> Option<&Member> {
        let attr = self.archive.tree.lookup(Ino::ROOT, name.as_bytes())?;
        self.archive.tree.member(attr.ino)
    }

    /// Returns an error if the archive has changed since it was indexed, since rows may be wrong then.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        if self.archive.data().file().has_changed() {
            return Err(self.changed());
        }
        Ok(())
    }

    fn changed(&self) -> OpenError {
        OpenErrorKind::Archive(ArchiveError::Changed).of(self.given)
    }

    /// The error for an archive that cannot be read. A change explains it better than `error` does.
    fn read_error(&self, error: io::Error) -> OpenError {
        let error = OpenErrorKind::Archive(ArchiveError::Read(error));
        self.check().err().unwrap_or_else(|| error.of(self.given))
    }
}
