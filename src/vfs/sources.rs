//! What the command line says to mount: archives and folders, opened.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::error::{OpenError, OpenErrorKind, PassthroughError};
use crate::archive::reflink::Reflinker;
use crate::archive::watch::Watch;
use crate::tree::Tree;
use crate::ui::human::Size;
use crate::vfs::{Folder, Named, Root};

/// How much of the paths findmnt and others are shown, in bytes. The kernel takes no more than a
/// page.
const SHOWN_MAX: usize = 1000;

/// How archives are opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions<'a> {
    /// Whether compressed members can be read.
    pub inflates: bool,
    /// Whether one member that cannot be read is enough to refuse an archive.
    pub strict: bool,
    /// Whether archives are shown without `.npz` behind their names.
    pub strip_suffix: bool,
    /// The least length of a member that is cloned, in bytes; `None` where none is.
    pub clone_min: Option<u64>,
    /// Whether an archive is refused of which no member can be passed through to the kernel.
    pub must_pass: bool,
    /// What watches them.
    pub watch: &'a Watch,
}

/// What is to be mounted.
#[derive(Debug)]
pub struct Sources {
    /// Where it all is.
    pub root: Root,
    /// What there is, for the user.
    pub summary: Summary,
    /// The absolute paths, as mountinfo is to show them.
    pub shown: PathBuf,
}

impl Sources {
    /// Opens what is at `paths`: one of them becomes the root of the mount, several become
    /// directories in it.
    ///
    /// # Errors
    /// [`OpenError`]; also for an archive of which nothing can be read, or not all where that is
    /// wanted.
    pub fn open(paths: &[PathBuf], opening: OpenOptions<'_>) -> Result<Self, OpenError> {
        let mut summary = Summary::default();
        let mut opened = Vec::new();
        for path in paths {
            let named = if path.is_dir() {
                summary.folders += 1;
                Named::Folder(open_folder(path)?)
            } else {
                let mut volume = Archive::open(path, path, opening.inflates, Some(opening.watch))?;
                let of_archive = Summary::of(&volume.tree);
                of_archive.refuse(path, &volume, opening.strict)?;
                if let Some(min) = opening.clone_min {
                    let passed = pass(&mut volume, min);
                    if let (Err(reason), true) = (passed, opening.must_pass) {
                        return Err(OpenErrorKind::Passthrough(reason).of(path));
                    }
                }
                summary.add(&of_archive);
                Named::Archive(Arc::new(volume))
            };
            opened.push((path, named));
        }
        let shown = shown(&opened);
        let root = if opened.len() == 1 {
            opened.pop().map(|(_, named)| Root::One(named))
        } else {
            None
        };
        let root = root.unwrap_or_else(|| {
            let mut several = BTreeMap::new();
            let mut numbers = HashMap::new();
            for (path, named) in opened {
                let name = Name::of(path, &named, opening.strip_suffix);
                let name = name.if_free(&several, &mut numbers);
                several.insert(name, named);
            }
            Root::Several(several)
        });
        Ok(Self {
            root,
            summary,
            shown,
        })
    }
}

/// Has those members cloned that can be; an error says why nothing of the archive can be passed
/// through to the kernel.
fn pass(volume: &mut Archive, min: u64) -> Result<(), PassthroughError> {
    // What is in an archive inside is no longer than that. Most archives are spared a descriptor.
    let has_long = volume.tree.files().any(|member| member.size >= min);
    let has_any = has_long
        && Reflinker::beside(&volume.path, min)
            .and_then(|cloner| volume.enable_reflinks(Arc::new(cloner)))
            .map_err(PassthroughError::Clone)?;
    if has_any || !volume.is_all_stored() {
        return Ok(());
    }
    Err(PassthroughError::NothingFit { min })
}

fn open_folder(path: &Path) -> Result<Folder, OpenError> {
    fs::canonicalize(path)
        .and_then(|path| Folder::open(&path))
        .map_err(|error| OpenErrorKind::Io(error).of(path))
}

fn shown(opened: &[(&PathBuf, Named)]) -> PathBuf {
    let mut shown = OsString::new();
    for (at, (_, named)) in opened.iter().enumerate() {
        if shown.len() > SHOWN_MAX {
            shown.push(format!(" and {} more", opened.len() - at));
            break;
        }
        if at > 0 {
            shown.push(",");
        }
        shown.push(named.path());
    }
    shown.into()
}

/// What one of several things in the mount would like to be called.
struct Name {
    stem: OsString,
    /// With its dot; a number goes before it.
    suffix: OsString,
}

impl Name {
    /// The name of its file.
    fn of(path: &Path, named: &Named, strip_suffix: bool) -> Self {
        // A path such as `..` has no name of its own, but what it leads to has.
        let real = named.path();
        let name = path
            .file_name()
            .or(real.file_name())
            .unwrap_or(OsStr::new("root"));
        let name = Path::new(name);
        match (named, name.file_stem(), name.extension()) {
            (Named::Archive(_), Some(stem), Some(extension)) => {
                let mut suffix = OsString::new();
                if !strip_suffix || extension != "npz" {
                    suffix.push(".");
                    suffix.push(extension);
                }
                Self {
                    stem: stem.to_owned(),
                    suffix,
                }
            }
            _ => Self {
                stem: name.into(),
                suffix: OsString::new(),
            },
        }
    }

    /// The name, with a number if another one has it already. `numbers` has the next number to try
    /// of each name.
    fn if_free(
        &self,
        taken: &BTreeMap<OsString, Named>,
        numbers: &mut HashMap<OsString, usize>,
    ) -> OsString {
        let next = numbers.entry(self.numbered(0)).or_default();
        loop {
            let name = self.numbered(*next);
            *next += 1;
            if !taken.contains_key(&name) {
                return name;
            }
        }
    }

    fn numbered(&self, number: usize) -> OsString {
        let mut name = self.stem.clone();
        if number > 0 {
            name.push(format!(" ({number})"));
        }
        name.push(&self.suffix);
        name
    }
}

/// What there is, in a few words: `7 members, 1.2 GB`.
#[derive(Debug, Default)]
pub struct Summary {
    archives: u64,
    folders: u64,
    members: u64,
    unreadable: u64,
    /// Length of all members that can be read.
    len_bytes: u64,
}

impl Summary {
    fn of(tree: &Tree) -> Self {
        let mut summary = Self {
            archives: 1,
            ..Self::default()
        };
        for member in tree.files() {
            summary.members += 1;
            match member.problem {
                Some(_) => summary.unreadable += 1,
                None => summary.len_bytes = summary.len_bytes.saturating_add(member.size),
            }
        }
        summary
    }

    fn add(&mut self, other: &Self) {
        self.archives += other.archives;
        self.members += other.members;
        self.unreadable += other.unreadable;
        self.len_bytes = self.len_bytes.saturating_add(other.len_bytes);
    }

    /// Refuses an archive of which too little can be read.
    fn refuse(&self, path: &Path, volume: &Archive, strict: bool) -> Result<(), OpenError> {
        if self.unreadable == 0 || !strict && self.unreadable < self.members {
            return Ok(());
        }
        let mut files = volume.tree.files();
        let first = files.find_map(|member| Some((member, member.problem.as_deref()?)));
        first.map_or(Ok(()), |(member, problem)| {
            let member = volume.tree.name_of(member).to_vec();
            let error = problem.clone();
            Err(OpenErrorKind::Unreadable {
                member,
                error,
                strict,
            }
            .of(path))
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64, what: &str| match number {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{number} {what}s")),
        };
        if self.archives + self.folders > 1 {
            let parts = [
                count(self.archives, "archive"),
                count(self.folders, "folder"),
            ];
            f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        } else if self.folders > 0 {
            f.write_str("a folder")?;
        }
        if self.archives == 0 {
            return Ok(());
        }
        if self.archives + self.folders > 1 {
            f.write_str(", ")?;
        }
        let members = count(self.members, "member");
        f.write_str(members.as_deref().unwrap_or("0 members"))?;
        if self.unreadable > 0 {
            write!(f, " ({} cannot be read)", self.unreadable)?;
        }
        write!(f, ", {}", Size(self.len_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_what_cannot_be_read() {
        let summary = |archives, folders, members, unreadable, len_bytes| {
            let summary = Summary {
                archives,
                folders,
                members,
                unreadable,
                len_bytes,
            };
            summary.to_string()
        };
        assert_eq!(summary(1, 0, 7, 0, 1_234_567_890), "7 members, 1.2 GB");
        assert_eq!(summary(1, 0, 1, 0, 128), "1 member, 128 B");
        assert_eq!(summary(1, 0, 0, 0, 0), "0 members, 0 B");
        assert_eq!(
            summary(1, 0, 3, 2, 5000),
            "3 members (2 cannot be read), 5.0 kB"
        );
        assert_eq!(
            summary(2, 1, 9, 0, 5000),
            "2 archives, 1 folder, 9 members, 5.0 kB"
        );
        assert_eq!(summary(0, 1, 0, 0, 0), "a folder");
        assert_eq!(summary(0, 2, 0, 0, 0), "2 folders");
    }
}
