//! Mounts as a table. Like findmnt(8), an empty table has no heading.

use std::iter;
use std::os::unix::ffi::OsStrExt;

use anstyle::Style;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::entry::{self, Entry};
use crate::mount::server::{MountStats, State};
use crate::ui::color::{FAULT, HEADING, NOTE, SOUND};
use crate::ui::human::{Escaped, Size};

const COLUMNS: usize = 7;
/// The column of the state.
const STATE: usize = 3;

/// A row with the style of each cell.
type Row = ([String; COLUMNS], [Style; COLUMNS]);

const HEADINGS: [&str; COLUMNS] = [
    "MOUNTPOINT",
    "ARCHIVE",
    "PID",
    "STATE",
    "MEMBERS",
    "SERVED",
    "LANES",
];

/// Formats mounts as a table with a heading.
pub(super) fn format(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let heading = (HEADINGS.map(str::to_owned), [HEADING; COLUMNS]);
    let rows: Vec<_> = iter::once(heading).chain(entries.iter().map(row)).collect();
    align(&rows)
}

/// Returns the row of a mount. Unknown values are hyphens.
fn row(entry: &Entry) -> Row {
    let cell = |format: fn(&MountStats) -> String| {
        entry.state.stats().map_or_else(|| "-".to_owned(), format)
    };
    let cells = [
        Escaped(entry.mount_point.as_os_str().as_bytes()).to_string(),
        Escaped(entry.archive.as_bytes()).to_string(),
        cell(|stats| stats.pid.map_or("-".to_owned(), |pid| pid.to_string())),
        entry::name(&entry.state).to_owned(),
        cell(|stats| stats.members.to_string()),
        cell(|stats| Size(stats.bytes_read).to_string()),
        cell(lanes),
    ];
    let mut styles = [Style::new(); COLUMNS];
    styles[STATE] = style(&entry.state);
    (cells, styles)
}

fn lanes(stats: &MountStats) -> String {
    let lane =
        |(name, members): (&String, &Value)| format!("{members} {}", Escaped(name.as_bytes()));
    stats.lanes.iter().map(lane).collect::<Vec<_>>().join(", ")
}

fn style(state: &State) -> Style {
    match state {
        State::Live(stats) if stats.stale => FAULT,
        State::Live(_) => SOUND,
        State::Dead | State::NotAnswering | State::Unclear => FAULT,
        State::NotPermitted | State::Covered => NOTE,
    }
}

/// Pads cells to the widths of their columns, which are two blanks apart.
fn align(rows: &[Row]) -> String {
    let mut widths = [0; COLUMNS];
    for (cells, _) in rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for (cells, styles) in rows {
        // Padding goes before the next cell, so that no line ends with blanks.
        let mut padding = 0;
        for ((cell, style), width) in cells.iter().zip(styles).zip(widths) {
            text += &format!("{:padding$}{style}{cell}{style:#}", "");
            padding = width - cell.width() + 2;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> MountStats {
        let lanes = serde_json::from_str(r#"{"mapped": 2, "unreadable": 1}"#).unwrap();
        MountStats {
            pid: Some(7),
            stale: false,
            members: 3,
            lanes,
            bytes_read: 1000,
            uptime_seconds: 5,
        }
    }

    fn entry(mount_point: &str, state: State) -> Entry {
        Entry {
            mount_point: mount_point.into(),
            archive: "/data/frame.npz".into(),
            state,
        }
    }

    #[test]
    fn columns_are_aligned_and_names_escaped() {
        let table = format(&[
            entry("/mnt/a\nb", State::Live(stats())),
            entry("/mnt/a\nb", State::Dead),
        ]);
        let dead = format!("/data/frame.npz  -    {FAULT}dead{FAULT:#}   -        -       -\n");
        assert!(table.ends_with(&dead), "{table:?}");
        assert_eq!(
            anstream::adapter::strip_str(&table).to_string(),
            "MOUNTPOINT  ARCHIVE          PID  STATE  MEMBERS  SERVED  LANES\n\
             /mnt/a\\nb   /data/frame.npz  7    live   3        1.0 kB  2 mapped, 1 unreadable\n\
             /mnt/a\\nb   /data/frame.npz  -    dead   -        -       -\n"
        );
    }

    #[test]
    fn without_mounts_there_is_no_table() {
        assert_eq!(format(&[]), "");
    }

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let table = format(&[
            entry("/mnt/a b", State::Dead),
            entry("/mnt/漢字", State::Dead),
        ]);
        let table = anstream::adapter::strip_str(&table).to_string();
        let starts = table
            .lines()
            .map(|line| line.split_at(line.find("/data").unwrap_or(12)).0);
        assert!(
            starts.map(UnicodeWidthStr::width).all(|width| width == 12),
            "{table}"
        );
    }
}
