//! The times of members, as MS-DOS has them.

use std::collections::HashMap;

use crate::sys;

/// Turns MS-DOS dates and times into seconds since 1970 (UTC).
pub(super) struct Times {
    unset: i64,
    /// When the first and the last hour of a day began: to ask the time zone costs more than all
    /// else that is done for a member.
    days: HashMap<u16, Option<(i64, i64)>>,
}

impl Times {
    /// What `np.savez` and other writers without a clock store: midnight of 1980-01-01.
    const UNSET: (u16, u16) = (1 << 5 | 1, 0);

    /// Members without a time of their own get `unset`.
    pub(super) fn new(unset: i64) -> Self {
        Self {
            unset,
            days: HashMap::new(),
        }
    }

    /// APPNOTE 4.4.6: local time, in steps of two seconds.
    pub(super) fn of(&mut self, date: u16, time: u16) -> i64 {
        if (date, time) == Self::UNSET {
            return self.unset;
        }
        let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
        let local_hour = |hour| sys::local_hour(year, month, day, hour);
        let of_day = || local_hour(0).zip(local_hour(23));
        let hour = time >> 11;
        let began = match *self.days.entry(date).or_insert_with(of_day) {
            Some((first, last)) if last - first == 23 * 3600 => {
                Some(first + i64::from(hour) * 3600)
            }
            // A day on which the clocks are changed.
            Some(_) => local_hour(hour),
            None => None,
        };
        began.map_or(self.unset, |began| {
            began + i64::from(time >> 5 & 63) * 60 + i64::from(time & 31) * 2
        })
    }
}
