//! A mount namespace with an fstab of its own, in which the program is installed where mount(8)
//! searches its helpers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::User;

use crate::mounted::{Output, Place, available, installed, is_root, run};

/// A mount namespace. When it is dropped, everything that is mounted in it is unmounted.
pub struct Namespace {
    keeper: Child,
}

/// Unmounts the copies of other mounts in a new mount namespace, except that of the mount at `$0`.
/// Their servers would not end while the copies are there.
pub const DROP_COPIES: &str = r#"
    while read -r _ at type _; do
        [ "$type" != fuse.npzfs ] || [ "$at" = "$0" ] || umount -l "$(printf %b "$at")"
    done </proc/self/mounts 2>&-
"#;

/// The commands that set it up, which have no effect outside.
const SCRIPT: &str = r#"
    mount --bind "$0/sbin" /sbin && mount --bind "$0/fstab" /etc/fstab &&
    mount -t tmpfs none /run && mkdir /run/mount && echo ready && read -r _"#;

impl Namespace {
    /// Returns `None` if the machine does not allow it. `extra` are other programs in /sbin that are
    /// needed inside.
    pub fn new(place: &Place, program: &Path, fstab: &str, extra: &[&str]) -> Option<Self> {
        if !available(is_root(), "root, for a mount namespace")
            || !installed(&[
                "mount", "umount", "findmnt", "nsenter", "setpriv", "unshare",
            ])
        {
            return None;
        }
        let sbin = place.join("sbin");
        fs::create_dir(&sbin).unwrap();
        for name in ["mount.npzfs", "mount.fuse.npzfs"] {
            std::os::unix::fs::symlink(program, sbin.join(name)).unwrap();
        }
        for name in extra {
            let copied = run(Command::new("cp").arg(format!("/sbin/{name}")).arg(&sbin));
            assert_eq!(copied.status, Some(0), "{}", copied.err);
        }
        fs::write(place.join("fstab"), fstab).unwrap();
        let mut keeper = Command::new("unshare");
        keeper
            .args(["--mount", "sh", "-c", &format!("{DROP_COPIES}{SCRIPT}")])
            .arg(place.path());
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().expect("a namespace");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("it was piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let namespace = Self { keeper };
        assert_eq!(line, "ready\n");
        Some(namespace)
    }

    /// Returns the file that represents it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/mnt", self.keeper.id()).into()
    }

    /// Returns a command that runs inside, as root or as another user.
    pub fn command(&self, user: Option<&User>, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount={}", self.path().display()));
        if let Some(user) = user {
            command.args(["setpriv", "--clear-groups"]);
            command.args([
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
            ]);
        }
        command.arg(program.as_ref());
        command
    }

    /// Runs a command inside.
    pub fn run(&self, user: Option<&User>, line: &[&str]) -> Output {
        let (program, arguments) = line.split_first().expect("a program");
        run(self.command(user, program).args(arguments))
    }

    /// Returns columns of findmnt for a mount of npzfs inside, or an empty string if there is none.
    pub fn findmnt(&self, columns: &str, at: &Path) -> String {
        let mut command = self.command(None, "findmnt");
        command.args(["-rn", "-t", "fuse.npzfs", "-o", columns, "--mountpoint"]);
        run(command.arg(at)).out.trim_end().to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It ends at the end of its input.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
