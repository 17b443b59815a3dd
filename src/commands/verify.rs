//! Checks a whole archive: each member's contents, headers and array, and what lies between them.

mod array;
mod contents;
mod finding;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anstream::AutoStream;

use crate::archive::file::IndexedFile;
use crate::archive::version::FileVersion;
use crate::cli::VerifyArgs;
use crate::commands::error::Error;
use crate::exit_status;
use crate::sys::thread_pool;
use crate::ui::color::{FAULT, NOTE, SOUND};
use crate::ui::human::{Escaped, Size};
use crate::zip::{ArchiveError, Index, Layout};
use contents::Contents;
use finding::{Fault, Note};

/// What was found in an archive.
#[derive(Debug)]
struct Report {
    /// As given on the command line.
    archive: PathBuf,
    index: Index,
    /// What is wrong, with the numbers of the members that it is about, in order.
    faults: Vec<(u32, Fault)>,
    /// What is worth knowing but not wrong, in the same order; without a number what comes before
    /// the first member.
    notes: Vec<(Option<u32>, Note)>,
    /// The archive was written to while it was read.
    changed: bool,
}

/// Checks archives and says on standard output what was found. Each one that cannot be checked is
/// told to `fail`; what that returns is an exit status, and the highest of all is the command's.
pub fn verify(arguments: &VerifyArgs, fail: impl Fn(&Error) -> u8) -> u8 {
    let mut out = BufWriter::new(AutoStream::auto(io::stdout().lock()));
    let mut worst = exit_status::DONE;
    let jobs = arguments
        .jobs
        .map_or_else(thread_pool::processors, usize::from);
    for given in &arguments.archives {
        let archive = IndexedFile::open(given);
        let report = match archive.and_then(|archive| check(archive, given, jobs)) {
            Ok(report) => report,
            Err(error) => {
                worst = worst.max(fail(&error));
                continue;
            }
        };
        if !report.is_sound() {
            worst = worst.max(exit_status::FAILED);
        }
        // Before anything is said of the next one on standard error.
        match write!(out, "{report}").and_then(|()| out.flush()) {
            Ok(()) => {}
            // Whoever closed standard output does not want to know.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return worst.max(fail(&Error::Output(error))),
        }
    }
    worst
}

fn check(archive: IndexedFile, given: &Path, jobs: usize) -> Result<Report, Error> {
    let layout = Layout::of(&archive.file, &archive.index).map_err(|error| Error::Archive {
        archive: given.to_owned(),
        defect: ArchiveError::Read(error),
    })?;
    let found = Contents::new(&archive, given).check(jobs);
    let mut faults = found.faults;
    let all = (0..).zip(&archive.index.members);
    faults.extend(all.filter_map(|(at, member)| {
        let problem = member.problem.as_deref()?;
        Some((at, Fault::MemberError(problem.clone())))
    }));
    let wrong = layout.wrong_descriptors.into_iter();
    faults.extend(wrong.map(|at| (at, Fault::Descriptor)));
    faults.sort_by_key(|(at, _)| *at);

    let of_members = found.notes.into_iter().chain(repeated(&archive.index));
    let mut notes: Vec<_> = of_members.map(|(at, note)| (Some(at), note)).collect();
    let gaps = layout.gaps.into_iter();
    notes.extend(gaps.map(|gap| (gap.after, Note::Gap(gap))));
    notes.sort_by_key(|(at, _)| *at);

    let now = archive.file.metadata();
    let before = FileVersion::of(&archive.metadata);
    Ok(Report {
        archive: given.to_owned(),
        index: archive.index,
        faults,
        notes,
        changed: !now.is_ok_and(|now| FileVersion::of(&now) == before),
    })
}

/// The members that a later one of the same name hides, as from NumPy so from a mount.
fn repeated(index: &Index) -> impl Iterator<Item = (u32, Note)> {
    let name = |at: u32| index.names.bytes(index.members[at as usize].name);
    let mut last = HashMap::with_capacity(index.members.len());
    let all = 0..index.members.len() as u32;
    let hidden: Vec<u32> = all.filter_map(|at| last.insert(name(at), at)).collect();
    hidden.into_iter().map(|at| (at, Note::Repeated))
}

impl Report {
    /// Whether nothing is wrong.
    fn is_sound(&self) -> bool {
        self.fault_count() == 0
    }

    fn fault_count(&self) -> usize {
        self.faults.len() + usize::from(self.changed)
    }
}

/// One line for each finding, then one with the result.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archive = Escaped::path(&self.archive);
        let members = &self.index.members;
        let name = |at: u32| Escaped(self.index.names.bytes(members[at as usize].name));
        for (at, fault) in &self.faults {
            writeln!(
                f,
                "{archive}: member '{}': {FAULT}{fault}{FAULT:#}",
                name(*at)
            )?;
        }
        if self.changed {
            writeln!(
                f,
                "{archive}: {FAULT}changed while it was read{FAULT:#}: verify it again"
            )?;
        }
        for (at, note) in &self.notes {
            write!(f, "{NOTE}note:{NOTE:#} {archive}: ")?;
            match (at, note) {
                (None, _) => writeln!(f, "{note} before the first member")?,
                (Some(at), Note::Gap(_)) => writeln!(f, "{note} after member '{}'", name(*at))?,
                (Some(at), _) => writeln!(f, "member '{}': {note}", name(*at))?,
            }
        }
        let size = members
            .iter()
            .fold(0u64, |size, member| size.saturating_add(member.size));
        let count = plural(members.len(), "member");
        write!(f, "{archive}: {count}, {}: ", Size(size))?;
        match self.fault_count() {
            0 => writeln!(f, "{SOUND}sound{SOUND:#}"),
            faults => writeln!(f, "{FAULT}{}{FAULT:#}", plural(faults, "fault")),
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    /// What is said of an archive of zeros that `change` comes over once it is open.
    fn changed(change: impl FnOnce(&Path)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let file = fs::File::create(&path).unwrap();
        let mut writer = zip::ZipWriter::new(file);
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        for (name, len) in [("x", 100_000), ("y", 100_000), ("z", 1_000_000)] {
            writer.start_file(name, stored).unwrap();
            writer.write_all(&vec![0; len]).unwrap();
        }
        writer.finish().unwrap();
        let archive = IndexedFile::open(&path).unwrap();
        change(&path);
        let report = check(archive, Path::new("a.npz"), 2).unwrap();
        assert!(!report.is_sound());
        anstream::adapter::strip_str(&report.to_string()).to_string()
    }

    #[test]
    fn a_change_while_the_archive_is_read_is_a_fault() {
        let appended = changed(|path| {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        });
        assert_eq!(
            appended,
            "a.npz: changed while it was read: verify it again\n\
             a.npz: 3 members, 1.2 MB: 1 fault\n"
        );
    }

    #[test]
    fn only_what_cannot_be_read_is_a_fault() {
        let truncated = changed(|path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(150_000).unwrap();
        });
        assert_eq!(
            truncated,
            "a.npz: member 'y': cannot be read: failed to fill whole buffer\n\
             a.npz: member 'z': cannot be read: failed to fill whole buffer\n\
             a.npz: changed while it was read: verify it again\n\
             a.npz: 3 members, 1.2 MB: 3 faults\n"
        );
    }
}
