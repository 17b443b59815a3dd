//! `npzfs repack`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use npzfs::exit_status;
use npzfs::extent::Extent;
use npzfs::zip::Method;
use npzfs::zip::index;

use crate::fixture::{Archive, Member, npy, pattern};
use crate::loop_image::{FileSystem, Image};
use crate::mounted::{
    Mounted, Output, Place, available, installed, is_root, is_running, npzfs, run, send_signal,
    wait_until, with_default_signals,
};
use crate::quirks::unicode_path;

fn repack(options: &[&str], input: &Path, output: &Path) -> Output {
    run(npzfs().arg("repack").args(options).arg(input).arg(output))
}

/// Repacks, which must succeed.
fn repacked(options: &[&str], input: &Path, output: &Path) -> Vec<Packed> {
    let result = repack(options, input, output);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    packed(output)
}

/// A member of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Packed {
    name: String,
    start: u64,
    data: Vec<u8>,
}

/// Returns the members of an output, each of which must be stored and sound.
fn packed(archive: &Path) -> Vec<Packed> {
    let bytes = fs::read(archive).unwrap();
    let index = index(&bytes[..], bytes.len() as u64, 0).unwrap();
    let packed = index.members.iter().map(|member| {
        assert_eq!((&member.problem, member.method), (&None, Method::STORED));
        let Extent { start, len } = member.extent;
        let data = bytes[start as usize..][..len as usize].to_vec();
        assert_eq!(crc32fast::hash(&data), member.crc32);
        let name = String::from_utf8(index.names.bytes(member.name).to_vec()).unwrap();
        Packed { name, start, data }
    });
    packed.collect()
}

fn names(packed: &[Packed]) -> Vec<&str> {
    packed.iter().map(|packed| packed.name.as_str()).collect()
}

/// Returns the paths below a directory with the contents of files.
fn files_below(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(directory).unwrap().to_owned();
            if path.is_dir() {
                files.insert(below, None);
                directories.push(path);
            } else {
                files.insert(below, Some(fs::read(path).unwrap()));
            }
        }
    }
    files
}

/// Returns the names in a directory, sorted.
fn listing(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns an archive of three arrays of odd lengths and another file.
fn arrays() -> Archive {
    let array = |seed, len| npy("'<u1'", &format!("({len},)"), &pattern(len, seed));
    Archive::stored([
        ("x.npy", array(1, 10_000)),
        ("y.npy", array(2, 1)),
        ("__meta__.json", b"{}".to_vec()),
        ("z.npy", array(3, 5001)),
    ])
}

/// Names that a mount changes or hides, and pairs that it would show under one name.
fn odd_names() -> [&'static [u8]; 14] {
    [
        b"/model/kernel.npy",
        b"model/kernel.npy",
        b"../x.npy",
        b"x.npy",
        b"a//b/./c.npy",
        b"gr\x94\xe1e.npy",
        "größe.npy".as_bytes(),
        br"C:\x.npy",
        b"a\0b.npy",
        b"",
        b"e/",
        b"./e/",
        b"..",
        b".npy",
    ]
}

#[test]
fn an_archive_keeps_the_names_of_its_members_byte_for_byte() {
    let long = [vec![b'k'; 60_000], b".npy".to_vec()].concat();
    let names = odd_names().into_iter().chain([&long[..]]);
    let mut members: Vec<_> = (0..)
        .zip(names)
        .map(|(seed, name)| Member::stored(name, pattern(10 * seed, seed as u32)))
        .collect();
    // The flag decides under which key Python finds the same bytes.
    let flagged = Member::stored("größe 2.npy", "flagged").with(|member| member.flags = 1 << 11);
    members.push(flagged);
    let place = Place::new();
    let input = Archive::of(members).write(place.path(), "in.npz");
    let output = place.join("out.npz");
    for options in [&["--verify"][..], &["--no-align", "-f"]] {
        let result = repack(options, &input, &output);
        assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
        let contents = |path: &Path| {
            let bytes = fs::read(path).unwrap();
            let index = index(&bytes[..], bytes.len() as u64, 0).unwrap();
            let contents = index.members.iter().map(|member| {
                let Extent { start, len } = member.extent;
                let data = bytes[start as usize..][..len as usize].to_vec();
                (index.names.bytes(member.name).to_vec(), member.flags, data)
            });
            contents.collect::<Vec<_>>()
        };
        assert_eq!(contents(&output), contents(&input));
    }
}

#[test]
fn the_name_of_a_unicode_path_field_is_kept_and_flagged() {
    let member = Member::stored(b"gr\x94\xe1e.npy", "data").with(|member| {
        member.extra = unicode_path(b"gr\x94\xe1e.npy", "größe.npy");
    });
    let place = Place::new();
    let input = Archive::of([member]).write(place.path(), "in.npz");
    let output = place.join("out.npz");
    assert_eq!(names(&repacked(&[], &input, &output)), ["größe.npy"]);
    let bytes = fs::read(&output).unwrap();
    let index = index(&bytes[..], bytes.len() as u64, 0).unwrap();
    assert_eq!(index.members[0].flags, 1 << 11);
    assert_eq!(index.members[0].quirks.iter().count(), 0);
}

#[test]
fn a_mount_of_the_result_shows_what_one_of_the_input_shows() {
    let names = odd_names().into_iter().chain([b"x.npy", &[b'k'; 300][..]]);
    let members = (0..).zip(names);
    let of_input = Mounted::new(&Archive::stored(
        members.map(|(seed, name)| (name, pattern(100, seed))),
    ));
    let place = Place::new();
    let output = place.join("out.npz");
    assert_eq!(repack(&[], &of_input.archive, &output).status, Some(0));
    let of_output = Mounted::in_place(place, output, [""; 0]);
    assert_eq!(files_below(&of_output.at), files_below(&of_input.at));
}

#[test]
fn of_members_with_the_same_name_the_last_is_kept() {
    let damaged = Member::stored("x.npy", "old").with(|member| member.local.crc32 = Some(1));
    let archive = Archive::of([
        damaged,
        Member::stored("e/", ""),
        Member::stored("y.npy", "y"),
        Member::stored("e/", ""),
        Member::stored("x.npy", "new"),
        Member::stored("./x.npy", "another"),
    ]);
    let place = Place::new();
    let input = archive.write(place.path(), "in.npz");
    let output = place.join("out.npz");
    let result = repack(&["--quiet"], &input, &output);
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let result = repack(&["--force"], &input, &output);
    assert_eq!(
        result.err,
        format!(
            "npzfs: {}: 2 members left out: a later one has the same name\n",
            input.display()
        )
    );
    let packed = packed(&output);
    assert_eq!(names(&packed), ["y.npy", "e/", "x.npy", "./x.npy"]);
    assert_eq!(packed[2].data, b"new");
}

#[test]
fn symbolic_links_and_directories_stay_what_they_are() {
    let archive = Archive::of([
        Member::stored("x.npy", "data"),
        Member::symlink("y.npy", "x.npy"),
        Member::stored("e/", ""),
        Member::stored("d/", "data of a directory"),
        // Nothing of it is needed.
        Member::stored("damaged/", "").with(|member| member.local.crc32 = Some(1)),
    ]);
    let place = Place::new();
    let input = archive.write(place.path(), "in.npz");
    let output = place.join("out.npz");
    repacked(&["--verify"], &input, &output);
    let bytes = fs::read(&output).unwrap();
    let index = index(&bytes[..], bytes.len() as u64, 0).unwrap();
    let found = index.members.iter().map(|member| {
        let name = index.names.bytes(member.name);
        (name, member.is_symlink, member.size)
    });
    let expected: [(&[u8], _, _); 5] = [
        (b"x.npy", false, 4),
        (b"y.npy", true, 5),
        (b"e/", false, 0),
        (b"d/", false, 19),
        (b"damaged/", false, 0),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn arrays_start_at_multiples_of_the_alignment() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let before = packed(&input);
    for align in [64, 128, 4096, 32_768, 65_536, 1 << 21] {
        let output = place.join(format!("{align}.npz"));
        let after = repacked(&["--align", &align.to_string()], &input, &output);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((&after.name, &after.data), (&before.name, &before.data));
            assert!(after.name == "__meta__.json" || after.start % align == 0);
        }
        assert_eq!(after.len(), before.len());
        // Programs recognize an archive by its first bytes.
        assert_eq!(fs::read(&output).unwrap()[..4], *b"PK\x03\x04");
    }
    let defaults = place.join("default.npz");
    repacked(&[], &input, &defaults);
    assert_eq!(
        fs::read(&defaults).unwrap(),
        fs::read(place.join("4096.npz")).unwrap()
    );
}

#[test]
fn without_alignment_there_is_no_padding() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let output = place.join("out.npz");
    let packed = repacked(&["--no-align"], &input, &output);
    let lens = packed
        .iter()
        .map(|packed| 30 + 46 + 2 * packed.name.len() + packed.data.len());
    assert_eq!(
        fs::metadata(&output).unwrap().len(),
        lens.sum::<usize>() as u64 + 22
    );
}

#[test]
fn one_line_says_what_was_packed() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in put.npz");
    let output = place.join("out.npz");
    let result = repack(&["--align", "64"], &input, &output);
    let place_path = place.path().display();
    assert_eq!(
        result.out,
        format!(
            "packed '{place_path}/in put.npz' into {place_path}/out.npz: 4 members, 15 kB, 89 B \
             of padding (0.570 %)\n"
        )
    );
    let quiet = repack(&["--quiet", "--force"], &input, &output);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let empty = Archive::default().write(place.path(), "empty.npz");
    let result = repack(&["-f"], &empty, &output);
    assert!(
        result
            .out
            .ends_with(": 0 members, 0 B, 0 B of padding (0.000 %)\n")
    );
    assert_eq!(fs::metadata(output).unwrap().len(), 22);
}

#[test]
fn zip64_is_used_only_from_65535_members_on() {
    let place = Place::new();
    let has_zip64 = |archive: &Path| {
        let bytes = fs::read(archive).unwrap();
        bytes.windows(4).any(|at| at == b"PK\x06\x06")
    };
    for (count, expected) in [(65_534, false), (65_535, true)] {
        let many = Archive::stored((0..count).map(|at| (at.to_string(), b"")));
        let input = many.write(place.path(), "in.npz");
        let output = place.join("out.npz");
        let packed = repacked(&["--force"], &input, &output);
        assert_eq!((packed.len(), has_zip64(&output)), (count, expected));
    }
}

#[test]
fn compressed_members_are_stored() {
    let data = npy("'<u1'", "(90000,)", &pattern(30_000, 1).repeat(3));
    let member = |name: &str, method, compressed: Vec<u8>| {
        Member::stored(name, data.clone()).with(|member| {
            member.method = method;
            member.data = compressed;
        })
    };
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
    deflate.write_all(&data).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
    bzip2.write_all(&data).unwrap();
    let archive = Archive::of([
        member("d.npy", 8, deflate.finish().unwrap()),
        member("b.npy", 12, bzip2.finish().unwrap()).with(|member| member.descriptor = true),
        Member::stored("s.npy", data.clone()),
    ]);
    let place = Place::new();
    let input = archive.write(place.path(), "in.npz");
    let packed = repacked(&["--verify"], &input, &place.join("out.npz"));
    assert_eq!(names(&packed), ["d.npy", "b.npy", "s.npy"]);
    assert!(
        packed
            .iter()
            .all(|packed| packed.data == data && packed.start % 4096 == 0)
    );
}

#[test]
fn order_and_times_are_those_of_the_archive() {
    let timestamp = |seconds: i32| [&[0x55, 0x54, 5, 0, 1][..], &seconds.to_le_bytes()].concat();
    let archive = Archive::of([
        Member::stored("z.npy", b"unset"),
        Member::stored("d/", b"").with(|member| member.dos_time = 5),
        Member::stored("a.npy", b"stamp").with(|member| {
            (member.dos_date, member.dos_time) = (0x5A21, 0x1235);
            member.extra = timestamp(-1);
        }),
        Member::stored("m.npy", b"no date at all").with(|member| member.dos_date = 0),
    ]);
    let place = Place::new();
    let input = archive.write(place.path(), "in.npz");
    let output = place.join("out.npz");
    assert_eq!(
        names(&repacked(&[], &input, &output)),
        ["z.npy", "d/", "a.npy", "m.npy"]
    );
    let index = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        index(&bytes[..], bytes.len() as u64, 5).unwrap().members
    };
    for (before, after) in index(&input).iter().zip(index(&output)) {
        assert_eq!(
            (before.stamp, before.modified),
            (after.stamp, after.modified)
        );
    }
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let members = (0..300).map(|at: usize| (format!("{at}.npy"), pattern(at * 97 % 9000, 1)));
    let place = Place::new();
    let input = Archive::stored(members).write(place.path(), "in.npz");
    let outputs = ["1", "2", "64"].map(|jobs| {
        let output = place.join(jobs);
        repacked(&["-j", jobs], &input, &output);
        fs::read(output).unwrap()
    });
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}

#[test]
fn a_directory_is_packed_with_all_its_contents() {
    let place = Place::new();
    let input = place.join("frame");
    fs::create_dir_all(input.join("sub/empty")).unwrap();
    let files = [
        ("x.npy", pattern(9000, 1)),
        ("__meta__.json", b"{}".to_vec()),
        ("sub/größe.npy", pattern(1, 2)),
    ];
    for (name, data) in &files {
        fs::write(input.join(name), data).unwrap();
    }
    fs::write(place.join("target"), b"target").unwrap();
    symlink("../target", input.join("link.npy")).unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001);
    File::options()
        .write(true)
        .open(input.join("x.npy"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let output = place.join("out.npz");
    let packed = repacked(&["--verify"], &input, &output);
    let expected = [
        ("__meta__.json", &files[1].1[..]),
        ("link.npy", b"target"),
        ("sub/empty/", b""),
        ("sub/größe.npy", &files[2].1),
        ("x.npy", &files[0].1),
    ];
    let found = packed
        .iter()
        .map(|packed| (packed.name.as_str(), &packed.data[..]));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(
        packed
            .iter()
            .all(|packed| !packed.name.ends_with(".npy") || packed.start % 4096 == 0)
    );
    let mount = Mounted::in_place(place, output, [""; 0]);
    assert_eq!(files_below(&mount.at), files_below(&input));
    assert_eq!(
        fs::metadata(mount.path("x.npy"))
            .unwrap()
            .modified()
            .unwrap(),
        modified
    );
}

#[test]
fn files_that_an_archive_cannot_hold_are_refused() {
    let place = Place::new();
    let output = place.join("out.npz");
    let refused = |name: &str, make: &dyn Fn(&Path)| {
        let input = place.join(name);
        fs::create_dir(&input).unwrap();
        fs::write(input.join("a.npy"), b"a").unwrap();
        let odd = input.join("odd.npy");
        make(&odd);
        let result = repack(&[], &input, &output);
        assert!(!output.exists() && result.out.is_empty());
        let reason = result
            .err
            .strip_prefix(&format!("npzfs: {}: ", odd.display()));
        (result.status, reason.unwrap_or(&result.err).to_owned())
    };
    let mode = nix::sys::stat::Mode::S_IRWXU;
    assert_eq!(
        refused("fifo", &|odd| nix::unistd::mkfifo(odd, mode).unwrap()),
        (
            Some(1),
            "is a FIFO, which an archive cannot hold\n".to_owned()
        )
    );
    assert_eq!(
        refused("link", &|odd| symlink("..", odd).unwrap()),
        (
            Some(1),
            "is a symbolic link to a directory, which an archive cannot hold\n".to_owned()
        )
    );
    assert_eq!(
        refused("dangling", &|odd| symlink("nowhere", odd).unwrap()),
        (
            Some(20),
            "cannot be read: No such file or directory\n".to_owned()
        )
    );
    // A file with a size of 0 that is not empty.
    assert_eq!(
        refused("longer", &|odd| symlink("/proc/version", odd).unwrap()),
        (
            Some(20),
            "changed while it was read: try again\n".to_owned()
        )
    );
}

#[test]
fn a_member_that_cannot_be_read_is_named_and_nothing_is_written() {
    let place = Place::new();
    let output = place.join("out.npz");
    let refused = |member: Member| {
        let archive = Archive::of([Member::stored("a.npy", pattern(5000, 1)), member]);
        let input = archive.write(place.path(), "in.npz");
        let result = repack(&[], &input, &output);
        assert_eq!(
            (listing(place.path()), result.out),
            (vec!["in.npz".to_owned()], String::new())
        );
        let reason = result
            .err
            .strip_prefix(&format!("npzfs: {}: ", input.display()));
        (result.status, reason.unwrap_or(&result.err).to_owned())
    };
    assert_eq!(
        refused(Member::stored("x.npy", b"secret").with(|member| member.flags = 1)),
        (Some(23), "member 'x.npy': encrypted\n".to_owned())
    );
    assert_eq!(
        refused(Member::stored("x\n.npy", b"123").with(|member| member.data = b"124".to_vec())),
        (
            Some(22),
            "member 'x\\n.npy': CRC-32 of the data is 162cf671 instead of 884863d2\n".to_owned()
        )
    );
    assert_eq!(
        refused(Member::stored("x.npy", b"123").with(|member| {
            (member.method, member.data) = (8, vec![3, 0]);
        })),
        (
            Some(22),
            "member 'x.npy': 0 bytes of data instead of 3\n".to_owned()
        )
    );
    let endless = Member::compressed("x.npy", 8, u64::MAX);
    let result = refused(endless.with(|member| member.zip64 = true));
    assert_eq!(
        result,
        (
            Some(1),
            format!(
                "npzfs: {}: cannot be written: File too large\n",
                output.display()
            )
        )
    );
}

#[test]
fn an_output_that_exists_is_replaced_only_by_force() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let output = place.join("out.npz");
    fs::write(&output, b"precious").unwrap();
    let result = repack(&[], &input, &output);
    let expected = format!(
        "npzfs: {}: exists already (--force replaces it)\n",
        output.display()
    );
    assert_eq!((result.status, result.err), (Some(1), expected));
    assert_eq!(fs::read(&output).unwrap(), b"precious");
    repacked(&["--force"], &input, &output);
    assert_eq!(listing(place.path()), ["in.npz", "out.npz"]);
}

#[test]
fn only_files_are_replaced() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let refused = |output: &Path| {
        let result = repack(&["--force"], &input, output);
        let reason = result
            .err
            .strip_prefix(&format!("npzfs: {}: ", output.display()));
        (result.status, reason.unwrap_or(&result.err).to_owned())
    };
    assert_eq!(
        refused(place.path()),
        (
            Some(1),
            "is a directory, and only files are replaced\n".to_owned()
        )
    );
    assert_eq!(
        refused(Path::new("/dev/null")),
        (
            Some(1),
            "is a device, and only files are replaced\n".to_owned()
        )
    );
    assert_eq!(
        refused(&place.join("missing/out.npz")),
        (
            Some(1),
            "cannot be written: No such file or directory\n".to_owned()
        )
    );
}

#[test]
fn an_output_in_the_packed_directory_is_refused() {
    let place = Place::new();
    let input = place.join("frame");
    fs::create_dir_all(input.join("sub")).unwrap();
    let output = input.join("sub/../out.npz");
    let result = repack(&[], &input, &output);
    let expected = format!(
        "npzfs: {}: lies in the directory that is packed: write it somewhere else\n",
        output.display()
    );
    assert_eq!((result.status, result.err), (Some(1), expected));
    assert_eq!(listing(&input), ["sub"]);
    let mut inside = npzfs();
    inside.current_dir(&input).args(["repack", ".", "out.npz"]);
    assert_eq!(run(&mut inside).status, Some(1));
}

#[test]
fn an_archive_that_replaces_itself_keeps_owner_and_mode() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    fs::set_permissions(&input, fs::Permissions::from_mode(0o640)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&input, Some(12), Some(34)).unwrap();
    }
    let link = place.join("link.npz");
    symlink("in.npz", &link).unwrap();
    let owner = |metadata: fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode());
    let before = (packed(&input), owner(fs::metadata(&input).unwrap()));
    repacked(&["--force"], &link, &link);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(owner(fs::metadata(&input).unwrap()), before.1);
    let after = packed(&input);
    for (before, after) in before.0.iter().zip(&after) {
        assert_eq!((&before.name, &before.data), (&after.name, &after.data));
    }
    assert_eq!(after[0].start, 4096);
    // An aligned archive does not change.
    let once = fs::read(&input).unwrap();
    repacked(&["--force"], &input, &input);
    assert_eq!(fs::read(&input).unwrap(), once);
    assert_eq!(listing(place.path()), ["in.npz", "link.npz"]);
}

#[test]
fn a_mounted_archive_can_be_replaced_by_itself() {
    let archive = arrays();
    let mount = Mounted::new(&archive);
    let x = mount.read("x.npy");
    repacked(&["--force"], &mount.archive, &mount.archive);
    assert_eq!(mount.read("x.npy"), x);
    assert_eq!(mount.read("z.npy"), archive.members[3].data);
}

#[test]
fn a_mount_of_the_result_has_aligned_offsets() {
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let output = place.join("out.npz");
    repacked(&["--align", "65536"], &input, &output);
    let mount = Mounted::in_place(place, output, [""; 0]);
    for name in ["x.npy", "y.npy", "z.npy"] {
        let offset = mount.attribute(name, "user.npzfs.offset").unwrap();
        assert_eq!(offset.parse::<u64>().unwrap() % 65_536, 0);
    }
}

#[test]
fn other_programs_read_the_result() {
    if !installed(&["unzip"]) {
        return;
    }
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    for align in ["64", "4096", "65536", "2097152"] {
        let output = place.join(format!("{align}.npz"));
        let before = repacked(&["--align", align], &input, &output);
        let unzip = run(Command::new("unzip").arg("-tqq").arg(&output));
        assert_eq!(
            (unzip.status, unzip.out, unzip.err),
            (Some(0), String::new(), String::new())
        );
        let mut zip = zip::ZipArchive::new(File::open(&output).unwrap()).unwrap();
        for packed in before {
            let mut data = Vec::new();
            zip.by_name(&packed.name)
                .unwrap()
                .read_to_end(&mut data)
                .unwrap();
            assert_eq!(data, packed.data);
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    if !available(is_root(), "root") {
        return;
    }
    let place = Place::new();
    let data = pattern(300_000, 1);
    let input = Archive::stored((0..10).map(|at| (format!("{at}.npy"), data.clone())));
    let input = input.write(place.path(), "in.npz");
    let disk = place.join("disk");
    fs::create_dir(&disk).unwrap();
    let mut tmpfs = Command::new("mount");
    tmpfs
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&disk);
    assert_eq!(run(&mut tmpfs).status, Some(0));
    let output = disk.join("out.npz");
    fs::write(&output, b"precious").unwrap();
    let result = repack(&["--force", "-j", "2"], &input, &output);
    let left = (listing(&disk), fs::read(&output).unwrap());
    let free = nix::sys::statvfs::statvfs(&disk).unwrap().blocks_free();
    assert_eq!(run(Command::new("umount").arg(&disk)).status, Some(0));
    let expected = format!(
        "npzfs: {}: cannot be written: No space left on device\n",
        output.display()
    );
    assert_eq!((result.status, result.err), (Some(1), expected));
    assert_eq!(left, (vec!["out.npz".to_owned()], b"precious".to_vec()));
    assert_eq!(free, 255);
}

/// Returns a directory with a file that takes far longer to pack than a test runs.
fn endless(place: &Place) -> PathBuf {
    let input = place.join("frame");
    fs::create_dir(&input).unwrap();
    let file = File::create(input.join("x.npy")).unwrap();
    file.set_len(100 << 30).unwrap();
    input
}

/// A child that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process has written to an unnamed file.
fn has_begun(pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::metadata(descriptor.path()).is_ok_and(|file| file.nlink() == 0 && file.len() > 0)
    })
}

#[test]
fn every_signal_leaves_nothing() {
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let place = Place::new();
        let input = endless(&place);
        let mut command = npzfs();
        command.arg("repack").arg(&input).arg(place.join("out.npz"));
        let mut child = Killed(command.spawn().unwrap());
        wait_until("writing", || has_begun(child.0.id()));
        send_signal(child.0.id(), signal);
        let status = child.0.wait().unwrap();
        assert_eq!(status.signal(), Some(signal as i32));
        assert_eq!(listing(place.path()), ["frame"]);
    }
}

#[test]
fn a_kill_at_any_moment_damages_neither_input_nor_output() {
    let seed = std::process::id();
    println!("seed {seed}");
    let place = Place::new();
    let data = pattern(1 << 20, 1);
    let members = (0..16).map(|at| (format!("{at}.npy"), data.clone()));
    let input = Archive::stored(members).write(place.path(), "in.npz");
    let before = fs::read(&input).unwrap();
    let finished = place.join("finished.npz");
    // The shortest of several durations, since after a longer one there is hardly a process to kill.
    let durations = (0..5).map(|_| {
        let begin = Instant::now();
        assert_eq!(repack(&["-qf"], &input, &finished).status, Some(0));
        begin.elapsed()
    });
    let duration = durations.min().unwrap();
    let expected = fs::read(&finished).unwrap();
    fs::remove_file(&finished).unwrap();

    let output = place.join("out.npz");
    let moments = pattern(40, seed);
    let mut killed = 0;
    for moment in moments.chunks(2) {
        for (options, old) in [(&["-q"][..], None), (&["-q", "--force"], Some(b"precious"))] {
            if let Some(old) = old {
                fs::write(&output, old).unwrap();
            }
            let mut command = npzfs();
            command.arg("repack").args(options).args([&input, &output]);
            let mut child = Killed(command.spawn().unwrap());
            let moment = u32::from(u16::from_le_bytes([moment[0], moment[1]]));
            std::thread::sleep(duration * moment / 65_536);
            let _ = child.0.kill();
            killed += usize::from(child.0.wait().unwrap().signal().is_some());
            assert!(fs::read(&input).unwrap() == before);
            // It may have finished already, or nearly.
            let found = fs::read(&output).ok();
            let mut left = listing(place.path());
            // Killed just before it replaces the old one, the new one has a temporary name.
            if old.is_some() && left[0].starts_with(".npzfs-") {
                let temporary = place.join(left.remove(0));
                assert!(fs::read(&temporary).unwrap() == expected);
                fs::remove_file(temporary).unwrap();
            }
            assert_eq!(
                left,
                &["in.npz", "out.npz"][..1 + usize::from(found.is_some())]
            );
            let is_old = found.as_deref() == old.map(|old| &old[..]);
            assert!(is_old || found.as_deref() == Some(&expected[..]));
            let _ = fs::remove_file(&output);
        }
    }
    assert!(killed > 0);
}

#[test]
fn an_ignored_signal_ends_nothing() {
    let place = Place::new();
    let input = endless(&place);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP && exec \"$0\" repack \"$1\" \"$2\""]);
    command
        .arg(env!("CARGO_BIN_EXE_npzfs"))
        .arg(&input)
        .arg(place.join("out.npz"));
    let mut child = Killed(with_default_signals(&mut command).spawn().unwrap());
    wait_until("writing", || has_begun(child.0.id()));
    send_signal(child.0.id(), Signal::SIGHUP);
    // Time for it to end.
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_running(child.0.id()));
    send_signal(child.0.id(), Signal::SIGTERM);
    assert_eq!(
        child.0.wait().unwrap().signal(),
        Some(Signal::SIGTERM as i32)
    );
}

#[test]
fn progress_is_shown_only_on_a_terminal() {
    if !installed(&["script"]) {
        return;
    }
    let place = Place::new();
    let array = npy("'|u1'", "(3000000,)", &pattern(3_000_000, 1));
    Archive::stored([("x.npy", array)]).write(place.path(), "in.npz");
    let line = format!("{} repack -f in.npz out.npz", env!("CARGO_BIN_EXE_npzfs"));
    let on_terminal = |line: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", line, "/dev/null"]);
        // A dumb terminal would get no progress bar.
        script.env("TERM", "xterm").env("NO_COLOR", "1");
        run(script.current_dir(place.path()))
    };
    let summary = "packed in.npz into out.npz: 1 member, 3.0 MB, ";
    let shown = on_terminal(&line);
    assert_eq!(shown.status, Some(0));
    assert!(shown.out.contains(" of 3.00 MB, "), "{}", shown.out);
    assert!(shown.out.contains(" left: in.npz"), "{}", shown.out);
    let (_, last) = shown.out.trim_end().rsplit_once(summary).expect("a result");
    assert!(!last.contains('\n'), "{last}");

    let redirected = on_terminal(&format!("{line} 2> log"));
    assert!(redirected.out.starts_with(summary), "{}", redirected.out);
    assert_eq!(redirected.out.lines().count(), 1);
    assert_eq!(fs::read(place.join("log")).unwrap(), b"");

    let quiet = on_terminal(&format!("{line} -q"));
    assert_eq!((quiet.status, quiet.out.as_str()), (Some(0), ""));
}

/// Returns the system calls of a repack that sync, link and rename, with the paths of descriptors.
fn calls_of_repack(place: &Place, options: &[&str], input: &Path, output: &Path) -> Vec<String> {
    let log = place.join("calls");
    let calls = "trace=fsync,fdatasync,linkat,link,rename,renameat,renameat2";
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        "signal=none",
        "-e",
        calls,
        "-o",
    ]);
    command.arg(&log).arg(env!("CARGO_BIN_EXE_npzfs"));
    let result = run(command.arg("repack").args(options).args([input, output]));
    assert_eq!((result.status, result.err.as_str()), (Some(0), ""));
    let log = fs::read_to_string(log).unwrap();
    let call = |line: &str| {
        // The line starts with the process ID.
        let (_, call) = line.split_once(' ').expect("a call");
        call.trim_start().to_owned()
    };
    log.lines().map(call).collect()
}

#[test]
fn data_is_synced_before_the_rename_and_the_name_after_it() {
    if !installed(&["strace"]) {
        return;
    }
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let to = place.join("to");
    fs::create_dir(&to).unwrap();
    let output = to.join("out.npz");
    let directory = format!("<{}>)", to.display());
    let name = format!("\"{}\"", output.display());
    let replacing = ["linkat", "linkat", "rename"];
    for (options, names) in [(&[][..], &replacing[..1]), (&["-f"], &replacing)] {
        let calls = calls_of_repack(&place, options, &input, &output);
        let [of_file, naming @ .., of_directory] = &calls[..] else {
            panic!("{calls:?}");
        };
        let is_sync = |call: &str| call.starts_with("fsync(") && call.ends_with(" = 0");
        assert!(is_sync(of_file) && is_sync(of_directory), "{calls:#?}");
        // The file is unnamed at that time.
        assert!(of_file.contains("/to/#"), "{calls:#?}");
        assert!(of_directory.contains(&directory), "{calls:#?}");
        let called: Vec<_> = naming.iter().map(|call| call.split('(').next()).collect();
        assert_eq!(called, names.iter().copied().map(Some).collect::<Vec<_>>());
        assert!(
            naming.last().is_some_and(|call| call.contains(&name)),
            "{calls:#?}"
        );
    }
}

/// Returns a command for npzfs repack on a file system without unnamed files.
fn repack_with_a_named_file(
    place: &Place,
    options: &[&str],
    input: &Path,
    output: &Path,
) -> Command {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=openat:error=EOPNOTSUPP",
    ]);
    command
        .args(["-e", "trace=openat", "-P"])
        .arg(place.join("to"));
    command
        .arg(env!("CARGO_BIN_EXE_npzfs"))
        .arg("repack")
        .args(options)
        .arg(input)
        .arg(output);
    command
}

#[test]
fn a_file_system_without_unnamed_files_is_enough() {
    if !installed(&["strace"]) {
        return;
    }
    let place = Place::new();
    let input = arrays().write(place.path(), "in.npz");
    let to = place.join("to");
    fs::create_dir(&to).unwrap();
    let expected = repacked(&[], &input, &place.join("expected.npz"));
    for options in [&[][..], &["--force"]] {
        let output = to.join("out.npz");
        let result = run(&mut repack_with_a_named_file(
            &place, options, &input, &output,
        ));
        // strace injects the error also when the directory is opened to be synced, at the end.
        assert_eq!(result.status, Some(1), "{}", result.err);
        assert_eq!(
            (packed(&output), listing(&to)),
            (expected.clone(), vec!["out.npz".to_owned()])
        );
    }
    let result = run(&mut repack_with_a_named_file(
        &place,
        &[],
        &input,
        &to.join("out.npz"),
    ));
    assert!(
        result
            .err
            .ends_with("exists already (--force replaces it)\n")
    );
    fs::write(&input, b"no archive").unwrap();

    fs::remove_file(to.join("out.npz")).unwrap();
    let endless = endless(&place);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut command = repack_with_a_named_file(&place, &[], &endless, &to.join("out.npz"));
        let mut child = Killed(with_default_signals(&mut command).spawn().unwrap());
        let pid = || listing(&to).first()?.split('-').nth(1)?.parse().ok();
        wait_until("a temporary file", || pid().is_some());
        send_signal(pid().unwrap(), signal);
        child.0.wait().unwrap();
        assert_eq!(listing(&to), [""; 0]);
    }
}

#[test]
fn wrong_alignments_are_usage_errors() {
    for align in ["0", "32", "63", "96", "4194304", "x", "-1"] {
        let result = repack(&["--align", align], Path::new("a"), Path::new("b"));
        assert_eq!(result.status, Some(exit_status::USAGE.into()), "{align}");
    }
    let both = repack(
        &["--align", "64", "--no-align"],
        Path::new("a"),
        Path::new("b"),
    );
    assert!(both.err.contains("cannot be used with"));
}

#[test]
fn blocks_of_aligned_arrays_are_reflinked() {
    let place = Place::new();
    let Some(xfs) = Image::new(FileSystem::Xfs) else {
        return;
    };
    let arrays = (0..4).map(|at| (format!("{at}.npy"), pattern((5 << 20) + 5 + at, at as u32)));
    let plain = Archive::stored(arrays).write(place.path(), "in.npz");
    let [aligned, again] = ["aligned.npz", "again.npz"].map(|name| xfs.join(name));
    let empty = xfs.used_bytes();
    repacked(&["--verify"], &plain, &aligned);
    let once = xfs.used_bytes();
    assert!(once - empty > 20 << 20);
    repacked(&["--verify"], &aligned, &again);
    assert!(xfs.used_bytes() < once + (1 << 20));
    assert_eq!(packed(&again), packed(&aligned));

    let directory = xfs.join("directory");
    fs::create_dir(&directory).unwrap();
    for array in packed(&aligned) {
        fs::write(directory.join(array.name), array.data).unwrap();
    }
    // XFS may give back space that it has allocated ahead of the writes above.
    let before = xfs.used_bytes();
    repacked(&["--verify", "--force"], &directory, &again);
    assert!(xfs.used_bytes() < before + (1 << 20));
    assert_eq!(packed(&again), packed(&aligned));
}
