//! The local headers, one before the data of each member (APPNOTE 4.3.7).
//!
//! The data starts where the local header ends, and nowhere else is this recorded. Everything else
//! must agree with the central header or be left out: readers differ in which of the two they trust,
//! and an archive that they read differently is damaged or made to deceive.

use super::extra_field::Zip64;
use super::fields::Fields;
use super::quirk::{MemberQuirk, MemberQuirks};

/// A local header is at least this long.
pub(super) const LOCAL_HEADER_LEN: usize = 30;
pub(super) const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";

/// How much of the extra fields is parsed, in bytes. Those that matter come first; the rest is
/// padding, and each of a million members may have 64 KiB of it.
const EXTRA_MAX: usize = 1024;

/// Sizes and CRC follow the data in a data descriptor and may be 0 here (APPNOTE 4.4.4, bit 3).
pub(super) const HAS_DATA_DESCRIPTOR: u16 = 1 << 3;
/// Encrypted, strongly encrypted, header masked (APPNOTE 4.4.4, bits 0, 6 and 13).
pub(super) const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// The name is UTF-8 (APPNOTE 4.4.4, bit 11).
pub(super) const UTF8: u16 = 1 << 11;

/// A 32-bit size that is not known yet or does not fit.
const SATURATED: u64 = u32::MAX as u64;

/// The values of the central header, with which the local header must agree.
pub(super) struct Expected<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) size: u64,
    pub(super) compressed_len: u64,
}

/// Why a local header is not the expected one.
pub(super) enum Mismatch {
    /// There is no local header.
    Missing,
    /// It disagrees with the central header in this field.
    Field(&'static str),
}

/// Returns the length in bytes of the whole record, up to the first byte of the data; `None` where
/// `bytes` do not start with a local header.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(bytes);
    fields.signature(LOCAL_HEADER)?;
    fields.bytes(22)?;
    let variable = [fields.u16()?, fields.u16()?];
    Some(LOCAL_HEADER_LEN + variable.map(usize::from).iter().sum::<usize>())
}

/// Returns how many bytes [`check`] needs of a record of `record_len` bytes.
pub(super) fn checked_len(record_len: usize, expected_name: &[u8]) -> usize {
    record_len.min(LOCAL_HEADER_LEN + expected_name.len() + EXTRA_MAX)
}

/// Compares the local header in `bytes`, whose length [`checked_len`] returns, with the central one.
pub(super) fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<MemberQuirks, Mismatch> {
    let local = LocalHeader::parse(bytes).ok_or(Mismatch::Missing)?;
    let mut quirks = MemberQuirks::default();
    if local.name != Some(expected.name) {
        return Err(Mismatch::Field("name"));
    }
    let different = local.flags ^ expected.flags;
    if different & UTF8 != 0 && expected.name.is_ascii() {
        quirks.insert(MemberQuirk::Utf8Flag);
    } else if different & UTF8 != 0 {
        return Err(Mismatch::Field("flags"));
    }
    if different & ENCRYPTED != 0 {
        return Err(Mismatch::Field("flags"));
    }
    if local.method != expected.method {
        return Err(Mismatch::Field("method"));
    }
    let has_descriptor = local.flags & HAS_DATA_DESCRIPTOR != 0;
    let mut zip64 = Zip64::new(local.extra);
    let size = zip64.widen(local.size);
    let compressed_len = zip64.widen(local.compressed_len);
    for (value, expected, field) in [
        (Some(local.crc32.into()), expected.crc32.into(), "CRC"),
        (size, expected.size, "size"),
        (compressed_len, expected.compressed_len, "compressed size"),
    ] {
        match value {
            Some(value) if value == expected => {}
            Some(0) if has_descriptor => {}
            Some(0) => quirks.insert(MemberQuirk::LocalValueMissing),
            Some(SATURATED) if has_descriptor && field != "CRC" => {}
            _ => return Err(Mismatch::Field(field)),
        }
    }
    Ok(quirks)
}

struct LocalHeader<'a> {
    flags: u16,
    method: u16,
    crc32: u32,
    compressed_len: u32,
    size: u32,
    /// `None` where it is longer than the expected name.
    name: Option<&'a [u8]>,
    extra: &'a [u8],
}

impl<'a> LocalHeader<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        fields.signature(LOCAL_HEADER)?;
        let _needed = fields.u16()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let _time_and_date = fields.u32()?;
        let crc32 = fields.u32()?;
        let compressed_len = fields.u32()?;
        let size = fields.u32()?;
        let name_len = fields.u16()?;
        let extra_len = fields.u16()?;
        Some(Self {
            flags,
            method,
            crc32,
            compressed_len,
            size,
            name: fields.bytes(name_len.into()),
            extra: fields.up_to(EXTRA_MAX.min(extra_len.into())),
        })
    }
}
