//! The archives and folders on the command line, opened.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::Folder;
use super::root::{Root, Source};
use super::summary::Summary;
use crate::archive::error::{OpenError, OpenErrorKind, PassthroughError};
use crate::archive::reflink::Reflinker;
use crate::archive::{Archive, Purpose};

/// The length of the source in mountinfo, in bytes, after which no more paths are added: the kernel
/// takes no more than a page.
const SHOWN_MAX: usize = 1000;

/// Settings for opening archives.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Decompress compressed members, or refuse them.
    pub inflate_enabled: bool,
    /// Refuse an archive for one member that cannot be read.
    pub strict: bool,
    /// Show archives without `.npz` at the end of their names.
    pub strip_suffix: bool,
    /// The minimum length of a cloned member, in bytes; `None` if none is cloned.
    pub clone_min: Option<u64>,
    /// Refuse an archive without any member that can be passed through to the kernel.
    pub passthrough_required: bool,
}

/// The opened archives and folders.
#[derive(Debug)]
pub struct Sources {
    /// The root of the mount.
    pub root: Root,
    /// Their number and size.
    pub summary: Summary,
    /// Their absolute paths, for mountinfo.
    pub shown: PathBuf,
}

impl Sources {
    /// Opens the archives and folders at `paths`: one of them becomes the root of the mount,
    /// several become directories in it.
    ///
    /// # Errors
    /// [`OpenError`], also for an archive of which too little can be read or passed through.
    pub fn open(paths: &[PathBuf], options: OpenOptions) -> Result<Self, OpenError> {
        let mut summary = Summary::default();
        let mut opened = Vec::new();
        for path in paths {
            let source = if path.is_dir() {
                summary.add(&Summary::of_folder());
                Source::Folder(open_folder(path)?)
            } else {
                let (archive, counted) = open_archive(path, options)?;
                summary.add(&counted);
                Source::Archive(Arc::new(archive))
            };
            opened.push((path, source));
        }
        let shown = shown(&opened);
        let root = if opened.len() == 1 {
            opened.pop().map(|(_, source)| Root::One(source))
        } else {
            None
        };
        let root = root.unwrap_or_else(|| {
            let mut several = BTreeMap::new();
            let mut numbers = HashMap::new();
            for (path, source) in opened {
                let name = Name::of(path, &source, options.strip_suffix);
                let name = name.if_free(&several, &mut numbers);
                several.insert(name, source);
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

fn open_archive(path: &Path, options: OpenOptions) -> Result<(Archive, Summary), OpenError> {
    let mut archive = Archive::open(path, path, options.inflate_enabled, Purpose::Mount)?;
    let summary = Summary::of(&archive.tree);
    summary.check(path, &archive, options.strict)?;
    if let Some(min) = options.clone_min {
        let enabled = enable_passthrough(&mut archive, min);
        if let (Err(reason), true) = (enabled, options.passthrough_required) {
            return Err(OpenErrorKind::Passthrough(reason).of(path));
        }
    }
    Ok((archive, summary))
}

/// Clones members from now on, where that is possible. Fails if no member of the archive can be
/// passed through to the kernel, be it cloned or inflated.
fn enable_passthrough(archive: &mut Archive, min: u64) -> Result<(), PassthroughError> {
    // Members of an archive inside are no longer than it. This spares most archives a descriptor.
    let has_long = archive.tree.files().any(|member| member.size >= min);
    let has_any = has_long
        && Reflinker::beside(&archive.path, min)
            .and_then(|reflinker| archive.enable_reflinks(Arc::new(reflinker)))
            .map_err(PassthroughError::Clone)?;
    if has_any || !archive.is_all_stored() {
        return Ok(());
    }
    Err(PassthroughError::NothingFit { min })
}

fn open_folder(path: &Path) -> Result<Folder, OpenError> {
    fs::canonicalize(path)
        .and_then(|path| Folder::open(&path))
        .map_err(|error| OpenErrorKind::Io(error).of(path))
}

/// Returns the absolute paths, separated by commas and cut short, for mountinfo.
fn shown(opened: &[(&PathBuf, Source)]) -> PathBuf {
    let mut shown = OsString::new();
    for (at, (_, source)) in opened.iter().enumerate() {
        if shown.len() > SHOWN_MAX {
            shown.push(format!(" and {} more", opened.len() - at));
            break;
        }
        if at > 0 {
            shown.push(",");
        }
        shown.push(source.path());
    }
    shown.into()
}

/// The name of one of several sources in the mount.
struct Name {
    stem: OsString,
    /// The extension and its dot, or nothing. A number goes before it.
    suffix: OsString,
}

impl Name {
    /// Returns the name of the source's file.
    fn of(path: &Path, source: &Source, strip_suffix: bool) -> Self {
        // A path such as `..` has no name, but the directory that it leads to has one.
        let real = source.path();
        let name = path
            .file_name()
            .or(real.file_name())
            .unwrap_or(OsStr::new("root"));
        let name = Path::new(name);
        match (source, name.file_stem(), name.extension()) {
            (Source::Archive(_), Some(stem), Some(extension)) => {
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

    /// Returns the name, with a number if it is taken. `numbers` has the next number to try for
    /// each name, so that ten thousand equal names take no more time than different ones.
    fn if_free(
        &self,
        taken: &BTreeMap<OsString, Source>,
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
