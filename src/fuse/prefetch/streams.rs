//! Who goes through a directory in order, and how far ahead of them it pays to be.

use super::order::ReadOrder;
use crate::tree::Ino;

/// How many files that are read one after the other make a stream.
const RUN_MIN: u32 = 4;

/// How many files are prefetched at first, and at most, at a time.
const WINDOW: (usize, usize) = (32, 128);

/// How much of a file is prefetched at most, in bytes: while it is stored no request is answered.
const REACH_MAX: u64 = 1 << 20;

/// How many streams are told apart. The one that has not gone on for longest makes room.
const STREAMS_MAX: usize = 8;

/// The streams of a mount.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// How many lookups there were.
    time: u64,
}

/// A client, or several, that look up and read one file of a series after the other.
#[derive(Debug)]
struct Stream {
    series: ReadOrder,
    /// The file that was looked up last, its place in the series, and whether it was read.
    last: Ino,
    place: usize,
    was_read: bool,
    /// How far the files were read, at most, in bytes.
    reach: u64,
    /// How many were read in a row.
    run: u32,
    /// How many to prefetch the next time.
    window: usize,
    /// The place from which on more is to be prefetched, and the one before which all was.
    next: usize,
    done: usize,
    /// When it went on.
    time: u64,
}

/// What to prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) series: ReadOrder,
    /// The place to start at.
    pub(super) start: usize,
    /// How many files.
    pub(super) count: usize,
    /// How much of each, in bytes.
    pub(super) reach: u64,
}

impl Streams {
    /// Somebody has looked up the file `ino`, which is at `place` of `series`.
    pub(super) fn looked_up(&mut self, series: ReadOrder, ino: Ino, place: usize) {
        self.time += 1;
        let goes_on = |stream: &&mut Stream| {
            let last = stream.done.max(stream.place + 1);
            stream.series == series && (stream.place + 1..=last).contains(&place)
        };
        if let Some(stream) = self.streams.iter_mut().find(goes_on) {
            if !stream.was_read {
                stream.run = 0;
            }
            stream.last = ino;
            stream.place = place;
            stream.was_read = false;
            stream.time = self.time;
        } else {
            self.begin(series, ino, place);
        }
    }

    /// Somebody has read a file up to `end`, in bytes. Returns what the stream is going to need.
    pub(super) fn read(&mut self, ino: Ino, end: u64) -> Option<Plan> {
        let mut plan = None;
        for stream in self.streams.iter_mut().filter(|stream| stream.last == ino) {
            stream.reach = stream.reach.max(end).min(REACH_MAX);
            if stream.was_read {
                continue;
            }
            stream.was_read = true;
            stream.run += 1;
            if stream.run >= RUN_MIN && stream.place >= stream.next {
                plan = plan.or(Some(Plan {
                    series: stream.series,
                    start: stream.done.max(stream.place + 1),
                    count: stream.window,
                    reach: stream.reach,
                }));
            }
        }
        plan
    }

    /// What was planned is under way: all up to the place `end`. More is wanted when somebody reads
    /// the file at the place `next`.
    pub(super) fn planned(&mut self, plan: &Plan, next: usize, end: usize) {
        let is_it = |stream: &&mut Stream| {
            stream.series == plan.series && stream.done.max(stream.place + 1) == plan.start
        };
        if let Some(stream) = self.streams.iter_mut().find(is_it) {
            stream.next = next;
            stream.done = end;
            stream.window = (stream.window * 4).min(WINDOW.1);
        }
    }

    fn begin(&mut self, series: ReadOrder, ino: Ino, place: usize) {
        if self.streams.len() == STREAMS_MAX {
            let oldest = self.streams.iter().map(|stream| stream.time).min();
            self.streams.retain(|stream| Some(stream.time) != oldest);
        }
        self.streams.push(Stream {
            series,
            last: ino,
            place,
            was_read: false,
            reach: 0,
            run: 0,
            window: WINDOW.0,
            next: 0,
            done: 0,
            time: self.time,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::OrderBy;
    use super::*;

    const SERIES: ReadOrder = ReadOrder {
        directory: Ino::ROOT,
        by: OrderBy::Archive,
    };

    fn look_up(streams: &mut Streams, place: usize) {
        streams.looked_up(SERIES, Ino(place as u64 + 2), place);
    }

    fn read(streams: &mut Streams, place: usize) -> Option<Plan> {
        look_up(streams, place);
        streams.read(Ino(place as u64 + 2), 4096)
    }

    fn plan(start: usize, count: usize) -> Option<Plan> {
        Some(Plan {
            series: SERIES,
            start,
            count,
            reach: 4096,
        })
    }

    /// A stream for which the places from 14 up to 17 are under way.
    fn stream() -> Streams {
        let mut streams = Streams::default();
        assert_eq!(
            [10, 11, 12].map(|place| read(&mut streams, place)),
            [None; 3]
        );
        let first = read(&mut streams, 13);
        assert_eq!(first, plan(14, 32));
        streams.planned(&first.unwrap(), 15, 18);
        streams
    }

    #[test]
    fn some_files_that_are_read_in_a_row_tell_that_the_next_ones_will_be() {
        stream();
    }

    #[test]
    fn what_is_prefetched_grows_as_long_as_it_is_used() {
        let mut streams = stream();
        assert_eq!(read(&mut streams, 15), plan(18, 128));
        streams.planned(&plan(18, 128).unwrap(), 40, 146);
        assert_eq!(read(&mut streams, 18), None);
        assert_eq!(read(&mut streams, 40), plan(146, 128));
    }

    #[test]
    fn files_that_are_looked_up_and_not_read_make_no_stream() {
        let mut streams = Streams::default();
        for place in 0..100 {
            look_up(&mut streams, place);
        }
        assert_eq!(streams.read(Ino(101), 4096), None);
    }

    #[test]
    fn a_stream_that_stops_reading_is_none_any_more() {
        let mut streams = stream();
        look_up(&mut streams, 15);
        look_up(&mut streams, 18);
        assert_eq!(streams.read(Ino(20), 4096), None);
    }

    #[test]
    fn files_in_no_order_make_no_stream() {
        let mut streams = Streams::default();
        for place in [7, 3, 12, 9, 1, 15, 4, 20, 2, 30, 11, 6] {
            assert_eq!(read(&mut streams, place), None);
        }
    }

    #[test]
    fn as_much_is_wanted_of_each_file_as_was_read_of_one() {
        let mut streams = Streams::default();
        for (place, end) in [(0, 100), (1, 9000), (2, 100)] {
            look_up(&mut streams, place);
            streams.read(Ino(place as u64 + 2), end);
        }
        assert_eq!(read(&mut streams, 3).unwrap().reach, 9000);
        streams.read(Ino(5), u64::MAX);
        assert_eq!(read(&mut streams, 4).unwrap().reach, REACH_MAX);
    }

    #[test]
    fn several_streams_do_not_disturb_each_other() {
        let mut streams = Streams::default();
        let starts = [0, 100, 200, 300, 400, 500, 600, 700];
        for at in 0..3 {
            for start in starts {
                assert_eq!(read(&mut streams, start + at), None);
            }
        }
        for start in starts {
            assert_eq!(read(&mut streams, start + 3), plan(start + 4, 32));
        }
    }

    #[test]
    fn of_too_many_streams_the_one_that_stopped_first_is_forgotten() {
        let mut streams = stream();
        for start in (100..100 * (STREAMS_MAX + 1)).step_by(100) {
            read(&mut streams, start);
        }
        assert_eq!(streams.streams.len(), STREAMS_MAX);
        assert_eq!(read(&mut streams, 15), None);
    }
}
