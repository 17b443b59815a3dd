//! The index, compared with the crate `zip`.

use std::io::{Cursor, Write};

use npzfs::zip::index;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::fixture::{Archive, Member, pattern};

/// The values that both readers must agree on: name, size, data offset, stored length, CRC.
type Row = (Vec<u8>, u64, u64, u64, u32);

fn ours(bytes: &[u8]) -> Vec<Row> {
    let index = index(bytes, bytes.len() as u64, 0).expect("archive is sound");
    let row = |member: &npzfs::zip::Member| {
        let name = index.names.bytes(member.name).to_vec();
        let extent = member.extent;
        (name, member.size, extent.start, extent.len, member.crc32)
    };
    index.members.iter().map(row).collect()
}

fn theirs(bytes: &[u8]) -> Vec<Row> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("archive is sound");
    let members = 0..archive.len();
    let row = |at| {
        let file = archive.by_index_raw(at).expect("member is there");
        let start = file.data_start().expect("local header is there");
        let name = file.name_raw().to_vec();
        (
            name,
            file.size(),
            start,
            file.compressed_size(),
            file.crc32(),
        )
    };
    members.map(row).collect()
}

#[test]
fn the_index_agrees_with_the_crate_zip_on_its_own_archives() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (at, size) in [0, 1, 4096, 100_000].into_iter().enumerate() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            for alignment in [1, 64, 4096] {
                let options = SimpleFileOptions::default()
                    .compression_method(method)
                    .with_alignment(alignment)
                    .large_file(at % 2 == 0);
                let name = format!("größe {size} {method} {alignment}.npy");
                writer.start_file(name, options).unwrap();
                writer.write_all(&pattern(size, at as u32)).unwrap();
            }
        }
    }
    writer.set_comment("with a comment").unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(ours(&bytes).len(), 24);
    assert_eq!(ours(&bytes), theirs(&bytes));
}

#[test]
fn the_index_agrees_with_the_crate_zip_on_other_archives() {
    let members = (0..300).map(|at| Member {
        zip64: at % 2 == 0,
        descriptor: at % 3 == 0,
        ..Member::stored(format!("{at}.npy"), pattern(at * 7, at as u32))
    });
    let mut archive = Archive::of(members);
    for zip64_end in [false, true] {
        for (prefix, comment) in [("", ""), ("#!/bin/sh\n", "a comment"), ("MZ", "")] {
            archive.zip64_end = zip64_end;
            archive.prefix = prefix.into();
            archive.comment = comment.into();
            let bytes = archive.bytes();
            assert_eq!(ours(&bytes), theirs(&bytes), "{zip64_end} {prefix}");
        }
    }
}
