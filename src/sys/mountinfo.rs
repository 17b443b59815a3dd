//! The mount table, from `/proc/self/mountinfo` (proc(5)), and places in it.
//!
//! A mount is found without a request to its file system, whose server may be dead or hang.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// The mount ID, which is unique until the mount is unmounted.
    pub id: u64,
    /// The ID of the mount that it is mounted on.
    pub parent: u64,
    /// The device number of the file system, major and minor. No two mounted file systems share it.
    pub device: (u32, u32),
    /// The path at which it is mounted.
    pub mount_point: PathBuf,
    /// The type with its subtype: `fuse.npzfs`.
    pub fs_type: OsString,
    /// The source; for npzfs the archive's path.
    pub source: OsString,
}

/// The file system type of npzfs mounts.
pub const FS_TYPE: &str = "fuse.npzfs";

impl MountInfo {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut number = |separator: u8| {
            let field = fields.next()?;
            let mut numbers = field
                .split(move |&byte| byte == separator)
                .map(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
            Some((numbers.next()??, numbers.next().flatten()))
        };
        let (id, _) = number(b' ')?;
        let (parent, _) = number(b' ')?;
        let (major, minor) = number(b':')?;
        let device = (u32::try_from(major).ok()?, u32::try_from(minor?).ok()?);
        let _root = fields.next()?;
        let mount_point = unescape(fields.next()?);
        // Optional fields, as many as there are, end with a hyphen.
        let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
        Some(Self {
            id,
            parent,
            device,
            mount_point: PathBuf::from(mount_point),
            fs_type: unescape(fields.next()?),
            source: unescape(fields.next()?),
        })
    }

    /// Whether this is an npzfs mount.
    pub fn is_npzfs(&self) -> bool {
        self.fs_type == FS_TYPE
    }
}

/// Replaces the escapes of mountinfo: space, tab, newline and backslash are three octal digits behind a
/// backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\')
            .then(|| after.split_first_chunk::<3>())
            .flatten()
            .and_then(|(digits, after)| {
                let digits = std::str::from_utf8(digits).ok()?;
                Some((u8::from_str_radix(digits, 8).ok()?, after))
            });
        let (byte, after) = escaped.unwrap_or((byte, after));
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes)
}

/// Returns all mounts that this process can see.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub fn all() -> io::Result<Vec<MountInfo>> {
    read(Path::new("/proc/self"))
}

/// Returns all mounts that the process with the directory `process` in `/proc` can see.
///
/// # Errors
/// Those of reading its `mountinfo`.
pub fn read(process: &Path) -> io::Result<Vec<MountInfo>> {
    let table = fs::read(process.join("mountinfo"))?;
    let lines = table.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(MountInfo::parse).collect())
}

/// Whether an npzfs mount is at just this path, perhaps covered by another mount. The path itself is
/// not opened, since that would make an automounter mount it.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub fn has_npzfs(mount_point: &Path) -> io::Result<bool> {
    let mut mounts = all()?.into_iter();
    Ok(mounts.any(|mount| mount.mount_point == mount_point && mount.is_npzfs()))
}

/// Returns the [`MountInfo::id`] of the mount that an open file is on.
///
/// # Errors
/// Those of reading `/proc/self/fdinfo`, and `NotFound` where the kernel does not report it.
pub fn mount_id(file: &File) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = |line: &str| line.strip_prefix("mnt_id:")?.trim().parse().ok();
    Ok(info.lines().find_map(id).ok_or(io::ErrorKind::NotFound)?)
}

/// A pinned path, which the kernel counts as a use of its mount.
#[derive(Debug)]
pub struct Pin {
    file: File,
}

impl Pin {
    /// Pins the place that a path leads to.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn new(path: &Path) -> io::Result<Self> {
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(flags).open(path)?;
        Ok(Self { file })
    }

    /// Returns the [`MountInfo::id`] of the mount.
    ///
    /// # Errors
    /// Those of [`mount_id`].
    pub fn mount_id(&self) -> io::Result<u64> {
        mount_id(&self.file)
    }

    /// Returns a path to exactly this place, whatever has been mounted over it meanwhile.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// A pinned place in the file tree, and the mount that it is on.
#[derive(Debug)]
pub struct Place {
    /// Keeps the place and its mount.
    pub pin: Pin,
    /// The absolute path, without symbolic links.
    pub path: PathBuf,
    /// The mount that the path leads to: the topmost one.
    pub mount: MountInfo,
}

impl Place {
    /// Pins the place that a path leads to.
    ///
    /// # Errors
    /// Those of open(2), and `NotFound` where its mount is not in mountinfo.
    pub fn find(path: &Path) -> io::Result<Self> {
        let pin = Pin::new(path)?;
        let path = fs::read_link(pin.path())?;
        let id = pin.mount_id()?;
        let mounts = all()?;
        let mount = mounts.into_iter().find(|mount| mount.id == id);
        let mount = mount.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pin, path, mount })
    }

    /// Whether something is mounted at just this place.
    pub fn is_mount_point(&self) -> bool {
        self.mount.mount_point == self.path
    }

    /// Whether an automounter watches this place, and waits for something to be mounted over it.
    pub fn is_automount_point(&self) -> bool {
        self.is_mount_point() && self.mount.fs_type == "autofs"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed_with_and_without_optional_fields() {
        let parsed = MountInfo::parse(
            b"36 35 0:98 / /mnt/my\\040frame ro,nosuid shared:1 master:2 - fuse.npzfs \
              /data/a,b\\134c.npz ro,user_id=0",
        );
        assert_eq!(
            parsed,
            Some(MountInfo {
                id: 36,
                parent: 35,
                device: (0, 98),
                mount_point: "/mnt/my frame".into(),
                fs_type: "fuse.npzfs".into(),
                source: "/data/a,b\\c.npz".into(),
            })
        );
        let parsed = MountInfo::parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw").unwrap();
        assert_eq!(parsed.source, "/dev/sda1");
        assert!(!parsed.is_npzfs());
        assert_eq!(MountInfo::parse(b""), None);
        assert_eq!(MountInfo::parse(b"1 0 8 / / rw - ext4 /dev/sda1 rw"), None);
    }

    #[test]
    fn a_place_knows_its_mount() {
        let place = Place::find(Path::new("/proc/self/../")).unwrap();
        assert_eq!(place.path, Path::new("/proc"));
        assert!(place.is_mount_point());
        assert_eq!(place.mount.fs_type, "proc");
        assert!(
            !Place::find(Path::new("/proc/sys"))
                .unwrap()
                .is_mount_point()
        );
    }
}
