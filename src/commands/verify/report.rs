//! All findings of one archive, in the order of its members.

use std::fmt;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::finding::{Fault, Note};
use crate::archive::error::{OpenError, OpenErrorKind};
use crate::archive::file::IndexedFile;
use crate::archive::version::FileVersion;
use crate::ui::color::{FAULT, NOTE, SOUND};
use crate::ui::human::{Escaped, Size};
use crate::zip::{ArchiveError, Gaps, Index};

/// The findings of an archive. Members are given by their number in the index.
#[derive(Debug)]
pub(super) struct Report {
    /// The path as given on the command line.
    archive: PathBuf,
    index: Index,
    /// The faults, sorted by member.
    faults: Vec<(u32, Fault)>,
    /// The notes, sorted by member; `None` for the archive and for what precedes the first member.
    notes: Vec<(Option<u32>, Note)>,
    /// Whether the archive changed while it was read.
    has_changed: bool,
}

impl Report {
    /// Checks an open archive with `jobs` threads.
    pub(super) fn new(archive: IndexedFile, given: &Path, jobs: usize) -> Result<Self, OpenError> {
        let layout = Gaps::find(&archive.file, &archive.index)
            .map_err(|error| OpenErrorKind::Archive(ArchiveError::Read(error)).of(given))?;
        let found = Contents::new(&archive, given).check(jobs);
        let mut faults = found.faults;
        let members = (0..).zip(&archive.index.members);
        faults.extend(members.filter_map(|(number, member)| {
            let problem = member.problem.as_deref()?;
            Some((number, Fault::Member(problem.clone())))
        }));
        let wrong = layout.wrong_descriptors.into_iter();
        faults.extend(wrong.map(|number| (number, Fault::Descriptor)));
        faults.sort_by_key(|(number, _)| *number);

        let saturated = layout.saturated_descriptors.into_iter();
        let of_members = (found.notes.into_iter())
            .chain(repeated(&archive.index))
            .chain(quirks(&archive.index))
            .chain(saturated.map(|number| (number, Note::SaturatedDescriptor)));
        let mut notes: Vec<_> = of_members
            .map(|(number, note)| (Some(number), note))
            .collect();
        let of_archive = archive.index.quirks.iter();
        notes.extend(of_archive.map(|&quirk| (None, Note::Archive(quirk))));
        let gaps = layout.gaps.into_iter();
        notes.extend(gaps.map(|gap| (gap.after, Note::Gap(gap))));
        notes.sort_by_key(|(number, _)| *number);

        let now = archive.file.metadata();
        let before = FileVersion::of(&archive.metadata);
        Ok(Self {
            archive: given.to_owned(),
            index: archive.index,
            faults,
            notes,
            has_changed: !now.is_ok_and(|now| FileVersion::of(&now) == before),
        })
    }

    /// Whether there are no faults.
    pub(super) fn is_sound(&self) -> bool {
        self.fault_count() == 0
    }

    fn fault_count(&self) -> usize {
        self.faults.len() + usize::from(self.has_changed)
    }
}

/// The members that a later one of the same name hides, both from NumPy and in a mount.
fn repeated(index: &Index) -> impl Iterator<Item = (u32, Note)> {
    let members = (0..).zip(index.repeated());
    members.filter_map(|(number, is_repeated)| is_repeated.then_some((number, Note::Repeated)))
}

/// The deviations of members from the format.
fn quirks(index: &Index) -> impl Iterator<Item = (u32, Note)> {
    (0..).zip(&index.members).flat_map(|(number, member)| {
        let quirks = member.quirks.iter();
        quirks.map(move |quirk| (number, Note::Member(quirk)))
    })
}

/// Writes a line for each finding, then one with the result.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archive = Escaped::path(&self.archive);
        let members = &self.index.members;
        let name = |number: u32| Escaped(self.index.names.bytes(members[number as usize].name));
        for (number, fault) in &self.faults {
            let name = name(*number);
            writeln!(f, "{archive}: member '{name}': {FAULT}{fault}{FAULT:#}")?;
        }
        if self.has_changed {
            writeln!(
                f,
                "{archive}: {FAULT}changed while it was read{FAULT:#}: verify it again"
            )?;
        }
        for (number, note) in &self.notes {
            write!(f, "{NOTE}note:{NOTE:#} {archive}: ")?;
            match (number, note) {
                (None, Note::Archive(_)) => writeln!(f, "{note}")?,
                (None, _) => writeln!(f, "{note} before the first member")?,
                (Some(number), Note::Gap(_)) => {
                    writeln!(f, "{note} after member '{}'", name(*number))?;
                }
                (Some(number), _) => writeln!(f, "member '{}': {note}", name(*number))?,
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
    use std::io::Write;

    use super::*;

    /// The report of an archive of zeros to which `change` is applied once it is open.
    fn report_after(change: impl FnOnce(&Path)) -> String {
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
        let report = Report::new(archive, Path::new("a.npz"), 2).unwrap();
        assert!(!report.is_sound());
        anstream::adapter::strip_str(&report.to_string()).to_string()
    }

    #[test]
    fn a_change_while_the_archive_is_read_is_a_fault() {
        let appended = report_after(|path| {
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
    fn only_members_that_cannot_be_read_are_faults() {
        let truncated = report_after(|path| {
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
