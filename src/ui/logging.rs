//! Where the log goes: standard error in the foreground, syslog in the background, or a file.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};

use crate::commands::error::Error;

/// Starts to log what is at least as grave as `level`: to `file` if there is one, otherwise to
/// standard error or, `in_background`, to syslog.
///
/// # Errors
/// [`Error::Log`] where the file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>, in_background: bool) -> Result<(), Error> {
    let mut builder = Builder::new();
    builder
        .filter_level(LevelFilter::Off)
        .filter_module("npzfs", level);
    if tells_requests(level) {
        builder.filter_module("fuser", level);
    }
    if let Some(file) = file {
        let opened = OpenOptions::new().append(true).create(true).open(file);
        let log = opened.map_err(|error| Error::Log {
            file: file.to_owned(),
            error,
        })?;
        builder.target(Target::Pipe(Box::new(log)));
        builder.init();
    } else if in_background {
        // Without a syslog nothing is lost that anybody could see.
        let _ = openlog(Some(c"npzfs"), LogFlags::LOG_PID, Facility::LOG_DAEMON);
        log::set_max_level(level);
        let _ = log::set_boxed_logger(Box::new(Syslog { level }));
    } else {
        if env::var_os("RUST_LOG").is_some() {
            builder = Builder::from_default_env();
        }
        builder.format(|out, record| writeln!(out, "npzfs: {}", record.args()));
        builder.init();
    }
    Ok(())
}

/// Whether fuser's messages are wanted, too: it tells of each request at this level, and at others
/// only of what went wrong because a client was killed or the mount ended.
fn tells_requests(level: LevelFilter) -> bool {
    level >= LevelFilter::Debug
}

struct Syslog {
    level: LevelFilter,
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
            && (metadata.target().starts_with("npzfs") || tells_requests(self.level))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = match record.level() {
            Level::Error => Severity::LOG_ERR,
            Level::Warn => Severity::LOG_WARNING,
            Level::Info => Severity::LOG_INFO,
            Level::Debug | Level::Trace => Severity::LOG_DEBUG,
        };
        let priority = Priority::new(severity, Facility::LOG_DAEMON);
        let _ = syslog(priority, record.args().to_string().as_str());
    }

    fn flush(&self) {}
}
