//! Who opens archives, and looks into folders.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::thread_pool::Pool;

/// Those who do what may have to wait for a disk, but mostly need not: as many of the threads that
/// answer requests as can be spared, and a pool. To wake a thread of the pool takes longer than to
/// open a small archive.
#[derive(Debug)]
pub(super) struct OpenPool {
    pool: Pool,
    /// How many of the threads that answer may be at it at the same time.
    here_max: usize,
    here: AtomicUsize,
}

impl OpenPool {
    /// The openers of a mount whose requests `threads` threads answer, of which one at least always
    /// goes on with that.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            pool: Pool::default(),
            here_max: threads.saturating_sub(1),
            here: AtomicUsize::new(0),
        }
    }

    /// Has `work` done, by this thread if it can be spared.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        if self.here.fetch_add(1, Ordering::Relaxed) < self.here_max {
            work();
            self.here.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.here.fetch_sub(1, Ordering::Relaxed);
            self.pool.run(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    /// Has the thread's name told by as many works as there are `threads`, all of them under way at
    /// the same time.
    fn who_works(threads: usize) -> Vec<Option<String>> {
        let openers = Arc::new(OpenPool::new(threads));
        let (tell, told) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        for _ in 0..threads {
            let (openers, tell, wait) = (openers.clone(), tell.clone(), wait.clone());
            let answering = thread::Builder::new().name("answering".to_owned());
            let answer = move || {
                openers.run(move || {
                    tell.send(thread::current().name().map(str::to_owned))
                        .unwrap();
                    let _ = wait.lock().map(|wait| wait.recv());
                });
            };
            answering.spawn(answer).unwrap();
        }
        let names = told.iter().take(threads).collect();
        drop(release);
        names
    }

    #[test]
    fn one_thread_always_goes_on_with_answering() {
        for threads in [1, 2, 4] {
            let names = who_works(threads);
            let here = |name: &&Option<String>| name.as_deref() == Some("answering");
            assert_eq!(names.iter().filter(here).count(), threads - 1);
        }
    }
}
