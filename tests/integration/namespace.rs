//! A machine within the machine, as far as mounts go: a mount namespace in which the program is
//! installed where mount(8) looks for its helpers, with an fstab of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::User;

use crate::mounted::{Place, Said, available, installed, is_root, run};

/// Lasts until it is dropped, and then goes with all that is mounted in it.
pub struct Namespace {
    keeper: Child,
}

/// What makes it out of the copy of the real one: nothing here is seen outside.
const SCRIPT: &str = r#"
    mount --bind "$0/sbin" /sbin && mount --bind "$0/fstab" /etc/fstab &&
    mount -t tmpfs none /run && mkdir /run/mount && echo ready && read -r _"#;

impl Namespace {
    /// `None` where there can be none. `extra` are programs of /sbin that are wanted besides.
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
            .args(["--mount", "sh", "-c", SCRIPT])
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

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/mnt", self.keeper.id()).into()
    }

    /// A command that runs inside, as root or as another user.
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

    /// Runs a command line of words inside.
    pub fn run(&self, user: Option<&User>, line: &[&str]) -> Said {
        let (program, arguments) = line.split_first().expect("a program");
        run(self.command(user, program).args(arguments))
    }

    /// What findmnt tells of a mount of npzfs inside; nothing if there is none.
    pub fn findmnt(&self, columns: &str, at: &Path) -> String {
        let mut command = self.command(None, "findmnt");
        command.args(["-rn", "-t", "fuse.npzfs", "-o", columns, "--mountpoint"]);
        run(command.arg(at)).out.trim_end().to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It waits for a line that does not come.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
