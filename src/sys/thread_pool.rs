//! A pool of threads for work that may wait for a disk.
//!
//! A few threads answer all requests. If all of them waited for one slow disk, not even a directory
//! could be listed meanwhile, so work that may wait is moved to this pool.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::sync::{lock, unpoisoned};

/// The most threads of a pool. Work that comes while all of them wait is queued.
const THREADS_MAX: usize = 16;

/// How long an idle thread stays.
const IDLE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// A pool of threads, which are started as they are needed and end when they are idle.
#[derive(Clone, Default)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work_is_there: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    /// The number of idle threads.
    idle: usize,
}

impl Pool {
    /// Runs `work` in another thread, or in this one where no thread can be started.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.shared.state);
        if state.idle <= state.queue.len() && state.threads < THREADS_MAX {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("reader".to_owned());
            match thread.spawn(move || shared.serve()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => {
                    drop(state);
                    return work();
                }
                Err(_) => {}
            }
        }
        state.queue.push_back(Box::new(work));
        drop(state);
        self.shared.work_is_there.notify_one();
    }
}

impl Shared {
    /// Runs queued work until none has come for a while.
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let waited = self.work_is_there.wait_timeout(state, IDLE);
            let (woken, timeout) = unpoisoned(waited);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_that_waits_does_not_hold_up_other_work() {
        let pool = Pool::default();
        let (release, wait) = mpsc::channel::<()>();
        pool.run(move || {
            let _ = wait.recv();
        });
        let (done, finished) = mpsc::channel();
        for number in 0..100 {
            let done = done.clone();
            pool.run(move || done.send(number).unwrap());
        }
        let mut numbers: Vec<i32> = finished.iter().take(100).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        drop(release);
    }

    #[test]
    fn there_are_never_more_threads_than_the_limit() {
        let pool = Pool::default();
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..100 {
            let wait = wait.clone();
            pool.run(move || {
                let _ = wait.lock().map(|wait| wait.recv());
            });
        }
        assert_eq!(lock(&pool.shared.state).threads, THREADS_MAX);
        drop(release);
    }
}
