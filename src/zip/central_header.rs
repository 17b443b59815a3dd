//! The central headers, one for each member (APPNOTE 4.3.12).

use super::extra_field::{self, Zip64};
use super::fields::Fields;

/// A central header is at least this long.
pub(super) const CENTRAL_HEADER_LEN: usize = 46;
pub(super) const CENTRAL_HEADER: [u8; 4] = *b"PK\x01\x02";

/// The system on which external attributes are Unix modes (APPNOTE 4.4.2).
const UNIX: u16 = 3;
/// The file type of a symbolic link, from the upper bits of its mode.
const SYMLINK_TYPE: u32 = 0o120_000 >> 12;

/// The fields of a central header that npzfs needs.
pub(super) struct CentralHeader<'a> {
    /// Whether the external attributes are those of a symbolic link on Unix.
    pub(super) is_symlink: bool,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) dos_time: u16,
    pub(super) dos_date: u16,
    pub(super) crc32: u32,
    /// The name in the header, which the local header has as well.
    pub(super) name: &'a [u8],
    /// The name in a Unicode Path field that fits the name in the header.
    pub(super) unicode_path: Option<&'a [u8]>,
    pub(super) disk: u16,
    /// The extended timestamp, in seconds since 1970 (UTC).
    pub(super) modified: Option<i64>,
    /// `None` where the ZIP64 field lacks one of them.
    pub(super) wide: Option<Wide>,
    /// Length of the whole record in bytes.
    pub(super) len: usize,
}

/// The numbers that may need 64 bits.
#[derive(Clone, Copy)]
pub(super) struct Wide {
    pub(super) size: u64,
    pub(super) compressed_len: u64,
    /// Relative to the start of the archive, before which there may be a prefix.
    pub(super) local_header_offset: u64,
}

/// Returns the length in bytes of the record at the start of `bytes`; `None` where there is none.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(bytes);
    fields.signature(CENTRAL_HEADER)?;
    fields.bytes(24)?;
    let variable = [fields.u16()?, fields.u16()?, fields.u16()?];
    Some(CENTRAL_HEADER_LEN + variable.map(usize::from).iter().sum::<usize>())
}

impl<'a> CentralHeader<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let len = record_len(bytes)?;
        let mut fields = Fields::new(bytes);
        fields.signature(CENTRAL_HEADER)?;
        let made_by = fields.u16()? >> 8;
        let _version_needed = fields.u16()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let dos_time = fields.u16()?;
        let dos_date = fields.u16()?;
        let crc32 = fields.u32()?;
        let compressed_len = fields.u32()?;
        let size = fields.u32()?;
        let name_len = fields.u16()?;
        let extra_len = fields.u16()?;
        let _comment_len = fields.u16()?;
        let disk = fields.u16()?;
        let _internal_attributes = fields.u16()?;
        let external_attributes = fields.u32()?;
        let local_header_offset = fields.u32()?;
        let name = fields.bytes(name_len.into())?;
        let extra = fields.bytes(extra_len.into())?;
        let mut zip64 = Zip64::new(extra);
        // The order of the values in the ZIP64 field, which is not that of the header.
        let size = zip64.widen(size);
        let compressed_len = zip64.widen(compressed_len);
        let local_header_offset = zip64.widen(local_header_offset);
        let wide = size.zip(compressed_len).zip(local_header_offset).map(
            |((size, compressed_len), local_header_offset)| Wide {
                size,
                compressed_len,
                local_header_offset,
            },
        );
        Some(Self {
            is_symlink: made_by == UNIX && external_attributes >> 28 == SYMLINK_TYPE,
            flags,
            method,
            dos_time,
            dos_date,
            crc32,
            name,
            unicode_path: extra_field::unicode_path(extra, name),
            disk,
            modified: extra_field::modified(extra),
            wide,
            len,
        })
    }
}
