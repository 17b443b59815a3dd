//! `npzfs umount`: ends mounts of npzfs.

use std::env;
use std::path::{self, PathBuf};

use crate::cli::UmountArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::mount::error::require_proc;
use crate::mount::unmount;
use crate::ui::console::Console;
use crate::ui::human::Escaped;

/// Unmounts one mount point after the other. A mount whose server goes on is no error.
///
/// # Errors
/// [`MountError::NoProc`](crate::mount::error::MountError); the error of a mount point is reported.
pub fn run(arguments: &UmountArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    require_proc()?;
    let absolute = |path: &PathBuf| path::absolute(path).unwrap_or_else(|_| path.clone());
    let mount_points: Vec<_> = arguments.mount_points.iter().map(absolute).collect();
    // A working directory inside a mount would keep it busy.
    let _ = env::set_current_dir("/");
    let mut worst = exit_status::DONE;
    for mount_point in mount_points {
        match unmount::unmount(&mount_point, arguments.lazy) {
            Ok(None) => {}
            Ok(Some(lives_on)) => {
                console.note(&format!("{}: {lives_on}", Escaped::path(&mount_point)));
            }
            Err(error) => {
                let error = Error::Unmount { mount_point, error };
                worst = worst.max(super::report(&error, console));
            }
        }
    }
    Ok(worst)
}
