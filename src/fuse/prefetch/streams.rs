//! Detects clients that read the files of a directory in order, and decides how much to prefetch
//! for them.

use super::order::ReadOrder;
use crate::tree::Ino;

/// The number of files read in a row that make a stream.
const RUN_MIN: u32 = 4;

/// The number of files of the first batch, and of the largest.
const WINDOW: (usize, usize) = (32, 128);

/// The maximum number of bytes prefetched of a file. Its worker answers no request meanwhile.
const REACH_MAX: u64 = 1 << 20;

/// The maximum number of streams. The one that has been idle longest makes room for another.
const STREAMS_MAX: usize = 8;

/// The streams of a mount.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// The number of lookups, as a clock.
    time: u64,
}

/// One or more clients that look up and read files one after the other.
#[derive(Debug)]
struct Stream {
    order: ReadOrder,
    /// The file looked up last, its position in the order, and whether it was read.
    last: Ino,
    position: usize,
    was_read: bool,
    /// The largest offset up to which a file was read.
    reach: u64,
    /// The number of files read in a row.
    run: u32,
    /// The number of files of the next batch.
    window: usize,
    /// A read at this position triggers the next batch, and the position before which all is
    /// prefetched.
    next: usize,
    done: usize,
    /// The time of the last lookup.
    time: u64,
}

/// A batch to prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) order: ReadOrder,
    /// The first position.
    pub(super) start: usize,
    /// The number of files.
    pub(super) count: usize,
    /// The number of bytes of each file.
    pub(super) reach: u64,
}

impl Streams {
    /// Notes a lookup of the file `ino`, at a position in an order.
    pub(super) fn looked_up(&mut self, order: ReadOrder, ino: Ino, position: usize) {
        self.time += 1;
        let goes_on = |stream: &&mut Stream| {
            let last = stream.done.max(stream.position + 1);
            stream.order == order && (stream.position + 1..=last).contains(&position)
        };
        if let Some(stream) = self.streams.iter_mut().find(goes_on) {
            if !stream.was_read {
                stream.run = 0;
            }
            stream.last = ino;
            stream.position = position;
            stream.was_read = false;
            stream.time = self.time;
        } else {
            self.begin(order, ino, position);
        }
    }

    /// Notes that a file was read up to the offset `end`. Returns the next batch, if it is due.
    pub(super) fn read(&mut self, ino: Ino, end: u64) -> Option<Plan> {
        let mut plan = None;
        for stream in self.streams.iter_mut().filter(|stream| stream.last == ino) {
            stream.reach = stream.reach.max(end).min(REACH_MAX);
            if stream.was_read {
                continue;
            }
            stream.was_read = true;
            stream.run += 1;
            if stream.run >= RUN_MIN && stream.position >= stream.next {
                plan = plan.or(Some(Plan {
                    order: stream.order,
                    start: stream.done.max(stream.position + 1),
                    count: stream.window,
                    reach: stream.reach,
                }));
            }
        }
        plan
    }

    /// Notes that a batch is under way, up to the position `end`. The next one is due when the file
    /// at the position `next` is read.
    pub(super) fn planned(&mut self, plan: &Plan, next: usize, end: usize) {
        let is_it = |stream: &&mut Stream| {
            stream.order == plan.order && stream.done.max(stream.position + 1) == plan.start
        };
        if let Some(stream) = self.streams.iter_mut().find(is_it) {
            stream.next = next;
            stream.done = end;
            stream.window = (stream.window * 4).min(WINDOW.1);
        }
    }

    fn begin(&mut self, order: ReadOrder, ino: Ino, position: usize) {
        if self.streams.len() == STREAMS_MAX {
            let oldest = self.streams.iter().map(|stream| stream.time).min();
            self.streams.retain(|stream| Some(stream.time) != oldest);
        }
        self.streams.push(Stream {
            order,
            last: ino,
            position,
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

    const ORDER: ReadOrder = ReadOrder {
        directory: Ino::ROOT,
        by: OrderBy::Archive,
    };

    fn look_up(streams: &mut Streams, position: usize) {
        streams.looked_up(ORDER, Ino(position as u64 + 2), position);
    }

    fn read(streams: &mut Streams, position: usize) -> Option<Plan> {
        look_up(streams, position);
        streams.read(Ino(position as u64 + 2), 4096)
    }

    fn plan(start: usize, count: usize) -> Option<Plan> {
        Some(Plan {
            order: ORDER,
            start,
            count,
            reach: 4096,
        })
    }

    /// Returns a stream for which the positions 14 to 17 are under way.
    fn stream() -> Streams {
        let mut streams = Streams::default();
        assert_eq!(
            [10, 11, 12].map(|position| read(&mut streams, position)),
            [None; 3]
        );
        let first = read(&mut streams, 13);
        assert_eq!(first, plan(14, 32));
        streams.planned(&first.unwrap(), 15, 18);
        streams
    }

    #[test]
    fn files_read_in_a_row_make_a_stream() {
        stream();
    }

    #[test]
    fn batches_grow_as_long_as_they_are_used() {
        let mut streams = stream();
        assert_eq!(read(&mut streams, 15), plan(18, 128));
        streams.planned(&plan(18, 128).unwrap(), 40, 146);
        assert_eq!(read(&mut streams, 18), None);
        assert_eq!(read(&mut streams, 40), plan(146, 128));
    }

    #[test]
    fn files_that_are_not_read_make_no_stream() {
        let mut streams = Streams::default();
        for position in 0..100 {
            look_up(&mut streams, position);
        }
        assert_eq!(streams.read(Ino(101), 4096), None);
    }

    #[test]
    fn a_stream_that_stops_reading_ends() {
        let mut streams = stream();
        look_up(&mut streams, 15);
        look_up(&mut streams, 18);
        assert_eq!(streams.read(Ino(20), 4096), None);
    }

    #[test]
    fn files_in_no_order_make_no_stream() {
        let mut streams = Streams::default();
        for position in [7, 3, 12, 9, 1, 15, 4, 20, 2, 30, 11, 6] {
            assert_eq!(read(&mut streams, position), None);
        }
    }

    #[test]
    fn as_much_of_each_file_is_wanted_as_was_read_of_one() {
        let mut streams = Streams::default();
        for (position, end) in [(0, 100), (1, 9000), (2, 100)] {
            look_up(&mut streams, position);
            streams.read(Ino(position as u64 + 2), end);
        }
        assert_eq!(read(&mut streams, 3).unwrap().reach, 9000);
        streams.read(Ino(5), u64::MAX);
        assert_eq!(read(&mut streams, 4).unwrap().reach, REACH_MAX);
    }

    #[test]
    fn streams_are_independent_of_each_other() {
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
    fn the_stream_idle_longest_makes_room_for_another() {
        let mut streams = stream();
        for start in (100..100 * (STREAMS_MAX + 1)).step_by(100) {
            read(&mut streams, start);
        }
        assert_eq!(streams.streams.len(), STREAMS_MAX);
        assert_eq!(read(&mut streams, 15), None);
    }
}
