//! npzfs as the helper of mount(8), by the command line and by fstab.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Archive, pattern};
use crate::mounted::{Said, npzfs, run, wait_until};
use crate::namespace::Namespace;
use crate::users::Home;

/// A user's directory, with a namespace in which mount(8) finds npzfs.
struct Machine {
    namespace: Namespace,
    home: Home,
}

impl Machine {
    /// `options` are those of a line of fstab for the archive at `mnt` in the user's directory.
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

    fn run(&self, line: &[&str]) -> Said {
        self.namespace.run(None, line)
    }

    fn run_as_user(&self, line: &[&str]) -> Said {
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

/// Nothing went wrong, and nothing was said of what went well.
fn silent(said: &Said) {
    assert_eq!(
        (said.status, said.out.as_str(), said.err.as_str()),
        (Some(0), "", "")
    );
}

fn failed(said: &Said, status: i32, message: &str) {
    let first = said.err.lines().next().unwrap_or_default();
    assert_eq!((said.status, first), (Some(status), message));
    assert_eq!(said.out, "");
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
fn a_mount_point_that_is_missing_is_made_for_mount_too() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    fs::remove_dir(&machine.home.at).unwrap();
    silent(&machine.run(&["mount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
    silent(&machine.run(&["umount", machine.at()]));
    wait_until("it is removed again", || !machine.home.at.exists());
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
fn options_that_others_honour_do_no_harm() {
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
fn all_lines_are_mounted_that_are_not_yet() {
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
fn an_ordinary_user_mounts_and_unmounts_what_fstab_lets_it() {
    let Some(machine) = Machine::new("noauto,user") else {
        return;
    };
    silent(&machine.run_as_user(&["mount", machine.at()]));
    let user = machine.home.user.uid;
    assert!(machine.has_option(&format!("user_id={user}")));
    assert!(machine.has_option("noexec"));
    assert_eq!(machine.run_as_user(&["cat", &machine.x()]).status, Some(0));
    // Not even root may look inside.
    assert_eq!(machine.run(&["ls", machine.at()]).status, Some(2));
    silent(&machine.run_as_user(&["umount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "");

    silent(&machine.run_as_user(&["mount", machine.archive()]));
    silent(&machine.run(&["umount", machine.at()]));
    assert_eq!(machine.found("FSTYPE"), "");
}

#[test]
fn an_ordinary_user_cannot_unmount_what_root_has_mounted() {
    let Some(machine) = Machine::new("noauto,user") else {
        return;
    };
    silent(&machine.run(&["mount", machine.at()]));
    let said = machine.run_as_user(&["umount", machine.at()]);
    assert_eq!(said.status, Some(32), "{}", said.err);
    assert_eq!(machine.found("FSTYPE"), "fuse.npzfs");
    silent(&machine.run(&["umount", machine.at()]));
}

#[test]
fn an_ordinary_user_needs_a_mount_point_to_write_to() {
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
fn with_s_options_that_are_not_known_are_left_out() {
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
fn with_v_mount_says_what_was_mounted_and_with_n_nothing_changes() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    let said = machine.run(&["mount", "-n", "-v", machine.at()]);
    let (archive, at) = (machine.archive(), machine.at());
    assert_eq!(
        said.out.lines().next(),
        Some(&*format!(
            "mounted {archive} at {at}: 2 members, 66 kB; unmount with: npzfs umount {at}"
        ))
    );
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    silent(&machine.run(&["umount", at]));
}

#[test]
fn another_namespace_is_mounted_in_and_left_alone_otherwise() {
    let Some(machine) = Machine::new("noauto") else {
        return;
    };
    // From outside, where nothing is to be mounted.
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
fn a_missing_archive_is_a_failure_unless_fstab_says_nofail() {
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
    let as_it_is = |options: &str, at: &str| {
        machine.run(&["mount", "-t", "npzfs", "-o", options, machine.archive(), at])
    };
    let message = "npzfs: 'remount' is refused: unmount, and mount anew with other options";
    failed(&as_it_is("remount", at), 1, message);
    let message = "npzfs: invalid value 'x' for '--uid <UID>': invalid digit found in string";
    failed(&as_it_is("uid=x", at), 1, message);
    let file = machine.home.place.join("fstab");
    let file = file.to_str().unwrap();
    let message = format!("npzfs: {file}: mount point is not a directory");
    failed(&as_it_is("ro", file), 32, &message);
    let message = "npzfs: /no/such: cannot log there: No such file or directory";
    failed(&as_it_is("log=/no/such", at), 32, message);
    silent(&as_it_is("ro", at));
    // The second one on top of it.
    assert_eq!(as_it_is("ro", at).status, Some(32));
    silent(&machine.run(&["umount", at]));
}

#[test]
fn the_helper_tells_its_own_usage() {
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
    // By any other name it is npzfs.
    let version = run(npzfs().arg("--version")).out;
    assert!(version.starts_with("npzfs "), "{version}");
}
