//! Whose turn it is to wait for the next request.
//!
//! Most of what a small request takes is not work: it is two processors that wake each other. So
//! while requests keep coming, one thread does not sleep between them: it looks again and again
//! whether the next one is there. The other threads stay away meanwhile, since the kernel would wake
//! one of them for each request, in vain.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::sync::{lock, unpoisoned};
use crate::tree::Ino;

/// How many requests must have come soon after one another before the next one is looked out for.
const SOON_MIN: u64 = 4;

/// Requests that come less often than this many times within [`PollConfig::timeout`] are not worth a
/// processor.
const SOON_PART: u64 = 4;

/// The least READ whose answer is work, in bytes.
const LONG_MIN: u32 = 64 << 10;

/// What comes sooner than this after an answer was waiting already, in nanoseconds.
const AT_ONCE: u64 = 3_000;

/// How many requests in a row may have been waiting already until one thread is too few.
const QUEUED_MAX: u64 = 64;

/// How often it is looked for a request before the processor is offered to others.
const LOOKS: u32 = 8;

/// Whoever has had the processor of the thread that looks out for longer than this needs it, in
/// nanoseconds.
const SHARED_MIN: u64 = 100_000;

/// How long all threads serve once one is too few, in nanoseconds.
const CROWDED: u64 = 20_000_000;

/// How long they do once somebody needs the processor: at first and, if it is so again and again, at
/// most, in nanoseconds.
const PAUSE: (u64, u64) = (4_000_000, 160_000_000);

/// How one thread looks out for requests, for all.
#[derive(Debug)]
pub struct PollConfig {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// How long it is looked at in vain before the thread sleeps.
    pub timeout: Duration,
}

/// The threads that wait for requests.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// How many there are.
    threads: usize,
    /// `None` where all threads sleep until a request comes.
    polling: Option<PollConfig>,
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
    /// Until when all threads serve, and how long that was to be the last time it was for somebody
    /// who needed the processor.
    pause_ends: AtomicU64,
    pause: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many threads stay away.
    away: usize,
    /// Whether one of them sees to it that polling ends.
    is_watched: bool,
    /// How many times polling has ended.
    ends: u64,
}

impl BusyPoll {
    /// Those of a mount that `threads` threads serve.
    pub(super) fn new(threads: usize, polling: Option<PollConfig>) -> Self {
        Self {
            threads,
            polling,
            began: Instant::now(),
            came: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            soon: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            long: Default::default(),
            pause_ends: AtomicU64::new(0),
            pause: AtomicU64::new(PAUSE.0),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// A thread has a request.
    pub(super) fn begin(&self) {
        if let Some(polling) = &self.polling {
            let now = self.record_arrival(polling);
            if now.saturating_sub(self.answered.load(Ordering::Relaxed)) > AT_ONCE {
                self.queued.store(0, Ordering::Relaxed);
            } else if self.queued.fetch_add(1, Ordering::Relaxed) > QUEUED_MAX {
                self.suspend();
            }
        }
    }

    /// The same for a READ of `size` bytes.
    pub(super) fn begin_read(&self, ino: Ino, size: u32) {
        if size < LONG_MIN {
            return self.begin();
        }
        if let Some(polling) = &self.polling {
            self.record_arrival(polling);
            let last = self.long[0].swap(ino.0, Ordering::Relaxed);
            // There and back again: these are two readers, or more.
            if last != ino.0 && self.long[1].swap(last, Ordering::Relaxed) == ino.0 {
                self.suspend();
            }
        }
    }

    /// A request whose client had to wait for something else is about to be answered: that time was
    /// no silence.
    pub(super) fn resume(&self) {
        self.came.store(self.now(), Ordering::Relaxed);
    }

    /// For a while all threads serve: one is too few, or the answers wait for a disk, and it would
    /// be in vain to look out for the next request meanwhile.
    pub(super) fn suspend(&self) {
        self.pause_ends
            .fetch_max(self.now() + CROWDED, Ordering::Relaxed);
    }

    fn record_arrival(&self, polling: &PollConfig) -> u64 {
        let now = self.now();
        let gap = now.saturating_sub(self.came.swap(now, Ordering::Relaxed));
        if gap <= polling.timeout_nanos() / SOON_PART {
            self.soon.fetch_add(1, Ordering::Relaxed);
        } else {
            self.soon.store(0, Ordering::Relaxed);
        }
        now
    }

    /// A request is answered.
    pub(super) fn answered(&self) {
        self.answered.store(self.now(), Ordering::Relaxed);
    }

    /// A thread has nothing more to do. Returns when it is to wait for a request: whether one has
    /// come meanwhile that it has looked out for.
    pub(super) fn poll_next(&self) -> bool {
        let Some(polling) = self.polling.as_ref().filter(|it| self.is_worthwhile(it)) else {
            return false;
        };
        let state = lock(&self.state);
        if state.away + 1 < self.threads {
            self.park(polling, state);
            return false;
        }
        drop(state);
        while !(0..LOOKS).any(|_| has_request(&polling.device)) {
            let before = self.now();
            thread::yield_now();
            let after = self.now();
            if after - before > SHARED_MIN {
                self.back_off(after);
            }
            if !self.is_worthwhile(polling) {
                end(&mut lock(&self.state), &self.ended);
                return false;
            }
        }
        true
    }

    /// Somebody else needs the processor: whoever sleeps until a request comes is preferred to them
    /// then, and who looks out is not. If that is so again soon after a pause, the next one is longer.
    fn back_off(&self, now: u64) {
        let last = self.pause.load(Ordering::Relaxed);
        let is_again = now < self.pause_ends.load(Ordering::Relaxed) + 2 * last;
        let pause = if is_again {
            PAUSE.1.min(2 * last)
        } else {
            PAUSE.0
        };
        self.pause.store(pause, Ordering::Relaxed);
        self.pause_ends.fetch_max(now + pause, Ordering::Relaxed);
    }

    /// Whether it pays to look out for the next request, and one thread is enough for that.
    fn is_worthwhile(&self, polling: &PollConfig) -> bool {
        let now = self.now();
        self.soon.load(Ordering::Relaxed) >= SOON_MIN
            && now.saturating_sub(self.came.load(Ordering::Relaxed)) <= polling.timeout_nanos()
            && now >= self.pause_ends.load(Ordering::Relaxed)
    }

    /// Keeps this thread from waiting for requests until polling ends. The one that looks out may be
    /// held up with a request, so one of those that stay away sees to that, too: not the first of all,
    /// since some may not have come back yet from the time before.
    fn park(&self, polling: &PollConfig, mut state: MutexGuard<'_, State>) {
        let watches = !state.is_watched;
        state.is_watched = true;
        let ends = state.ends;
        state.away += 1;
        while state.ends == ends {
            if !watches {
                state = unpoisoned(self.ended.wait(state));
            } else if self.is_worthwhile(polling) {
                state = unpoisoned(self.ended.wait_timeout(state, polling.timeout)).0;
            } else {
                end(&mut state, &self.ended);
            }
        }
        state.away -= 1;
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

impl PollConfig {
    fn timeout_nanos(&self) -> u64 {
        self.timeout.as_nanos() as u64
    }
}

/// Whether a request waits to be answered, or the mount has ended.
pub(super) fn has_request(device: &OwnedFd) -> bool {
    let mut device = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut device, PollTimeout::ZERO), Ok(0))
}

/// Polling ends: all who stay away come back.
fn end(state: &mut State, ended: &Condvar) {
    state.ends += 1;
    state.is_watched = false;
    ended.notify_all();
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Write};
    use std::sync::mpsc;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const LONG: u32 = 128 << 10;

    fn turns_on(device: impl Into<OwnedFd>) -> BusyPoll {
        let polling = PollConfig {
            device: device.into(),
            timeout: TIMEOUT,
        };
        BusyPoll::new(1, Some(polling))
    }

    fn turns() -> BusyPoll {
        turns_on(File::open("/dev/null").unwrap())
    }

    fn is_worthwhile(turns: &BusyPoll) -> bool {
        turns.is_worthwhile(turns.polling.as_ref().unwrap())
    }

    /// Lets a client take its time between two requests.
    fn come(turns: &BusyPoll, count: usize) {
        for _ in 0..count {
            turns.begin();
            turns.answered();
            thread::sleep(Duration::from_micros(10));
        }
    }

    #[test]
    fn a_few_requests_soon_after_one_another_tell_that_more_will_come() {
        let turns = turns();
        come(&turns, 3);
        assert!(!is_worthwhile(&turns));
        come(&turns, 1);
        assert!(is_worthwhile(&turns));
    }

    #[test]
    fn one_request_that_is_late_starts_the_count_anew() {
        let turns = turns();
        come(&turns, 10);
        thread::sleep(TIMEOUT / 2);
        assert!(is_worthwhile(&turns));
        come(&turns, 1);
        assert!(!is_worthwhile(&turns));
    }

    #[test]
    fn nothing_keeps_coming_after_a_silence() {
        let turns = turns();
        come(&turns, 10);
        thread::sleep(TIMEOUT + Duration::from_millis(1));
        assert!(!is_worthwhile(&turns));
    }

    #[test]
    fn two_readers_of_much_are_more_than_one_thread_can_serve() {
        let turns = turns();
        come(&turns, 10);
        for ino in [1, 1, 2, 2, 3] {
            turns.begin_read(Ino(ino), LONG);
        }
        assert!(is_worthwhile(&turns));
        turns.begin_read(Ino(2), LONG);
        assert!(!is_worthwhile(&turns));
    }

    #[test]
    fn two_readers_of_little_are_not() {
        let turns = turns();
        come(&turns, 10);
        for ino in [1, 2, 1, 2] {
            turns.begin_read(Ino(ino), LONG_MIN - 1);
        }
        assert!(is_worthwhile(&turns));
    }

    #[test]
    fn all_threads_serve_while_answers_wait_for_a_disk() {
        let turns = turns();
        come(&turns, 10);
        turns.suspend();
        assert!(!is_worthwhile(&turns));
        thread::sleep(Duration::from_nanos(CROWDED) + Duration::from_millis(1));
        assert!(is_worthwhile(&turns));
    }

    #[test]
    fn a_request_that_is_looked_out_for_is_found() {
        let (device, mut requests) = io::pipe().unwrap();
        let turns = turns_on(device);
        come(&turns, 10);
        thread::scope(|scope| {
            // Where somebody else needs the processor, it is given up until the next request.
            let found = scope.spawn(|| {
                (0..100_000).any(|_| {
                    come(&turns, 1);
                    turns.poll_next()
                })
            });
            thread::sleep(Duration::from_millis(10));
            requests.write_all(&[0]).unwrap();
            assert!(found.join().unwrap());
        });
    }

    #[test]
    fn what_does_not_come_is_looked_out_for_until_patience_ends() {
        let (device, _requests) = io::pipe().unwrap();
        let turns = turns_on(device);
        come(&turns, 10);
        assert!(!turns.poll_next());
        let began = Instant::now();
        assert!(!is_worthwhile(&turns) && !turns.poll_next());
        assert!(began.elapsed() < TIMEOUT / 2);
    }

    #[test]
    fn the_more_often_somebody_needs_the_processor_the_longer_it_is_theirs() {
        let turns = turns();
        come(&turns, 10);
        let pause_from = |now| {
            turns.back_off(now);
            turns.pause_ends.load(Ordering::Relaxed) - now
        };
        let mut now = 1_000_000_000;
        for expected in [4, 8, 16, 32, 64, 128, 160, 160] {
            let pause = pause_from(now);
            assert_eq!(pause, expected * 1_000_000);
            now += pause + 1;
        }
        assert_eq!(pause_from(now + 1_000_000_000), PAUSE.0);
        assert!(!is_worthwhile(&turns));
    }

    #[test]
    fn whoever_stays_away_comes_back() {
        let polling = PollConfig {
            device: File::open("/dev/null").unwrap().into(),
            timeout: Duration::from_micros(200),
        };
        let turns = BusyPoll::new(8, Some(polling));
        let (done, wait) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..8 {
                let (turns, done) = (&turns, done.clone());
                scope.spawn(move || {
                    for _ in 0..2000 {
                        turns.begin();
                        turns.answered();
                        turns.poll_next();
                        thread::sleep(Duration::from_micros(5));
                    }
                    done.send(()).unwrap();
                });
            }
            for _ in 0..8 {
                wait.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        });
    }

    #[test]
    fn requests_that_queue_up_are_more_than_one_thread_can_serve() {
        let turns = turns();
        for _ in 0..1000 {
            turns.begin();
            turns.answered();
        }
        assert!(!is_worthwhile(&turns));
    }
}
