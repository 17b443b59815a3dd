//! The list of an archive as a JSON object, for programs.

use std::fmt;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::listing::Listing;
use super::row::{Npy, Row};
use crate::archive::lane::Lane;
use crate::commands::error::Error;
use crate::ui::human::{Escaped, TerminalSafeJson};
use crate::zip::{MemberError, Method};

/// Writes one object on one line, member by member: a value of all members could take gigabytes.
pub(super) fn write(out: &mut impl Write, listing: &Listing<'_>) -> Result<(), Error> {
    let written = object(out, listing);
    // End the line even if the object is incomplete, so that the next one can be parsed.
    text(out, "\n")?;
    written.and_then(|()| Ok(listing.check()?))
}

fn object(out: &mut impl Write, listing: &Listing<'_>) -> Result<(), Error> {
    let archive = Text(Escaped::path(listing.given));
    text(out, "{\"archive\":")?;
    value(out, &archive)?;
    text(out, ",\"size_bytes\":")?;
    value(out, &listing.len_bytes())?;
    text(out, ",\"members\":[")?;
    let mut before = "";
    for row in listing.rows() {
        text(out, before)?;
        value(out, &MemberObject::new(&row?, listing.page_bytes))?;
        before = ",";
    }
    text(out, "],\"frame\":")?;
    value(out, &listing.frame()?)?;
    text(out, "}")
}

fn text(out: &mut impl Write, text: &str) -> Result<(), Error> {
    out.write_all(text.as_bytes()).map_err(Error::Output)
}

fn value(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    let mut serializer = serde_json::Serializer::with_formatter(out, TerminalSafe);
    let written = value.serialize(&mut serializer);
    written.map_err(|error| Error::Output(error.into()))
}

#[derive(Serialize)]
struct MemberObject<'a> {
    name: Text<Escaped<'a>>,
    path: Option<&'a str>,
    method: Text<Method>,
    size_bytes: u64,
    compressed_bytes: u64,
    crc32: String,
    local_header_offset: u64,
    data_offset: Option<u64>,
    mtime: i64,
    npy: Option<NpyObject<'a>>,
    lane: Option<Text<Lane>>,
    problem: Option<Text<&'a MemberError>>,
}

#[derive(Serialize)]
struct NpyObject<'a> {
    version: String,
    dtype: &'a str,
    fortran_order: bool,
    shape: &'a [u64],
    data_offset: u64,
    aligned_64: Option<bool>,
    aligned_page: Option<bool>,
}

impl<'a> MemberObject<'a> {
    fn new(row: &'a Row<'_>, page_bytes: u64) -> Self {
        let member = row.member;
        Self {
            name: Text(Escaped(row.name)),
            path: row.path.as_deref(),
            method: Text(member.method),
            size_bytes: member.size,
            compressed_bytes: member.extent.len,
            crc32: format!("{:08x}", member.crc32),
            local_header_offset: member.local_header_offset,
            data_offset: member.data_offset(),
            mtime: member.modified,
            npy: row.npy.as_ref().map(|npy| NpyObject::new(npy, page_bytes)),
            lane: row.lane.map(Text),
            problem: member.problem.as_deref().map(Text),
        }
    }
}

impl<'a> NpyObject<'a> {
    fn new(npy: &'a Npy, page_bytes: u64) -> Self {
        Self {
            version: npy.header.version_text(),
            dtype: &npy.header.descr,
            fortran_order: npy.header.fortran_order,
            shape: &npy.header.shape,
            data_offset: npy.header.data_offset,
            aligned_64: npy.is_aligned(),
            aligned_page: npy.is_at_multiple_of(page_bytes),
        }
    }
}

/// Serializes a value as the string that [`fmt::Display`] gives.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Formats compact JSON that is safe to print on a terminal.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write!(out, "{}", TerminalSafeJson(fragment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_read_back() {
        let odd = "a\u{1b}\n\"\\ \u{9b}31m\u{202e}ä𝄞";
        let mut json = Vec::new();
        value(&mut json, &odd).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert_eq!(json, "\"a\\u001b\\n\\\"\\\\ \\u009b31m\\u202eä𝄞\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), odd);
    }
}
