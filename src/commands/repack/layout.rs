//! Where in the result each item goes.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::input::Item;
use crate::ui::human::Size;

/// The totals of a result whose items have their places.
pub(super) struct Layout {
    members: u64,
    /// Total length of the contents.
    pub(super) len_bytes: u64,
    padding_len: u64,
    /// End of the last item, where the central directory starts.
    pub(super) end: u64,
}

impl Layout {
    /// Gives each item its place. Fails if the last one would end past the largest file offset.
    pub(super) fn new(items: &mut [Item], align: u64) -> io::Result<Self> {
        let mut layout = Self {
            members: 0,
            len_bytes: 0,
            padding_len: 0,
            end: 0,
        };
        for Item { record, .. } in items {
            let is_array = record.name.ends_with(b".npy");
            layout.padding_len += record.place(layout.end, if is_array { align } else { 1 });
            let end = record.extent().start.checked_add(record.size);
            layout.end = end
                .filter(|&end| i64::try_from(end).is_ok())
                .ok_or(Errno::EFBIG)?;
            layout.len_bytes += record.size;
            layout.members += u64::from(!record.name.ends_with(b"/"));
        }
        Ok(layout)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.members == 1 { "" } else { "s" };
        let percent = self.padding_len as f64 * 100.0 / self.end.max(1) as f64;
        write!(
            f,
            "{} member{plural}, {}, {} of padding ({percent:.3} %)",
            self.members,
            Size(self.len_bytes),
            Size(self.padding_len)
        )
    }
}
