//! Random archives and random uses of their mounts, compared with a model: the rules of the manual,
//! implemented a second time and as simply as possible.
//!
//! `NPZFS_MODEL_CASES` is the number of cases. A run prints `PROPTEST_RNG_SEED`; with the same value the
//! same cases are tried again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::fixture::{Archive, Member, pattern};
use crate::mounted::{Mounted, Place, npzfs, run};

#[test]
fn a_mount_does_what_the_manual_says() {
    let mut config = Config {
        cases: std::env::var("NPZFS_MODEL_CASES").map_or(60, |cases| {
            cases.parse().expect("NPZFS_MODEL_CASES is a number")
        }),
        max_shrink_iters: 500,
        failure_persistence: None,
        ..Config::default()
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(u64::from(std::process::id()));
    }
    eprintln!("PROPTEST_RNG_SEED={}", config.rng_seed);
    let cases = (archives(), vec(operations(), 1..=30));
    TestRunner::new(config)
        .run(&cases, |(archive, operations)| check(&archive, &operations))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Mounts the archive and runs the operations twice, the second time with the kernel's caches filled.
fn check(layout: &Layout, operations: &[Operation]) -> Result<(), TestCaseError> {
    let model = Model::of(&layout.members);
    let place = Place::new();
    let archive = layout.archive().write(place.path(), "a.npz");
    let at = place.join("mnt");
    let result = run(npzfs()
        .args(["mount", "--quiet", "--deflated=refuse"])
        .args([&archive, &at]));
    // Adopted in any case, so that a mount that should have been refused is unmounted, too.
    let mount = Mounted::adopt(place, archive, result.out);
    prop_assert_eq!(result.status, Some(model.status()), "{}", result.err);
    if model.status() != 0 {
        prop_assert!(!mount.at.exists());
        return Ok(());
    }
    let files = nix::sys::statvfs::statvfs(&mount.at).map(|stat| stat.files());
    prop_assert_eq!(files, Ok(model.nodes.len() as u64));
    for operation in operations.iter().chain(operations) {
        operation.check(&model, &mount)?;
    }
    Ok(())
}

/// A member as it is written, with its flaw.
#[derive(Debug, Clone)]
struct Written {
    name: Vec<u8>,
    len: usize,
    seed: u32,
    sizes: Sizes,
    flaw: Option<Flaw>,
}

/// Where the local header has the sizes.
#[derive(Debug, Clone, Copy)]
enum Sizes {
    Plain,
    Zip64,
    Descriptor,
}

/// Why a member cannot be read.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    Compressed(u16),
    Encrypted,
    OtherSize,
    OtherDisk,
    OutsideTheArchive,
    LocalSignature,
    LocalName,
    LocalMethod,
    LocalSize,
    LocalCrc,
}

impl Flaw {
    fn errno(self) -> i32 {
        match self {
            Self::Compressed(_) => libc::EOPNOTSUPP,
            Self::Encrypted => libc::EACCES,
            _ => libc::EIO,
        }
    }
}

impl Written {
    fn data(&self) -> Vec<u8> {
        pattern(self.len, self.seed)
    }

    /// Returns the size in the central directory.
    fn size(&self) -> u64 {
        let differs = matches!(self.flaw, Some(Flaw::OtherSize | Flaw::Compressed(_)));
        self.len as u64 + u64::from(differs)
    }

    fn member(&self) -> Member {
        Member::stored(&self.name, self.data()).with(|member| {
            member.zip64 = matches!(self.sizes, Sizes::Zip64);
            member.descriptor = matches!(self.sizes, Sizes::Descriptor);
            member.size = self.size();
            match self.flaw {
                None | Some(Flaw::OtherSize) => {}
                Some(Flaw::Compressed(method)) => member.method = method,
                Some(Flaw::Encrypted) => member.flags = 1,
                Some(Flaw::OtherDisk) => member.disk = 1,
                Some(Flaw::OutsideTheArchive) => member.local_header_offset = Some(1 << 40),
                Some(Flaw::LocalSignature) => member.local.signature = Some(*b"PK\x03\x05"),
                Some(Flaw::LocalName) => member.local.name = Some([&self.name, &b"?"[..]].concat()),
                Some(Flaw::LocalMethod) => member.local.method = Some(8),
                Some(Flaw::LocalSize) => member.local.size = Some(self.len as u32 + 1),
                Some(Flaw::LocalCrc) => member.local.crc32 = Some(!member.crc32),
            }
        })
    }
}

/// An archive as it is written.
#[derive(Debug, Clone)]
struct Layout {
    members: Vec<Written>,
    prefix_len: usize,
    comment: &'static str,
    zip64_end: bool,
}

impl Layout {
    fn archive(&self) -> Archive {
        Archive {
            prefix: pattern(self.prefix_len, 0),
            members: self.members.iter().map(Written::member).collect(),
            comment: self.comment.into(),
            zip64_end: self.zip64_end,
        }
    }
}

fn archives() -> impl Strategy<Value = Layout> {
    // All names consist of a few components, so that they often clash.
    let pool = vec(components(), 1..=4);
    let prefix_len = prop_oneof![Just(0), 1..5000_usize];
    let comment = select(vec!["", "a comment", "with PK\x05\x06 in it"]);
    (
        pool,
        vec(members(), 0..=12),
        prefix_len,
        comment,
        any::<bool>(),
    )
        .prop_map(|(mut pool, members, prefix_len, comment, zip64_end)| {
            pool.extend([b"".to_vec(), b"..".to_vec()]);
            let named = |(parts, member): (Vec<Index>, Written)| {
                let parts: Vec<_> = parts.iter().map(|part| part.get(&pool).clone()).collect();
                Written {
                    name: parts.join(&b'/'),
                    ..member
                }
            };
            Layout {
                members: members.into_iter().map(named).collect(),
                prefix_len,
                comment,
                zip64_end,
            }
        })
}

/// Returns members, and the components of their names.
fn members() -> impl Strategy<Value = (Vec<Index>, Written)> {
    let len = prop_oneof![
        4 => 0..100_usize,
        4 => select(vec![4095, 4096, 4097, 8191, 8192, 8193, 131_071, 131_072, 131_073]),
        2 => 0..20_000_usize,
        1 => 0..=200_usize << 10,
    ];
    let sizes = select(vec![Sizes::Plain, Sizes::Zip64, Sizes::Descriptor]);
    let flaw = select(vec![
        Flaw::Compressed(8),
        Flaw::Compressed(12),
        Flaw::Compressed(1000),
        Flaw::Encrypted,
        Flaw::Encrypted,
        Flaw::OtherSize,
        Flaw::OtherDisk,
        Flaw::OutsideTheArchive,
        Flaw::LocalSignature,
        Flaw::LocalName,
        Flaw::LocalMethod,
        Flaw::LocalSize,
        Flaw::LocalCrc,
    ]);
    let flaw = prop_oneof![2 => Just(None), 1 => flaw.prop_map(Some)];
    let written = (len, any::<u32>(), sizes, flaw).prop_map(|(len, seed, sizes, flaw)| Written {
        name: Vec::new(),
        len,
        seed,
        sizes,
        flaw,
    });
    (vec(any::<Index>(), 1..=4), written)
}

fn components() -> impl Strategy<Value = Vec<u8>> {
    let odd: [&[u8]; 22] = [
        b"x",
        b"X",
        b"x.npy",
        b"x.NPY",
        b"x (1).npy",
        b"x (1)",
        b"d",
        b".",
        b"...",
        b".npy",
        b"a.",
        b" ",
        b"a b",
        br"..\x",
        b"C:",
        b"new\nline",
        b"a\0b",
        "größe".as_bytes(),
        "e\u{301}".as_bytes(),
        b"gr\x94\xe1e",
        b"\x81.npy",
        b"\xff",
    ];
    let long = (
        select(vec!["x", "é"]),
        100..=300_usize,
        select(vec!["", ".", ".npy", "é"]),
        select(vec![0, 123, 126, 127, 250]),
    );
    let long = long.prop_map(|(letter, letters, end, more)| {
        [&letter.repeat(letters), end, &"z".repeat(more)].concat()
    });
    prop_oneof![
        4 => select(odd.map(<[u8]>::to_vec).to_vec()),
        1 => long.prop_map(String::into_bytes),
    ]
}

/// The files and directories of an archive by their paths, by the rules of the manual. The path of
/// the root is empty.
struct Model {
    nodes: BTreeMap<String, Node>,
    /// The flaws of the files, in the order of the archive.
    flaws: Vec<Option<Flaw>>,
}

#[derive(Debug)]
enum Node {
    Directory,
    File {
        member: Written,
        contents: Result<Vec<u8>, i32>,
    },
}

impl Node {
    /// Returns the result of reading.
    fn contents(&self) -> Result<&[u8], i32> {
        match self {
            Self::Directory => Err(libc::EISDIR),
            Self::File { contents, .. } => contents.as_deref().map_err(|&errno| errno),
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Self::Directory => Shape {
                file_of: None,
                mode: 0o555,
            },
            Self::File { member, .. } => Shape {
                file_of: Some(member.size()),
                mode: 0o444,
            },
        }
    }
}

/// The properties that `stat` shows.
#[derive(Debug, PartialEq)]
struct Shape {
    /// The size of a file; `None` for a directory.
    file_of: Option<u64>,
    mode: u32,
}

impl From<Metadata> for Shape {
    fn from(metadata: Metadata) -> Self {
        Self {
            file_of: metadata.is_file().then_some(metadata.len()),
            mode: metadata.permissions().mode() & 0o7777,
        }
    }
}

impl Model {
    fn of(members: &[Written]) -> Self {
        let shown = |at: usize| {
            let name = &members[at].name;
            let again = members[at + 1..].iter().any(|later| later.name == *name);
            !again && !name.contains(&0)
        };
        let shown: Vec<_> = (0..members.len()).filter(|&at| shown(at)).collect();
        let mut model = Self {
            nodes: BTreeMap::from([(String::new(), Node::Directory)]),
            flaws: Vec::new(),
        };
        // Directories come first, since their names are never changed.
        for &at in &shown {
            let (directory, _) = split(&members[at].name);
            for (end, _) in directory.match_indices('/') {
                model.nodes.insert(directory[..end].into(), Node::Directory);
            }
        }
        for &at in &shown {
            let (directory, Some(file)) = split(&members[at].name) else {
                continue;
            };
            let mut path = format!("{directory}{file}");
            let (stem, extension) = cut(&file, 242);
            for number in 1.. {
                if !model.nodes.contains_key(&path) {
                    break;
                }
                path = format!("{directory}{stem} ({number}){extension}");
            }
            let member = members[at].clone();
            model.flaws.push(member.flaw);
            let contents = match member.flaw {
                Some(flaw) => Err(flaw.errno()),
                None => Ok(member.data()),
            };
            model.nodes.insert(path, Node::File { member, contents });
        }
        model
    }

    /// Returns the exit status of `npzfs mount`.
    fn status(&self) -> i32 {
        match self.flaws.first() {
            Some(Some(first)) if self.flaws.iter().all(Option::is_some) => match first.errno() {
                libc::EIO => 22,
                _ => 23,
            },
            _ => 0,
        }
    }

    /// Returns the entries of a directory.
    fn entries(&self, directory: &str) -> BTreeMap<Vec<u8>, bool> {
        let entry = |path: &str| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == directory && !path.is_empty()).then(|| name.as_bytes().to_vec())
        };
        self.nodes
            .iter()
            .filter_map(|(path, node)| Some((entry(path)?, matches!(node, Node::Directory))))
            .collect()
    }
}

/// Returns the directory of a member, each component followed by a slash, and the name of its file.
fn split(name: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8(name.to_vec())
        .unwrap_or_else(|_| name.iter().map(|&byte| code_page_437(byte)).collect());
    let mut components: Vec<_> = text
        .split('/')
        .filter(|component| !["", ".", ".."].contains(component))
        .map(|component| {
            let (stem, extension) = cut(component, 255);
            format!("{stem}{extension}")
        })
        .collect();
    let file = if text.ends_with('/') {
        None
    } else {
        components.pop()
    };
    let directory = components.iter().map(|component| format!("{component}/"));
    (directory.collect(), file)
}

/// Shortens a component to `max` bytes; returns its stem and its extension.
fn cut(component: &str, max: usize) -> (String, &str) {
    let dot = component.rfind('.').unwrap_or(0);
    let (stem, extension) = match component.len() - dot {
        0..=127 if dot > 0 => component.split_at(dot),
        _ => (component, ""),
    };
    let mut stem = stem.to_owned();
    while stem.len() + extension.len() > max {
        stem.pop();
    }
    (stem, extension)
}

/// Returns the character of a byte in code page 437, for those in the names above.
fn code_page_437(byte: u8) -> char {
    match byte {
        0..=0x7F => byte.into(),
        0x81 => 'ü',
        0x94 => 'ö',
        0x9F => 'ƒ',
        0xA9 => '⌐',
        0xB6 => '╢',
        0xC3 => '├',
        0xCC => '╠',
        0xE1 => 'ß',
        0xFF => '\u{a0}',
        _ => panic!("{byte:x} is in no name"),
    }
}

/// One use of a mount, of any of its files and directories.
#[derive(Debug, Clone)]
enum Operation {
    List(Index),
    Stat(Index),
    LookUp(Index, Vec<u8>),
    Read(Index),
    ReadPart(Index, usize, usize),
    Attributes(Index),
    Write(Index),
}

fn operations() -> impl Strategy<Value = Operation> {
    let node = any::<Index>;
    let name = components().prop_filter("names that can be looked up", |name| {
        !name.contains(&0) && name != b"."
    });
    let offset = prop_oneof![0..10_000_usize, 0..=200_usize << 10];
    prop_oneof![
        node().prop_map(Operation::List),
        node().prop_map(Operation::Stat),
        (node(), name).prop_map(|(node, name)| Operation::LookUp(node, name)),
        node().prop_map(Operation::Read),
        (node(), offset, 0..150_000_usize)
            .prop_map(|(node, offset, len)| Operation::ReadPart(node, offset, len)),
        node().prop_map(Operation::Attributes),
        node().prop_map(Operation::Write),
    ]
}

impl Operation {
    fn check(&self, model: &Model, mount: &Mounted) -> Result<(), TestCaseError> {
        let nodes: Vec<_> = model.nodes.iter().collect();
        let (Self::List(index)
        | Self::Stat(index)
        | Self::LookUp(index, _)
        | Self::Read(index)
        | Self::ReadPart(index, ..)
        | Self::Attributes(index)
        | Self::Write(index)) = self;
        let (path, node) = index.get(&nodes);
        let at = if path.is_empty() {
            mount.at.clone()
        } else {
            mount.path(path)
        };
        match self {
            Self::List(_) => {
                let expected = match node {
                    Node::Directory => Ok(model.entries(path)),
                    Node::File { .. } => Err(libc::ENOTDIR),
                };
                prop_assert_eq!(errno(list(&at)), expected, "{}", path);
            }
            Self::Stat(_) => {
                let shape = fs::symlink_metadata(&at).map(Shape::from);
                prop_assert_eq!(errno(shape), Ok(node.shape()), "{}", path);
            }
            Self::LookUp(_, name) => {
                let shape = fs::symlink_metadata(at.join(OsStr::from_bytes(name)));
                let below = std::str::from_utf8(name)
                    .ok()
                    .map(|name| format!("{path}/{name}").trim_start_matches('/').to_owned())
                    .and_then(|path| model.nodes.get(&path));
                let expected = match (node, below) {
                    (Node::File { .. }, _) => Err(libc::ENOTDIR),
                    _ if name.len() > 255 => Err(libc::ENAMETOOLONG),
                    (_, Some(below)) => Ok(below.shape()),
                    (_, None) => Err(libc::ENOENT),
                };
                prop_assert_eq!(errno(shape.map(Shape::from)), expected, "{:?}", name);
            }
            Self::Read(_) => {
                let read = errno(fs::read(&at));
                let read = read.as_deref().map_err(|&errno| errno);
                prop_assert!(same(read, node.contents()), "{}", path);
            }
            &Self::ReadPart(_, offset, len) => {
                let mut buffer = vec![0; len];
                let read =
                    File::open(&at).and_then(|file| file.read_at(&mut buffer, offset as u64));
                let read = errno(read).map(|read| &buffer[..read]);
                let expected = node.contents().map(|contents| {
                    let contents = contents.get(offset..).unwrap_or_default();
                    &contents[..contents.len().min(len)]
                });
                prop_assert!(same(read, expected), "{} at {} of {}", len, offset, path);
            }
            Self::Attributes(_) => check_attributes(&at, node, mount)?,
            Self::Write(_) => {
                for result in try_to_write(&at, node) {
                    prop_assert_eq!(errno(result), Err(libc::EROFS), "{}", path);
                }
            }
        }
        Ok(())
    }
}

fn errno<T>(result: io::Result<T>) -> Result<T, i32> {
    result.map_err(|error| error.raw_os_error().unwrap_or_default())
}

/// Compares two results; prints the lengths if they differ.
fn same(read: Result<&[u8], i32>, expected: Result<&[u8], i32>) -> bool {
    if read != expected {
        let len = |result: Result<&[u8], i32>| result.map(<[u8]>::len);
        eprintln!("{:?} bytes, expected {:?}", len(read), len(expected));
    }
    read == expected
}

/// Returns the entries of a directory, and whether each is a directory.
fn list(at: &PathBuf) -> io::Result<BTreeMap<Vec<u8>, bool>> {
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        let name = entry.file_name().as_bytes().to_vec();
        assert_eq!(entries.insert(name, is_directory), None, "listed twice");
    }
    Ok(entries)
}

fn check_attributes(at: &PathBuf, node: &Node, mount: &Mounted) -> Result<(), TestCaseError> {
    let value = |name| xattr::get(at, format!("user.npzfs.{name}"));
    let Node::File { member, contents } = node else {
        prop_assert_eq!(errno(value("name")), Ok(None));
        return Ok(());
    };
    let method = match member.flaw {
        Some(Flaw::Compressed(8)) => "deflated",
        Some(Flaw::Compressed(12)) => "bzip2",
        Some(Flaw::Compressed(_)) => "method 1000",
        _ => "stored",
    };
    let crc32 = format!("{:08x}", crc32fast::hash(&member.data()));
    prop_assert_eq!(errno(value("name")), Ok(Some(member.name.clone())));
    prop_assert_eq!(errno(value("method")), Ok(Some(method.into())));
    prop_assert_eq!(errno(value("crc32")), Ok(Some(crc32.into_bytes())));
    let offset = value("offset").expect("attributes can be had");
    let offset = offset.map(|text| String::from_utf8(text).unwrap().parse().unwrap());
    if let Ok(contents) = contents {
        let archive = File::open(&mount.archive).unwrap();
        let mut data = vec![0; contents.len()];
        let read = archive.read_exact_at(&mut data, offset.expect("a known offset"));
        prop_assert_eq!(errno(read), Ok(()));
        prop_assert!(data == *contents, "the offset is wrong");
    }
    if matches!(
        member.flaw,
        Some(Flaw::OutsideTheArchive | Flaw::LocalSignature)
    ) {
        prop_assert_eq!(offset, None);
    }
    Ok(())
}

fn try_to_write(at: &PathBuf, node: &Node) -> Vec<io::Result<()>> {
    let new = at.join("new");
    match node {
        Node::Directory => vec![
            File::create(&new).map(drop),
            fs::create_dir(&new),
            fs::set_permissions(at, fs::Permissions::from_mode(0o777)),
        ],
        Node::File { .. } => vec![
            OpenOptions::new().write(true).open(at).map(drop),
            OpenOptions::new().append(true).open(at).map(drop),
            fs::remove_file(at),
            fs::rename(at, at.with_file_name("new")),
            fs::hard_link(at, at.with_file_name("new")),
            xattr::set(at, "user.npzfs.name", b"new"),
        ],
    }
}
