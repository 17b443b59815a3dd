//! The list of an archive as a table, for people.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::listing::Listing;
use super::row::{Npy, Row};
use super::totals::Totals;
use crate::commands::error::Error;
use crate::ui::color::{FAULT, HEADING};
use crate::ui::human::{self, Escaped, Size};

const HEADINGS: [&str; COLUMNS] = [
    "name", "dtype", "shape", "order", "size", "method", "offset", "align", "lane",
];
const COLUMNS: usize = 9;
/// The first columns, name, dtype and shape, are shortened to fit a narrow terminal.
const SHORTENED: usize = 3;
/// The columns of sizes and offsets.
const RIGHT_ALIGNED: [usize; 2] = [4, 6];
/// Spaces between columns.
const GAP: usize = 2;
/// The least width to which a column is shortened, in terminal columns.
const WIDTH_MIN: usize = 5;
/// Spaces before a note below a row.
const INDENT: usize = 4;

/// Writes a line for each member, one for the frame and one with the totals. With a `width`, they fit
/// a terminal of that many columns.
pub(super) fn write(
    out: &mut impl Write,
    listing: &Listing<'_>,
    width: Option<usize>,
) -> Result<(), Error> {
    let mut widths = HEADINGS.map(UnicodeWidthStr::width);
    let mut totals = Totals::default();
    for row in listing.rows() {
        let row = row?;
        totals.add(&row);
        for (width, cell) in widths.iter_mut().zip(cells(&row, listing.page_bytes)) {
            *width = cell.width().max(*width);
        }
    }
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    let mut table = Table { out, widths, width };
    let plain = Style::new();
    table.line(HEADINGS.map(Cow::Borrowed), [HEADING; COLUMNS], "")?;
    for row in listing.rows() {
        let row = row?;
        let cells = cells(&row, listing.page_bytes);
        table.line(cells, styles(&row), &note(&row))?;
    }
    if let Some(frame) = listing.frame()? {
        table.paragraph(&frame.to_string(), 0, plain)?;
    }
    let archive = Size(listing.len_bytes());
    table.paragraph(&format!("{totals}, {archive} archive"), 0, plain)?;
    Ok(listing.check()?)
}

/// Shortens columns, the widest first, until a line fits.
fn fit(widths: &mut [usize; COLUMNS], width: usize) {
    let fixed = widths[SHORTENED..].iter().sum::<usize>() + GAP * (COLUMNS - 1);
    let columns = &mut widths[..SHORTENED];
    while fixed + columns.iter().sum::<usize>() > width {
        // max_by_key returns the last of equal maxima, so names are shortened last.
        match columns.iter_mut().max_by_key(|column| **column) {
            Some(column) if *column > WIDTH_MIN => *column -= 1,
            _ => return,
        }
    }
}

fn cells(row: &Row<'_>, page_bytes: u64) -> [Cow<'static, str>; COLUMNS] {
    let member = row.member;
    let npy = row.npy.as_ref();
    let or_dash = |text: Option<String>| text.map_or(Cow::Borrowed("-"), Cow::Owned);
    [
        Escaped(row.name).to_string().into(),
        or_dash(npy.map(|npy| Escaped(npy.header.descr.as_bytes()).to_string())),
        or_dash(npy.map(|npy| match npy.header.shape[..] {
            [] => "()".to_owned(),
            _ => npy.header.shape_text(),
        })),
        npy.map_or("-", order).into(),
        Size(member.size).to_string().into(),
        member.method.to_string().into(),
        or_dash(member.data_offset().map(|offset| offset.to_string())),
        npy.map_or("-", |npy| alignment(npy, page_bytes)).into(),
        lane(row),
    ]
}

fn order(npy: &Npy) -> &'static str {
    if npy.header.fortran_order { "F" } else { "C" }
}

fn alignment(npy: &Npy, page_bytes: u64) -> &'static str {
    match (npy.is_at_multiple_of(page_bytes), npy.is_aligned()) {
        (Some(true), _) => "page",
        (_, Some(true)) => "64",
        (_, Some(false)) => "no",
        (_, None) => "-",
    }
}

fn lane(row: &Row<'_>) -> Cow<'static, str> {
    match row.lane {
        Some(lane) => lane.to_string().into(),
        None if row.path.is_none() => "hidden".into(),
        None if row.is_directory() => "directory".into(),
        None => "none".into(),
    }
}

/// The styles of the cells. A note has the style of the last one.
fn styles(row: &Row<'_>) -> [Style; COLUMNS] {
    let mut styles = [Style::new(); COLUMNS];
    if row.member.problem.is_some() {
        styles[COLUMNS - 1] = FAULT;
    }
    styles
}

/// Why the member cannot be read, and its path in a mount if that differs from its name.
fn note(row: &Row<'_>) -> String {
    let problem = row.member.problem.as_ref().map(ToString::to_string);
    let path = row.path.as_ref().map(String::as_bytes);
    let renamed = path.filter(|path| *path != row.name);
    let renamed = renamed.map(|path| format!("shown as {}", Escaped(path)));
    let notes: Vec<_> = problem.into_iter().chain(renamed).collect();
    notes.join("; ")
}

struct Table<'a, W> {
    out: &'a mut W,
    widths: [usize; COLUMNS],
    /// The width of the terminal; `None` if the table does not go to one.
    width: Option<usize>,
}

impl<W: Write> Table<'_, W> {
    /// Writes a row and its note: behind the row, or below it on a terminal.
    fn line(
        &mut self,
        cells: [Cow<'_, str>; COLUMNS],
        styles: [Style; COLUMNS],
        note: &str,
    ) -> Result<(), Error> {
        // Spaces are written only before something else, so that no line ends with them.
        let mut spaces = 0;
        for (column, cell) in cells.iter().enumerate() {
            let cell = human::shortened(cell, self.widths[column]);
            let missing = self.widths[column].saturating_sub(cell.width());
            let (before, after) = if RIGHT_ALIGNED.contains(&column) {
                (missing, 0)
            } else {
                (0, missing)
            };
            let style = styles[column];
            self.write(format_args!(
                "{:1$}{style}{cell}{style:#}",
                "",
                spaces + before
            ))?;
            spaces = after + GAP;
        }
        if note.is_empty() {
            return self.write(format_args!("\n"));
        }
        let style = styles[COLUMNS - 1];
        if self.width.is_none() {
            return self.write(format_args!("{:spaces$}{style}{note}{style:#}\n", ""));
        }
        self.write(format_args!("\n"))?;
        self.paragraph(note, INDENT, style)
    }

    /// Writes text, broken between words into lines that fit.
    fn paragraph(&mut self, text: &str, indent: usize, style: Style) -> Result<(), Error> {
        let room = self
            .width
            .map_or(usize::MAX, |width| width - indent.min(width));
        let mut used = 0;
        self.write(format_args!("{style}"))?;
        for word in text.split(' ') {
            let width = word.width();
            if used == 0 {
                self.write(format_args!("{:indent$}{word}", ""))?;
                used = width;
            } else if used + 1 + width <= room {
                self.write(format_args!(" {word}"))?;
                used += 1 + width;
            } else {
                self.write(format_args!("\n{:indent$}{word}", ""))?;
                used = width;
            }
        }
        self.write(format_args!("{style:#}\n"))
    }

    fn write(&mut self, text: fmt::Arguments<'_>) -> Result<(), Error> {
        self.out.write_fmt(text).map_err(Error::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_are_shortened_until_a_line_fits() {
        let fitted = |name, dtype, shape, width| {
            let mut widths = [name, dtype, shape, 5, 6, 6, 6, 5, 6];
            fit(&mut widths, width);
            assert_eq!(widths[SHORTENED..], [5, 6, 6, 6, 5, 6]);
            [widths[0], widths[1], widths[2]]
        };
        // The other columns and the spaces between columns take 50.
        assert_eq!(fitted(10, 5, 5, 70), [10, 5, 5]);
        assert_eq!(fitted(11, 5, 5, 70), [10, 5, 5]);
        assert_eq!(fitted(60, 40, 5, 80), [13, 12, 5]);
        assert_eq!(fitted(60, 40, 50, 80), [10, 10, 10]);
        assert_eq!(fitted(60, 40, 50, 0), [5, 5, 5]);
    }

    #[test]
    fn a_paragraph_is_broken_between_words() {
        let broken = |width, indent| {
            let mut out = Vec::new();
            let widths = [0; COLUMNS];
            let mut table = Table {
                out: &mut out,
                widths,
                width,
            };
            table
                .paragraph("a word, and incomprehensibilities", indent, Style::new())
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(broken(None, 2), "  a word, and incomprehensibilities\n");
        assert_eq!(broken(Some(9), 0), "a word,\nand\nincomprehensibilities\n");
        assert_eq!(
            broken(Some(10), 2),
            "  a word,\n  and\n  incomprehensibilities\n"
        );
        assert_eq!(
            broken(Some(1), 2),
            "  a\n  word,\n  and\n  incomprehensibilities\n"
        );
    }
}
