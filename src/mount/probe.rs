//! Questions to a file system whose server may hang, with a timeout.
//!
//! Each question is asked by a child process. A thread would not do: once the server has taken up a
//! request, the caller cannot be interrupted, not even by SIGKILL, so the thread would keep this
//! process from ending.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use crate::sys::process;

/// Asks all questions at once, and returns the answers in the order of the questions: `None` where
/// none came before `timeout`. An answer is never empty.
///
/// Where no child can be started, this process asks by itself, without a timeout.
pub fn probe_all<Q>(
    timeout: Duration,
    questions: &[Q],
    ask: impl Fn(&Q) -> Vec<u8>,
) -> Vec<Option<Vec<u8>>> {
    let started = questions.iter().map(|question| {
        let probe = Probe::start(|| ask(question));
        probe.map_err(|_| ask(question))
    });
    let started: Vec<_> = started.collect();
    let deadline = Instant::now() + timeout;
    let answers = started.into_iter().map(|probe| match probe {
        Ok(probe) => probe.answer(deadline),
        Err(answer) => Some(answer),
    });
    answers.collect()
}

/// A child process that asks a question.
struct Probe {
    answer: UnixStream,
    pid: Pid,
}

impl Probe {
    fn start(ask: impl FnOnce() -> Vec<u8>) -> io::Result<Self> {
        let (answer, mut probe) = UnixStream::pair()?;
        match process::fork()? {
            ForkResult::Parent { child } => Ok(Self { answer, pid: child }),
            ForkResult::Child => {
                drop(answer);
                // A reader of our standard output must not have to wait for this process.
                if process::detach().is_ok() {
                    // The parent may have given up by now.
                    let _ = probe.write_all(&ask());
                }
                std::process::exit(0)
            }
        }
    }

    fn answer(mut self, deadline: Instant) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        let read = self.read(&mut answer, deadline);
        if read.is_err() {
            // If it cannot be killed now, it ends as soon as it gets an answer.
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
            // A timeout of zero would mean none.
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
