//! Whose turn it is to wait for the next request.
//!
//! Most of what a small request takes is not work: it is two processors that wake each other. So
//! while requests keep coming, one thread does not sleep between them: its device is set not to
//! block, and fuser reads that again and again until the next request is there. The other threads
//! stay away meanwhile, since the kernel would wake one of them for each request, in vain.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;
use crate::tree::Ino;

/// How many requests must have come soon after one another before the next one is looked out for.
const SOON_MIN: u64 = 4;

/// Requests that come less often than this many times within [`Polling::patience`] are not worth a
/// processor.
const SOON_PART: u64 = 4;

/// The least READ whose answer is work, in bytes.
const LONG_MIN: u32 = 64 << 10;

/// What comes sooner than this after an answer was waiting already, in nanoseconds.
const AT_ONCE: u64 = 3_000;

/// How many requests in a row may have been waiting already until one thread is too few.
const QUEUED_MAX: u64 = 64;

/// How long all threads serve once they are needed, in nanoseconds.
const CROWDED: u64 = 20_000_000;

/// How one thread looks out for requests, for all.
#[derive(Debug)]
pub struct Polling {
    /// What the thread reads that fuser starts last. Each other one has a device of its own.
    pub device: OwnedFd,
    /// How long the device is read in vain before the thread sleeps.
    pub patience: Duration,
}

/// The threads that wait for requests.
#[derive(Debug)]
pub(super) struct Turns {
    /// How many there are.
    threads: usize,
    /// `None` where all threads sleep until a request comes.
    polling: Option<Polling>,
    began: Instant,
    /// When the last request came, and when the last one was answered, in nanoseconds since
    /// `began`.
    came: AtomicU64,
    answered: AtomicU64,
    /// How many requests have come soon, in a row.
    soon: AtomicU64,
    /// How many short ones were waiting already, in a row.
    queued: AtomicU64,
    /// The inodes of the last two long READs.
    long: [AtomicU64; 2],
    /// When all threads were last found to be needed.
    crowded: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many threads stay away.
    away: usize,
    /// Whether one of them sees to it that polling ends.
    is_watched: bool,
    /// Whether all but one do, and that one polls.
    is_polled: bool,
    /// How many times polling has ended.
    ends: u64,
}

/// The time in which a thread answers a request.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Turns {
    /// Those of a mount that `threads` threads serve: two or more, if one is to poll.
    pub(super) fn new(threads: usize, polling: Option<Polling>) -> Self {
        Self {
            threads,
            polling,
            began: Instant::now(),
            came: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            soon: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            long: Default::default(),
            crowded: AtomicU64::new(0),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// A thread has a request. What is returned is dropped when that is answered.
    pub(super) fn begin(&self) -> Turn<'_> {
        if let Some(polling) = &self.polling {
            let now = self.come(polling);
            if now.saturating_sub(self.answered.load(Ordering::Relaxed)) > AT_ONCE {
                self.queued.store(0, Ordering::Relaxed);
            } else if self.queued.fetch_add(1, Ordering::Relaxed) > QUEUED_MAX {
                self.let_all_serve();
            }
        }
        Turn(self)
    }

    /// The same for a READ of `size` bytes.
    pub(super) fn begin_read(&self, ino: Ino, size: u32) -> Turn<'_> {
        if size < LONG_MIN {
            return self.begin();
        }
        if let Some(polling) = &self.polling {
            self.come(polling);
            let last = self.long[0].swap(ino.0, Ordering::Relaxed);
            // There and back again: these are two readers, or more.
            if last != ino.0 && self.long[1].swap(last, Ordering::Relaxed) == ino.0 {
                self.let_all_serve();
            }
        }
        Turn(self)
    }

    /// The same for a request that tells nothing of what will come: nobody waits for its answer, or
    /// only this process.
    pub(super) fn begin_aside(&self) -> Turn<'_> {
        Turn(self)
    }

    /// A request whose client had to wait for something else is about to be answered: that time was
    /// no silence.
    pub(super) fn resume(&self) {
        self.came.store(self.now(), Ordering::Relaxed);
    }

    /// For a while all threads serve: one is too few, or the answers wait for a disk, and it would
    /// be in vain to look out for the next request meanwhile.
    pub(super) fn let_all_serve(&self) {
        self.crowded.store(self.now(), Ordering::Relaxed);
    }

    fn come(&self, polling: &Polling) -> u64 {
        let now = self.now();
        let gap = now.saturating_sub(self.came.swap(now, Ordering::Relaxed));
        if gap <= polling.patience_nanos() / SOON_PART {
            self.soon.fetch_add(1, Ordering::Relaxed);
        } else {
            self.soon.store(0, Ordering::Relaxed);
        }
        now
    }

    fn answered(&self) {
        if let Some(polling) = &self.polling {
            self.answered.store(self.now(), Ordering::Relaxed);
            if self.keeps_coming(polling) && self.is_elsewhere() {
                self.stay_away(polling);
            }
        }
    }

    /// Whether it pays to look out for the next request, and one thread is enough for that.
    fn keeps_coming(&self, polling: &Polling) -> bool {
        let now = self.now();
        let crowded = self.crowded.load(Ordering::Relaxed);
        self.soon.load(Ordering::Relaxed) >= SOON_MIN
            && now.saturating_sub(self.came.load(Ordering::Relaxed)) <= polling.patience_nanos()
            && (crowded == 0 || now.saturating_sub(crowded) > CROWDED)
    }

    /// Keeps this thread from waiting for requests until polling ends. One of those that stay away
    /// sees to that: not the first of all, since some may not have come back yet from the time before.
    fn stay_away(&self, polling: &Polling) {
        let mut state = self.lock();
        let watches = !state.is_watched;
        state.is_watched = true;
        let ends = state.ends;
        state.away += 1;
        if state.away + 1 == self.threads {
            state.is_polled = polling.set_polled(true);
        }
        while state.ends == ends {
            if !watches {
                state = wait(self.ended.wait(state));
            } else if self.keeps_coming(polling) {
                state = wait(self.ended.wait_timeout(state, polling.patience)).0;
            } else {
                state.ends += 1;
                state.is_watched = false;
                self.ended.notify_all();
            }
        }
        state.away -= 1;
        if state.is_polled {
            state.is_polled = polling.set_polled(false);
        }
    }

    /// Whether this thread has a device of its own: fuser numbers its threads.
    fn is_elsewhere(&self) -> bool {
        let number = thread::current()
            .name()
            .and_then(|name| name.strip_prefix("fuser-")?.parse().ok());
        number.is_some_and(|number: usize| number + 1 < self.threads)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Nothing that can panic is done while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        wait(self.state.lock())
    }
}

impl Polling {
    fn patience_nanos(&self) -> u64 {
        self.patience.as_nanos() as u64
    }

    /// Has the device not block, or block again. Returns whether it does not.
    fn set_polled(&self, is_polled: bool) -> bool {
        sys::set_blocking(&self.device, !is_polled).is_ok() && is_polled
    }
}

fn wait<T>(locked: Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::{Arc, mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    const LONG: u32 = 128 << 10;

    fn turns() -> Turns {
        let polling = Polling {
            device: File::open("/dev/null").unwrap().into(),
            patience: PATIENCE,
        };
        Turns::new(2, Some(polling))
    }

    fn keeps_coming(turns: &Turns) -> bool {
        turns.keeps_coming(turns.polling.as_ref().unwrap())
    }

    /// Lets a client take its time between two requests.
    fn come(turns: &Turns, count: usize) {
        for _ in 0..count {
            drop(turns.begin());
            thread::sleep(Duration::from_micros(10));
        }
    }

    #[test]
    fn a_few_requests_soon_after_one_another_tell_that_more_will_come() {
        let turns = turns();
        come(&turns, 3);
        assert!(!keeps_coming(&turns));
        come(&turns, 1);
        assert!(keeps_coming(&turns));
    }

    #[test]
    fn one_request_that_is_late_starts_the_count_anew() {
        let turns = turns();
        come(&turns, 10);
        thread::sleep(PATIENCE / 2);
        assert!(keeps_coming(&turns));
        come(&turns, 1);
        assert!(!keeps_coming(&turns));
    }

    #[test]
    fn nothing_keeps_coming_after_a_silence() {
        let turns = turns();
        come(&turns, 10);
        thread::sleep(PATIENCE + Duration::from_millis(1));
        assert!(!keeps_coming(&turns));
    }

    #[test]
    fn two_readers_of_much_are_more_than_one_thread_can_serve() {
        let turns = turns();
        come(&turns, 10);
        for ino in [1, 1, 2, 2, 3] {
            drop(turns.begin_read(Ino(ino), LONG));
        }
        assert!(keeps_coming(&turns));
        drop(turns.begin_read(Ino(2), LONG));
        assert!(!keeps_coming(&turns));
    }

    #[test]
    fn two_readers_of_little_are_not() {
        let turns = turns();
        come(&turns, 10);
        for ino in [1, 2, 1, 2] {
            drop(turns.begin_read(Ino(ino), LONG_MIN - 1));
        }
        assert!(keeps_coming(&turns));
    }

    #[test]
    fn all_threads_serve_while_answers_wait_for_a_disk() {
        let turns = turns();
        come(&turns, 10);
        turns.let_all_serve();
        assert!(!keeps_coming(&turns));
        thread::sleep(Duration::from_nanos(CROWDED) + Duration::from_millis(1));
        assert!(keeps_coming(&turns));
    }

    #[test]
    fn whoever_stays_away_comes_back() {
        let polling = Polling {
            device: File::open("/dev/null").unwrap().into(),
            patience: Duration::from_micros(200),
        };
        let turns = Arc::new(Turns::new(8, Some(polling)));
        let (done, wait) = mpsc::channel();
        for number in 0..7 {
            let (turns, done) = (turns.clone(), done.clone());
            let thread = thread::Builder::new().name(format!("fuser-{number}"));
            let answer = move || {
                for _ in 0..2000 {
                    drop(turns.begin());
                    thread::sleep(Duration::from_micros(5));
                }
                done.send(()).unwrap();
            };
            thread.spawn(answer).unwrap();
        }
        for _ in 0..7 {
            wait.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    #[test]
    fn requests_that_queue_up_are_more_than_one_thread_can_serve() {
        let turns = turns();
        for _ in 0..1000 {
            drop(turns.begin());
        }
        assert!(!keeps_coming(&turns));
    }
}
