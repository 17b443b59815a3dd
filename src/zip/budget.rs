//! Memory that work of hostile size shares: what does not fit at once is done one after the other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Work that takes less than this, in bytes, is not counted.
const SMALL: u64 = 4 << 20;

/// What all large indexes may take together that are being made, or being made into trees.
pub static INDEXES: Budget = Budget::new(192 << 20);

/// What all large windows of decoders may take together.
pub static WINDOWS: Budget = Budget::new(128 << 20);

/// An amount of memory.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
}

impl Budget {
    /// A budget of `total` bytes.
    pub const fn new(total: u64) -> Self {
        Self {
            total,
            taken: Mutex::new(0),
            given_back: Condvar::new(),
        }
    }

    /// Waits until there are `bytes` left and takes them; all of the budget, where it is more. Who
    /// has a lease must not take another one of the same budget.
    pub fn take(&self, bytes: u64) -> Lease<'_> {
        let bytes = if bytes < SMALL {
            0
        } else {
            bytes.min(self.total)
        };
        let mut taken = self.lock();
        while *taken > self.total - bytes {
            let woken = self.given_back.wait(taken);
            taken = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *taken += bytes;
        Lease {
            budget: self,
            bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Lease<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            *self.budget.lock() -= self.bytes;
            self.budget.given_back.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_does_not_fit_waits_until_enough_is_given_back() {
        let budget = Budget::new(16 * MIB);
        let first = budget.take(10 * MIB);
        assert_eq!(*budget.lock(), 10 * MIB);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lease = budget.take(8 * MIB);
                *budget.lock()
            });
            thread::sleep(std::time::Duration::from_millis(20));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), 8 * MIB);
        });
        assert_eq!(*budget.lock(), 0);
    }

    #[test]
    fn small_work_never_waits_and_more_than_all_takes_all() {
        let budget = Budget::new(16 * MIB);
        let all = budget.take(u64::MAX);
        assert_eq!(*budget.lock(), 16 * MIB);
        drop(budget.take(SMALL - 1));
        drop(all);
        assert_eq!(*budget.lock(), 0);
    }
}
