//! `make install`, and the completion scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use npzfs::cli::Cli;

use crate::mounted::{Output, Place, installed, npzfs, run};

/// The files that are installed below PREFIX, sorted.
const FILES: [&str; 9] = [
    "bin/npzfs",
    "sbin/mount.fuse.npzfs",
    "sbin/mount.npzfs",
    "share/bash-completion/completions/npzfs",
    "share/fish/vendor_completions.d/npzfs.fish",
    "share/man/man1/npzfs.1",
    "share/man/man8/mount.fuse.npzfs.8",
    "share/man/man8/mount.npzfs.8",
    "share/zsh/site-functions/_npzfs",
];

/// Runs make for a target with the tested program, without a build.
fn make(target: &str, destination: &Path) -> Output {
    let mut make = Command::new("make");
    make.args(["-C", env!("CARGO_MANIFEST_DIR"), target])
        .args(["CARGO=true", "PREFIX=/usr"])
        .arg(concat!("RELEASE=", env!("CARGO_BIN_EXE_npzfs")))
        .arg(format!("DESTDIR={}", destination.display()));
    // Not the options of a make that runs this test.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    run(&mut make)
}

/// Returns all files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => self::files(&path),
            false => vec![path],
        })
        .collect();
    files.sort();
    files
}

#[test]
fn install_writes_every_file_and_uninstall_removes_them() {
    if !installed(&["make"]) {
        return;
    }
    let place = Place::new();
    let result = make("install", place.path());
    assert_eq!(result.status, Some(0), "{}", result.err);
    let installed = FILES.map(|file| place.join("usr").join(file));
    assert_eq!(files(place.path()), installed);
    for (link, file) in [(1, 0), (2, 0), (6, 5), (7, 5)] {
        // A package is built below another directory than it is installed in.
        assert!(fs::read_link(&installed[link]).unwrap().is_relative());
        let target = fs::canonicalize(&installed[link]).unwrap();
        assert_eq!(target, fs::canonicalize(&installed[file]).unwrap());
    }
    for file in &installed {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        // The helpers of mount(8) are links to the program.
        let directory = file.parent().unwrap();
        let program = directory.ends_with("bin") || directory.ends_with("sbin");
        let expected = if program { 0o755 } else { 0o644 };
        assert_eq!(mode & 0o777, expected, "{file:?}");
    }
    for (at, shell) in [(3, "bash"), (4, "fish"), (8, "zsh")] {
        let script = run(npzfs().args(["completions", shell]));
        assert_eq!((script.status, script.err.as_str()), (Some(0), ""));
        assert_eq!(fs::read_to_string(&installed[at]).unwrap(), script.out);
    }
    let result = make("uninstall", place.path());
    assert_eq!(result.status, Some(0), "{}", result.err);
    assert_eq!(files(place.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn the_links_are_where_mount_searches_helpers() {
    if !installed(&["make"]) {
        return;
    }
    // Print the commands only, since these are directories of the system.
    for (prefix, directory) in [
        ("/usr/local", "/usr/sbin"),
        ("/usr", "/usr/sbin"),
        ("/home/me/.local", "/home/me/.local/sbin"),
    ] {
        let mut make = Command::new("make");
        make.args(["-n", "-C", env!("CARGO_MANIFEST_DIR"), "uninstall"]);
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        let result = run(make.arg(format!("PREFIX={prefix}")));
        let link = format!(" {directory}/mount.npzfs ");
        assert!(result.out.contains(&link), "{}", result.out);
    }
}

/// Returns the completions of bash for the last word.
fn completed_by_bash(words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$0" completions bash) || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _npzfs npzfs "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script])
        .arg(npzfs().get_program());
    let result = run(bash.args(words));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    result.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_knows_every_subcommand_and_every_option() {
    if !installed(&["bash"]) {
        return;
    }
    let offered = completed_by_bash(&["npzfs", ""]);
    for subcommand in Cli::command().get_subcommands() {
        let name = subcommand.get_name();
        assert!(offered.iter().any(|word| word == name), "{name}");
        let offered = completed_by_bash(&["npzfs", name, "-"]);
        let options = subcommand.get_arguments();
        let options = options.filter_map(|argument| argument.get_long());
        for option in options.chain(["help"]) {
            let option = format!("--{option}");
            assert!(offered.contains(&option), "{option} of {name}: {offered:?}");
        }
    }
    assert_eq!(completed_by_bash(&["npzfs", "mou"]), ["mount", "mounts"]);
    let shells = completed_by_bash(&["npzfs", "completions", ""]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(shells.iter().any(|word| word == shell), "{shells:?}");
    }
}

#[test]
fn bash_completes_file_names_for_archives() {
    if !installed(&["bash"]) {
        return;
    }
    // Without completions readline completes file names.
    for subcommand in ["mount", "run"] {
        assert_eq!(completed_by_bash(&["npzfs", subcommand, "fra"]), [""]);
    }
    let script = run(npzfs().args(["completions", "bash"])).out;
    assert!(script.contains("complete -F _npzfs -o nosort -o bashdefault -o default npzfs"));
}

#[test]
fn other_shells_accept_their_scripts() {
    // Not even CI needs these shells.
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let written = run(npzfs().args(["completions", shell])).out;
        assert!(written.contains("auto-unmount"), "{shell}");
        if std::env::split_paths(&path).any(|at| at.join(shell).exists()) {
            let place = Place::new();
            let script = place.join("script");
            fs::write(&script, written).unwrap();
            let result = run(Command::new(shell).arg(check).arg(&script));
            assert_eq!(
                (result.status, result.err.as_str()),
                (Some(0), ""),
                "{shell}"
            );
        }
    }
}
