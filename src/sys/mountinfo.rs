//! What is mounted where, from `/proc/self/mountinfo` (proc(5)).

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
    /// Identifies the mount, until it is gone.
    pub id: u64,
    /// The mount that it is mounted on.
    pub parent: u64,
    /// Major and minor number of the file system. No two file systems that live share them.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Its type, subtype included: `fuse.npzfs`.
    pub fs_type: OsString,
    /// What is mounted: for npzfs the archive's path.
    pub source: OsString,
}

/// The type under which npzfs mounts.
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

    /// Whether this is a mount of npzfs.
    pub fn is_npzfs(&self) -> bool {
        self.fs_type == FS_TYPE
    }
}

/// Space, tab, newline and backslash are written as three octal digits behind a backslash.
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

/// Every mount that this process can see.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub fn all() -> io::Result<Vec<MountInfo>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let lines = table.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(MountInfo::parse).collect())
}

/// Whether a mount of npzfs is at just this path, be it covered by another one. The path itself is not
/// looked at: an automounter that watches it would take that for a wish to have it mounted.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub fn has_npzfs(mount_point: &Path) -> io::Result<bool> {
    let mut mounts = all()?.into_iter();
    Ok(mounts.any(|mount| mount.mount_point == mount_point && mount.is_npzfs()))
}

/// Which mount an open file is on, by [`MountInfo::id`]. Its file system is not asked.
///
/// # Errors
/// Those of reading `/proc/self/fdinfo`, and `NotFound` where the kernel does not tell.
pub fn mount_id(file: &File) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = |line: &str| line.strip_prefix("mnt_id:")?.trim().parse().ok();
    Ok(info.lines().find_map(id).ok_or(io::ErrorKind::NotFound)?)
}

/// The number of the mount that a path leads to.
///
/// # Errors
/// Those of open(2).
pub fn mount_id_at(path: &Path) -> io::Result<u64> {
    mount_id(&pin(path)?)
}

fn pin(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path)
}

/// A place in the file system, pinned, and the mount that it is on.
///
/// It is found without a question to the file system that is mounted there, so it can be had of a
/// dead one as well.
#[derive(Debug)]
pub struct Place {
    pin: File,
    /// The absolute path, without symbolic links.
    pub path: PathBuf,
    /// The mount that the path leads to: the topmost one.
    pub mount: MountInfo,
}

impl Place {
    /// Finds the place that a path leads to.
    ///
    /// # Errors
    /// Those of open(2), and `NotFound` where its mount is not in mountinfo.
    pub fn find(path: &Path) -> io::Result<Self> {
        let pin = pin(path)?;
        let path = fs::read_link(format!("/proc/self/fd/{}", pin.as_raw_fd()))?;
        let id = mount_id(&pin)?;
        let mounts = all()?;
        let mount = mounts.into_iter().find(|mount| mount.id == id);
        let mount = mount.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pin, path, mount })
    }

    /// Whether something is mounted at just this place.
    pub fn is_mount_point(&self) -> bool {
        self.mount.mount_point == self.path
    }

    /// Whether an automounter watches just this place, and is to have something mounted over it.
    pub fn is_automount_point(&self) -> bool {
        self.is_mount_point() && self.mount.fs_type == "autofs"
    }

    /// A path to exactly this mount, whatever is mounted over it meanwhile.
    pub fn pinned_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.pin.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_optional_fields() {
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
