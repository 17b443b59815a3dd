//! Colour on a terminal, and its absence elsewhere.

use std::process::Command;

use anstream::adapter::strip_str;

use crate::fixture::{Archive, Member, npy};
use crate::mounted::{Mounted, Place, npzfs, run, run_on_terminal};

/// Returns an archive of a sound array and a member that cannot be read.
fn archive() -> Archive {
    Archive::of([
        Member::stored("漢字.npy", npy("'<f8'", "(1,)", &[0; 8])),
        Member::compressed("z.npy", 1, 7),
    ])
}

/// Returns a command in a directory with that archive, `a.npz`.
fn command(place: &Place, arguments: &[&str]) -> Command {
    archive().write(place.path(), "a.npz");
    let mut command = npzfs();
    command.args(arguments).current_dir(place.path());
    command.env("TERM", "xterm");
    // With `CI` set, every terminal is assumed to have colours.
    command.env_remove("CI");
    command
}

const LINES: [&[&str]; 6] = [
    &["list", "a.npz"],
    &["list", "a.npz", "a.npz"],
    &["verify", "a.npz"],
    &["list", "missing.npz"],
    &["--help"],
    &["repack", "a.npz", "out.npz"],
];

#[test]
fn a_terminal_gets_colour_unless_the_environment_forbids_it() {
    let place = Place::new();
    // The output of those that draw a progress bar varies.
    let draws = |line: &&[&str]| ["verify", "repack"].contains(&line[0]);
    for line in LINES.into_iter().filter(|line| !draws(line)) {
        let mut command = command(&place, line);
        let coloured = run_on_terminal(&mut command, 200);
        assert!(coloured.contains('\u{1b}'), "{coloured}");
        for (variable, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            let mut plain = self::command(&place, line);
            let plain = run_on_terminal(plain.env(variable, value), 200);
            assert_eq!(plain, strip_str(&coloured).to_string(), "{variable}");
        }
        let empty = run_on_terminal(command.env("NO_COLOR", ""), 200);
        assert_eq!(empty, coloured);
    }
}

#[test]
fn a_pipe_gets_no_colour_unless_requested() {
    let place = Place::new();
    for line in LINES {
        let plain = run(&mut command(&place, line));
        assert!(!plain.out.contains('\u{1b}') && !plain.err.contains('\u{1b}'));
        let chosen = ["--color=always", "--color=never"].map(|option| {
            let mut command = command(&place, line);
            // The command line takes precedence over the environment.
            command.arg(option).env("NO_COLOR", "1");
            run(&mut command)
        });
        assert_eq!(chosen[1], plain);
        let both = chosen[0].out.clone() + &chosen[0].err;
        assert!(both.contains('\u{1b}'), "{both}");
        assert_eq!(strip_str(&chosen[0].out).to_string(), plain.out);
        assert_eq!(strip_str(&chosen[0].err).to_string(), plain.err);
        assert_eq!(chosen[0].status, plain.status);
    }
}

#[test]
fn faults_are_red_and_sound_archives_green() {
    let place = Place::new();
    let result = |line: &[&str]| run(command(&place, line).arg("--color=always"));
    let listed = result(&["list", "a.npz"]).out;
    assert!(listed.starts_with("\u{1b}[1mname\u{1b}[0m "), "{listed}");
    let red = "  \u{1b}[31mnone\u{1b}[0m    \u{1b}[31mcompressed (method 1), and such members are \
               not read\u{1b}[0m\n";
    assert!(listed.contains(red), "{listed}");
    let verified = result(&["verify", "a.npz"]).out;
    let red =
        "a.npz: member 'z.npy': \u{1b}[31mcompressed (method 1): cannot be checked\u{1b}[0m\n";
    assert!(verified.starts_with(red), "{verified}");
    assert!(
        verified.ends_with(": \u{1b}[31m1 fault\u{1b}[0m\n"),
        "{verified}"
    );
    Archive::stored([("x", "data")]).write(place.path(), "sound.npz");
    let sound = result(&["verify", "sound.npz"]).out;
    assert!(sound.ends_with(": \u{1b}[32msound\u{1b}[0m\n"), "{sound}");
    let missing = result(&["list", "missing.npz"]).err;
    let name = "\u{1b}[1m\u{1b}[31mnpzfs:\u{1b}[0m missing.npz: ";
    assert!(missing.starts_with(name), "{missing:?}");
}

#[test]
fn the_state_of_a_mount_has_a_colour() {
    let mount = Mounted::new(&archive());
    let mut mounts = npzfs();
    let result = run(mounts.args(["mounts", "--color=always"]));
    let start = format!("{} ", mount.at.display());
    let row = result.out.lines().find(|line| line.starts_with(&start));
    assert!(
        row.unwrap().contains("  \u{1b}[32mlive\u{1b}[0m "),
        "{}",
        result.out
    );
}

#[test]
fn json_and_completions_have_no_colour() {
    let place = Place::new();
    for line in [
        &["list", "--json", "a.npz"][..],
        &["mounts", "--json"],
        &["completions", "bash"],
    ] {
        let result = run(command(&place, line).arg("--color=always"));
        assert!(!result.out.is_empty() && !result.out.contains('\u{1b}'));
    }
}

#[test]
fn colour_does_not_let_escape_sequences_through() {
    let place = Place::new();
    let odd = Archive::of([Member::compressed("\u{1b}[32mfine", 1, 7)]);
    odd.write(place.path(), "\u{1b}[32m.npz");
    let result = |line: &[&str]| {
        let mut command = npzfs();
        command.current_dir(place.path()).arg("--color=always");
        let result = run(command.args(line));
        result.out + &result.err
    };
    let name = "\u{1b}[32m.npz";
    for line in [
        &["list", name, name][..],
        &["verify", name],
        &["verify", "\u{1b}[32m"],
        &["list", "--\u{1b}[32m"],
        &["\u{1b}[32m"],
        &["mount", "-o", "\u{1b}[32m", "a", "b"],
    ] {
        let result = result(line);
        assert!(!result.contains("\u{1b}[32m"), "{result}");
        assert!(result.contains("\\u{1b}[32m"), "{result}");
    }
}

#[test]
fn a_wrong_color_is_a_usage_error() {
    let result = run(npzfs().args(["list", "--color=alway", "a.npz"]));
    assert_eq!(result.status, Some(2));
    assert!(
        result.err.contains("a similar value exists: 'always'"),
        "{}",
        result.err
    );
}
