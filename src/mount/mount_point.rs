//! The directory to mount on.

use std::cell::Cell;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{info, warn};
use nix::unistd::mkdtemp;

use crate::mount::error::{MountError, MountPointError};
use crate::mount::server::State;
use crate::mount::unmount;
use crate::sys::mountinfo::Place;
use crate::ui::human::Escaped;

/// A directory that can be mounted on. It is removed when this is dropped, if npzfs created it.
#[derive(Debug)]
pub struct MountPoint {
    /// The absolute path, without symbolic links.
    pub path: PathBuf,
    /// Whether the dead mount of a killed npzfs was cleaned up there.
    pub was_cleaned_up: bool,
    /// Whether npzfs created the directory, and has to remove it.
    is_created: Cell<bool>,
}

impl MountPoint {
    /// Checks the directory at `given`, or creates it. Cleans up the dead mount of a killed npzfs.
    ///
    /// # Errors
    /// [`MountError::MountPoint`]; then nothing was created.
    pub fn prepare(given: &Path, nonempty: bool) -> Result<Self, MountError> {
        Self::find_or_create(given, nonempty).map_err(|error| error.of(given))
    }

    fn find_or_create(given: &Path, nonempty: bool) -> Result<Self, MountPointError> {
        let place = match Place::find(given) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(given),
            Err(error) => return Err(MountPointError::Io(error)),
        };
        if place.is_automount_point() {
            // The automounter waits for just this mount, and listing the directory would wait for it.
            return Ok(Self::new(place.path, false));
        }
        if place.is_mount_point() {
            Self::clean_up(given, &place)?;
            let mut prepared = Self::find_or_create(given, nonempty)?;
            prepared.was_cleaned_up = true;
            return Ok(prepared);
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
        Ok(Self::new(place.path, false))
    }

    /// Unmounts what is mounted at a place, if that is a dead npzfs mount.
    fn clean_up(given: &Path, place: &Place) -> Result<(), MountPointError> {
        let source = place.mount.source.to_string_lossy().into_owned();
        let fs_type = place.mount.fs_type.to_string_lossy().into_owned();
        if !place.mount.is_npzfs() {
            return Err(MountPointError::Mounted { fs_type, source });
        }
        match unmount::probe(place) {
            State::Dead => {
                unmount::detach(place).map_err(MountPointError::LeftOver)?;
                warn!("{}: unmounted a dead npzfs mount", Escaped::path(given));
                Ok(())
            }
            State::NotAnswering => Err(MountPointError::NotAnswering { source }),
            State::Live(stats) if stats.stale => Err(MountPointError::Stale { source }),
            _ => Err(MountPointError::Mounted { fs_type, source }),
        }
    }

    /// Creates a directory under a random name: below `XDG_RUNTIME_DIR`, otherwise where temporary
    /// files go.
    ///
    /// # Errors
    /// [`MountError::MountPoint`].
    pub fn private() -> Result<Self, MountError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|path| path.is_absolute());
        // The variable may be left from the session of another user, whose directory is not ours.
        if let Some(Ok(created)) = runtime.as_deref().map(Self::create_in) {
            return Ok(created);
        }
        let temporary = env::temp_dir();
        Self::create_in(&temporary)
            .map_err(|error| MountPointError::CannotCreate(error).of(temporary))
    }

    fn create_in(directory: &Path) -> io::Result<Self> {
        let template = fs::canonicalize(directory)?.join("npzfs-XXXXXX");
        Ok(Self::new(mkdtemp(&template)?, true))
    }

    fn create(given: &Path) -> Result<Self, MountPointError> {
        fs::create_dir(given).map_err(MountPointError::CannotCreate)?;
        let path = fs::canonicalize(given).map_err(MountPointError::Io)?;
        Ok(Self::new(path, true))
    }

    fn new(path: PathBuf, is_created: bool) -> Self {
        Self {
            path,
            was_cleaned_up: false,
            is_created: Cell::new(is_created),
        }
    }

    /// Removes the directory if npzfs created it. rmdir(2) removes neither a directory with files in
    /// it nor one that is mounted on.
    pub fn remove(&self) {
        if self.is_created.take()
            && let Err(error) = fs::remove_dir(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let shown = Escaped::path(&self.path);
            info!("{shown}: mount point is not removed: {error}");
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
    fn a_missing_mount_point_is_created_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        let mount_point = MountPoint::prepare(&path, false).unwrap();
        assert!(path.is_dir());
        drop(mount_point);
        assert!(!path.exists());
    }

    #[test]
    fn a_private_mount_point_has_mode_0700_and_is_removed() {
        let [one, another] = [(); 2].map(|()| MountPoint::private().unwrap());
        assert_ne!(one.path, another.path);
        let mode = fs::metadata(&one.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = one.path.clone();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn an_existing_mount_point_stays() {
        let directory = tempfile::tempdir().unwrap();
        drop(MountPoint::prepare(directory.path(), false).unwrap());
        assert!(directory.path().is_dir());
    }

    #[test]
    fn a_bad_mount_point_is_refused_with_the_reason() {
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
