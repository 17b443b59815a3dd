//! The program `npzfs`: parses the command line, runs the command, and exits.

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use npzfs::cli;
use npzfs::commands::error::Error;
use npzfs::commands::{self, status};
use npzfs::exit_status::{self, ExitStatus, mount8};
use npzfs::ui::color;
use npzfs::ui::console::{self, Console};

/// The exit statuses of the program, which depend on the name by which it was called.
struct Statuses {
    usage: ExitStatus,
    bug: ExitStatus,
    of: fn(&Error) -> ExitStatus,
}

const NPZFS: Statuses = Statuses {
    usage: exit_status::USAGE,
    bug: exit_status::FAILED,
    of: status::of,
};

/// Those of a helper of mount(8).
const HELPER: Statuses = Statuses {
    usage: mount8::USAGE,
    bug: mount8::BUG,
    of: status::of_helper,
};

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        let message = format!("internal error, please report it: {info}");
        console::report(&message.replace('\n', " "));
    }));
    let arguments: Vec<_> = std::env::args_os().collect();
    color::choose(&arguments);
    let statuses = if cli::is_helper(&arguments) {
        HELPER
    } else {
        NPZFS
    };
    let mut console = Console::new();
    let status = match cli::parse(arguments) {
        Ok(command) => panic::catch_unwind(AssertUnwindSafe(|| {
            commands::run(&command, &mut console).unwrap_or_else(|error| {
                console.report(&error);
                (statuses.of)(&error)
            })
        }))
        .unwrap_or(statuses.bug),
        Err(error) if error.use_stderr() => {
            console.report(&cli::usage_message(&error));
            statuses.usage
        }
        Err(help_or_version) => {
            let text = help_or_version.render().ansi().to_string();
            let written = console.write_all(text.as_bytes());
            written
                .and_then(|()| console.flush())
                .map_err(Error::Output)
                .map_or_else(
                    |error| {
                        console.report(&error);
                        (statuses.of)(&error)
                    },
                    |()| exit_status::DONE,
                )
        }
    };
    status.into()
}
