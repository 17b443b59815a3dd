//! Extended attributes.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;

use crate::fixture::{Archive, Member, npy};
use crate::loop_image::{FileSystem, Image};
use crate::mounted::{Mounted, names, run};

#[test]
fn an_array_has_its_dtype_shape_order_and_version() {
    let mount = Mounted::new(&Archive::stored([
        ("x.npy", npy("'<f8'", "(3, 4)", &[0; 96])),
        (
            "s.npy",
            npy("[('a', '<i4'), ('b', '|S3', (2,))]", "()", &[0; 10]),
        ),
        (
            "n.npy",
            npy("[('m', ('<f8', (3,)), (2,))]", "((3), +1)", &[0; 144]),
        ),
        ("t.npy", npy("'floa' 't64'", "()", &[0; 8])),
    ]));
    let of = |file, name| mount.attribute(file, &format!("user.npy.{name}"));
    assert_eq!(of("x.npy", "dtype").unwrap(), "<f8");
    assert_eq!(of("x.npy", "shape").unwrap(), "3,4");
    assert_eq!(of("x.npy", "fortran_order").unwrap(), "False");
    assert_eq!(of("x.npy", "version").unwrap(), "1.0");
    assert_eq!(
        of("s.npy", "dtype").unwrap(),
        "[('a', '<i4'), ('b', '|S3', (2,))]"
    );
    assert_eq!(of("s.npy", "shape").unwrap(), "");
    assert_eq!(
        of("n.npy", "dtype").unwrap(),
        "[('m', ('<f8', (3,)), (2,))]"
    );
    assert_eq!(of("n.npy", "shape").unwrap(), "3,1");
    assert_eq!(of("t.npy", "dtype").unwrap(), "float64");
}

#[test]
fn a_header_longer_than_one_read_is_found_too() {
    let fields: Vec<_> = (0..1500)
        .map(|at| format!("('field{at}', '<f8')"))
        .collect();
    let descr = format!("[{}]", fields.join(", "));
    let mount = Mounted::new(&Archive::stored([(
        "x.npy",
        npy(&descr, "()", &[0; 12_000]),
    )]));
    assert_eq!(mount.attribute("x.npy", "user.npy.dtype").unwrap(), descr);
}

#[test]
fn every_file_has_its_position_in_the_archive() {
    let mount = Mounted::new(&Archive::of([
        Member::stored("x", "first"),
        Member::stored("/d/./y", "second"),
        Member::compressed("z", 8, 7),
    ]));
    let of = |file, name| {
        mount
            .attribute(file, &format!("user.npzfs.{name}"))
            .unwrap()
    };
    let archive = fs::read(&mount.archive).unwrap();
    for (file, name, data) in [("x", "x", "first"), ("d/y", "/d/./y", "second")] {
        let offset: usize = of(file, "offset").parse().unwrap();
        assert_eq!(&archive[offset..offset + data.len()], data.as_bytes());
        assert_eq!(of(file, "name"), name);
        assert_eq!(
            of(file, "crc32"),
            format!("{:08x}", crc32fast::hash(data.as_bytes()))
        );
        assert_eq!(of(file, "method"), "stored");
    }
    assert_eq!(of("z", "method"), "deflated");
    // Without a valid local header the offset of the data is unknown.
    let damaged = Member::stored("e", "x").with(|member| member.local.method = Some(8));
    let mount = Mounted::new(&Archive::of([Member::stored("x", "x"), damaged]));
    assert_eq!(mount.attribute("e", "user.npzfs.offset"), None);
    assert_eq!(
        listed(&mount.path("e")),
        ["user.npzfs.name", "user.npzfs.crc32"]
    );
}

#[test]
fn a_bad_npy_header_is_a_missing_attribute_never_a_failure() {
    let nested = format!("{{'descr': {}", "(".repeat(20_000));
    let mut deep = b"\x93NUMPY\x02\x00".to_vec();
    deep.extend((nested.len() as u32).to_le_bytes());
    deep.extend(nested.bytes());
    let mut list = npy("'<f8'", "(), ", &[0; 8]);
    for byte in &mut list {
        match byte {
            b'{' => *byte = b'[',
            b'}' => *byte = b']',
            _ => {}
        }
    }
    let mount = Mounted::new(&Archive::stored([
        ("list.npy", list),
        ("deep.npy", deep),
        ("long.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()),
        ("short.npy", b"\x93NUM".to_vec()),
        ("empty.npy", vec![]),
        ("meta.json", b"{}".to_vec()),
    ]));
    for file in [
        "list.npy",
        "deep.npy",
        "long.npy",
        "short.npy",
        "empty.npy",
        "meta.json",
    ] {
        assert_eq!(mount.attribute(file, "user.npy.dtype"), None, "{file}");
        let names = listed(&mount.path(file));
        assert_eq!(names, ["user.npzfs.name", "user.npzfs.crc32"], "{file}");
    }
}

#[test]
fn a_false_shape_is_reported_unchanged_and_adds_no_bytes() {
    let shape = "(18446744073709551615, 9)";
    let data = npy("'<f8'", shape, &[7; 16]);
    let mount = Mounted::new(&Archive::stored([
        ("x.npy", data.clone()),
        ("y.npy", vec![1; 99]),
    ]));
    assert_eq!(
        mount.attribute("x.npy", "user.npy.shape").unwrap(),
        "18446744073709551615,9"
    );
    assert_eq!(mount.read("x.npy"), data);
    assert_eq!(
        fs::metadata(mount.path("x.npy")).unwrap().len(),
        data.len() as u64
    );
}

#[test]
fn the_root_has_the_archive_and_the_request_counters() {
    let mount = Mounted::new(&Archive::stored([("x", "data")]));
    assert_eq!(
        mount.attribute("", "user.npzfs.archive").unwrap(),
        mount.archive.to_str().unwrap()
    );
    assert_eq!(mount.stats()["bytes_read"], 0);
    assert_eq!(mount.stats()["members"], 1);
    assert_eq!(mount.stats()["lanes"], serde_json::json!({"mapped": 1}));
    assert!(mount.stats()["uptime_seconds"].is_u64());
    assert_eq!(mount.requests(&["read", "lookup"]), 0);
    mount.read("x");
    assert_eq!(mount.stats()["bytes_read"], 4);
    assert_eq!(mount.requests(&["lookup"]), 1);
    assert_eq!(mount.requests(&["read"]), 1);
    assert_eq!(mount.attribute("", "user.npzfs.nothing"), None);
}

#[test]
fn attributes_of_the_mount_alone_are_readable_but_not_listed() {
    let mount = Mounted::new(&Archive::stored([(
        "x.npy",
        npy("'<f8'", "(2,)", &[0; 16]),
    )]));
    assert_eq!(listed(&mount.at), [""; 0]);
    assert_eq!(
        listed(&mount.path("x.npy")),
        [
            "user.npy.shape",
            "user.npy.fortran_order",
            "user.npy.version",
            "user.npy.dtype",
            "user.npzfs.name",
            "user.npzfs.crc32",
        ]
    );
    for (file, name) in [
        ("", "archive"),
        ("", "stats"),
        ("x.npy", "offset"),
        ("x.npy", "method"),
    ] {
        let name = format!("user.npzfs.{name}");
        assert!(mount.attribute(file, &name).is_some(), "{name}");
    }
}

#[test]
fn listed_attributes_fit_where_file_systems_have_little_room() {
    let wide = |fields: usize| {
        let fields: Vec<_> = (0..fields)
            .map(|at| format!("('column_{at:04}', '<f8')"))
            .collect();
        let descr = format!("[{}]", fields.join(", "));
        (descr.clone(), npy(&descr, "(0,)", &[]))
    };
    let widths = [1, 10, 20, 30, 40, 80, 120, 150, 200, 400];
    let mut members: Vec<_> = widths
        .iter()
        .map(|&fields| (format!("{fields}.npy"), wide(fields).1))
        .collect();
    let deep = format!("({})", "1234567890, ".repeat(32));
    members.push(("deep.npy".to_owned(), npy("'<f8'", &deep, &[])));
    members.push((format!("{}.npy", "n".repeat(2000)), npy("'<f8'", "()", &[])));
    let mount = Mounted::new(&Archive::stored(members));
    // All attributes are readable, and those of typical arrays are listed.
    for fields in widths {
        let dtype = mount.attribute(&format!("{fields}.npy"), "user.npy.dtype");
        assert_eq!(dtype, Some(wide(fields).0));
    }
    assert!(listed(&mount.path("10.npy")).contains(&"user.npy.dtype".into()));
    assert!(!listed(&mount.path("400.npy")).contains(&"user.npy.dtype".into()));
    for file in names(&mount.at) {
        assert!(listed(&mount.path(&file)).contains(&"user.npy.version".into()));
    }
    let images = [FileSystem::Ext4, FileSystem::Ext4SmallBlocks].map(Image::new);
    for image in images.iter().flatten() {
        let mut copy = Command::new("cp");
        copy.args(["--recursive", "--preserve=xattr"])
            .arg(&mount.at);
        let result = run(copy.arg(image.join("copy")));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        for file in names(&mount.at) {
            let copied = listed(&image.join("copy").join(&file));
            assert_eq!(copied.len(), listed(&mount.path(&file)).len());
        }
        for directory in ["upper", "work", "merged"] {
            fs::create_dir(image.join(directory)).unwrap();
        }
        let merged = image.join("merged");
        let mut overlay = Command::new("mount");
        overlay.args(["-t", "overlay", "overlay", "-o"]);
        overlay.arg(format!(
            "lowerdir={},upperdir={},workdir={}",
            mount.at.display(),
            image.join("upper").display(),
            image.join("work").display()
        ));
        let result = run(overlay.arg(&merged));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        // To open a file for writing copies it, with its attributes.
        let failed: Vec<_> = names(&mount.at)
            .into_iter()
            .filter(|file| {
                OpenOptions::new()
                    .append(true)
                    .open(merged.join(file))
                    .is_err()
            })
            .collect();
        let result = run(Command::new("umount").arg(&merged));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        assert_eq!(failed, [""; 0]);
    }
}

fn listed(file: &Path) -> Vec<OsString> {
    xattr::list(file).unwrap().collect()
}
