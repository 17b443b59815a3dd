//! `npzfs list`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::fixture::{Archive, Member, damaged, npy};
use crate::mounted::{Output, Place, npzfs, run, run_on_terminal};

fn list(options: &[&str], archives: &[&Path]) -> Output {
    run(npzfs().arg("list").args(options).args(archives))
}

/// Returns the table of an archive as written to a pipe.
fn table(archive: &Archive) -> String {
    let place = Place::new();
    let result = list(&[], &[&archive.write(place.path(), "a.npz")]);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    result.out
}

/// Returns the JSON object of the archive at a path.
fn object(archive: &Path) -> Value {
    let result = list(&["--json"], &[archive]);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    assert_eq!(result.out.matches('\n').count(), 1);
    serde_json::from_str(&result.out).unwrap()
}

/// Returns the objects of the members of an archive.
fn members(archive: &Archive) -> Vec<Value> {
    let place = Place::new();
    let object = object(&archive.write(place.path(), "a.npz"));
    object["members"].as_array().unwrap().clone()
}

/// Returns the values of some keys of each member.
fn values<const N: usize>(members: &[Value], keys: [&str; N]) -> Vec<[Value; N]> {
    let of = |member: &Value| keys.map(|key| member[key].clone());
    members.iter().map(of).collect()
}

/// A multiple of every page size.
const PAGE: usize = 64 * 1024;

/// Returns an archive with a member of each kind.
fn motley() -> Archive {
    let fortran_order = |bytes: Vec<u8>| {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        let text = text.replace("False, ", "True,  ");
        text.chars()
            .map(|character| character as u8)
            .collect::<Vec<_>>()
    };
    let mut archive = Archive::of([
        Member::stored("x.npy", npy("'<f8'", "(3, 4)", &[0; 96])),
        Member::stored("dir/", ""),
        Member::stored("y.npy", npy("'<f8'", "(15,)", &[0; 120])),
        Member::stored(
            "dir/y.npy",
            fortran_order(npy("'|u1'", "(40, 50)", &[0; 2000])),
        ),
        Member::stored("y.npy", npy("[('a', '<i4')]", "()", &[0; 4])),
        Member::stored("/x.npy", "text"),
        Member::compressed("z.npy", 1, 123_456),
    ]);
    // The prefix aligns the first array to a page, and the third one to 64 bytes.
    archive.prefix = vec![b'#'; PAGE - 128 - 55];
    archive
}

#[test]
fn each_member_has_a_line_and_the_last_line_has_the_totals() {
    let expected = "\
name       dtype           shape  order    size  method    offset  align  lane
x.npy      <f8             3,4    C       224 B  stored     65408  page   mapped
dir/       -               -      -         0 B  stored     65686  -      directory
y.npy      <f8             15     C       248 B  stored     65741  no     hidden
dir/y.npy  |u1             40,50  F      2.1 kB  stored     66048  64     mapped
y.npy      [('a', '<i4')]  ()     C       132 B  stored     68231  no     mapped
/x.npy     -               -      -         4 B  stored     68419  -      mapped     shown as x (1).npy
z.npy      -               -      -      123 kB  method 1   68478  -      none       compressed \
(method 1), and such members are not read
7 members (1 directory, 1 hidden, 1 cannot be read), 126 kB in members, 69 kB archive
";
    assert_eq!(table(&motley()), expected);
}

#[test]
fn an_archive_without_members_has_totals() {
    assert_eq!(
        table(&Archive::default()),
        "name  dtype  shape  order  size  method  offset  align  lane\n\
         0 members, 0 B in members, 22 B archive\n"
    );
}

#[test]
fn the_example_matches_the_snapshots() {
    let place = Place::new();
    fs::create_dir(place.join("examples")).unwrap();
    let archive = "examples/frame.npz";
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(source.join(archive), place.join(archive)).unwrap();
    // Its members have no times, so the archive's is shown.
    let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let file = OpenOptions::new().append(true).open(place.join(archive));
    file.unwrap().set_modified(modified).unwrap();
    for (options, expected) in [
        (&[][..], include_str!("../snapshots/frame.list.txt")),
        (&["--json"], include_str!("../snapshots/frame.list.json")),
    ] {
        let mut command = npzfs();
        command.current_dir(place.path()).arg("list").args(options);
        let result = run(command.arg(archive));
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        assert_eq!(result.out, expected);
    }
}

#[test]
fn json_has_every_property() {
    let place = Place::new();
    let data = npy("'<f8'", "(3, 4)", &[0; 96]);
    // 2024-02-03 04:05:06 UTC.
    let modified: i32 = 1_706_933_106;
    let array = Member::stored("a/x.npy", data).with(|member| {
        member.extra = [&b"UT\x05\0\x01"[..], &modified.to_le_bytes()].concat();
        member.crc32 = 0x0012_abcd;
    });
    let unreadable = Member::compressed("z.npy", 1, 1 << 40);
    let mut archive = Archive::of([array, unreadable]);
    let header_len = 30 + "a/x.npy".len() + 20;
    archive.prefix = vec![b'#'; PAGE - 128 - header_len];
    let path = archive.write(place.path(), "a b.npz");
    let archive_mtime = fs::metadata(&path).unwrap().mtime();
    let local_header_offset = archive.prefix.len();
    let second = local_header_offset + header_len + 224;
    assert_eq!(
        object(&path),
        json!({
            "archive": path,
            "size_bytes": fs::metadata(&path).unwrap().len(),
            "members": [
                {
                    "name": "a/x.npy",
                    "path": "a/x.npy",
                    "method": "stored",
                    "size_bytes": 224,
                    "compressed_bytes": 224,
                    "crc32": "0012abcd",
                    "local_header_offset": local_header_offset,
                    "data_offset": local_header_offset + header_len,
                    "mtime": modified,
                    "npy": {
                        "version": "1.0",
                        "dtype": "<f8",
                        "fortran_order": false,
                        "shape": [3, 4],
                        "data_offset": 128,
                        "aligned_64": true,
                        "aligned_page": true,
                    },
                    "lane": "mapped",
                    "problem": null,
                },
                {
                    "name": "z.npy",
                    "path": "z.npy",
                    "method": "method 1",
                    "size_bytes": 1u64 << 40,
                    "compressed_bytes": 21,
                    "crc32": format!("{:08x}", archive.members[1].crc32),
                    "local_header_offset": second,
                    "data_offset": second + 30 + "z.npy".len() + 20,
                    "mtime": archive_mtime,
                    "npy": null,
                    "lane": null,
                    "problem": "compressed (method 1), and such members are not read",
                },
            ],
            "frame": null,
        })
    );
}

#[test]
fn json_has_the_paths_of_hidden_and_renamed_members() {
    let expected = [
        ["x.npy", "x.npy", "mapped"],
        ["dir/", "dir/", ""],
        ["y.npy", "", ""],
        ["dir/y.npy", "dir/y.npy", "mapped"],
        ["y.npy", "y.npy", "mapped"],
        ["/x.npy", "x (1).npy", "mapped"],
        ["z.npy", "z.npy", ""],
    ];
    let or_null = |text: &str| {
        if text.is_empty() {
            Value::Null
        } else {
            text.into()
        }
    };
    assert_eq!(
        values(&members(&motley()), ["name", "path", "lane"]),
        expected.map(|row| row.map(or_null))
    );
}

#[test]
fn a_member_that_cannot_be_read_is_listed_with_the_reason() {
    let bad = |name, change: fn(&mut Member)| Member::stored(name, "0123456789").with(change);
    let archive = Archive::of([
        bad("encrypted", |member| member.flags = 1),
        bad("renamed", |member| {
            member.local.name = Some(b"another".to_vec())
        }),
        bad("outside", |member| {
            member.local_header_offset = Some(1 << 40)
        }),
        bad("long", |member| member.size = u64::MAX),
        bad("split", |member| member.disk = 3),
    ]);
    let members = members(&archive);
    let listed = values(&members, ["name", "problem", "npy", "lane"]);
    let expected = [
        ("encrypted", "encrypted"),
        ("renamed", "local and central header disagree on the name"),
        (
            "outside",
            "local header at 1099511627776 lies past the end of the archive's members",
        ),
        (
            "long",
            "stored as 10 bytes but 18446744073709551615 bytes long",
        ),
        ("split", "lies on disk 3 of a split archive"),
    ];
    let expected =
        expected.map(|(name, problem)| [name.into(), problem.into(), Value::Null, Value::Null]);
    assert_eq!(listed, expected);
    assert_eq!(members[0]["data_offset"], 30 + "encrypted".len() + 20);
    assert_eq!(members[1]["data_offset"], Value::Null);
    assert_eq!(members[2]["data_offset"], Value::Null);
    assert_eq!(members[3]["size_bytes"], u64::MAX);

    let table = table(&archive);
    assert!(table.contains("  none  encrypted\n"), "{table}");
    assert!(
        table.ends_with("5 members (5 cannot be read), 18447 PB in members, 640 B archive\n"),
        "{table}"
    );
}

#[test]
fn random_damage_never_causes_a_crash() {
    let place = Place::new();
    let path = place.join("a.npz");
    let bytes = Archive {
        prefix: Vec::new(),
        ..motley()
    }
    .bytes();
    let mut listed = 0;
    for seed in 0..100 {
        fs::write(&path, damaged(&bytes, seed)).unwrap();
        let table = list(&[], &[&path]);
        let result = list(&["--json"], &[&path]);
        assert_eq!((table.status, &table.err), (result.status, &result.err));
        if result.status == Some(0) {
            let object: Value = serde_json::from_str(&result.out).unwrap();
            assert_eq!(object["members"].as_array().unwrap().len(), 7);
            assert_eq!(table.out.lines().count(), 9, "{}", table.out);
            listed += 1;
        } else {
            assert!(matches!(result.status, Some(21 | 22)), "{}", result.err);
            assert_eq!((result.out.as_str(), result.err.lines().count()), ("", 1));
        }
    }
    assert!(listed > 10);
}

#[test]
fn odd_characters_are_escaped() {
    let descr = "[('\u{9b}31m', '<i4')]";
    let latin1: Vec<u8> = npy(&descr.replace('\u{9b}', "?"), "()", &[0; 4])
        .into_iter()
        .map(|byte| if byte == b'?' { 0x9b } else { byte })
        .collect();
    let archive = Archive::of([
        Member::stored(b"gr\x94\xe1e\x1b[31m.npy", latin1),
        Member::stored(b"back\\slash", ""),
        Member::stored(b"nul\0", ""),
    ]);
    let members = members(&archive);
    assert_eq!(
        values(&members, ["name", "path"]),
        [
            [
                "gr\\x94\\xe1e\\u{1b}[31m.npy".into(),
                "größe\u{1b}[31m.npy".into()
            ],
            ["back\\\\slash".into(), "back\\slash".into()],
            ["nul\\u{0}".into(), Value::Null],
        ]
    );
    assert_eq!(members[0]["npy"]["dtype"], descr);
    let table = table(&archive);
    assert!(
        table.contains("gr\\x94\\xe1e\\u{1b}[31m.npy  [('\\u{9b}31m', '<i4')]"),
        "{table}"
    );
    assert!(table.contains("shown as größe\\u{1b}[31m.npy\n"), "{table}");

    let place = Place::new();
    let path = archive.write(place.path(), "\u{1b}.npz");
    for options in [&[][..], &["--json"]] {
        let result = list(options, &[&path, &path]);
        let harmful = |character: char| character.is_control() && character != '\n';
        assert!(!result.out.contains(harmful), "{}", result.out);
    }
    assert!(
        object(&path)["archive"]
            .as_str()
            .unwrap()
            .ends_with("/\\u{1b}.npz")
    );
}

#[test]
fn a_frame_of_staticframe_has_a_line_of_its_own() {
    let meta = r#"{"__names__": ["weather", null, null], "__types__": ["IndexDate", "Index"],
                   "__depths__": [2, 1, 1]}"#;
    let frame = Archive::stored([
        ("__blocks_0__.npy", npy("'<f8'", "(3, 4)", &[0; 96])),
        ("__blocks_1__.npy", npy("'<f8'", "(3,)", &[0; 24])),
        ("__meta__.json", meta.into()),
    ]);
    let table = table(&frame);
    let line = "\nframe \"weather\": shape 3,5; index IndexDate, depth 1; columns Index, depth 1\n";
    assert!(table.contains(line), "{table}");

    let place = Place::new();
    let labels = |class: &str| json!({"name": null, "type": class, "depth": 1, "types": []});
    assert_eq!(
        object(&frame.write(place.path(), "frame.npz"))["frame"],
        json!({
            "name": "weather",
            "shape": [3, 5],
            "blocks": 2,
            "index": labels("IndexDate"),
            "columns": labels("Index"),
        })
    );
    for other in [
        Member::stored("dir/__meta__.json", meta),
        Member::stored("__meta__.json", "{}"),
        Member::stored("__meta__.json", meta.to_owned() + &" ".repeat(1 << 20)),
        Member::compressed("__meta__.json", 8, 100),
    ] {
        let other = Archive::of([other]).write(place.path(), "other.npz");
        assert_eq!(object(&other)["frame"], Value::Null);
    }
}

#[test]
fn several_archives_have_headings_and_the_worst_status_counts() {
    let place = Place::new();
    let good = Archive::stored([("x", "data")]).write(place.path(), "good.npz");
    let (missing, text) = (place.join("missing.npz"), place.join("text.npz"));
    fs::write(&text, "text").unwrap();
    let one = "name  dtype  shape  order  size  method  offset  align  lane\n\
               x     -      -      -       4 B  stored      51  -      mapped\n\
               1 member, 4 B in members, 124 B archive\n";
    let result = list(&[], &[&missing, &good, &text, &good, &missing]);
    let good = good.display();
    assert_eq!(result.out, format!("{good}:\n{one}\n{good}:\n{one}"));
    assert_eq!(result.status, Some(21));
    let cannot = format!(
        "npzfs: {}: cannot be opened: No such file or directory\n",
        missing.display()
    );
    let no_archive = format!("npzfs: {}: not a ZIP archive\n", text.display());
    assert_eq!(result.err, format!("{cannot}{no_archive}{cannot}"));
}

#[test]
fn json_has_a_line_for_each_archive() {
    let place = Place::new();
    let first = Archive::stored([("x", "data")]).write(place.path(), "first.npz");
    let second = Archive::default().write(place.path(), "second.npz");
    let result = list(&["--json"], &[&first, &place.join("missing"), &second]);
    assert_eq!(result.status, Some(20));
    let objects: Vec<Value> = result
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["archive"], json!(first));
    assert_eq!(objects[1]["members"], json!([]));
}

/// Returns the lines of the table on a terminal with lines of `columns` characters.
fn on_terminal(archive: &Path, columns: u16) -> Vec<String> {
    let mut command = npzfs();
    let command = command.arg("list").arg(archive).env("NO_COLOR", "1");
    let table = run_on_terminal(command, columns);
    table.lines().map(str::to_owned).collect()
}

#[test]
fn on_a_terminal_every_line_fits() {
    let place = Place::new();
    let long = "a very long name ".repeat(20) + "with an end.npy";
    let descr = "[('first', '<f8'), ('second', '<f8'), ('third', '<f8')]";
    let mut archive = motley();
    archive.members.push(Member::stored(
        long,
        npy(descr, "(1, 2, 3, 4, 5, 6, 7, 8)", &[0; 24]),
    ));
    let archive = archive.write(place.path(), "a.npz");
    for columns in [72, 80, 120, 200] {
        let lines = on_terminal(&archive, columns);
        for line in &lines {
            assert!(line.chars().count() <= columns.into(), "{columns}: {line}");
        }
        let row = lines.iter().find(|line| line.starts_with('a')).unwrap();
        assert!(row.contains("npy "), "{row}");
    }
    let lines = on_terminal(&archive, 80);
    assert_eq!(
        lines[6..10],
        [
            "/x.npy     -         -         -         4 B  stored     68419  -      mapped",
            "    shown as x (1).npy",
            "z.npy      -         -         -      123 kB  method 1   68478  -      none",
            "    compressed (method 1), and such members are not read",
        ]
    );
    // The width of a terminal that does not report it is unlimited.
    assert!(on_terminal(&archive, 0)[8].contains("with an end.npy  [('first', '<f8'), "));
}

/// Starts to list an archive whose listing does not fit into a pipe, and reads a few bytes of it.
fn interrupted(archive: &Path, options: &[&str]) -> (Child, BufReader<impl Read + use<>>) {
    let mut command: Command = npzfs();
    command.arg("list").args(options).arg(archive);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("npzfs starts");
    let mut out = BufReader::new(child.stdout.take().expect("it was piped"));
    let mut start = [0; 4];
    out.read_exact(&mut start).expect("npzfs prints something");
    (child, out)
}

fn many_members(place: &Place) -> std::path::PathBuf {
    let members = (0..20_000).map(|at| (format!("{at}.npy"), npy("'<f8'", "()", &[0; 8])));
    Archive::stored(members).write(place.path(), "many.npz")
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    let archive = many_members(&place);
    for options in [&[][..], &["--json"]] {
        let (child, out) = interrupted(&archive, options);
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn an_archive_that_changes_while_it_is_listed_is_an_error() {
    let changes: [fn(&File); 2] = [
        |archive| archive.set_len(1000).unwrap(),
        |archive| {
            archive
                .set_len(archive.metadata().unwrap().len() + 1)
                .unwrap()
        },
    ];
    for (change, options) in changes.into_iter().zip([&[][..], &["--json"]]) {
        let place = Place::new();
        let archive = many_members(&place);
        let (child, out) = interrupted(&archive, options);
        change(&OpenOptions::new().write(true).open(&archive).unwrap());
        assert!(out.lines().count() > 0);
        let output = child.wait_with_output().unwrap();
        let result = format!(
            "npzfs: {}: changed while it was read: try again\n",
            archive.display()
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), result);
        assert_eq!(output.status.code(), Some(20));
    }
}
