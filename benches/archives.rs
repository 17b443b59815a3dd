//! Archives in the format of `np.savez`, built byte by byte.
//!
//! The data is zeros, so that long members can be holes. The CRCs are zero as well and thus wrong:
//! nothing that is measured checks them, and computing that of a hole would take longer than the rest.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

/// Length in bytes of the npy header of every member.
pub const NPY_HEADER_LEN: u64 = 128;

/// Larger numbers go into a ZIP64 field, as Python's `zipfile` has it.
const ZIP64_LIMIT: u64 = (1 << 31) - 1;
/// Shorter data is written, which is faster than a seek.
const HOLE_MIN: u64 = 4096;
/// 1980-01-01.
const DATE: u16 = 1 << 5 | 1;
/// The version of the format that introduced ZIP64: 4.5.
const VERSION: u16 = 45;
const UNIX: u16 = 3 << 8;

/// Writes an archive of `members` arrays with `data_len` bytes of data each.
pub fn write(path: &Path, members: u64, data_len: u64) -> io::Result<()> {
    let mut archive = BufWriter::new(File::create_new(path)?);
    let npy_header = npy_header(data_len);
    let len = NPY_HEADER_LEN + data_len;
    let mut directory = Vec::new();
    let mut offset = 0;
    for number in 0..members {
        let name = format!("arr_{number}.npy");
        let local_header = local_header(&name, len);
        archive.write_all(&local_header)?;
        archive.write_all(&npy_header)?;
        if data_len < HOLE_MIN {
            archive.write_all(&[0; HOLE_MIN as usize][..data_len as usize])?;
        } else {
            archive.seek_relative(data_len.cast_signed())?;
        }
        directory.extend(central_header(&name, len, offset));
        offset += local_header.len() as u64 + len;
    }
    archive.write_all(&directory)?;
    archive.write_all(&end_records(members, offset, directory.len() as u64))?;
    // Otherwise it would be written back to the disk during a measurement.
    archive.into_inner()?.sync_all()
}

fn npy_header(data_len: u64) -> Vec<u8> {
    let dict = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({data_len},), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let dict_len = NPY_HEADER_LEN as usize - header.len() - 2;
    u16s(&mut header, [dict_len as u16]);
    header.extend(format!("{dict:<0$}\n", dict_len - 1).bytes());
    header
}

/// NumPy writes a ZIP64 field in every local header, since the length of an array is not known yet.
fn local_header(name: &str, len: u64) -> Vec<u8> {
    let mut header = b"PK\x03\x04".to_vec();
    u16s(&mut header, [VERSION, 0, 0, 0, DATE]);
    u32s(&mut header, [0, u32::MAX, u32::MAX]);
    u16s(&mut header, [name.len() as u16, 20]);
    header.extend(name.bytes());
    u16s(&mut header, [1, 16]);
    u64s(&mut header, [len, len]);
    header
}

fn central_header(name: &str, len: u64, offset: u64) -> Vec<u8> {
    let mut wide = Vec::new();
    let [size, compressed_len, offset] = [len, len, offset].map(|value| {
        if value <= ZIP64_LIMIT {
            return value as u32;
        }
        u64s(&mut wide, [value]);
        u32::MAX
    });
    let mut extra = Vec::new();
    if !wide.is_empty() {
        u16s(&mut extra, [1, wide.len() as u16]);
        extra.extend(wide);
    }
    let mut header = b"PK\x01\x02".to_vec();
    u16s(&mut header, [UNIX | VERSION, VERSION, 0, 0, 0, DATE]);
    u32s(&mut header, [0, compressed_len, size]);
    let lens = [name.len() as u16, extra.len() as u16, 0];
    u16s(&mut header, lens);
    u16s(&mut header, [0, 0]);
    u32s(&mut header, [0o600 << 16, offset]);
    header.extend(name.bytes());
    header.extend(extra);
    header
}

fn end_records(members: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if members > u16::MAX.into() || offset.max(len) > ZIP64_LIMIT {
        records.extend(b"PK\x06\x06");
        u64s(&mut records, [44]);
        u16s(&mut records, [VERSION, VERSION]);
        u32s(&mut records, [0, 0]);
        u64s(&mut records, [members, members, len, offset]);
        records.extend(b"PK\x06\x07");
        u32s(&mut records, [0]);
        u64s(&mut records, [offset + len]);
        u32s(&mut records, [1]);
    }
    let members = members.min(u16::MAX.into()) as u16;
    records.extend(b"PK\x05\x06");
    u16s(&mut records, [0, 0, members, members]);
    u32s(
        &mut records,
        [len, offset].map(|value| value.min(u32::MAX.into()) as u32),
    );
    u16s(&mut records, [0]);
    records
}

fn u16s<const N: usize>(record: &mut Vec<u8>, values: [u16; N]) {
    record.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn u32s<const N: usize>(record: &mut Vec<u8>, values: [u32; N]) {
    record.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn u64s<const N: usize>(record: &mut Vec<u8>, values: [u64; N]) {
    record.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
