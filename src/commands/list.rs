//! Lists archives without mounting them: what each member is, and how a mount would serve it.

pub mod frame;
mod json;
mod table;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anstream::AutoStream;
use nix::unistd::{SysconfVar, geteuid, sysconf};

use crate::archive::Archive;
use crate::archive::lane::Lane;
use crate::archive::reflink::{self, Reflinker};
use crate::archive::served_file::ReadError;
use crate::archive::slice::FileSlice;
use crate::cli::ListArgs;
use crate::commands::error::Error;
use crate::exit_status;
use crate::extent::Extent;
use crate::npy::{self, NpyHeader};
use crate::sys;
use crate::tree::Ino;
use crate::ui::color::HEADING;
use crate::ui::human::Escaped;
use crate::zip::member::{Member, Method};
use crate::zip::{ArchiveError, Window};
use frame::Frame;

/// Array data that starts at a multiple of this, in bytes, is what NumPy calls aligned in a file.
const ALIGNMENT: u64 = 64;
/// How much of the archive is read at once where members stand close together, in bytes.
const READ_AHEAD: usize = 64 * 1024;
/// Members that start at most this far apart, in bytes, are read together.
const CLOSE: u64 = 4 * 1024;

/// Lists archives on standard output. Each one that fails is told to `fail`; what that returns is
/// an exit status, and the highest of them is the command's.
pub fn list(arguments: &ListArgs, fail: impl Fn(&Error) -> u8) -> u8 {
    let stdout = io::stdout().lock();
    let width = stdout
        .is_terminal()
        .then(|| sys::terminal_width(&stdout))
        .flatten();
    // JSON has no colours to take out.
    let out = if arguments.json {
        AutoStream::always_ansi(stdout)
    } else {
        AutoStream::auto(stdout)
    };
    let mut out = BufWriter::new(out);
    let mut worst = exit_status::DONE;
    let mut first = true;
    for archive in &arguments.archives {
        let listed = Listing::open(archive).and_then(|listing| {
            if arguments.json {
                return json::write(&mut out, &listing);
            }
            if arguments.archives.len() > 1 {
                let before = if first { "" } else { "\n" };
                let heading = Escaped::path(archive);
                writeln!(out, "{before}{HEADING}{heading}:{HEADING:#}").map_err(Error::Output)?;
            }
            first = false;
            table::write(&mut out, &listing, width)
        });
        // Before anything is said of it on standard error.
        match listed.and(out.flush().map_err(Error::Output)) {
            Ok(()) => {}
            // Whoever closed standard output does not want to know.
            Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error @ Error::Output(_)) => return worst.max(fail(&error)),
            Err(error) => worst = worst.max(fail(&error)),
        }
    }
    worst
}

/// An archive that is listed.
struct Listing<'a> {
    /// As given on the command line.
    archive: &'a Path,
    volume: Archive,
    page_bytes: u64,
}

/// One member.
struct Row<'a> {
    member: &'a Member,
    /// Its name, as it is in the archive.
    name: &'a [u8],
    /// Where the mount shows it; a directory ends with a slash.
    path: Option<String>,
    npy: Option<Npy>,
    lane: Option<Lane>,
}

/// What there is to say of a member that is an array.
struct Npy {
    header: NpyHeader,
    /// Where the array's data starts in the archive, if it is there as it is.
    data_at: Option<u64>,
}

impl Npy {
    /// Whether the array's data starts at a multiple of `bytes` in the archive.
    fn is_aligned(&self, bytes: u64) -> Option<bool> {
        self.data_at.map(|start| start.is_multiple_of(bytes))
    }
}

impl Row<'_> {
    fn is_directory(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.ends_with('/'))
    }
}

impl<'a> Listing<'a> {
    fn open(archive: &'a Path) -> Result<Self, Error> {
        // As a mount does, but that a change is only looked for at the end.
        let mut volume = Archive::open(archive, archive, true, None)?;
        if geteuid().is_root()
            && let Ok(cloner) = Reflinker::beside(&volume.path, reflink::MIN_DEFAULT)
        {
            // Without clones members are mapped.
            let _ = volume.enable_reflinks(Arc::new(cloner));
        }
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        Ok(Self {
            archive,
            volume,
            page_bytes: page_bytes.map_or(4096, |bytes| bytes.unsigned_abs()),
        })
    }

    /// The members, in the order of the archive. Each time, their npy headers are read anew: a
    /// million of them would need more memory than time.
    fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, Error>> {
        let mut headers = Headers::of(self);
        self.volume.tree.members().map(move |(member, ino)| {
            let path = ino.and_then(|ino| self.volume.tree.path(ino));
            let header = headers.header(member).map_err(|error| self.failed(error))?;
            let is_stored = member.method == Method::STORED;
            let mut row = Row {
                member,
                name: self.volume.tree.name_of(member),
                path,
                npy: header.map(|header| Npy {
                    data_at: is_stored.then_some(member.extent.start + header.data_offset),
                    header,
                }),
                lane: None,
            };
            if row.path.is_some() && !row.is_directory() {
                row.lane = self.volume.lane(member);
            }
            Ok(row)
        })
    }

    /// The frame that the archive holds, if StaticFrame has written it.
    fn frame(&self) -> Result<Option<Frame>, Error> {
        let meta = self
            .file(frame::META)
            .filter(|member| member.size <= frame::META_MAX);
        let Some(meta) = meta else {
            return Ok(None);
        };
        let meta = match self.volume.read_start(meta, frame::META_MAX) {
            Ok(meta) => meta,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(None);
            }
            Err(ReadError::Io(error)) => return Err(self.failed(error)),
            Err(ReadError::Stale) => return Err(self.changed()),
        };
        let mut headers = Headers::of(self);
        let header = |name: &str| match self.file(name) {
            Some(member) => headers.header(member),
            None => Ok(None),
        };
        Frame::read(&meta, header).map_err(|error| self.failed(error))
    }

    /// The member that is shown under this name in the root directory.
    fn file(&self, name: &str) -> Option<&Member> {
        let found = self.volume.tree.lookup(Ino::ROOT, name.as_bytes())?;
        self.volume.tree.member(found.ino)
    }

    /// Fails if the archive has changed since it was indexed: what was listed may be wrong then.
    fn check(&self) -> Result<(), Error> {
        if self.volume.data().file().has_changed() {
            return Err(self.changed());
        }
        Ok(())
    }

    fn changed(&self) -> Error {
        Error::Archive {
            archive: self.archive.to_owned(),
            defect: ArchiveError::Changed,
        }
    }

    /// The archive could not be read.
    fn failed(&self, error: io::Error) -> Error {
        self.check().err().unwrap_or_else(|| Error::Archive {
            archive: self.archive.to_owned(),
            defect: ArchiveError::Read(error),
        })
    }
}

/// Reads npy headers, many at once where they are close together.
struct Headers<'a> {
    volume: &'a Archive,
    window: Window<'a, FileSlice>,
    previous: u64,
}

impl<'a> Headers<'a> {
    fn of(listing: &'a Listing<'_>) -> Self {
        Self {
            volume: &listing.volume,
            window: Window::new(listing.volume.data(), listing.volume.data().len()),
            previous: 0,
        }
    }

    /// The npy header of a member that can be read and has one.
    fn header(&mut self, member: &Member) -> io::Result<Option<NpyHeader>> {
        match Lane::of(member) {
            Some(Lane::Mapped | Lane::Cloned) => self.stored_header(member.extent),
            Some(Lane::Inflated) => self.compressed_header(member),
            None => Ok(None),
        }
    }

    /// The npy header that a member inflates to; damaged data has none.
    fn compressed_header(&self, member: &Member) -> io::Result<Option<NpyHeader>> {
        let header = NpyHeader::find(|len| self.volume.read_start(member, len as u64));
        header.or_else(|error| match error {
            ReadError::Io(error) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            // That it is stale is found at the end.
            ReadError::Io(_) | ReadError::Stale => Ok(None),
        })
    }

    /// The npy header that the bytes of `extent` in the archive start with.
    fn stored_header(&mut self, extent: Extent) -> io::Result<Option<NpyHeader>> {
        let close = (self.previous..=self.previous + CLOSE).contains(&extent.start);
        let ahead = if close { READ_AHEAD } else { npy::FIRST_READ };
        self.previous = extent.start;
        NpyHeader::find(|len| {
            let len = extent.len.min(len as u64) as usize;
            let bytes = self.window.at(extent.start, len, ahead)?;
            Ok(bytes[..len.min(bytes.len())].to_vec())
        })
    }
}
