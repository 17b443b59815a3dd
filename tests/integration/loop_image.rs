//! File systems in image files; XFS and Btrfs have reflinks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mounted::{Place, available, installed, is_root, run, wait_until};

/// The type of a file system.
#[derive(Debug, Clone, Copy)]
pub enum FileSystem {
    Ext4,
    /// The default where the file system is small.
    Ext4SmallBlocks,
    Xfs,
    Btrfs,
}

/// A file system in an image file, mounted until it is dropped. It has to outlive all uses of its files.
pub struct Image {
    at: PathBuf,
    _place: Place,
}

impl Image {
    /// Mounts an empty file system; `None` if the machine cannot.
    pub fn new(file_system: FileSystem) -> Option<Self> {
        let (name, options) = match file_system {
            FileSystem::Ext4 => ("ext4", ["-q"].as_slice()),
            FileSystem::Ext4SmallBlocks => ("ext4", ["-q", "-b", "1024"].as_slice()),
            FileSystem::Xfs => ("xfs", ["-q", "-m", "reflink=1"].as_slice()),
            FileSystem::Btrfs => ("btrfs", ["-q"].as_slice()),
        };
        let make = format!("mkfs.{name}");
        if !available(is_root(), "root") || !installed(&[&make]) {
            return None;
        }
        let place = Place::new();
        let (image, at) = (place.join("image"), place.join("fs"));
        File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let made = run(Command::new(make).args(options).arg(&image));
        assert_eq!(made.status, Some(0), "{}", made.err);
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", name, "-o", "loop"]).arg(&image).arg(&at);
        let mounted = run(&mut mount).status == Some(0);
        let needed = format!("{name} and loop devices");
        available(mounted, &needed).then_some(Self { at, _place: place })
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    pub fn used_bytes(&self) -> u64 {
        // Not sync(2), which waits for all file systems of the machine.
        nix::unistd::syncfs(File::open(&self.at).unwrap()).unwrap();
        let statvfs = nix::sys::statvfs::statvfs(&self.at).unwrap();
        (statvfs.blocks() - statvfs.blocks_free()) * statvfs.fragment_size()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let umount = || run(Command::new("umount").arg(&self.at)).status == Some(0);
        if std::thread::panicking() {
            umount();
        } else {
            // The files of a killed process may be closed a moment later.
            wait_until("the image is unmounted", umount);
        }
    }
}
