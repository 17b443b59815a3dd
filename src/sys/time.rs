//! Local time, in the time zone of this process.
#![allow(unsafe_code)]

use std::mem;
use std::time::{Duration, SystemTime};

/// Returns the start of an hour of local time in seconds since 1970 (UTC), or `None` for a date that
/// does not exist. Months count from 1.
pub fn local_hour(year: u16, month: u16, day: u16, hour: u16) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // SAFETY: `tm` is a plain C struct, for which all zeroes are a valid value.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    time.tm_year = i32::from(year) - 1900;
    time.tm_mon = i32::from(month) - 1;
    time.tm_mday = day.into();
    time.tm_hour = hour.into();
    // mktime(3) finds out from the time zone whether summer time was in force.
    time.tm_isdst = -1;
    // SAFETY: the pointer is to a live, exclusively borrowed `tm`.
    let seconds = unsafe { libc::mktime(&mut time) };
    (seconds != -1).then_some(seconds)
}

/// Converts a time in seconds since 1970 (UTC) to local time: year, month, day, hour, minute and
/// second, of which month and day count from 1. Returns `None` for a year that does not fit.
pub fn local_time(seconds: i64) -> Option<[i32; 6]> {
    // SAFETY: `tm` is a plain C struct, for which all zeroes are a valid value.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to live values, the second one exclusively borrowed.
    let done = unsafe { libc::localtime_r(&seconds, &mut time) };
    (!done.is_null()).then_some([
        time.tm_year.checked_add(1900)?,
        time.tm_mon + 1,
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
    ])
}

/// Converts a time in seconds and nanoseconds since 1970 (UTC), as system calls have it.
pub fn system_time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        epoch.checked_sub(whole)
    } else {
        epoch.checked_add(whole)
    };
    let part = Duration::from_nanos(nanoseconds.unsigned_abs());
    // On Linux every such time fits.
    time.and_then(|time| time.checked_add(part))
        .unwrap_or(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_dates_are_not_times() {
        assert_eq!(local_hour(2024, 0, 1, 0), None);
        assert_eq!(local_hour(2024, 13, 1, 0), None);
        assert_eq!(local_hour(2024, 1, 0, 0), None);
        let noon = local_hour(2024, 6, 1, 12).unwrap();
        let next_noon = local_hour(2024, 6, 2, 12).unwrap();
        assert_eq!(next_noon - noon, 86_400);
    }

    #[test]
    fn a_fraction_of_a_second_before_1970_counts_forward() {
        let before = |nanoseconds| SystemTime::UNIX_EPOCH - Duration::from_nanos(nanoseconds);
        assert_eq!(system_time(-1, 0), before(1_000_000_000));
        assert_eq!(system_time(-1, 999_999_999), before(1));
        let after = SystemTime::UNIX_EPOCH + Duration::new(5, 7);
        assert_eq!(system_time(5, 7), after);
    }
}
