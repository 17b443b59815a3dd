//! Typical archives and npy headers, to be damaged.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::fixture::{Archive, Member, npy, pattern};
use crate::mutate::Random;

/// Returns archives of two writers, with every feature that an archive may have.
pub fn archives() -> Vec<Vec<u8>> {
    let data = npy("'<f8'", "(2,)", &[0; 16]);
    let names = ["x.npy", "größe.npy", "d/", "d/e/y.npy", "d/z"];
    let members = names.map(|name| match name.ends_with('/') {
        true => Member::stored(name, []),
        false => Member::stored(name, data.clone()),
    });
    let plain = Archive::of(members.clone());
    let each = |change: fn(&mut Member)| Archive::of(members.clone().map(|it| it.with(change)));
    vec![
        plain.bytes(),
        each(|member| member.zip64 = false).bytes(),
        each(|member| member.descriptor = true).bytes(),
        each(|member| member.extra = b"UT\x05\0\x01\0\0\0\x40".to_vec()).bytes(),
        each(|member| member.name = [b"\x81", &member.name[..]].concat()).bytes(),
        Archive {
            zip64_end: true,
            ..plain.clone()
        }
        .bytes(),
        Archive {
            comment: b"a comment".into(),
            ..plain.clone()
        }
        .bytes(),
        Archive {
            prefix: b"#!/bin/sh\n".into(),
            zip64_end: true,
            ..plain.clone()
        }
        .bytes(),
        Archive::stored([("inner.npz", plain.bytes()), ("x.npy", data.clone())]).bytes(),
        written_by_zip(),
    ]
}

fn written_by_zip() -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().last_modified_time(DateTime::default());
    writer
        .add_directory("d", options)
        .expect("directory is added");
    for (at, method) in [CompressionMethod::Stored, CompressionMethod::Deflated]
        .repeat(2)
        .into_iter()
        .enumerate()
    {
        let options = options
            .compression_method(method)
            .large_file(at > 1)
            .with_alignment(64);
        writer
            .start_file(format!("d/größe {at}.npy"), options)
            .expect("member is started");
        writer
            .write_all(&pattern(40, at as u32))
            .expect("member is written");
    }
    writer.finish().expect("archive is finished").into_inner()
}

/// Returns an archive whose members have names of awkward parts.
pub fn archive_of_odd_names(random: &mut Random) -> Vec<u8> {
    let long = "ä".repeat(130);
    let parts = [
        "/", "/", "/", ".", "..", "a", "a", "b", ".npy", " (1)", " (2)", "\0", "é", "\\", &long,
    ];
    let member = |random: &mut Random| {
        let mut name = Vec::new();
        for _ in 0..random.below(8) {
            name.extend(random.pick(&parts).bytes());
        }
        if random.below(8) == 0 {
            name.push(0x81);
        }
        (name, "data".repeat(random.below(2)))
    };
    let count = random.below(12);
    let members: Vec<_> = (0..count).map(|_| member(random)).collect();
    Archive::stored(members).bytes()
}

/// Returns headers of all versions, of simple and of structured arrays.
pub fn npy_headers() -> Vec<Vec<u8>> {
    let literals = [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '|b1', 'fortran_order': True, 'shape': (), }",
        "{'descr': '<U12', 'fortran_order': False, 'shape': (0,), }",
        "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1000000,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3L, 4L), }",
        "{'shape':(1,2,3),'fortran_order':False,'descr':'>c16'}",
        "{'descr': [('a', '<i4'), ('b', '|S5', (2, 3))], 'fortran_order': False, 'shape': (7,), }",
        "{'descr': [(('title', 'n'), [('x', '<f4'), ('y', [('z', '|u1')])], (4,))], \
          'fortran_order': False, 'shape': (7,), }",
        "{'descr': [('m', ('<f8', (3,)), (2,))], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': 'i4,(2,3)f8', 'fortran_order': False, 'shape': (+1, (2)), } # a comment",
    ];
    let versions = [1, 2, 3];
    let all = versions
        .iter()
        .flat_map(|&major| literals.map(|literal| npy_header(major, literal)));
    all.collect()
}

fn npy_header(major: u8, literal: &str) -> Vec<u8> {
    let text = format!("{literal:<117}\n");
    let len = text.len() as u32;
    let width = if major == 1 { 2 } else { 4 };
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([major, 0]);
    bytes.extend(&len.to_le_bytes()[..width]);
    bytes.extend(text.bytes());
    bytes
}
