//! The completeness of the manual page, the help and the completions.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::CommandFactory;
use npzfs::cli::Cli;
use npzfs::exit_status::{self, mount8};
use serde_json::Value;

use crate::fixture::{Archive, npy};
use crate::mounted::{Place, installed, npzfs, run};

const MANUAL: &str = include_str!("../../man/npzfs.1");

/// Returns the options that a subsection of the manual page documents, in mdoc lines such as
/// `.It Fl f , Fl -foreground`.
fn documented(heading: &str) -> BTreeSet<String> {
    let section = MANUAL
        .split("\n.Ss ")
        .find(|section| section.lines().next().is_some_and(|line| line == heading))
        .expect("a section of that name");
    let section = section.split("\n.Sh ").next().unwrap_or_default();
    let mut options = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with(".It Fl ")) {
        let mut words = line.split(' ').peekable();
        while let Some(word) = words.next() {
            if word == "Fl"
                && let Some(option) = words.peek()
            {
                options.insert(format!("-{option}"));
            }
        }
    }
    options
}

/// Returns the long and short options of a subcommand.
fn defined(subcommand: &clap::Command) -> BTreeSet<String> {
    // clap adds these to every command when it parses.
    let common = ["--help", "-h", "--color"].map(str::to_owned);
    let long = subcommand
        .get_arguments()
        .filter_map(|argument| argument.get_long());
    let short = subcommand
        .get_arguments()
        .filter_map(|argument| argument.get_short());
    long.map(|long| format!("--{long}"))
        .chain(short.map(|short| format!("-{short}")))
        .chain(common)
        .collect()
}

#[test]
fn the_manual_page_has_every_option_and_no_other() {
    for subcommand in Cli::command().get_subcommands() {
        let name = subcommand.get_name();
        let mut documented = documented(&format!("npzfs {name}"));
        documented.extend(self::documented("Options of every command"));
        if name == "run" {
            // Its section refers to these.
            documented.extend(self::documented("npzfs mount"));
            let not_of_run = ["-f", "--foreground", "--until-eof"];
            documented.retain(|option| !not_of_run.contains(&option.as_str()));
        }
        assert_eq!(documented, defined(subcommand), "{name}");
    }
}

#[test]
fn the_help_has_every_option() {
    for subcommand in Cli::command().get_subcommands() {
        let help = run(npzfs().args([subcommand.get_name(), "--help"])).out;
        let words: BTreeSet<_> = help
            .split_whitespace()
            .map(|word| word.trim_end_matches([',', '.']))
            .collect();
        for option in defined(subcommand) {
            assert!(
                words.contains(&*option),
                "{option} of {}",
                subcommand.get_name()
            );
        }
        assert!(help.contains("Example:"));
        let other = run(npzfs().args(["help", subcommand.get_name()])).out;
        assert_eq!(other, help);
    }
}

#[test]
fn the_completions_have_every_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(npzfs().args(["completions", shell])).out;
        for subcommand in Cli::command().get_subcommands() {
            let name = subcommand.get_name();
            let part = completions_of(&script, shell, name);
            for option in defined(subcommand) {
                let has_option = match (shell, option.strip_prefix("--")) {
                    ("fish", Some(long)) => part.contains(&format!(" -l {long} ")),
                    ("fish", None) => part.contains(&format!(" -s {} ", &option[1..])),
                    _ => part
                        .split([' ', '"', '\'', '[', '=', '+', ')', '*'])
                        .any(|word| word == option),
                };
                assert!(has_option, "{option} of {name} for {shell}");
            }
        }
    }
}

/// Returns the part of a script for a subcommand.
fn completions_of(script: &str, shell: &str, subcommand: &str) -> String {
    let (start, end) = match shell {
        "bash" => (
            format!("\n        npzfs__subcmd__{subcommand})\n"),
            ";;\n        npzfs",
        ),
        "zsh" => (format!("({subcommand})\n"), "\n;;\n("),
        _ => {
            let condition = format!("__fish_npzfs_using_subcommand {subcommand}\"");
            let lines = script.lines().filter(|line| line.contains(&condition));
            return lines.map(|line| format!("{line}\n")).collect();
        }
    };
    let (_, part) = script
        .split_once(&start)
        .expect("a part for the subcommand");
    part.split(end).next().unwrap_or_default().to_owned()
}

#[test]
fn the_manual_page_and_the_help_have_every_exit_status() {
    let statuses = [
        exit_status::DONE,
        exit_status::FAILED,
        exit_status::USAGE,
        exit_status::MOUNT_POINT,
        exit_status::FUSE,
        exit_status::ARCHIVE,
        exit_status::NOT_AN_ARCHIVE,
        exit_status::DAMAGED,
        exit_status::UNREADABLE,
        exit_status::NOT_STARTED,
        exit_status::NOT_FOUND,
    ];
    let help = run(npzfs().arg("--help")).out;
    let section = MANUAL
        .split("\n.Sh EXIT STATUS\n")
        .nth(1)
        .expect("a section");
    let section = section.split("\n.Sh ").next().unwrap_or_default();
    let (section, helpers) = section
        .split_once("\nAs the helper\n")
        .expect("those of the helper");
    for status in statuses {
        assert!(section.contains(&format!("\n.It {status}\n")), "{status}");
        let line = format!("{status}  ");
        assert!(
            help.lines()
                .any(|help| help.trim_start().starts_with(&line)),
            "{status}"
        );
    }
    assert_eq!(section.matches("\n.It ").count(), statuses.len());
    let statuses = [
        exit_status::DONE,
        mount8::USAGE,
        mount8::SYSTEM,
        mount8::BUG,
        mount8::FAILED,
    ];
    let help = run(npzfs().arg0("mount.npzfs").arg("--help")).out;
    for status in statuses {
        assert!(helpers.contains(&format!("\n.It {status}\n")), "{status}");
        assert!(help.contains(&format!(" {status}  ")), "{status}");
    }
    assert_eq!(helpers.matches("\n.It ").count(), statuses.len());
}

#[test]
fn the_manual_page_has_every_option_of_the_helper() {
    let help = run(npzfs().arg0("mount.npzfs").arg("--help")).out;
    let options = help.lines().filter_map(|line| line.strip_prefix("  -"));
    let mut options: BTreeSet<_> = options
        .filter_map(|option| option.chars().next())
        .map(|letter| format!("-{letter}"))
        .collect();
    for common in ["-h", "-V"] {
        assert!(options.remove(common), "{common}");
    }
    assert_eq!(documented("By mount(8) and from fstab(5)"), options);
}

#[test]
fn the_manual_page_has_every_attribute() {
    for name in ["name", "offset", "crc32", "method", "archive", "stats"] {
        assert!(MANUAL.contains(&format!("user.npzfs.{name}")), "{name}");
    }
    for name in ["dtype", "shape", "fortran_order", "version"] {
        assert!(MANUAL.contains(&format!("user.npy.{name}")), "{name}");
    }
}

/// Returns a value with `null` in place of everything but arrays and objects.
fn outline(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(outline).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), outline(value)))
            .collect(),
        _ => Value::Null,
    }
}

#[test]
fn the_manual_page_shows_json_as_it_is_and_has_every_key() {
    let place = Place::new();
    let meta = r#"{"__names__": ["plain", null, null], "__types__": ["Index", "Index"],
                   "__depths__": [1, 1, 1]}"#;
    let archive = Archive::stored([
        ("__blocks_0__.npy", npy("'<f8'", "(3, 4)", &[0; 96])),
        ("__meta__.json", meta.into()),
    ]);
    let archive = archive.write(place.path(), "frame.npz");
    let result = run(npzfs().args(["list", "--json"]).arg(archive)).out;
    let listed: Value = serde_json::from_str(&result).expect("JSON");

    let section = MANUAL.split("\n.Sh JSON\n").nth(1).expect("a section");
    let section = section.split("\n.Sh ").next().unwrap_or_default();
    let (_, example) = section
        .split_once("\n.Bd -literal -offset indent\n")
        .expect("an example");
    let (example, text) = example.split_once("\n.Ed\n").expect("its end");
    let example = serde_json::from_str(example).expect("JSON");
    assert_eq!(outline(&example), outline(&listed));

    let keys = result
        .split('"')
        .skip(1)
        .step_by(2)
        .zip(result.split('"').skip(2).step_by(2));
    let keys = keys.filter_map(|(key, after)| after.starts_with(':').then_some(key));
    let documented: BTreeSet<_> = text
        .lines()
        .filter(|line| line.contains("Va "))
        .flat_map(|line| line.split([' ', ',']))
        .collect();
    for key in keys {
        assert!(documented.contains(key), "{key}");
    }
}

#[test]
fn the_manual_page_is_clean_mdoc() {
    if !installed(&["mandoc"]) {
        return;
    }
    let mandoc = run(Command::new("mandoc").args([
        "-Tlint",
        concat!(env!("CARGO_MANIFEST_DIR"), "/man/npzfs.1"),
    ]));
    // Other pages need not be installed.
    let findings = mandoc
        .out
        .lines()
        .filter(|line| !line.contains("referenced manual not found"))
        .filter(|line| !line.contains("outdated mandoc.db"));
    assert_eq!(findings.collect::<Vec<_>>(), [""; 0], "{}", mandoc.err);
}

/// Returns the name of the test for a sentence.
fn as_name(sentence: &str) -> String {
    let words = sentence.to_lowercase();
    let words = words.replace('\'', "");
    let words = words.split(|letter: char| !letter.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

/// Returns the names of the tests of a theme.
fn tests_of(theme: &str) -> BTreeSet<String> {
    let path = format!(
        "{}/tests/integration/{theme}.rs",
        env!("CARGO_MANIFEST_DIR")
    );
    let source = std::fs::read_to_string(path).expect("a module for each theme");
    let tests = source.split("#[test]\nfn ").skip(1);
    let name = |test: &str| test.split('(').next().unwrap_or_default().to_owned();
    tests.map(name).collect()
}

#[test]
fn each_promise_has_its_test_and_each_test_its_promise() {
    let semantics = include_str!("../../docs/semantics.md");
    let themes: Vec<_> = semantics.split("\n## ").skip(1).collect();
    assert!(themes.len() >= 10);
    for theme in themes {
        let (name, text) = theme.split_once('\n').expect("a heading of its own line");
        let promises: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("- "))
            .map(as_name)
            .collect();
        assert_eq!(promises, tests_of(name), "{name}");
    }
}
