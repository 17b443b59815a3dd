//! The standard output and the standard error of a command.
//!
//! Both strip colours where they are not wanted. What is written to a [`Console`] goes to standard
//! output, in a buffer. A reader that has seen enough, such as head(1), closes its end of the pipe:
//! that is no error, but the command may stop early.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anstream::AutoStream;

use crate::sys::terminal::terminal_width;
use crate::ui::color::ERROR;

/// The standard output and the standard error of a command.
#[derive(Debug)]
pub struct Console {
    out: BufWriter<AutoStream<Stdout>>,
    is_closed: bool,
}

impl Console {
    /// Returns the console of this process.
    pub fn new() -> Self {
        Self {
            out: BufWriter::new(AutoStream::auto(io::stdout())),
            is_closed: false,
        }
    }

    /// Writes bytes as they are from now on, for output without colours such as JSON.
    pub fn set_raw(&mut self) {
        self.out = BufWriter::new(AutoStream::always_ansi(io::stdout()));
    }

    /// Returns the width of the terminal in columns, if standard output is one.
    pub fn width(&self) -> Option<usize> {
        let stdout = io::stdout();
        stdout
            .is_terminal()
            .then(|| terminal_width(&stdout))
            .flatten()
    }

    /// Whether the reader of standard output has closed it.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes a remark to standard error, for a command whose standard output is another's.
    pub fn note(&mut self, message: &dyn Display) {
        let _ = writeln!(io::stderr(), "npzfs: {message}");
    }

    /// Writes an error to standard error, after what was written to standard output before.
    pub fn report(&mut self, message: &dyn Display) {
        // An error stays until the next flush, which the command checks.
        let _ = self.flush();
        report(message);
    }

    /// Drops the error of a reader that has closed standard output, and remembers it.
    fn unless_closed<T>(&mut self, result: io::Result<T>, closed: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(closed)
            }
            result => result,
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.unless_closed(flushed, ())
    }
}

/// Writes an error to standard error. Nothing can be done where that is closed.
pub fn report(message: &dyn Display) {
    let _ = writeln!(anstream::stderr(), "{ERROR}npzfs:{ERROR:#} {message}");
}
