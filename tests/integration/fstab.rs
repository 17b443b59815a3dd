//! npzfs as the helper of mount(8), called with arguments and for lines of fstab.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Archive, pattern};
use crate::mounted::{Output, npzfs, run, wait_until};
use crate::namespace::Namespace;
use crate::users::Home;

/// A user's directory, with a namespace in which mount(8) finds npzfs.
struct Machine {
    namespace: Namespace,
    home: Home,
}

impl Machine {
    /// Returns a machine whose fstab has a line with `options` for the archive, at `mnt` in the user's
    /// directory.
    fn new(options: &str) -> Option<Self> {
        let archive = Archive::stored([("x", pattern(1 << 16, 1)), ("y", vec![1, 2, 3])]);
        let home = Home::of(&archive)?;
        fs::create_dir(&home.at).unwrap();
        let (uid, gid) = (home.user.uid.as_raw(), home.user.gid.as_raw());
        std::os::unix::fs::chown(&home.at, Some(uid), Some(gid)).unwrap();
        let archive = home.archive.to_str()?.replace(' ', "\\040");
        let fstab = format!("{archive} {} fuse.npzfs {options} 0 0\n", home.at.display());
        let namespace = Namespace::new(&home.place, &home.program, &fstab, &[])?;
        Some(Self { namespace, home })
    }

    fn run(&self, line: &[&str]) -> Output {
        self.namespace.run(None, line)
    }

    fn run_as_user(&self, line: &[&str]) -> Output {
        self.namespace.run(Some(&self.home.user), line)
    }

    fn archive(&self) -> &str {
        self.home.archive.to_str().unwrap()
    }

    fn at(&self) -> &str {
        self.home.at.to_str().unwrap()
    }

    fn found(&self, column: &str) -> String {
        self.namespace.findmnt(column, &self.home.at)
    }

    fn has_option(&self, option: &str) -> bool {
        self.found("OPTIONS").split(',').any(|word| word == option)
    }

    fn x(&self) -> String {
        format!("{}/x", self.at())
    }
}

/// Checks that a command succeeded without output.
fn silent(result: &Output) {
    assert_eq!(
        (result.status, result.out.as_str(), result.err.as_str()),
        (Some(0), "", "")
    );
}

fn failed(result: &Output, status: i32, message: &str) {
    let first = result.err.lines().next().unwrap_or_default();
    assert_eq!((result.status, first), (Some(status), message));
    assert_eq!(result.out, "");
}

#[test]
fn mount_and_umount_know_both_types() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    for fs_type in ["npzfs", "fuse.npzfs"] {
        silent(&machine.run(&["mount", "-t", fs_type, machine.archive(), machine.at()]));
        assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
        let source = machine.archive().replace(' ', "\\x20");
        assert_eq!(machine.found("SOURCE"), source);
        let read = machine.run(&["cksum", &machine.x()]);
        let expected = machine.home.place.join("expected");
        fs::write(&expected, pattern(1 << 16, 1)).unwrap();
        let expected = run(Command::new("cksum").arg(expected)).out;
        assert_eq!(read.out.split(' ').next(), expected.split(' ').next());
        silent(&machine.run(&["umount", machine.at()]));
        assert_eq!(machine.found("FSTYPE"), "");
    }
}

#[test]
fn a_missing_mount_point_is_created_for_mount_too() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    fs::remove_dir(&machine.home.at).unwrap();
    silent(&machine.run(&["mount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
    silent(&machine.run(&["umount", machine.at()]));
    wait_until("the mount point is removed", || !machine.home.at.exists());
}

#[test]
fn a_line_of_fstab_is_mounted_with_its_options() {
    let line = "noauto,user,x-systemd.automount,x-systemd.idle-timeout=60,_netdev,nofail,\
                comment=a,exec,allow_other,umask=027,gid=7";
    let Some(machine) = Machine::new(line) else {
        return;
    };
    silent(&machine.run(&["mount", machine.at()]));
    for option in [
        "ro",
        "nosuid",
        "nodev",
        "default_permissions",
        "allow_other",
    ] {
        assert!(machine.has_option(option), "{option}");
    }
    assert!(!machine.has_option("noexec"));
    let stat = machine.run(&["stat", "-c", "%u %g %a", &machine.x()]);
    assert_eq!(stat.out, "0 7 440\n");
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn options_of_other_programs_do_no_harm() {
    let line = "defaults,rw,suid,dev,owner,group,silent,mand,iversion,lazytime,nosymfollow";
    let Some(machine) = Machine::new(line) else {
        return;
    };
    silent(&machine.run(&["mount", machine.at()]));
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(machine.has_option(option), "{option}");
    }
    let written = machine.run(&["touch", &machine.x()]);
    assert!(
        written.err.contains("Read-only file system"),
        "{}",
        written.err
    );
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn mount_a_mounts_every_line_once() {
    let Some(machine) = Machine::new("defaults") else {
        return;
    };
    for _ in 0..2 {
        silent(&machine.run(&["mount", "-a"]));
        assert_eq!(machine.found("FSTYPE").lines().count(), 1);
    }
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn an_ordinary_user_mounts_and_unmounts_as_fstab_allows() {
    let Some(machine) = Machine::new("noauto,user") else {
        return;
    };
    silent(&machine.run_as_user(&["mount", machine.at()]));
    let user = machine.home.user.uid;
    assert!(machine.has_option(&format!("user_id={user}")));
    assert!(machine.has_option("noexec"));
    assert_eq!(machine.run_as_user(&["cat", &machine.x()]).status, Some(0));
    // Not even root has access.
    assert_eq!(machine.run(&["ls", machine.at()]).status, Some(2));
    silent(&machine.run_as_user(&["umount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "");

    silent(&machine.run_as_user(&["mount", machine.archive()]));
    silent(&machine.run(&["umount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "");
}

#[test]
fn an_ordinary_user_cannot_unmount_a_mount_of_root() {
    let Some(machine) = Machine::new("noauto,user") else {
        return;
    };
    silent(&machine.run(&["mount", machine.at()]));
    let result = machine.run_as_user(&["umount", machine.at()]);
    assert_eq!(result.status, Some(32), "{}", result.err);
    assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn an_ordinary_user_needs_a_writable_mount_point() {
    let Some(machine) = Machine::new("noauto,user") else {
        return;
    };
    std::os::unix::fs::chown(&machine.home.at, Some(0), Some(0)).unwrap();
    let at = machine.at();
    let message =
        format!("npzfs: {at}: mount point refused: user has no write access to mountpoint {at}");
    failed(&machine.run_as_user(&["mount", at]), 1, &message);
}

#[test]
fn with_f_everything_is_checked_and_nothing_mounted() {
    let Some(machine) = Machine::new("noauto,uid=7") else {
        return;
    };
    silent(&machine.run(&["mount", "-f", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "");
    let fake = |options, archive| {
        machine.run(&[
            "mount",
            "-f",
            "-t",
            "npzfs",
            "-o",
            options,
            archive,
            machine.at(),
        ])
    };
    failed(
        &fake("nosuch", machine.archive()),
        1,
        "npzfs: unknown mount option 'nosuch'",
    );
    let none = machine.home.place.join("fstab");
    let none = none.to_str().unwrap();
    let message = format!("npzfs: {none}: not a ZIP archive");
    failed(&fake("ro", none), 32, &message);
}

#[test]
fn with_s_unknown_options_are_ignored() {
    let Some(machine) = Machine::new("noauto,nosuch=1,gid=7") else {
        return;
    };
    let message = "npzfs: unknown mount option 'nosuch=1'";
    failed(&machine.run(&["mount", machine.at()]), 1, message);
    silent(&machine.run(&["mount", "-s", machine.at()]));
    let stat = machine.run(&["stat", "-c", "%g", &machine.x()]);
    assert_eq!(stat.out, "7\n");
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn with_v_the_mount_is_reported_and_n_has_no_effect() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    let result = machine.run(&["mount", "-n", "-v", machine.at()]);
    let (archive, at) = (machine.archive(), machine.at());
    assert_eq!(
        result.out.lines().next(),
        Some(&*format!(
            "mounted {archive} at {at} for this user only: 2 members, 66 kB; unmount with: npzfs \
             umount {at}"
        ))
    );
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    silent(&machine.run(&["umount", at]));
}

#[test]
fn with_n_only_the_given_namespace_is_mounted_in() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    // Called from outside, where nothing may be mounted.
    let helper = machine.home.place.join("sbin/mount.npzfs");
    let namespace = machine.namespace.path();
    let mount = |namespace: &Path| {
        let mut command = Command::new(&helper);
        command.args([&machine.home.archive, &machine.home.at]);
        run(command.args(["-o", "rw", "-N"]).arg(namespace))
    };
    silent(&mount(&namespace));
    assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
    assert_eq!(crate::mounted::mounts_below(&machine.home.at), [""; 0]);
    silent(&machine.run(&["umount", machine.at()]));
    let message = "npzfs: cannot enter the mount namespace: No such file or directory";
    failed(&mount(Path::new("/no/such")), 2, message);
}

#[test]
fn a_missing_archive_is_a_failure_unless_nofail_is_set() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    fs::remove_file(&machine.home.archive).unwrap();
    let archive = machine.archive();
    let message = format!("npzfs: {archive}: cannot be opened: No such file or directory");
    failed(&machine.run(&["mount", machine.at()]), 32, &message);
    let nofail = [
        "mount",
        "-t",
        "npzfs",
        "-o",
        "nofail",
        archive,
        machine.at(),
    ];
    silent(&machine.run(&nofail));
    assert_eq!(machine.found("FSTYPE"), "");
}

#[test]
fn failures_have_the_exit_statuses_of_mount() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    let at = machine.at();
    let mount = |options: &str, at: &str| {
        machine.run(&["mount", "-t", "npzfs", "-o", options, machine.archive(), at])
    };
    let message = "npzfs: 'remount' is refused: unmount, and mount anew with other options";
    failed(&mount("remount", at), 1, message);
    let message = "npzfs: invalid value 'x' for '--uid <UID>': invalid digit found in string";
    failed(&mount("uid=x", at), 1, message);
    let file = machine.home.place.join("fstab");
    let file = file.to_str().unwrap();
    let message = format!("npzfs: {file}: mount point is not a directory");
    failed(&mount("ro", file), 32, &message);
    let message = "npzfs: /no/such: cannot log there: No such file or directory";
    failed(&mount("log=/no/such", at), 32, message);
    silent(&mount("ro", at));
    // A second mount on top of it.
    assert_eq!(mount("ro", at).status, Some(32));
    silent(&machine.run(&["umount", at]));
}

#[test]
fn the_helper_prints_its_own_usage() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    let helper = machine.home.place.join("sbin/mount.fuse.npzfs");
    let usage = "Usage: mount.npzfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPT[,OPT...]] [-t TYPE]\n";
    let help = run(Command::new(&helper).arg("--help"));
    assert_eq!((help.status, help.err.as_str()), (Some(0), ""));
    assert!(help.out.contains(usage), "{}", help.out);
    let wrong = run(Command::new(&helper).arg("a.npz"));
    assert_eq!(wrong.status, Some(1));
    assert!(wrong.err.contains(usage), "{}", wrong.err);
    // Under any other name it is npzfs.
    let version = run(npzfs().arg("--version")).out;
    assert!(version.starts_with("npzfs "), "{version}");
}
