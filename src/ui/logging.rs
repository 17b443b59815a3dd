//! The log: on standard error in the foreground, in syslog in the background, or in a file.

use std::env;
use std::fs::File;
use std::io::Write;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};

/// The destination of log messages.
#[derive(Debug)]
pub enum Destination {
    /// A file that is open for appending; each line has a time.
    File(File),
    /// syslog(3), as of a daemon.
    Syslog,
    /// Standard error, where `RUST_LOG` may override the level.
    StandardError,
}

/// Starts the log with messages of `level` and more severe ones.
pub fn start(level: LevelFilter, destination: Destination) {
    let mut builder = Builder::new();
    builder
        .filter_level(LevelFilter::Off)
        .filter_module("npzfs", level);
    if logs_requests(level) {
        builder.filter_module("fuser", level);
    }
    match destination {
        Destination::File(file) => builder.target(Target::Pipe(Box::new(file))).init(),
        Destination::Syslog => {
            // Where no syslog runs, its messages are lost: nothing else could show them.
            let _ = openlog(Some(c"npzfs"), LogFlags::LOG_PID, Facility::LOG_DAEMON);
            log::set_max_level(level);
            let _ = log::set_boxed_logger(Box::new(Syslog { level }));
        }
        Destination::StandardError => {
            if env::var_os("RUST_LOG").is_some() {
                builder = Builder::from_default_env();
            }
            builder
                .format(|out, record| writeln!(out, "npzfs: {}", record.args()))
                .init();
        }
    }
}

/// Whether fuser's messages belong in the log: at this level it logs each request. At lower ones it
/// only logs failures that are none, because a client was killed or the mount ended.
fn logs_requests(level: LevelFilter) -> bool {
    level >= LevelFilter::Debug
}

struct Syslog {
    level: LevelFilter,
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
            && (metadata.target().starts_with("npzfs") || logs_requests(self.level))
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
