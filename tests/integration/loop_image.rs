//! File systems, each in a file of its own; two of them can share blocks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mounted::{Place, available, installed, is_root, run, wait_until};

/// What is in an image.
#[derive(Debug, Clone, Copy)]
pub enum FileSystem {
    Ext4,
    /// The default where the file system is small.
    Ext4SmallBlocks,
    Xfs,
    Btrfs,
}

/// A file system in a file, mounted until the test ends. It has to outlive the mounts of what is on it.
pub struct Image {
    at: PathBuf,
    _place: Place,
}

impl Image {
    /// An empty file system; `None` where the machine has none.
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
        let what = format!("{name} and loop devices");
        available(mounted, &what).then_some(Self { at, _place: place })
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    pub fn used_bytes(&self) -> u64 {
        // The other file systems of the machine would take their time.
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
            // What a killed process had open may take a moment to go.
            wait_until("the image is unmounted", umount);
        }
    }
}
