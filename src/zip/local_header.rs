//! The local headers, one before the data of each member (APPNOTE 4.3.7).
//!
//! The data starts where the local header ends, and nowhere else is this recorded. Everything else
//! must agree with the central header: readers differ in which of the two they trust, and an archive
//! that they read differently is damaged or made to deceive.

use super::extra_field::Zip64;
use super::fields::Fields;

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
/// Bits that change the meaning of the bytes: the above, and the encoding of the name (bit 11).
const MEANINGFUL: u16 = ENCRYPTED | 1 << 11;

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
pub(super) fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<(), Mismatch> {
    let local = LocalHeader::parse(bytes).ok_or(Mismatch::Missing)?;
    let has_descriptor = local.flags & HAS_DATA_DESCRIPTOR != 0;
    let is_unset = |value: u64| value == 0 || value == u64::from(u32::MAX);
    let agrees = |value: u64, expected: u64| value == expected || has_descriptor && is_unset(value);
    let mut zip64 = Zip64::new(local.extra);
    let size = zip64.widen(local.size);
    let compressed_len = zip64.widen(local.compressed_len);
    for (agree, field) in [
        (local.name == Some(expected.name), "name"),
        ((local.flags ^ expected.flags) & MEANINGFUL == 0, "flags"),
        (local.method == expected.method, "method"),
        (
            local.crc32 == expected.crc32 || has_descriptor && local.crc32 == 0,
            "CRC",
        ),
        (size.is_some_and(|size| agrees(size, expected.size)), "size"),
        (
            compressed_len.is_some_and(|len| agrees(len, expected.compressed_len)),
            "compressed size",
        ),
    ] {
        if !agree {
            return Err(Mismatch::Field(field));
        }
    }
    Ok(())
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
