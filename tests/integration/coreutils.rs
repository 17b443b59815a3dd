//! Common programs that read files.

use std::fs;
use std::process::Command;

use crate::fixture::{Archive, npy, pattern};
use crate::mounted::{Mounted, Output, installed, run};

/// Runs a shell command in the mount; `$ORIGINAL` is a directory with the same files.
fn shell(mount: &Mounted, script: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(&mount.at);
    run(command.env("ORIGINAL", mount.place().join("original")))
}

/// Returns a mount, with the same files in a native directory beside it.
fn mount_and_original() -> Mounted {
    let members = [
        ("x.npy", npy("'<f8'", "(1000, 100)", &pattern(800_000, 1))),
        (
            "d/e/y.npy",
            npy("'|u1'", "(1234567,)", &pattern(1_234_567, 2)),
        ),
        ("empty", Vec::new()),
        (
            "__meta__.json",
            br#"{"name": "frame", "shape": [1000, 100]}"#.to_vec(),
        ),
    ];
    let mount = Mounted::new(&Archive::stored(members.clone()));
    for (name, data) in members {
        let path = mount.place().join("original").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    mount
}

fn quiet_success(mount: &Mounted, script: &str) {
    let result = shell(mount, script);
    assert_eq!(
        (result.status, result.out.as_str(), result.err.as_str()),
        (Some(0), "", "")
    );
}

#[test]
fn ls_and_find_show_each_file_once() {
    let mount = mount_and_original();
    assert_eq!(
        shell(&mount, "ls -R").out,
        ".:\n__meta__.json\nd\nempty\nx.npy\n\n./d:\ne\n\n./d/e:\ny.npy\n"
    );
    assert_eq!(shell(&mount, "ls -lR").status, Some(0));
    assert_eq!(
        shell(&mount, "find . -printf '%y %s %p\\n' | sort").out,
        "d 0 .\nd 0 ./d\nd 0 ./d/e\nf 0 ./empty\nf 1234695 ./d/e/y.npy\nf 39 ./__meta__.json\n\
         f 800128 ./x.npy\n"
    );
    assert_eq!(shell(&mount, "find . -type d -name e").out, "./d/e\n");
    assert_eq!(shell(&mount, "find . -not -type f -not -type d").out, "");
}

#[test]
fn cp_cmp_diff_and_sha256sum_agree_with_the_original() {
    let mount = mount_and_original();
    quiet_success(&mount, "diff -r . \"$ORIGINAL\"");
    quiet_success(&mount, "cmp d/e/y.npy \"$ORIGINAL/d/e/y.npy\"");
    quiet_success(
        &mount,
        "cp -r . \"$ORIGINAL/../copy\"; diff -r \"$ORIGINAL\" \"$ORIGINAL/../copy\"; \
         chmod -R u+w \"$ORIGINAL/../copy\"",
    );
    quiet_success(
        &mount,
        "find . -type f -exec sha256sum {} + > \"$ORIGINAL/../sums\"; cd \"$ORIGINAL\"; \
         sha256sum --quiet -c ../sums",
    );
}

#[test]
fn dd_tail_and_xxd_agree_at_odd_offsets() {
    if !installed(&["xxd"]) {
        return;
    }
    let mount = mount_and_original();
    for command in [
        "dd if=FILE bs=1 skip=1234567 count=100 status=none",
        "dd if=FILE bs=4097 skip=33 count=7 status=none",
        "dd if=FILE bs=1M status=none",
        "tail -c 12345 FILE",
        "tail -c +1200001 FILE",
        "xxd -s 1234000 -l 999 FILE",
        "head -c 4096 FILE",
        "wc -c < FILE",
    ] {
        let run = |file: &str| command.replace("FILE", file);
        let script = format!(
            "{} | sha256sum > \"$ORIGINAL/../a\"; {} | sha256sum | cmp - \"$ORIGINAL/../a\"",
            run("d/e/y.npy"),
            run("\"$ORIGINAL/d/e/y.npy\"")
        );
        quiet_success(&mount, &script);
    }
}

#[test]
fn stat_du_and_jq_agree_with_the_original() {
    if !installed(&["jq"]) {
        return;
    }
    let mount = mount_and_original();
    assert_eq!(
        shell(&mount, "stat -c '%F %s %b %A' x.npy").out,
        "regular file 800128 1563 -r--r--r--\n"
    );
    assert_eq!(
        shell(&mount, "stat -c '%F %A' d").out,
        "directory dr-xr-xr-x\n"
    );
    assert_eq!(shell(&mount, "du -b x.npy").out, "800128\tx.npy\n");
    assert_eq!(
        shell(&mount, "jq -c .shape < __meta__.json").out,
        "[1000,100]\n"
    );
    assert_eq!(
        shell(&mount, "stat -f -c '%T %c %d' .").out,
        "fuseblk 7 0\n"
    );
}

#[test]
fn getfattr_shows_the_attributes() {
    if !installed(&["getfattr"]) {
        return;
    }
    let mount = mount_and_original();
    let result = shell(&mount, "getfattr --only-values -n user.npy.shape x.npy");
    assert_eq!(result.out, "1000,100");
    let dump = shell(&mount, "getfattr -d d/e/y.npy").out;
    assert!(dump.contains("user.npy.dtype=\"|u1\"\n"), "{dump}");
    assert!(dump.contains("user.npzfs.name=\"d/e/y.npy\"\n"), "{dump}");
    assert_eq!(shell(&mount, "getfattr -d .").status, Some(0));
}
