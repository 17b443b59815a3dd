//! `npzfs verify`: its findings and their texts.

use std::fs;
use std::io::Write;
use std::process::Command;

use flate2::write::DeflateEncoder;

use crate::fixture::{Archive, Member, damaged, npy, npy_of, pattern};
use crate::mounted::{Output, Place, installed, npzfs, run};

/// Verifies an archive of these bytes with the name `a.npz`.
fn verified_bytes(bytes: &[u8], options: &[&str]) -> Output {
    let place = Place::new();
    fs::write(place.join("a.npz"), bytes).unwrap();
    let mut command = npzfs();
    command.arg("verify").args(options).arg("a.npz");
    run(command.current_dir(place.path()))
}

fn verified(archive: &Archive) -> Output {
    verified_bytes(&archive.bytes(), &[])
}

fn report(status: i32, lines: &[&str]) -> Output {
    Output {
        status: Some(status),
        out: lines.iter().flat_map(|line| [line, "\n"]).collect(),
        err: String::new(),
    }
}

/// Checks that an archive of one member has this fault and no other.
fn assert_fault(member: Member, fault: &str) {
    assert_faults(&Archive::of([member]), &[fault]);
}

fn assert_faults(archive: &Archive, faults: &[&str]) {
    let result = verified(archive);
    let lines: Vec<_> = result.out.lines().collect();
    let (summary, found) = lines.split_last().expect("a summary");
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| format!("a.npz: member {fault}"))
        .collect();
    assert_eq!(found, faults);
    let plural = if faults.len() == 1 { "" } else { "s" };
    let end = format!(": {} fault{plural}", faults.len());
    assert!(summary.ends_with(&end), "{summary}");
    assert_eq!((result.status, result.err.as_str()), (Some(1), ""));
}

fn deflated(name: &str, contents: &[u8]) -> Member {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    Member {
        method: 8,
        size: contents.len() as u64,
        crc32: crc32fast::hash(contents),
        ..Member::stored(name, encoder.finish().unwrap())
    }
}

fn array() -> Vec<u8> {
    npy("'<f8'", "(3, 4)", &pattern(96, 1))
}

fn compressible(len: usize) -> Vec<u8> {
    pattern(len, 5).iter().map(|byte| byte % 7).collect()
}

#[test]
fn a_sound_archive_is_sound() {
    let archive = Archive {
        comment: b"a comment".to_vec(),
        zip64_end: true,
        ..Archive::of([
            Member::stored("x.npy", array()),
            deflated("y.npy", &array()),
            Member::stored("described.npy", array()).with(|member| member.descriptor = true),
            deflated("described too", b"text").with(|member| {
                member.descriptor = true;
                member.bare_descriptor = true;
            }),
            Member::stored("narrow", "text").with(|member| member.zip64 = false),
            Member::stored("directory.npy/", ""),
            Member::stored("empty", ""),
        ])
    };
    let line = "a.npz: 7 members, 680 B: sound";
    assert_eq!(verified(&archive), report(0, &[line]));
    let empty = Archive::default();
    assert_eq!(
        verified(&empty),
        report(0, &["a.npz: 0 members, 0 B: sound"])
    );
}

#[test]
fn a_flipped_byte_of_stored_data_is_found_anywhere() {
    // More than one of the parts that threads check, and not a whole number of them.
    let data = pattern(4_500_001, 1);
    let archive = Archive::stored([("x", data.clone())]);
    let bytes = archive.bytes();
    let start = bytes
        .windows(8)
        .position(|part| part == &data[..8])
        .unwrap();
    assert_eq!(verified(&archive).status, Some(0));
    for at in [0, (4 << 20) - 1, 4 << 20, 4_500_000] {
        let mut bytes = bytes.clone();
        bytes[start + at] ^= 0x10;
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[start..start + data.len()]);
        let fault = format!(
            "a.npz: member 'x': CRC-32 of the data is {:08x} instead of {:08x}",
            crc.sum(),
            archive.members[0].crc32
        );
        let lines = [&*fault, "a.npz: 1 member, 4.5 MB: 1 fault"];
        assert_eq!(verified_bytes(&bytes, &[]), report(1, &lines));
    }
}

#[test]
fn a_flipped_byte_of_deflated_data_is_found_anywhere() {
    let member = deflated("x", &compressible(3000));
    for at in (0..member.data.len()).step_by(7) {
        let damaged = member.clone().with(|member| member.data[at] ^= 0x10);
        let result = verified(&Archive::of([damaged]));
        assert_eq!((result.status, result.err.as_str()), (Some(1), ""), "{at}");
        let fault = result.out.lines().next().unwrap();
        let known = [
            "compressed data is damaged: ",
            "CRC-32 of the data is ",
            "more than 3000 bytes of data",
        ];
        let fault = fault.strip_prefix("a.npz: member 'x': ").unwrap();
        assert!(
            known.iter().any(|text| fault.starts_with(text)) || fault.contains(" instead of 3000"),
            "{fault}"
        );
    }
}

#[test]
fn compressed_data_that_ends_too_soon_is_found() {
    let contents = compressible(200_000);
    let whole = deflated("x", &contents);
    let len = whole.data.len();
    for len in [0, len / 2, len - 1] {
        let cut = whole.clone().with(|member| member.data.truncate(len));
        let result = verified(&Archive::of([cut]));
        let fault = result.out.lines().next().unwrap();
        assert_eq!(result.status, Some(1), "{len}");
        assert!(
            fault.starts_with("a.npz: member 'x': compressed data is damaged: ")
                || fault.ends_with(" bytes of data instead of 200000"),
            "{fault}"
        );
    }
    let short = deflated("x", b"four").with(|member| member.size = 5);
    assert_fault(short, "'x': 4 bytes of data instead of 5");
    let long = deflated("x", b"four").with(|member| member.size = 3);
    assert_fault(long, "'x': more than 3 bytes of data");
}

#[test]
fn headers_that_disagree_are_faults() {
    let stored = || Member::stored("x", "data");
    let result = "local and central header disagree on the";
    assert_fault(
        stored().with(|member| member.local.crc32 = Some(1)),
        &format!("'x': {result} CRC"),
    );
    assert_fault(
        stored().with(|member| member.local.name = Some(b"y".to_vec())),
        &format!("'x': {result} name"),
    );
    assert_fault(
        stored().with(|member| member.local.signature = Some(*b"PK\x03\x05")),
        "'x': no local header at 0",
    );
    assert_fault(
        stored().with(|member| member.size = 5),
        "'x': stored as 4 bytes but 5 bytes long",
    );
}

#[test]
fn members_that_overlap_are_faults() {
    let archive = Archive::of([
        Member::stored("x", "data"),
        Member::stored("y", "data"),
        Member::stored("x", "data").with(|member| {
            member.local_header_offset = Some(0);
            member.dos_time = 1;
        }),
    ]);
    let overlaps = "overlaps the member whose local header is at 0";
    let result = verified(&archive);
    assert_eq!(result.status, Some(1));
    let lines: Vec<_> = result.out.lines().collect();
    assert_eq!(
        lines,
        [
            &format!("a.npz: member 'x': {overlaps}"),
            &format!("a.npz: member 'x': {overlaps}"),
            "note: a.npz: member 'x': hidden by a later member of the same name",
            "note: a.npz: gap of 55 bytes at 110, with a member that is not in the central \
             directory, after member 'y'",
            "a.npz: 3 members, 12 B: 2 faults",
        ]
    );
}

#[test]
fn members_that_cannot_be_checked_are_faults() {
    assert_faults(
        &Archive::of([
            Member::stored("secret", "data").with(|member| member.flags = 1),
            Member::compressed("odd", 9, 1000),
            Member::stored("sound", "data"),
        ]),
        &[
            "'secret': encrypted: cannot be checked",
            "'odd': compressed (deflate64): cannot be checked",
        ],
    );
}

#[test]
fn a_data_descriptor_that_is_wrong_or_missing_is_a_fault() {
    let described = Member::stored("x", "data").with(|member| member.descriptor = true);
    let archive = Archive::of([described.clone(), Member::stored("y", "data")]);
    let fault = "a.npz: member 'x': the data descriptor is missing or disagrees with the central \
                 header";
    let lines = [fault, "a.npz: 2 members, 8 B: 1 fault"];
    let descriptor = 31 + 4;
    assert_eq!(verified(&archive).status, Some(0));
    for at in 0..16 {
        let mut bytes = archive.bytes();
        assert_eq!(bytes[descriptor..][..4], *b"PK\x07\x08");
        bytes[descriptor + at] ^= 1;
        assert_eq!(verified_bytes(&bytes, &[]), report(1, &lines), "{at}");
    }
    let missing = Member::stored("x", "data").with(|member| member.flags = 1 << 3);
    assert_eq!(
        verified(&Archive::of([missing, Member::stored("y", "data")])),
        report(1, &lines)
    );
}

#[test]
fn a_false_npy_header_is_a_fault() {
    let declaring = |shape: &str, len| Member::stored("x.npy", npy("'<f8'", shape, &vec![0; len]));
    for (member, fault) in [
        (
            declaring("(3, 4)", 95),
            "npy header tells of 96 bytes of data, but 95 follow it",
        ),
        (
            declaring("(3, 4)", 97),
            "npy header tells of 96 bytes of data, but 97 follow it",
        ),
        (
            declaring("(0, 4)", 1),
            "npy header tells of 0 bytes of data, but 1 follow it",
        ),
        (
            declaring("(4294967296, 4294967296)", 8),
            "npy header tells of over 2^64 bytes of data, but 8 follow it",
        ),
        (
            Member::stored("x.npy", npy("'<f7'", "()", &[0; 7])),
            "npy header has an unknown dtype: <f7",
        ),
        (
            Member::stored("x.npy", npy("'<f8'", "(-1,)", &[0; 8])),
            "npy header is damaged or of an unknown version",
        ),
        (
            Member::stored("x.npy", &array()[..60]),
            "npy header is damaged or of an unknown version",
        ),
        (
            Member::stored("x.npy", &b"\x93NUMPY\x01"[..]),
            "npy header is damaged or of an unknown version",
        ),
        (
            Member::stored("x.npy", "text"),
            "named .npy, but has no npy header",
        ),
        (
            Member::stored("x.npy", ""),
            "named .npy, but has no npy header",
        ),
    ] {
        assert_fault(member, &format!("'x.npy': {fault}"));
    }
    let compressed = deflated("x.npy", &npy("'<f8'", "(3,)", &[0; 16]));
    assert_fault(
        compressed,
        "'x.npy': npy header tells of 24 bytes of data, but 16 follow it",
    );
    let other_name = Member::stored("array", npy("'<f8'", "(3,)", &[0; 16]));
    assert_fault(
        other_name,
        "'array': npy header tells of 24 bytes of data, but 16 follow it",
    );
}

#[test]
fn pickled_objects_may_be_of_any_length_but_not_missing() {
    let objects = npy("'|O'", "(3,)", b"\x80\x04some pickle");
    let archive = Archive::stored([("x.npy", objects)]);
    assert_eq!(verified(&archive).status, Some(0));
    // What np.savez leaves behind where it refuses to pickle.
    for descr in ["'|O'", "[('a', '<f8'), ('b', '|O')]"] {
        for shape in ["(3,)", "(0,)"] {
            assert_fault(
                Member::stored("x.npy", npy(descr, shape, b"")),
                "'x.npy': npy header has a dtype of Python objects, but no data follows it",
            );
        }
    }
}

#[test]
fn every_dtype_that_numpy_reads_is_sound() {
    for (descr, len) in [
        ("[('m', ('<f8', (3,)), (2,))]", 48),
        ("[('k', (('<i2', (2, 2)), (3,)), (2,))]", 48),
        ("[('s', ([('x', '<i4'), ('y', '|S3')], (2,)), (2,))]", 28),
        ("('<f8', (3,))", 24),
        ("'float64'", 8),
        ("'d'", 8),
        ("'<i4,<i4'", 8),
        ("'(2, 3)f4, 2>i2'", 28),
        ("'flo' \"at\" r'64'", 8),
        ("'\\x3cf8'", 8),
        ("# the type\n '<f8' # was it\n", 8),
        ("('<f8')", 8),
        ("[['a', 'S', 3], ('', 'V5'), ('', 'V1')]", 9),
    ] {
        let sound = Member::stored("x.npy", npy(descr, "(+3, (2), 0x1)", &vec![0; 6 * len]));
        let result = verified(&Archive::of([sound]));
        assert_eq!(result.status, Some(0), "{descr}: {}", result.out);
        let fault = format!(
            "'x.npy': npy header tells of {} bytes of data, but {} follow it",
            6 * len,
            6 * len + 1
        );
        let long = npy(descr, "(3, 2)", &vec![0; 6 * len + 1]);
        assert_fault(Member::stored("x.npy", long), &fault);
    }
}

#[test]
fn dtypes_that_numpy_does_not_read_are_faults() {
    for (descr, shown) in [
        ("'float65'", "float65"),
        ("'<i4,<i3'", "<i4,<i3"),
        ("\"[('a', '<f8')]\"", "[('a', '<f8')]"),
        (
            "[('m', ('<f7', (3,)), (2,))]",
            "[('m', ('<f7', (3,)), (2,))]",
        ),
        (
            "[('a', '<f8'), ('a', '<f4')]",
            "[('a', '<f8'), ('a', '<f4')]",
        ),
        ("[('a', '<f8', -1)]", "[('a', '<f8', -1)]"),
        ("'|V2147483648'", "|V2147483648"),
    ] {
        assert_fault(
            Member::stored("x.npy", npy(descr, "()", &[0; 8])),
            &format!("'x.npy': npy header has an unknown dtype: {shown}"),
        );
    }
}

#[test]
fn headers_that_only_some_readers_understand_are_sound() {
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")
    };
    let repeated = "{'descr': None, 'shape': (3,), 'descr': '<f8', 'fortran_order': False, \
                    'shape': (1, 1)} # of the last";
    for (version, literal) in [
        (1, repeated.to_owned()),
        (2, header("b'<f8'", "()")),
        (3, header("'<f8'", "(1L,)")),
        (3, header("[('größe', '<f8')]", "()")),
        (1, header("'<f8'", &format!("({})", "1, ".repeat(65)))),
    ] {
        let array = npy_of(version, &literal, &[0; 8]);
        let result = verified(&Archive::stored([("x.npy", array)]));
        assert_eq!(result.status, Some(0), "{literal}: {}", result.out);
        assert!(!result.out.contains("note"), "{}", result.out);
    }
}

#[test]
fn an_npy_header_that_is_long_for_numpy_is_noted() {
    let literal = "{'descr': '<f8', 'fortran_order': False, 'shape': ()}";
    let padded = |len: usize| npy_of(2, &format!("{literal:<len$}"), &[0; 8]);
    // The end of the header is at a multiple of 64 bytes.
    let sound = Archive::stored([("x.npy", padded(9900))]);
    let sound_line = "a.npz: 1 member, 9.9 kB: sound";
    assert_eq!(verified(&sound), report(0, &[sound_line]));
    let long = Archive::stored([("x.npy", padded(10_001))]);
    let lines = [
        "note: a.npz: member 'x.npy': npy header of 10036 characters: np.load refuses it unless \
         max_header_size is raised",
        "a.npz: 1 member, 10 kB: sound",
    ];
    assert_eq!(verified(&long), report(0, &lines));
}

#[test]
fn members_that_are_no_arrays_by_design_are_sound() {
    let archive = Archive::of([
        Member::stored("x.npy", array()),
        Member::symlink("y.npy", "x.npy"),
        deflated("z.npy", b"x.npy").with(|member| member.external_attributes = 0o120_777 << 16),
        Member::stored("__MACOSX/._x.npy", "attributes"),
        Member::stored("d/._x.npy", &b"\0\x05\x16\x07\0\x02\0\0Mac OS X"[..]),
    ]);
    assert_eq!(
        verified(&archive),
        report(0, &["a.npz: 5 members, 260 B: sound"])
    );
    assert_fault(
        Member::stored("._x.npy", "text"),
        "'._x.npy': named .npy, but has no npy header",
    );
}

#[test]
fn an_npy_header_too_long_to_check_is_noted() {
    let mut header = b"\x93NUMPY\x02\x00".to_vec();
    header.extend(300_000u32.to_le_bytes());
    header.extend([b' '; 300_000]);
    let lines = [
        "note: a.npz: member 'x.npy': npy header of 300012 bytes is too long to be checked",
        "a.npz: 1 member, 300 kB: sound",
    ];
    let archive = Archive::stored([("x.npy", header.clone())]);
    assert_eq!(verified(&archive), report(0, &lines));
    header.truncate(300_011);
    assert_fault(
        Member::stored("x.npy", header),
        "'x.npy': npy header is damaged or of an unknown version",
    );
}

#[test]
fn gaps_prefixes_and_repeated_names_are_notes() {
    let unlisted = |name| Member::stored(name, "data").with(|member| member.unlisted = true);
    let archive = Archive {
        prefix: b"#!/bin/sh\n".to_vec(),
        ..Archive::of([
            Member::stored("x", "data"),
            unlisted("deleted"),
            Member::stored("y", "data").with(|member| member.descriptor = true),
            unlisted("odd").with(|member| member.local.signature = Some(*b"odd!")),
            Member::stored("x", "data"),
            unlisted("deleted, too"),
        ])
    };
    let lines = [
        "note: a.npz: gap of 10 bytes at 0 before the first member",
        "note: a.npz: member 'x': hidden by a later member of the same name",
        "note: a.npz: gap of 61 bytes at 65, with a member that is not in the central directory, \
         after member 'x'",
        "note: a.npz: gap of 57 bytes at 177 after member 'y'",
        "note: a.npz: gap of 66 bytes at 289, with a member that is not in the central directory, \
         after member 'x'",
        "a.npz: 3 members, 12 B: sound",
    ];
    assert_eq!(verified(&archive), report(0, &lines));
}

#[test]
fn any_number_of_jobs_finds_the_same() {
    let members = (0..40u32).map(|number| {
        let contents = compressible(20_000 * (number as usize % 5));
        let member = match number % 2 {
            0 => Member::stored(format!("m{number}"), contents),
            _ => deflated(&format!("m{number}"), &contents),
        };
        member.with(|member| member.crc32 ^= u32::from(number % 3 == 0))
    });
    let bytes = Archive::of(members).bytes();
    let one = verified_bytes(&bytes, &["--jobs", "1"]);
    assert!(one.out.ends_with(": 14 faults\n"), "{}", one.out);
    assert_eq!(one.status, Some(1));
    for jobs in ["2", "3", "64"] {
        assert_eq!(verified_bytes(&bytes, &["-j", jobs]), one);
    }
    assert_eq!(verified_bytes(&bytes, &[]), one);
}

#[test]
fn each_archive_has_its_lines_and_the_worst_decides_the_status() {
    let place = Place::new();
    let sound = Archive::stored([("x", "data")]);
    sound.write(place.path(), "sound.npz");
    let bad = Member::stored("x", "data").with(|member| member.crc32 = 0);
    Archive::of([bad]).write(place.path(), "bad.npz");
    let bytes = sound.bytes();
    fs::write(place.join("cut.npz"), &bytes[..bytes.len() - 30]).unwrap();
    fs::write(place.join("text"), "text").unwrap();
    let verify = |archives: &[&str]| {
        run(npzfs()
            .arg("verify")
            .args(archives)
            .current_dir(place.path()))
    };
    let missing = "npzfs: no.npz: cannot be opened: No such file or directory\n";
    let cut = "npzfs: cut.npz: the end of central directory record is missing: the file was \
               truncated\n";
    let no_archive = "npzfs: text: not a ZIP archive\n";
    let all = verify(&["bad.npz", "no.npz", "cut.npz", "text", "sound.npz"]);
    assert_eq!(
        all.out,
        "bad.npz: member 'x': CRC-32 of the data is adf3f363 instead of 00000000\n\
         bad.npz: 1 member, 4 B: 1 fault\n\
         sound.npz: 1 member, 4 B: sound\n"
    );
    assert_eq!(all.err, format!("{missing}{cut}{no_archive}"));
    assert_eq!(all.status, Some(22));
    assert_eq!(verify(&["no.npz", "bad.npz"]).status, Some(20));
    assert_eq!(verify(&["text"]).status, Some(21));
    assert_eq!(verify(&["sound.npz", "bad.npz"]).status, Some(1));
    assert_eq!(verify(&["sound.npz", "sound.npz"]).status, Some(0));
    assert_eq!(verify(&[]).status, Some(2));
    assert_eq!(verify(&["--jobs", "0", "sound.npz"]).status, Some(2));
}

#[test]
fn names_in_findings_are_escaped() {
    let member = Member::stored("a\x1b[31m\n'", "data").with(|member| member.crc32 = 0);
    let lines = [
        r"a.npz: member 'a\u{1b}[31m\n'': CRC-32 of the data is adf3f363 instead of 00000000",
        "a.npz: 1 member, 4 B: 1 fault",
    ];
    assert_eq!(verified(&Archive::of([member])), report(1, &lines));
}

#[test]
fn progress_is_shown_only_on_a_terminal() {
    if !installed(&["script"]) {
        return;
    }
    let place = Place::new();
    Archive::stored([("x", pattern(3_000_000, 1))]).write(place.path(), "a.npz");
    let line = format!("{} verify a.npz", env!("CARGO_BIN_EXE_npzfs"));
    let on_terminal = |line: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", line, "/dev/null"]);
        // A dumb terminal would get no progress bar.
        script.env("TERM", "xterm").env("NO_COLOR", "1");
        run(script.current_dir(place.path()))
    };
    let shown = on_terminal(&line);
    assert_eq!(shown.status, Some(0));
    assert!(shown.out.contains(" of 3.00 MB, "), "{}", shown.out);
    assert!(shown.out.contains(" left: a.npz"), "{}", shown.out);
    let summary = "a.npz: 1 member, 3.0 MB: sound\r\n";
    assert!(shown.out.ends_with(summary), "{}", shown.out);

    let redirected = on_terminal(&format!("{line} 2> log"));
    assert_eq!(redirected.out, summary);
    assert_eq!(fs::read(place.join("log")).unwrap(), b"");
}

#[test]
fn closed_output_does_no_harm() {
    let place = Place::new();
    let bad = Member::stored("x", "data").with(|member| member.crc32 = 0);
    Archive::of([bad]).write(place.path(), "a.npz");
    let line = format!("{} verify a.npz >&-", env!("CARGO_BIN_EXE_npzfs"));
    let result = run(Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.path()));
    assert_eq!((result.status, result.err.as_str()), (Some(1), ""));
}

#[test]
fn random_damage_never_causes_a_crash() {
    let archive = Archive::of([
        Member::stored("x.npy", array()),
        deflated("d/y.npy", &array()),
        Member::stored("z", "text").with(|member| member.descriptor = true),
    ]);
    let bytes = archive.bytes();
    for seed in 0..100 {
        let result = verified_bytes(&damaged(&bytes, seed), &[]);
        match result.status {
            Some(0 | 1) => assert_eq!(result.err, "", "seed {seed}"),
            Some(21 | 22) => assert_eq!(result.err.lines().count(), 1, "seed {seed}"),
            status => panic!("seed {seed}: {status:?}: {}", result.err),
        }
    }
}
