//! Busy polling: one worker polls for the next request instead of sleeping until it comes.
//!
//! Most of the time of a small request is not work, but two processors that wake each other. So
//! during a series of requests one worker polls the device, and the others are parked: the kernel
//! would wake one of them for each request, for nothing. The price is a processor. So polling stops
//! as soon as requests become rare, as one worker is too few, or as another task needs the
//! processor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::sync::{lock, unpoisoned};
use crate::tree::Ino;

/// The number of requests in quick succession after which polling starts.
const SOON_MIN: u64 = 4;

/// A request comes soon if it does so within this part of [`PollConfig::timeout`] after the last
/// one.
const SOON_PART: u64 = 4;

/// The size from which on a READ is mostly work, in bytes.
const LONG_MIN: u32 = 64 << 10;

/// A request that arrives within this time after an answer was in the queue already, in
/// nanoseconds.
const AT_ONCE: u64 = 3_000;

/// The number of queued requests in a row above which one worker is too few.
const QUEUED_MAX: u64 = 64;

/// The number of polls between two calls of sched_yield(2).
const POLLS_PER_YIELD: u32 = 8;

/// A yield that takes longer than this has run another task, which needs the CPU, in nanoseconds.
const SHARED_MIN: u64 = 100_000;

/// How long all workers serve once one is too few, in nanoseconds.
const CROWDED: u64 = 20_000_000;

/// The shortest and the longest pause while another task needs the CPU, in nanoseconds.
const PAUSE: (u64, u64) = (4_000_000, 160_000_000);

/// The settings of busy polling.
#[derive(Debug)]
pub struct PollConfig {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// How long a worker polls without a request before it sleeps.
    pub timeout: Duration,
}

/// Decides which workers wait for requests, and how. All times are in nanoseconds since `began`.
#[derive(Debug)]
pub(super) struct BusyPoll {
    workers: usize,
    /// `None` if all workers sleep until a request comes.
    config: Option<PollConfig>,
    began: Instant,
    last_arrival: AtomicU64,
    last_answer: AtomicU64,
    /// The number of requests in a row that came soon.
    soon: AtomicU64,
    /// The number of short requests in a row that were in the queue already.
    queued: AtomicU64,
    /// The inodes of the last two long READs.
    long: [AtomicU64; 2],
    /// When polling may start again.
    pause_ends: AtomicU64,
    /// The length of the last pause for another task.
    pause: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of parked workers.
    parked: usize,
    /// Whether one of them is_watcher the deadline.
    is_watched: bool,
    /// How many times polling has ended.
    ends: u64,
}

impl BusyPoll {
    /// Returns the state for that number of workers.
    pub(super) fn new(workers: usize, config: Option<PollConfig>) -> Self {
        Self {
            workers,
            config,
            began: Instant::now(),
            last_arrival: AtomicU64::new(0),
            last_answer: AtomicU64::new(0),
            soon: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            long: Default::default(),
            pause_ends: AtomicU64::new(0),
            pause: AtomicU64::new(PAUSE.0),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Counts a request that a worker has taken.
    pub(super) fn begin(&self) {
        if let Some(config) = &self.config {
            let now = self.record_arrival(config);
            if now.saturating_sub(self.last_answer.load(Ordering::Relaxed)) > AT_ONCE {
                self.queued.store(0, Ordering::Relaxed);
            } else if self.queued.fetch_add(1, Ordering::Relaxed) > QUEUED_MAX {
                self.suspend();
            }
        }
    }

    /// Like `begin`, for a READ of `size` bytes.
    pub(super) fn begin_read(&self, ino: Ino, size: u32) {
        if size < LONG_MIN {
            return self.begin();
        }
        if let Some(config) = &self.config {
            self.record_arrival(config);
            let last = self.long[0].swap(ino.0, Ordering::Relaxed);
            // The reads alternate between two files, so there are two readers or more.
            if last != ino.0 && self.long[1].swap(last, Ordering::Relaxed) == ino.0 {
                self.suspend();
            }
        }
    }

    /// Restarts the clock for a request that was held back until a warm-up was over: that time was
    /// no silence of the client.
    pub(super) fn resume(&self) {
        self.last_arrival.store(self.now(), Ordering::Relaxed);
    }

    /// Suspends polling for a while, so that all workers serve: one is too few, or answers wait for
    /// a disk.
    pub(super) fn suspend(&self) {
        self.pause_ends
            .fetch_max(self.now() + CROWDED, Ordering::Relaxed);
    }

    /// Notes that a request has arrived, and whether it came soon. Returns the time.
    fn record_arrival(&self, config: &PollConfig) -> u64 {
        let now = self.now();
        let gap = now.saturating_sub(self.last_arrival.swap(now, Ordering::Relaxed));
        if gap <= config.timeout_nanos() / SOON_PART {
            self.soon.fetch_add(1, Ordering::Relaxed);
        } else {
            self.soon.store(0, Ordering::Relaxed);
        }
        now
    }

    /// Notes that a request has been answered, or handed to a pool.
    pub(super) fn answered(&self) {
        self.last_answer.store(self.now(), Ordering::Relaxed);
    }

    /// Polls for the next request, or parks this worker while another one does so. Returns when the
    /// worker should read from the device: `true` if polling has found a request.
    pub(super) fn poll_next(&self) -> bool {
        let Some(config) = self.config.as_ref().filter(|it| self.is_worthwhile(it)) else {
            return false;
        };
        let state = lock(&self.state);
        if state.parked + 1 < self.workers {
            self.park(config, state);
            return false;
        }
        drop(state);
        while !(0..POLLS_PER_YIELD).any(|_| has_request(&config.device)) {
            let before = self.now();
            thread::yield_now();
            let after = self.now();
            if after - before > SHARED_MIN {
                self.back_off(after);
            }
            if !self.is_worthwhile(config) {
                end(&mut lock(&self.state), &self.ended);
                return false;
            }
        }
        true
    }

    /// Stops polling for a while, since another task needs this CPU. The scheduler favours a thread
    /// that wakes from a blocking read; a busy-polling one gets no such favour. The pause doubles
    /// each time that contention recurs soon after one (4 ms up to 160 ms).
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

    /// Returns whether polling pays: requests come in quick succession, and one worker is enough.
    fn is_worthwhile(&self, config: &PollConfig) -> bool {
        let now = self.now();
        self.soon.load(Ordering::Relaxed) >= SOON_MIN
            && now.saturating_sub(self.last_arrival.load(Ordering::Relaxed))
                <= config.timeout_nanos()
            && now >= self.pause_ends.load(Ordering::Relaxed)
    }

    /// Parks this worker until polling ends. The polling worker may be busy with a request, so one
    /// parked worker also watches the deadline. It is the one that finds `is_watched` unset, not
    /// the first to park: workers of the previous round may still be waking up.
    fn park(&self, config: &PollConfig, mut state: MutexGuard<'_, State>) {
        let is_watcher = !state.is_watched;
        state.is_watched = true;
        let ends = state.ends;
        state.parked += 1;
        while state.ends == ends {
            if !is_watcher {
                state = unpoisoned(self.ended.wait(state));
            } else if self.is_worthwhile(config) {
                state = unpoisoned(self.ended.wait_timeout(state, config.timeout)).0;
            } else {
                end(&mut state, &self.ended);
            }
        }
        state.parked -= 1;
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

/// Returns whether a request is in the queue, or the mount has ended.
pub(super) fn has_request(device: &OwnedFd) -> bool {
    let mut device = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut device, PollTimeout::ZERO), Ok(0))
}

/// Ends polling, and wakes all parked workers.
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

    fn poll_on(device: impl Into<OwnedFd>) -> BusyPoll {
        let config = PollConfig {
            device: device.into(),
            timeout: TIMEOUT,
        };
        BusyPoll::new(1, Some(config))
    }

    fn poll() -> BusyPoll {
        poll_on(File::open("/dev/null").unwrap())
    }

    fn is_worthwhile(poll: &BusyPoll) -> bool {
        poll.is_worthwhile(poll.config.as_ref().unwrap())
    }

    /// Takes and answers requests of a client that pauses between them.
    fn serve(poll: &BusyPoll, count: usize) {
        for _ in 0..count {
            poll.begin();
            poll.answered();
            thread::sleep(Duration::from_micros(10));
        }
    }

    #[test]
    fn a_few_requests_in_quick_succession_start_polling() {
        let poll = poll();
        serve(&poll, 3);
        assert!(!is_worthwhile(&poll));
        serve(&poll, 1);
        assert!(is_worthwhile(&poll));
    }

    #[test]
    fn a_late_request_restarts_the_count() {
        let poll = poll();
        serve(&poll, 10);
        thread::sleep(TIMEOUT / 2);
        assert!(is_worthwhile(&poll));
        serve(&poll, 1);
        assert!(!is_worthwhile(&poll));
    }

    #[test]
    fn polling_stops_after_a_silence() {
        let poll = poll();
        serve(&poll, 10);
        thread::sleep(TIMEOUT + Duration::from_millis(1));
        assert!(!is_worthwhile(&poll));
    }

    #[test]
    fn two_readers_of_large_blocks_stop_polling() {
        let poll = poll();
        serve(&poll, 10);
        for ino in [1, 1, 2, 2, 3] {
            poll.begin_read(Ino(ino), LONG);
        }
        assert!(is_worthwhile(&poll));
        poll.begin_read(Ino(2), LONG);
        assert!(!is_worthwhile(&poll));
    }

    #[test]
    fn two_readers_of_small_blocks_do_not_stop_polling() {
        let poll = poll();
        serve(&poll, 10);
        for ino in [1, 2, 1, 2] {
            poll.begin_read(Ino(ino), LONG_MIN - 1);
        }
        assert!(is_worthwhile(&poll));
    }

    #[test]
    fn polling_is_suspended_while_answers_wait_for_a_disk() {
        let poll = poll();
        serve(&poll, 10);
        poll.suspend();
        assert!(!is_worthwhile(&poll));
        thread::sleep(Duration::from_nanos(CROWDED) + Duration::from_millis(1));
        assert!(is_worthwhile(&poll));
    }

    #[test]
    fn polling_finds_a_request() {
        let (device, mut requests) = io::pipe().unwrap();
        let poll = poll_on(device);
        serve(&poll, 10);
        thread::scope(|scope| {
            // If another task needs the CPU, polling pauses until the next request.
            let found = scope.spawn(|| {
                (0..100_000).any(|_| {
                    serve(&poll, 1);
                    poll.poll_next()
                })
            });
            thread::sleep(Duration::from_millis(10));
            requests.write_all(&[0]).unwrap();
            assert!(found.join().unwrap());
        });
    }

    #[test]
    fn polling_without_a_request_ends_at_the_timeout() {
        let (device, _requests) = io::pipe().unwrap();
        let poll = poll_on(device);
        serve(&poll, 10);
        assert!(!poll.poll_next());
        let began = Instant::now();
        assert!(!is_worthwhile(&poll) && !poll.poll_next());
        assert!(began.elapsed() < TIMEOUT / 2);
    }

    #[test]
    fn the_pause_doubles_while_contention_recurs() {
        let poll = poll();
        serve(&poll, 10);
        let pause_from = |now| {
            poll.back_off(now);
            poll.pause_ends.load(Ordering::Relaxed) - now
        };
        let mut now = 1_000_000_000;
        for expected in [4, 8, 16, 32, 64, 128, 160, 160] {
            let pause = pause_from(now);
            assert_eq!(pause, expected * 1_000_000);
            now += pause + 1;
        }
        assert_eq!(pause_from(now + 1_000_000_000), PAUSE.0);
        assert!(!is_worthwhile(&poll));
    }

    #[test]
    fn parked_workers_wake_up() {
        let config = PollConfig {
            device: File::open("/dev/null").unwrap().into(),
            timeout: Duration::from_micros(200),
        };
        let poll = BusyPoll::new(8, Some(config));
        let (done, wait) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..8 {
                let (poll, done) = (&poll, done.clone());
                scope.spawn(move || {
                    for _ in 0..2000 {
                        poll.begin();
                        poll.answered();
                        poll.poll_next();
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
    fn queued_requests_stop_polling() {
        let poll = poll();
        for _ in 0..1000 {
            poll.begin();
            poll.answered();
        }
        assert!(!is_worthwhile(&poll));
    }
}
