//! The colours of messages and tables, and the option that chooses them.
//!
//! All output contains colours, and the streams of `anstream` strip them where they are not wanted.
//! [`choose`] decides that; without it, `NO_COLOR` and similar variables do, and whether the stream is
//! a terminal.

use std::ffi::OsString;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

/// The name of the program before an error.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// A fault of an archive, a member or a mount.
pub const FAULT: Style = AnsiColor::Red.on_default();
/// A note, which is no fault.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// A sound archive or a live mount.
pub const SOUND: Style = AnsiColor::Green.on_default();
/// The heading of a table or of a section of the help.
pub const HEADING: Style = Style::new().bold();

/// Applies the last `--color` of a command line. The parser comes too late for this: its own errors
/// have colours.
pub fn choose(arguments: &[OsString]) {
    choice(arguments).write_global();
}

fn choice(arguments: &[OsString]) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    let mut options = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = options.next() {
        let when = match argument.to_str() {
            Some("--color") => options.next().and_then(|when| when.to_str()),
            Some(argument) => argument.strip_prefix("--color="),
            None => None,
        };
        choice = match when {
            Some("auto") => ColorChoice::Auto,
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            _ => choice,
        };
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_color_before_two_hyphens_counts() {
        let asked = |line: &str| choice(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked("npzfs list a.npz"), ColorChoice::Auto);
        assert_eq!(asked("npzfs --color=never list"), ColorChoice::Never);
        assert_eq!(asked("npzfs list --color always a"), ColorChoice::Always);
        let twice = "npzfs --color=always list --color=auto";
        assert_eq!(asked(twice), ColorChoice::Auto);
        let command = "npzfs run a.npz -- ls --color=always";
        assert_eq!(asked(command), ColorChoice::Auto);
        assert_eq!(asked("npzfs --color"), ColorChoice::Auto);
    }
}
