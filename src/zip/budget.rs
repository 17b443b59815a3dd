//! Budgets of memory for archives of hostile size: work that does not fit at the same time is done
//! one after the other.

use std::sync::{Condvar, Mutex};

use crate::sys::sync::{lock, unpoisoned};

/// Leases of fewer bytes than this are not counted.
const SMALL: u64 = 4 << 20;

/// For the large indexes that are being built, and the trees that are being built from them.
pub(crate) static INDEXES: Budget = Budget::new(192 << 20);

/// For the large windows of decoders.
pub(crate) static WINDOWS: Budget = Budget::new(128 << 20);

/// An amount of memory.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    taken: Mutex<u64>,
    released: Condvar,
}

impl Budget {
    const fn new(total: u64) -> Self {
        Self {
            total,
            taken: Mutex::new(0),
            released: Condvar::new(),
        }
    }

    /// Waits until `bytes` are left and takes them; more than the whole budget counts as all of it. A
    /// thread with a lease must not take another one from the same budget.
    pub(crate) fn take(&self, bytes: u64) -> Lease<'_> {
        let bytes = if bytes < SMALL {
            0
        } else {
            bytes.min(self.total)
        };
        let mut taken = lock(&self.taken);
        while *taken > self.total - bytes {
            taken = unpoisoned(self.released.wait(taken));
        }
        *taken += bytes;
        Lease {
            budget: self,
            bytes,
        }
    }
}

/// A part of a budget, released on drop.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            *lock(&self.budget.taken) -= self.bytes;
            self.budget.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn work_that_does_not_fit_waits_until_enough_is_released() {
        let budget = Budget::new(16 * MIB);
        let first = budget.take(10 * MIB);
        assert_eq!(*lock(&budget.taken), 10 * MIB);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lease = budget.take(8 * MIB);
                *lock(&budget.taken)
            });
            thread::sleep(std::time::Duration::from_millis(20));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), 8 * MIB);
        });
        assert_eq!(*lock(&budget.taken), 0);
    }

    #[test]
    fn small_leases_never_wait_and_the_largest_takes_all() {
        let budget = Budget::new(16 * MIB);
        let all = budget.take(u64::MAX);
        assert_eq!(*lock(&budget.taken), 16 * MIB);
        drop(budget.take(SMALL - 1));
        drop(all);
        assert_eq!(*lock(&budget.taken), 0);
    }
}
