//! Questions that may never be answered: to a file system whose process is stopped, for one.
//!
//! They are asked by other processes. A thread would not do: once the process behind a file system
//! has taken up a request, nothing ends who waits for the answer, not even SIGKILL.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use crate::sys::process;

/// Asks all questions at once, and returns the answers in the order of the questions: `None` where
/// there was none after `patience`. An answer is never empty.
///
/// Where no other process can be had, this one asks and waits.
pub fn ask_all<Q>(
    patience: Duration,
    questions: &[Q],
    ask: impl Fn(&Q) -> Vec<u8>,
) -> Vec<Option<Vec<u8>>> {
    let started = questions.iter().map(|question| {
        let asked = Asked::start(|| ask(question));
        asked.map_err(|_| ask(question))
    });
    let started: Vec<_> = started.collect();
    let deadline = Instant::now() + patience;
    let answers = started.into_iter().map(|asked| match asked {
        Ok(asked) => asked.answer(deadline),
        Err(answer) => Some(answer),
    });
    answers.collect()
}

/// A process that asks.
struct Asked {
    answer: UnixStream,
    pid: Pid,
}

impl Asked {
    fn start(ask: impl FnOnce() -> Vec<u8>) -> io::Result<Self> {
        let (answer, mut asker) = UnixStream::pair()?;
        match process::fork()? {
            ForkResult::Parent { child } => Ok(Self { answer, pid: child }),
            ForkResult::Child => {
                drop(answer);
                // Nobody is to wait for standard output to be closed by this process.
                if process::detach().is_ok() {
                    // Whoever does not wait any more does not want to know.
                    let _ = asker.write_all(&ask());
                }
                std::process::exit(0)
            }
        }
    }

    fn answer(mut self, deadline: Instant) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        let read = self.read(&mut answer, deadline);
        if read.is_err() {
            // If it has to wait all the same, it is nobody's any more.
            let _ = kill(self.pid, Signal::SIGKILL);
            return None;
        }
        // It has ended, or does so at once; what it held is free then.
        let _ = waitpid(self.pid, None);
        Some(answer).filter(|answer| !answer.is_empty())
    }

    fn read(&mut self, answer: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
        let mut part = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // No time at all would mean to wait for ever.
            let left = left.max(Duration::from_millis(1));
            self.answer.set_read_timeout(Some(left))?;
            match self.answer.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(len) => answer.extend_from_slice(&part[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
