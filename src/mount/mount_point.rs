//! The directory to mount on.

use std::cell::Cell;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{info, warn};
use nix::unistd::mkdtemp;

use crate::mount::error::{MountError, MountPointError};
use crate::mount::unmount;
use crate::sys::mountinfo::Place;
use crate::ui::human::Escaped;

/// A directory that is fit to be mounted on.
#[derive(Debug)]
pub struct MountPoint {
    /// Its absolute path, without symbolic links.
    pub path: PathBuf,
    /// Whether the mount of a killed npzfs was there, and was taken away.
    pub cleaned_up: bool,
    /// Whether npzfs made it, and is to remove it.
    created: Cell<bool>,
}

impl MountPoint {
    /// Checks the directory at `given`, or makes it. What a killed npzfs left there is cleaned up.
    ///
    /// # Errors
    /// [`MountError::MountPoint`]; then nothing was made.
    pub fn prepare(given: &Path, nonempty: bool) -> Result<Self, MountError> {
        Self::prepare_or_defect(given, nonempty).map_err(|error| error.of(given))
    }

    fn prepare_or_defect(given: &Path, nonempty: bool) -> Result<Self, MountPointError> {
        let place = match Place::find(given) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(given),
            Err(error) => return Err(MountPointError::Io(error)),
        };
        if place.is_automount_point() {
            // It waits for just this mount. What is in it only the automounter could tell.
            return Ok(Self {
                path: place.path,
                cleaned_up: false,
                created: Cell::new(false),
            });
        }
        if place.is_mount_point() {
            if place.mount.is_npzfs() && unmount::is_dead(&place) {
                unmount::detach(&place).map_err(MountPointError::LeftOver)?;
                let shown = Escaped::path(given);
                warn!("{shown}: cleaned up after an npzfs that was killed");
                let mut prepared = Self::prepare_or_defect(given, nonempty)?;
                prepared.cleaned_up = true;
                return Ok(prepared);
            }
            return Err(MountPointError::Mounted {
                fs_type: place.mount.fs_type.to_string_lossy().into_owned(),
                source: place.mount.source.to_string_lossy().into_owned(),
            });
        }
        let metadata = fs::metadata(&place.path).map_err(MountPointError::Io)?;
        if !metadata.is_dir() {
            return Err(MountPointError::NotADirectory);
        }
        if !nonempty {
            let mut entries = fs::read_dir(&place.path).map_err(MountPointError::Io)?;
            if entries.next().is_some() {
                return Err(MountPointError::NotEmpty);
            }
        }
        Ok(Self {
            path: place.path,
            cleaned_up: false,
            created: Cell::new(false),
        })
    }

    /// Makes a directory of which nobody else knows: below `XDG_RUNTIME_DIR`, or else where temporary
    /// files go.
    ///
    /// # Errors
    /// [`MountError::MountPoint`].
    pub fn private() -> Result<Self, MountError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|path| path.is_absolute());
        // It may be left over from another user's session, and not to be used by this one.
        if let Some(Ok(made)) = runtime.as_deref().map(Self::make_in) {
            return Ok(made);
        }
        let temporary = env::temp_dir();
        Self::make_in(&temporary)
            .map_err(|error| MountPointError::CannotCreate(error).of(temporary))
    }

    fn make_in(directory: &Path) -> io::Result<Self> {
        let template = fs::canonicalize(directory)?.join("npzfs-XXXXXX");
        Ok(Self {
            path: mkdtemp(&template)?,
            cleaned_up: false,
            created: Cell::new(true),
        })
    }

    fn create(given: &Path) -> Result<Self, MountPointError> {
        fs::create_dir(given).map_err(MountPointError::CannotCreate)?;
        let path = fs::canonicalize(given).map_err(MountPointError::Io)?;
        Ok(Self {
            path,
            cleaned_up: false,
            created: Cell::new(true),
        })
    }
}

impl MountPoint {
    /// Removes the directory if npzfs made it and nobody has put anything there since: rmdir(2)
    /// touches neither a directory with files nor one that carries a mount.
    pub fn remove(&self) {
        if self.created.take()
            && let Err(error) = fs::remove_dir(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let shown = Escaped::path(&self.path);
            info!("{shown}: mount point is left there: {error}");
        }
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refused(path: &Path) -> String {
        MountPoint::prepare(path, false).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_mount_point_is_made_and_removed_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        let mount_point = MountPoint::prepare(&path, false).unwrap();
        assert!(path.is_dir());
        drop(mount_point);
        assert!(!path.exists());
    }

    #[test]
    fn a_private_one_is_for_its_user_alone_and_is_removed_again() {
        let [one, another] = [(); 2].map(|()| MountPoint::private().unwrap());
        assert_ne!(one.path, another.path);
        let mode = fs::metadata(&one.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = one.path.clone();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn a_mount_point_that_was_there_before_stays() {
        let directory = tempfile::tempdir().unwrap();
        drop(MountPoint::prepare(directory.path(), false).unwrap());
        assert!(directory.path().is_dir());
    }

    #[test]
    fn what_cannot_be_a_mount_point_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let shown = file.display();
        assert_eq!(
            refused(&file),
            format!("{shown}: mount point is not a directory")
        );
        assert_eq!(
            refused(directory.path()),
            format!(
                "{}: mount point is not empty (-o nonempty mounts over what is there)",
                directory.path().display()
            )
        );
        assert!(MountPoint::prepare(directory.path(), true).is_ok());
        assert_eq!(
            refused(&directory.path().join("no/such")),
            format!(
                "{}/no/such: mount point cannot be created: No such file or directory",
                directory.path().display()
            )
        );
        assert_eq!(
            refused(Path::new("/proc")),
            "/proc: mount point already carries a mount (proc of proc)"
        );
    }
}
