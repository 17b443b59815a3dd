//! The MS-DOS dates and times of headers (APPNOTE 4.4.6).

use std::collections::HashMap;

use crate::sys;

/// Converts MS-DOS dates and times to seconds since 1970 (UTC).
#[derive(Default)]
pub(super) struct DosTimes {
    /// Start of the first and of the last hour of each day. Asking the time zone costs more than
    /// everything else that is done for a member.
    days: HashMap<u16, Option<(i64, i64)>>,
}

impl DosTimes {
    /// Midnight of 1980-01-01, which `np.savez` and other writers without a clock store.
    const UNSET: (u16, u16) = (1 << 5 | 1, 0);

    /// Converts a local time, in steps of two seconds. Returns `None` if it is unset or does not exist.
    pub(super) fn seconds(&mut self, date: u16, time: u16) -> Option<i64> {
        if (date, time) == Self::UNSET {
            return None;
        }
        let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
        let local_hour = |hour| sys::time::local_hour(year, month, day, hour);
        let first_and_last = || local_hour(0).zip(local_hour(23));
        let hour = time >> 11;
        let hour_start = match *self.days.entry(date).or_insert_with(first_and_last) {
            Some((first, last)) if last - first == 23 * 3600 => {
                Some(first + i64::from(hour) * 3600)
            }
            // The clocks are changed on this day.
            Some(_) => local_hour(hour),
            None => None,
        };
        hour_start.map(|start| start + i64::from(time >> 5 & 63) * 60 + i64::from(time & 31) * 2)
    }
}
