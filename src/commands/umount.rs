//! `npzfs umount`: ends mounts of npzfs.

use std::env;
use std::path::{self, PathBuf};

use crate::cli::UmountArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::mount::unmount;
use crate::ui::console::Console;

/// Unmounts one mount point after the other.
///
/// # Errors
/// None: each mount point that fails is reported.
pub fn run(arguments: &UmountArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let absolute = |path: &PathBuf| path::absolute(path).unwrap_or_else(|_| path.clone());
    let mount_points: Vec<_> = arguments.mount_points.iter().map(absolute).collect();
    // A working directory inside a mount would keep it busy.
    let _ = env::set_current_dir("/");
    let mut worst = exit_status::DONE;
    for mount_point in mount_points {
        if let Err(error) = unmount::unmount(&mount_point, arguments.lazy) {
            let error = Error::Unmount { mount_point, error };
            worst = worst.max(super::report(&error, console));
        }
    }
    Ok(worst)
}
