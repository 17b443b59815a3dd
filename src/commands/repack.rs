//! Writes an archive or a directory anew as an archive of stored members, with aligned arrays.
//!
//! All sizes are known beforehand, so the whole result is laid out before anything is written, and
//! several threads write members to their places at the same time. The result appears under its name
//! only when it is complete.

pub(super) mod error;
mod input;
mod job;
mod layout;
mod output_file;

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use log::LevelFilter;
use nix::unistd::{Gid, Uid, fchown};

use crate::archive::file_kind::FileKind;
use crate::cli::RepackArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::sys::process;
use crate::ui::console::Console;
use crate::ui::human::Quoted;
use crate::ui::logging::{self, Destination};
use crate::ui::progress::Progress;
use error::RepackError;
use input::Input;
use job::Job;
use layout::Layout;
use output_file::OutputFile;

/// The default number of threads is that of the processors, but at most this.
const JOBS_MAX: usize = 64;

/// Runs `npzfs repack`.
///
/// # Errors
/// Those of opening the input, and [`RepackError`]. The output is then as it was before.
pub fn run(arguments: &RepackArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let level = if arguments.quiet {
        LevelFilter::Error
    } else {
        LevelFilter::Warn
    };
    logging::start(level, Destination::StandardError);
    let (input, mut items) = Input::open(&arguments.input)?;
    let target = target(arguments, &input)?;
    let align = if arguments.no_align {
        1
    } else {
        arguments.align
    };
    let output = &arguments.output;
    let cannot_write = |error| RepackError::Write {
        output: output.clone(),
        error,
    };
    let layout = Layout::new(&mut items, align).map_err(cannot_write)?;
    let file = OutputFile::create(target, 0o666).map_err(cannot_write)?;
    if let Input::Archive(archive) = &input {
        let kept = keep_permissions(&archive.metadata, output, file.file());
        kept.map_err(cannot_write)?;
    }
    let progress = if arguments.quiet {
        Progress::hidden()
    } else {
        // With --verify every byte is read once more.
        let total = layout.len_bytes << u32::from(arguments.verify);
        Progress::new(total, arguments.input.as_os_str().as_encoded_bytes())
    };
    let threads = arguments
        .jobs
        .map_or_else(|| process::processors().min(JOBS_MAX), usize::from);
    let job = Job::new(&input, &items, &layout, file.file(), output, progress);
    job.write(threads)?;
    input.check_unchanged()?;
    if arguments.verify {
        job.verify(threads)?;
    }
    job.finish();
    let published = file.publish(arguments.force);
    published.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => RepackError::Exists {
            output: output.clone(),
        },
        _ => cannot_write(error),
    })?;
    if !arguments.quiet {
        let (from, to) = (Quoted(&arguments.input), Quoted(output));
        // The result is complete, whether or not standard output can be written.
        let _ = writeln!(console, "packed {from} into {to}: {layout}");
        let _ = console.flush();
    }
    Ok(exit_status::DONE)
}

/// The path of the file to write, with symbolic links followed.
fn target(arguments: &RepackArgs, input: &Input) -> Result<PathBuf, RepackError> {
    let output = arguments.output.clone();
    let exists = fs::symlink_metadata(&output).is_ok();
    if let Ok(metadata) = fs::metadata(&output)
        && !metadata.is_file()
    {
        let what = FileKind::of(metadata.file_type()).name();
        return Err(RepackError::NotReplaced { output, what });
    }
    if exists && !arguments.force {
        return Err(RepackError::Exists { output });
    }
    let target = fs::canonicalize(&output).unwrap_or_else(|_| output.clone());
    if let Input::Directory(given) = input {
        let parent = target.parent().filter(|parent| *parent != Path::new(""));
        let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
        let root = fs::canonicalize(given);
        if let (Ok(parent), Ok(root)) = (parent, root)
            && parent.starts_with(root)
        {
            return Err(RepackError::Inside { output });
        }
    }
    Ok(target)
}

/// Gives `file` the permissions of the archive that was its input, and also the owner if `output` is
/// that archive and is to be replaced.
fn keep_permissions(archive: &Metadata, output: &Path, file: &File) -> io::Result<()> {
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    if fs::metadata(output).is_ok_and(|replaced| identity(&replaced) == identity(archive)) {
        let owner = Some(Uid::from_raw(archive.uid()));
        let group = Some(Gid::from_raw(archive.gid()));
        // Only root may give files away; a file that another user replaces becomes that user's.
        let _ = fchown(file, owner, group);
    }
    file.set_permissions(Permissions::from_mode(archive.mode() & 0o777))
}
