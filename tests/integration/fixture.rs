//! Archives that are built byte by byte, so that a test can break any part of them.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A member, with all fields of its two headers.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    /// The bytes in the archive, compressed if there is a method.
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// The uncompressed length.
    pub size: u64,
    pub crc32: u32,
    pub dos_date: u16,
    pub dos_time: u16,
    pub external_attributes: u32,
    /// Extra fields of the central header.
    pub extra: Vec<u8>,
    /// The local header has its sizes in a ZIP64 field, as `np.savez` writes it.
    pub zip64: bool,
    /// Sizes and CRC follow the data, in a data descriptor.
    pub descriptor: bool,
    /// The data descriptor has no signature, which is optional.
    pub bare_descriptor: bool,
    /// The bytes of the data descriptor, if not the right ones.
    pub odd_descriptor: Option<Vec<u8>>,
    /// The compressed length in both headers, if not the length of the data.
    pub claimed_len: Option<u64>,
    /// The fields of the local header that differ from the central one.
    pub local: LocalFields,
    /// The offset in the central header, if not the true one.
    pub local_header_offset: Option<u64>,
    pub disk: u16,
    /// The member has no central header.
    pub unlisted: bool,
    /// The central directory has a second header of the member at its end.
    pub listed_twice: bool,
}

/// The fields of a local header that differ from the central one.
#[derive(Clone, Default)]
pub struct LocalFields {
    pub name: Option<Vec<u8>>,
    pub method: Option<u16>,
    pub flags: Option<u16>,
    pub size: Option<u32>,
    pub compressed_len: Option<u32>,
    pub crc32: Option<u32>,
    pub signature: Option<[u8; 4]>,
}

/// 1980-01-01 as a DOS date, which `np.savez` writes.
pub const UNSET_DATE: u16 = 1 << 5 | 1;

impl Member {
    /// Returns a stored member as `np.savez` writes it.
    pub fn stored(name: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self {
            name: name.as_ref().to_vec(),
            method: 0,
            flags: 0,
            size: data.len() as u64,
            crc32: crc32fast::hash(&data),
            data,
            dos_date: UNSET_DATE,
            dos_time: 0,
            external_attributes: 0o600 << 16,
            extra: Vec::new(),
            zip64: true,
            descriptor: false,
            bare_descriptor: false,
            odd_descriptor: None,
            claimed_len: None,
            local: LocalFields::default(),
            local_header_offset: None,
            disk: 0,
            unlisted: false,
            listed_twice: false,
        }
    }

    /// Returns a symbolic link, as Info-ZIP and Python's `zipfile` write it on Unix.
    pub fn symlink(name: impl AsRef<[u8]>, target: &str) -> Self {
        Self {
            external_attributes: 0o120_777 << 16,
            ..Self::stored(name, target)
        }
    }

    /// Returns a member whose headers claim `method` and `size`, but whose data is not compressed.
    pub fn compressed(name: &str, method: u16, size: u64) -> Self {
        Self {
            method,
            size,
            ..Self::stored(name, b"not really compressed".to_vec())
        }
    }

    /// Returns a member that is compressed by `method`.
    pub fn packed(name: impl AsRef<[u8]>, method: u16, contents: &[u8]) -> Self {
        Self::of_compressed(name, method, compress(method, contents), contents)
    }

    /// Returns a member whose `data` is `contents` compressed by `method`.
    pub fn of_compressed(
        name: impl AsRef<[u8]>,
        method: u16,
        data: Vec<u8>,
        contents: &[u8],
    ) -> Self {
        Self {
            method,
            size: contents.len() as u64,
            crc32: crc32fast::hash(contents),
            data,
            ..Self::stored(name, "")
        }
    }

    fn compressed_len(&self) -> u64 {
        self.claimed_len.unwrap_or(self.data.len() as u64)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// An archive.
#[derive(Clone, Default)]
pub struct Archive {
    pub prefix: Vec<u8>,
    pub members: Vec<Member>,
    pub comment: Vec<u8>,
    /// Write ZIP64 end records even if no number needs them.
    pub zip64_end: bool,
}

impl Archive {
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        Self {
            members: members.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Returns an archive of stored members.
    pub fn stored<N: AsRef<[u8]>, D: Into<Vec<u8>>>(
        members: impl IntoIterator<Item = (N, D)>,
    ) -> Self {
        Self::of(
            members
                .into_iter()
                .map(|(name, data)| Member::stored(name, data)),
        )
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let prefix = out.len() as u64;
        let mut directory = Vec::new();
        let mut second = Vec::new();
        for member in &self.members {
            let offset = out.len() as u64 - prefix;
            local_header(&mut out, member);
            out.extend(&member.data);
            if let Some(descriptor) = &member.odd_descriptor {
                out.extend(descriptor);
            } else if member.descriptor {
                if !member.bare_descriptor {
                    out.extend(b"PK\x07\x08");
                }
                out.extend(member.crc32.to_le_bytes());
                out.extend((member.data.len() as u32).to_le_bytes());
                out.extend((member.size as u32).to_le_bytes());
            }
            let offset = member.local_header_offset.unwrap_or(offset);
            if !member.unlisted {
                central_header(&mut directory, member, offset);
            }
            if member.listed_twice {
                central_header(&mut second, member, offset);
            }
        }
        let start = out.len() as u64 - prefix;
        directory.extend(second);
        out.extend(&directory);
        let listed = self
            .members
            .iter()
            .map(|member| u64::from(!member.unlisted) + u64::from(member.listed_twice));
        let entries = listed.sum();
        self.end_records(&mut out, entries, start, directory.len() as u64);
        out
    }

    /// Writes the end records of an archive whose central directory of `entries` headers starts at
    /// `start` and is `len` bytes long.
    pub fn end_records(&self, out: &mut Vec<u8>, entries: u64, start: u64, len: u64) {
        let zip64 = self.zip64_end || entries >= 0xFFFF || start + len >= 0xFFFF_FFFF;
        if zip64 {
            let offset = start + len;
            out.extend(b"PK\x06\x06");
            out.extend(44u64.to_le_bytes());
            out.extend([45, 0, 45, 0]);
            out.extend([0; 8]);
            for number in [entries, entries, len, start] {
                out.extend(number.to_le_bytes());
            }
            out.extend(b"PK\x06\x07");
            out.extend([0; 4]);
            out.extend(offset.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        let entries = if zip64 { 0xFFFF } else { entries as u16 };
        let narrow = |number: u64| if zip64 { u32::MAX } else { number as u32 };
        out.extend(b"PK\x05\x06");
        out.extend([0; 4]);
        out.extend(entries.to_le_bytes());
        out.extend(entries.to_le_bytes());
        out.extend(narrow(len).to_le_bytes());
        out.extend(narrow(start).to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
    }

    /// Writes the archive to a file `name` in `directory`.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, self.bytes()).expect("archive is written");
        path
    }
}

/// Returns the local header of a member and its data.
pub fn local_record(member: &Member) -> Vec<u8> {
    let mut out = Vec::new();
    local_header(&mut out, member);
    out.extend(&member.data);
    out
}

fn local_header(out: &mut Vec<u8>, member: &Member) {
    let local = &member.local;
    let name = local.name.as_ref().unwrap_or(&member.name);
    let flags = member.flags | u16::from(member.descriptor) << 3;
    let mut extra = Vec::new();
    let (mut compressed, mut size) = (member.compressed_len() as u32, member.size as u32);
    if member.zip64 {
        extra.extend([1, 0, 16, 0]);
        extra.extend(member.size.to_le_bytes());
        extra.extend(member.compressed_len().to_le_bytes());
        (compressed, size) = (u32::MAX, u32::MAX);
    }
    if member.descriptor {
        extra.clear();
        (compressed, size) = (0, 0);
    }
    let crc = if member.descriptor { 0 } else { member.crc32 };
    out.extend(local.signature.unwrap_or(*b"PK\x03\x04"));
    out.extend([45, 0]);
    out.extend(local.flags.unwrap_or(flags).to_le_bytes());
    out.extend(local.method.unwrap_or(member.method).to_le_bytes());
    out.extend(member.dos_time.to_le_bytes());
    out.extend(member.dos_date.to_le_bytes());
    out.extend(local.crc32.unwrap_or(crc).to_le_bytes());
    out.extend(local.compressed_len.unwrap_or(compressed).to_le_bytes());
    out.extend(local.size.unwrap_or(size).to_le_bytes());
    out.extend((name.len() as u16).to_le_bytes());
    out.extend((extra.len() as u16).to_le_bytes());
    out.extend(name);
    out.extend(extra);
}

/// Returns the central header of a member whose local header is at `offset`.
pub fn central_record(member: &Member, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    central_header(&mut out, member, offset);
    out
}

fn central_header(out: &mut Vec<u8>, member: &Member, offset: u64) {
    let mut extra = Vec::new();
    let mut narrow = |number: u64| {
        if number < u32::MAX.into() {
            return number as u32;
        }
        extra.extend(number.to_le_bytes());
        u32::MAX
    };
    let size = narrow(member.size);
    let compressed = narrow(member.compressed_len());
    let offset = narrow(offset);
    if !extra.is_empty() {
        let len = extra.len() as u8;
        extra.splice(..0, [1, 0, len, 0]);
    }
    extra.extend(&member.extra);
    let flags = member.flags | u16::from(member.descriptor) << 3;
    out.extend(b"PK\x01\x02");
    out.extend([45, 3, 45, 0]);
    out.extend(flags.to_le_bytes());
    out.extend(member.method.to_le_bytes());
    out.extend(member.dos_time.to_le_bytes());
    out.extend(member.dos_date.to_le_bytes());
    out.extend(member.crc32.to_le_bytes());
    out.extend(compressed.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend((member.name.len() as u16).to_le_bytes());
    out.extend((extra.len() as u16).to_le_bytes());
    out.extend([0; 2]);
    out.extend(member.disk.to_le_bytes());
    out.extend([0; 2]);
    out.extend(member.external_attributes.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend(&member.name);
    out.extend(extra);
}

/// The methods deflate, bzip2, LZMA and Zstandard (APPNOTE 4.4.5).
pub const METHODS: [u16; 4] = [8, 12, 14, 93];

/// Compresses `contents` by one of the [`METHODS`].
pub fn compress(method: u16, contents: &[u8]) -> Vec<u8> {
    let compressed = match method {
        8 => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(contents).and_then(|()| encoder.finish())
        }
        12 => {
            let level = bzip2::Compression::fast();
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
            encoder.write_all(contents).and_then(|()| encoder.finish())
        }
        14 => {
            let options = lzma_rust2::LzmaOptions::with_preset(0);
            let mut data = vec![9, 20, 5, 0, options.get_props()];
            data.extend(options.dict_size.to_le_bytes());
            lzma_rust2::LzmaWriter::new_no_header(data, &options, false).and_then(|mut encoder| {
                encoder.write_all(contents)?;
                encoder.finish()
            })
        }
        93 => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            Ok(ruzstd::encoding::compress_to_vec(contents, level))
        }
        _ => panic!("no method {method}"),
    };
    compressed.expect("contents are compressed")
}

/// Returns an `.npy` file of version 1.0, with a header padded as NumPy pads it.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let literal = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
    npy_of(1, &literal, data)
}

/// An `.npy` file of any version with any dictionary.
pub fn npy_of(version: u8, literal: &str, data: &[u8]) -> Vec<u8> {
    let preamble_len = if version == 1 { 10 } else { 12 };
    let len = (preamble_len + literal.len() + 1).next_multiple_of(64) - preamble_len;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    bytes.extend(&(len as u32).to_le_bytes()[..preamble_len - 8]);
    bytes.extend(literal.bytes());
    bytes.resize(preamble_len + len - 1, b' ');
    bytes.push(b'\n');
    bytes.extend(data);
    bytes
}

/// Returns pseudorandom bytes (xorshift), among which a wrong offset shows.
pub fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Returns `bytes` with up to four of them changed; `seed` decides which ones and how.
pub fn damaged(bytes: &[u8], seed: u32) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for noise in pattern(8, seed + 1).chunks(2) {
        let at = usize::from(noise[0]) * usize::from(noise[1]) % damaged.len();
        damaged[at] ^= noise[0] | 1;
    }
    damaged
}
