//! The program `npzfs`: runs a command, says what went wrong, and picks the exit status.

use std::io::{self, ErrorKind, Write};
use std::path::{self, PathBuf};
use std::process::ExitCode;

use npzfs::cli::{self, Command};
use npzfs::commands::error::Error;
use npzfs::commands::{
    completions, list, mount, mount_helper, mounts, repack, run, status, verify,
};
use npzfs::exit_status::{self, mount8};
use npzfs::mount::unmount;
use npzfs::ui::color::{self, ERROR};
use npzfs::ui::human::Escaped;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        say(&format!("internal error, please report it: {info}").replace('\n', " "));
    }));
    let arguments: Vec<_> = std::env::args_os().collect();
    color::choose(&arguments);
    let (usage, bug) = if cli::is_helper(&arguments) {
        (mount8::USAGE, mount8::BUG)
    } else {
        (exit_status::USAGE, exit_status::FAILED)
    };
    let command = match cli::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            let text = error.render().ansi().to_string();
            if error.use_stderr() {
                let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
                // Line by line, since it quotes arguments as they were given.
                let lines: Vec<_> = text
                    .lines()
                    .map(|line| Escaped(line.as_bytes()).to_string())
                    .collect();
                say(&lines.join("\n"));
                return ExitCode::from(usage);
            }
            // Help or version.
            return ExitCode::from(print(anstream::stdout(), text.as_bytes()));
        }
    };
    ExitCode::from(std::panic::catch_unwind(|| perform(&command)).unwrap_or(bug))
}

fn perform(command: &Command) -> u8 {
    match command {
        Command::Mount(arguments) => mount::mount(arguments).unwrap_or_else(|error| fail(&error)),
        Command::List(arguments) => list::list(arguments, fail),
        Command::Repack(arguments) => {
            repack::repack(arguments).map_or_else(|error| fail(&error), |()| exit_status::DONE)
        }
        Command::Umount(arguments) => {
            let absolute = |path: &PathBuf| path::absolute(path).unwrap_or_else(|_| path.clone());
            let mount_points: Vec<_> = arguments.mount_points.iter().map(absolute).collect();
            // The working directory may be inside one of them, which would then be in use.
            let _ = std::env::set_current_dir("/");
            let statuses = mount_points.iter().map(|mount_point| {
                unmount::umount(mount_point, arguments.lazy).map_or_else(
                    |error| {
                        fail(&Error::Unmount {
                            mount_point: mount_point.clone(),
                            error,
                        })
                    },
                    |()| exit_status::DONE,
                )
            });
            statuses.max().unwrap_or(exit_status::DONE)
        }
        Command::Verify(arguments) => verify::verify(arguments, fail),
        Command::Run(arguments) => run::run(arguments).unwrap_or_else(|error| fail(&error)),
        Command::Mounts(arguments) => match mounts::list(arguments.json) {
            Ok(list) => print(anstream::stdout(), list.as_bytes()),
            Err(error) => fail(&error.into()),
        },
        Command::Completions(arguments) => {
            print(io::stdout(), &completions::script(arguments.shell))
        }
        Command::Helper(arguments) => mount_helper::mount(arguments).unwrap_or_else(|error| {
            fail(&error);
            status::of_helper(&error)
        }),
    }
}

/// Prints what was asked for. Whoever closed standard output does not want to know.
fn print(mut stdout: impl Write, text: &[u8]) -> u8 {
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(&Error::Output(error)),
        _ => exit_status::DONE,
    }
}

fn fail(error: &Error) -> u8 {
    say(&error.to_string());
    status::of(error)
}

/// A message on standard error; whoever closed that does not want to know.
fn say(message: &str) {
    let _ = writeln!(anstream::stderr(), "{ERROR}npzfs:{ERROR:#} {message}");
}
