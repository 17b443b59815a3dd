//! Threads for opening archives and reading folders.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::thread_pool::Pool;

/// Runs jobs that may block on disk but usually do not. Up to `workers - 1` FUSE workers run them
/// inline, since waking a pool thread costs more than opening a small archive; the rest go to a
/// pool, so that one worker always keeps serving.
#[derive(Debug)]
pub(super) struct OpenPool {
    pool: Pool,
    inline_max: usize,
    /// The number of jobs that run inline, or are about to find out that they may not.
    inline: AtomicUsize,
}

impl OpenPool {
    /// Returns a pool for a mount with that number of FUSE workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            pool: Pool::default(),
            inline_max: workers.saturating_sub(1),
            inline: AtomicUsize::new(0),
        }
    }

    /// Runs `job` in this thread if it can be spared, otherwise in the pool.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        if self.inline.fetch_add(1, Ordering::Relaxed) < self.inline_max {
            job();
            self.inline.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.inline.fetch_sub(1, Ordering::Relaxed);
            self.pool.run(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::thread;

    use super::*;

    /// Has each of `workers` threads run a job, all at the same time. Returns the names of the
    /// threads that the jobs run in.
    fn job_threads(workers: usize) -> Vec<Option<String>> {
        let pool = Arc::new(OpenPool::new(workers));
        let (started, names) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..workers {
            let (pool, started, wait) = (pool.clone(), started.clone(), wait.clone());
            let job = move || {
                let name = thread::current().name().map(str::to_owned);
                started.send(name).unwrap();
                let _ = wait.lock().map(|wait| wait.recv());
            };
            let worker = thread::Builder::new().name("worker".to_owned());
            worker.spawn(move || pool.run(job)).unwrap();
        }
        let names = names.iter().take(workers).collect();
        drop(release);
        names
    }

    #[test]
    fn one_worker_always_keeps_serving() {
        for workers in [1, 2, 4] {
            let names = job_threads(workers);
            let is_inline = |name: &&Option<String>| name.as_deref() == Some("worker");
            assert_eq!(names.iter().filter(is_inline).count(), workers - 1);
        }
    }
}
