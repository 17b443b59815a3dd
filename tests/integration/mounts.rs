//! `npzfs mounts`.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixture::{Archive, Member};
use crate::mounted::{
    Mounted, Place, available, is_dead, is_root, npzfs, run, send_signal, stop, umount, wait_until,
};
use crate::users::Home;

fn archive() -> Archive {
    Archive::of([
        Member::stored("x", "data"),
        Member::stored("y", "more"),
        Member::compressed("z", 99, 7),
    ])
}

/// Returns the objects of `npzfs mounts --json` for one mount point; the machine may have others.
fn listed(at: &Path) -> Vec<Value> {
    let result = run(npzfs().args(["mounts", "--json"]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let mounts: Vec<Value> = serde_json::from_str(&result.out).unwrap();
    let here = |mount: &Value| mount["mount_point"] == at.to_str().unwrap();
    mounts.into_iter().filter(here).collect()
}

fn state(at: &Path) -> Value {
    let listed = listed(at);
    assert_eq!(listed.len(), 1);
    listed[0]["state"].clone()
}

/// Returns the columns of the table after the paths of a mount.
fn row(mount: &Mounted) -> String {
    let result = run(npzfs().arg("mounts"));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert!(result.out.starts_with("MOUNTPOINT  "), "{}", result.out);
    let start = format!("{} ", mount.at.display());
    let row = result
        .out
        .lines()
        .find_map(|line| line.strip_prefix(&start));
    let row = row.expect("a line for the mount").trim_start();
    let row = row.strip_prefix(mount.archive.to_str().unwrap()).unwrap();
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_mount_is_listed_with_all_its_properties() {
    let mount = Mounted::new(&archive());
    mount.read("x");
    wait_until("the server answers in time", || state(&mount.at) == "live");
    let mut listed = listed(&mount.at);
    assert_eq!(listed.len(), 1);
    let uptime = listed[0].as_object_mut().unwrap().remove("uptime_seconds");
    assert!(uptime.unwrap().is_u64());
    assert_eq!(
        listed[0],
        json!({
            "archive": mount.archive.to_str().unwrap(),
            "mount_point": mount.at.to_str().unwrap(),
            "state": "live",
            "pid": mount.server(),
            "stale": false,
            "members": 3,
            "lanes": {"mapped": 2, "unreadable": 1},
            "bytes_read": 4,
        })
    );
    assert_eq!(
        row(&mount),
        format!("{} live 3 4 B 2 mapped, 1 unreadable", mount.server())
    );
}

#[test]
fn a_mount_that_was_ended_is_not_listed() {
    let mount = Mounted::new(&archive());
    assert_eq!(mount.umount().status, Some(0));
    assert_eq!(listed(&mount.at), [""; 0]);
}

#[test]
fn blanks_and_newlines_in_paths_do_no_harm() {
    let place = Place::new();
    let path = archive().write(place.path(), "my\nown 1.npz");
    let at = place.join("my\n mount");
    let result = run(npzfs().args(["mount", "-q"]).args([&path, &at]));
    assert_eq!(result.status, Some(0), "{}", result.err);
    let listed = listed(&at);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["archive"], path.to_str().unwrap());
    let table = run(npzfs().arg("mounts")).out;
    let shown = |path: &Path| path.to_str().unwrap().replace('\n', "\\n");
    let row = table.lines().find(|line| line.starts_with(&shown(&at)));
    assert!(row.unwrap().contains(&shown(&path)), "{table}");
    assert_eq!(umount(&at).status, Some(0));
}

#[test]
fn a_changed_archive_is_listed_as_stale() {
    let mount = Mounted::new(&archive());
    std::fs::write(&mount.archive, "something else").unwrap();
    wait_until("the change is noticed", || state(&mount.at) == "stale");
    assert_eq!(listed(&mount.at)[0]["stale"], true);
    assert!(row(&mount).contains(" stale 3 "));
}

#[test]
fn a_mount_whose_server_was_killed_is_dead() {
    let mount = Mounted::new(&archive());
    send_signal(mount.server(), Signal::SIGKILL);
    wait_until("a dead endpoint", || is_dead(&mount.at));
    assert_eq!(
        listed(&mount.at),
        [json!({
            "archive": mount.archive.to_str().unwrap(),
            "mount_point": mount.at.to_str().unwrap(),
            "state": "dead",
            "pid": null,
            "stale": null,
            "members": null,
            "lanes": null,
            "bytes_read": null,
            "uptime_seconds": null,
        })]
    );
    assert_eq!(row(&mount), "- dead - - -");
}

#[test]
fn a_stopped_server_does_not_delay_the_list() {
    let mounts = [Mounted::new(&archive()), Mounted::new(&archive())];
    let server = mounts[0].server();
    stop(server);
    assert_eq!(state(&mounts[0].at), "not answering");
    wait_until("the other answers in time", || {
        state(&mounts[1].at) == "live"
    });
    send_signal(server, Signal::SIGCONT);
    wait_until("it answers again", || state(&mounts[0].at) == "live");
}

#[test]
fn a_server_in_another_pid_namespace_has_its_number_of_this_one() {
    if !available(is_root(), "root, for a PID namespace") {
        return;
    }
    let place = Place::new();
    let path = archive().write(place.path(), "a.npz");
    let at = place.join("mnt");
    let mut mount = npzfs();
    mount.args(["mount", "-f"]).args([&path, &at]);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child"]);
    unshare.arg(mount.get_program()).args(mount.get_args());
    let mut unshare = unshare.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    unshare
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let server: u64 = std::fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();

    let here = listed(&at);
    // A namespace that cannot see the server, with a /proc of its own.
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--pid", "--fork", "--mount-proc"]);
    elsewhere
        .arg(npzfs().get_program())
        .args(["mounts", "--json"]);
    let elsewhere = run(&mut elsewhere).out;
    assert_eq!(run(npzfs().arg("umount").arg(&at)).status, Some(0));
    assert_eq!(unshare.wait().unwrap().code(), Some(0));

    assert_eq!((here.len(), &here[0]["state"]), (1, &json!("live")));
    assert_eq!(here[0]["pid"], server);
    let elsewhere: Vec<Value> = serde_json::from_str(&elsewhere).unwrap();
    let is_it = |mount: &&Value| mount["mount_point"] == at.to_str().unwrap();
    let elsewhere = elsewhere.iter().find(is_it).unwrap();
    assert_eq!(elsewhere["state"], "live");
    assert_eq!(elsewhere["pid"], Value::Null);
}

#[test]
fn a_mount_under_another_one_is_covered() {
    if !available(is_root(), "root, to mount something else") {
        return;
    }
    let mount = Mounted::new(&archive());
    let mut tmpfs = Command::new("mount");
    let result = run(tmpfs.args(["-t", "tmpfs", "none"]).arg(&mount.at));
    assert_eq!(result.status, Some(0));
    let covered = state(&mount.at);
    let umount = run(Command::new("umount").arg(&mount.at));
    assert_eq!(umount.status, Some(0));
    assert_eq!(covered, "covered");
}

#[test]
fn a_mount_of_another_user_is_listed_without_its_statistics() {
    let Some(home) = Home::new() else { return };
    assert_eq!(home.mount(&[]).status, Some(0));
    let of_root = listed(&home.at);
    let own = home.run(home.npzfs().args(["mounts", "--json"]));
    assert_eq!(home.umount(&[]).status, Some(0));
    assert_eq!(of_root.len(), 1);
    assert_eq!(of_root[0]["archive"], home.archive.to_str().unwrap());
    assert_eq!(of_root[0]["state"], "not permitted");
    assert_eq!(of_root[0]["pid"], Value::Null);
    let own: Vec<Value> = serde_json::from_str(&own.out).unwrap();
    let here = |mount: &&Value| mount["mount_point"] == home.at.to_str().unwrap();
    assert_eq!(own.iter().find(here).unwrap()["state"], "live");
}
