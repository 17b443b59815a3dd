//! What is shown in which colour, and where colour is wanted at all.
//!
//! Output is written with its colours to a stream of `anstream`, which takes them out again unless
//! they are wanted there: [`choose`] decides, or else `NO_COLOR` and its like in the environment,
//! and whether the stream is a terminal.

use std::ffi::OsString;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

/// The name of the program, before what went wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What is wrong with an archive, a member or a mount.
pub const FAULT: Style = AnsiColor::Red.on_default();
/// What is worth knowing, but not wrong.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// All is well.
pub const SOUND: Style = AnsiColor::Green.on_default();
/// The heading of a table or of a part of the help.
pub const HEADING: Style = Style::new().bold();

/// Does as the last `--color` of a command line asks. This is not left to the parser, because
/// colour is also wanted, or not, where it finds something wrong.
pub fn choose(arguments: &[OsString]) {
    asked(arguments).write_global();
}

fn asked(arguments: &[OsString]) -> ColorChoice {
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
        let asked = |line: &str| asked(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
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
