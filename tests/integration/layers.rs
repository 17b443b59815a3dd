//! The layers of `src/`: which file uses which, read from the sources themselves.
//!
//! A file may use files of its own layer and of the layers below it, and no two files may use each
//! other, not even through others. A file may always use the modules that it lies in: `vfs/entry.rs`
//! implements methods of `vfs::Vfs`. Unit tests are exempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::iter::Peekable;
use std::path::Path;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The layers from the lowest to the highest. The modules of the first line form no layer; all others
/// may use them.
const LAYERS: [&[&str]; 11] = [
    &["exit_status", "extent", "npy", "sys", "ui"],
    &["zip"],
    &["tree"],
    &["archive"],
    &["inflate"],
    &["vfs"],
    &["fuse"],
    &["mount"],
    &["cli"],
    &["commands"],
    &["main"],
];

/// Identifiers that may be used in some places only: a file, or a folder if it ends with a slash.
const RESTRICTED: [(&str, &[&str]); 4] = [
    ("unsafe", &["src/sys/"]),
    (
        "fuser",
        &["src/fuse.rs", "src/fuse/", "src/mount/session.rs"],
    ),
    (
        "clap",
        &["src/cli.rs", "src/cli/", "src/commands.rs", "src/commands/"],
    ),
    (
        "clap_complete",
        &["src/cli.rs", "src/cli/", "src/commands.rs", "src/commands/"],
    ),
];

const FUNCTION_LINES_MAX: usize = 80;
const FILE_LINES_MAX: usize = 400;

/// A path in this crate, and the line that mentions it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mention {
    line: usize,
    path: Vec<String>,
}

/// The declarations and mentions of one source file, without its unit tests.
#[derive(Debug, Default)]
struct Source {
    /// The path of its module, without `crate`.
    module: Vec<String>,
    /// The paths it mentions, absolute and without `crate`.
    mentions: Vec<Mention>,
    /// The names that its `use` declarations bind, and their absolute paths.
    imports: BTreeMap<String, Vec<String>>,
    /// The modules that the file declares.
    children: BTreeSet<String>,
    /// Each identifier with its first line.
    words: BTreeMap<String, usize>,
    /// The name, first line and number of lines of each function.
    functions: Vec<(String, usize, usize)>,
    test_lines: usize,
    lines: usize,
}

fn text_of(stream: &TokenStream) -> String {
    stream.to_string().split_whitespace().collect()
}

/// Whether an attribute compiles an item for unit tests only.
fn is_for_tests(attribute: &Group) -> bool {
    let text = text_of(&attribute.stream());
    text == "cfg(test)" || text.starts_with("cfg(any(test,")
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn braces(token: &TokenTree) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        _ => None,
    }
}

impl Source {
    fn read(path: &str, text: &str) -> Self {
        let stem = path
            .strip_prefix("src/")
            .unwrap()
            .strip_suffix(".rs")
            .unwrap();
        let module = match stem {
            "lib" => Vec::new(),
            _ => stem.split('/').map(str::to_owned).collect(),
        };
        let mut source = Self {
            module: module.clone(),
            lines: text.lines().count(),
            ..Self::default()
        };
        let stream: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        source.find_children(stream.clone());
        source.scan(stream, &module);
        source
    }

    fn find_children(&mut self, stream: TokenStream) {
        let tokens: Vec<_> = stream.into_iter().collect();
        for window in tokens.windows(3) {
            if ident(window.first()).as_deref() == Some("mod")
                && is_punct(window.get(2), ';')
                && let Some(name) = ident(window.get(1))
            {
                self.children.insert(name);
            }
        }
    }

    /// Collects from the tokens of a file or of an inline module.
    fn scan(&mut self, stream: TokenStream, module: &[String]) {
        let tokens: Vec<_> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(after) = self.skip_tests(&tokens, at) {
                at = after;
                continue;
            }
            if let Some(word) = ident(tokens.get(at)) {
                at = self.collect_word(&word, &tokens, at, module);
                continue;
            }
            if let TokenTree::Group(group) = &tokens[at] {
                self.scan(group.stream(), module);
            }
            at += 1;
        }
    }

    /// Returns the index after the item at `at` if that item is compiled for tests only.
    fn skip_tests(&mut self, tokens: &[TokenTree], at: usize) -> Option<usize> {
        let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) else {
            return None;
        };
        if !is_punct(tokens.get(at), '#') || !is_for_tests(attribute) {
            return None;
        }
        let rest = tokens[at..].iter();
        let len = rest
            .clone()
            .position(|token| braces(token).is_some() || is_punct(Some(token), ';'))?;
        let last = &tokens[at + len];
        self.test_lines += last.span().end().line - tokens[at].span().start().line + 1;
        Some(at + len + 1)
    }

    /// Collects from the construct that starts with a word; returns the index after it.
    fn collect_word(
        &mut self,
        word: &str,
        tokens: &[TokenTree],
        at: usize,
        module: &[String],
    ) -> usize {
        let line = tokens[at].span().start().line;
        self.words.entry(word.to_owned()).or_insert(line);
        let next = tokens.get(at + 1);
        match word {
            "use" if !is_punct(next, '<') => {
                let len = tokens[at..]
                    .iter()
                    .position(|token| is_punct(Some(token), ';'));
                let len = len.expect("a use declaration ends with a semicolon");
                let declaration = tokens[at + 1..at + len].iter().cloned().collect();
                self.collect_use(declaration, &[], line, module);
                at + len + 1
            }
            "pub" => match next {
                // A path in `pub(in path)` is no use of it.
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                    at + 2
                }
                _ => at + 1,
            },
            "mod" if tokens.get(at + 2).and_then(braces).is_some() => {
                let mut inner = module.to_vec();
                inner.extend(ident(next));
                self.scan(braces(&tokens[at + 2]).unwrap().stream(), &inner);
                at + 3
            }
            "fn" => {
                self.collect_function(&tokens[at..], line);
                at + 1
            }
            _ => self.collect_path(tokens, at, module),
        }
    }

    fn collect_function(&mut self, tokens: &[TokenTree], line: usize) {
        let Some(name) = ident(tokens.get(1)) else {
            return;
        };
        let mut rest = tokens
            .iter()
            .take_while(|token| !is_punct(Some(token), ';'));
        if let Some(body) = rest.find_map(braces) {
            let lines = body.span().end().line - line + 1;
            self.functions.push((name, line, lines));
        }
    }

    /// Collects a path such as `crate::zip::index`, or a single word; returns the index after it.
    fn collect_path(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let line = tokens[at].span().start().line;
        let is_after =
            |at: usize| is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':');
        let mut path = vec![ident(tokens.get(at)).unwrap()];
        let mut end = at + 1;
        while is_after(end)
            && let Some(part) = ident(tokens.get(end + 2))
        {
            self.words.entry(part.clone()).or_insert(line);
            path.push(part);
            end += 3;
        }
        let is_part_of_another = at >= 2 && is_after(at - 2);
        if path.len() > 1 && !is_part_of_another {
            self.mention(path, line, module);
        }
        end
    }

    fn collect_use(
        &mut self,
        declaration: TokenStream,
        prefix: &[String],
        line: usize,
        module: &[String],
    ) {
        let mut tokens = declaration.into_iter().peekable();
        while tokens.peek().is_some() {
            self.collect_use_branch(&mut tokens, prefix, line, module);
        }
    }

    /// Collects one branch of a `use` declaration, up to the next comma.
    fn collect_use_branch(
        &mut self,
        tokens: &mut Peekable<IntoIter>,
        prefix: &[String],
        line: usize,
        module: &[String],
    ) {
        let mut path = prefix.to_vec();
        let mut name = None;
        for token in tokens.by_ref() {
            let line = token.span().start().line.max(line);
            match &token {
                TokenTree::Group(group) => {
                    return self.collect_use(group.stream(), &path, line, module);
                }
                TokenTree::Punct(punct) if punct.as_char() == ',' => break,
                TokenTree::Ident(part) if part == "as" => name = Some(String::new()),
                TokenTree::Ident(part) if name.is_some() => name = Some(part.to_string()),
                TokenTree::Ident(part) => path.push(part.to_string()),
                _ => {}
            }
        }
        if path.len() > 1 && path.last().is_some_and(|part| part == "self") {
            path.pop();
        }
        if let Some(first) = path.first() {
            self.words.entry(first.clone()).or_insert(line);
        }
        let bound = name.or_else(|| path.last().cloned());
        if let (Some(absolute), Some(bound)) = (self.mention(path, line, module), bound) {
            self.imports.insert(bound, absolute);
        }
    }

    /// Records a path if it leads into this crate, and returns its absolute form.
    fn mention(
        &mut self,
        path: Vec<String>,
        line: usize,
        module: &[String],
    ) -> Option<Vec<String>> {
        let path = self.absolute(path, module)?;
        self.mentions.push(Mention {
            line,
            path: path.clone(),
        });
        Some(path)
    }

    /// Whether this file lies in the folder of `other`.
    fn is_inside(&self, other: &Self) -> bool {
        self.module.len() > other.module.len() && self.module.starts_with(&other.module)
    }

    fn absolute(&self, path: Vec<String>, module: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let mut rest = path.iter();
        let mut absolute = module.to_vec();
        match first {
            "crate" | "npzfs" => absolute.clear(),
            "self" => {}
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                absolute.truncate(module.len().saturating_sub(up));
                rest.nth(up - 1);
                absolute.extend(rest.cloned());
                return Some(absolute);
            }
            // A path may start with a module that is declared here.
            child if self.children.contains(child) => {
                absolute.push(child.to_owned());
            }
            _ => return None,
        }
        absolute.extend(rest.skip(1).cloned());
        Some(absolute)
    }
}

/// The source files of a crate by their paths.
struct Sources(BTreeMap<String, Source>);

/// A file that another one uses, and the first mention of it.
struct Use {
    target: String,
    line: usize,
    path: String,
}

impl Sources {
    fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter();
        Self(
            files
                .map(|(path, text)| (path.to_owned(), Source::read(path, text)))
                .collect(),
        )
    }

    /// The file with the definition that an absolute path refers to, through re-exports.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        let mut path = path.to_vec();
        // The number of re-exports of re-exports is limited, in case some form a circle.
        for _ in 0..10 {
            let (file, source) = self
                .0
                .iter()
                .filter(|(_, source)| path.starts_with(&source.module))
                .max_by_key(|(_, source)| source.module.len())?;
            let rest = &path[source.module.len()..];
            let import = rest.first().and_then(|name| source.imports.get(name));
            match import {
                Some(import) if *import != path => {
                    path = import.iter().chain(&rest[1..]).cloned().collect();
                }
                _ => return Some(file),
            }
        }
        None
    }

    /// The files that a file uses, each with the first mention of it.
    fn uses(&self, file: &str) -> Vec<Use> {
        let mut uses: BTreeMap<&str, Use> = BTreeMap::new();
        for Mention { line, path } in &self.0[file].mentions {
            match self.file_of(path) {
                Some(target) if target != file && target != "src/lib.rs" => {
                    uses.entry(target).or_insert_with(|| Use {
                        target: target.to_owned(),
                        line: *line,
                        path: format!("crate::{}", path.join("::")),
                    });
                }
                _ => {}
            }
        }
        uses.into_values().collect()
    }

    /// All violations, one per line.
    fn findings(&self) -> Vec<String> {
        let mut findings = self.climbs();
        findings.extend(self.circles());
        for (file, source) in &self.0 {
            findings.extend(misplaced_words(file, source));
            findings.extend(too_long(file, source));
        }
        findings
    }

    fn climbs(&self) -> Vec<String> {
        let mut found = Vec::new();
        for file in self.0.keys().filter(|file| *file != "src/lib.rs") {
            let Some((height, layer)) = layer_of(file) else {
                found.push(format!("{file}: its layer is not known"));
                continue;
            };
            for used in self.uses(file) {
                let Use { target, line, path } = used;
                if layer_of(&target).is_some_and(|(other, _)| other > height) {
                    found.push(format!(
                        "{file}:{line}: {layer} uses {path}, which is above it"
                    ));
                }
            }
        }
        found
    }

    /// Circles of files that use each other. Each file that is in a circle is in one of these.
    fn circles(&self) -> Vec<String> {
        let mut found: BTreeMap<BTreeSet<String>, String> = BTreeMap::new();
        for start in self.0.keys() {
            if found.keys().any(|circle| circle.contains(start)) {
                continue;
            }
            if let Some(circle) = self.circle_from(start) {
                let uses = circle.windows(2).map(|pair| {
                    let targets = self.uses(&pair[0]);
                    let found = targets.iter().find(|used| used.target == pair[1]).unwrap();
                    format!("{}:{} uses {}", pair[0], found.line, found.path)
                });
                let text = format!("circle: {}", uses.collect::<Vec<_>>().join(", "));
                found.insert(circle.into_iter().collect(), text);
            }
        }
        found.into_values().collect()
    }

    /// The shortest circle through a file.
    fn circle_from(&self, start: &str) -> Option<Vec<String>> {
        let mut paths = VecDeque::from([vec![start.to_owned()]]);
        let mut visited = BTreeSet::new();
        while let Some(path) = paths.pop_front() {
            for used in self.uses(path.last().unwrap()) {
                if self.0[path.last().unwrap()].is_inside(&self.0[&used.target]) {
                    continue;
                }
                let is_closed = used.target == start;
                if is_closed || visited.insert(used.target.clone()) {
                    let mut longer = path.clone();
                    longer.push(used.target);
                    if is_closed {
                        return Some(longer);
                    }
                    paths.push_back(longer);
                }
            }
        }
        None
    }
}

/// The index and the name of the layer of a file.
fn layer_of(file: &str) -> Option<(usize, &str)> {
    let name = file.strip_prefix("src/")?;
    let name = name.split(['/', '.']).next()?;
    let height = LAYERS.iter().position(|layer| layer.contains(&name))?;
    Some((height, name))
}

fn misplaced_words(file: &str, source: &Source) -> Vec<String> {
    let is_at = |place: &&str| file == *place || place.ends_with('/') && file.starts_with(*place);
    let mut found = Vec::new();
    for (word, places) in RESTRICTED {
        if let Some(line) = source.words.get(word)
            && !places.iter().any(is_at)
        {
            found.push(format!(
                "{file}:{line}: `{word}` belongs in {}",
                places.join(", ")
            ));
        }
    }
    found
}

fn too_long(file: &str, source: &Source) -> Vec<String> {
    let long = source
        .functions
        .iter()
        .filter(|(.., lines)| *lines > FUNCTION_LINES_MAX);
    let mut found: Vec<_> = long
        .map(|(name, line, lines)| {
            format!("{file}:{line}: {name} has {lines} lines, of at most {FUNCTION_LINES_MAX}")
        })
        .collect();
    let lines = source.lines - source.test_lines;
    if lines > FILE_LINES_MAX {
        found.push(format!(
            "{file}: {lines} lines without its tests, of at most {FILE_LINES_MAX}"
        ));
    }
    found
}

/// Collects the Rust files below a directory, except files of unit tests.
fn rust_files(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let top = Path::new(env!("CARGO_MANIFEST_DIR"));
            let name = path.strip_prefix(top).unwrap().to_str().unwrap();
            found.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn sources() -> Sources {
    let mut files = Vec::new();
    rust_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    assert!(files.len() > 50, "{}", files.len());
    Sources::of(
        files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    )
}

#[test]
fn each_file_uses_its_own_layer_and_those_below() {
    assert_eq!(sources().climbs(), [""; 0]);
}

#[test]
fn no_two_files_use_each_other() {
    assert_eq!(sources().circles(), [""; 0]);
}

#[test]
fn unsafe_fuser_and_clap_stay_where_they_belong() {
    let sources = sources();
    let found = sources
        .0
        .iter()
        .flat_map(|(file, source)| misplaced_words(file, source));
    assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn no_function_and_no_file_is_too_long() {
    let sources = sources();
    let found = sources
        .0
        .iter()
        .flat_map(|(file, source)| too_long(file, source));
    assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
}

/// The findings in a small sound crate of which one file is replaced.
fn findings(file: &str, text: &str) -> Vec<String> {
    let sound = [
        ("src/lib.rs", "pub mod zip; pub mod vfs; pub mod ui;"),
        (
            "src/main.rs",
            "use npzfs::{vfs::Vfs, zip}; fn main() { zip::open(Vfs) }",
        ),
        ("src/ui.rs", "pub fn text() {}"),
        (
            "src/vfs.rs",
            "mod entry; pub use entry::Entry; pub struct Vfs;",
        ),
        (
            "src/vfs/entry.rs",
            "use super::Vfs; use crate::zip::open; pub struct Entry;",
        ),
        (
            "src/zip.rs",
            "pub mod eocd; pub mod gaps; pub use eocd::{Eocd, find as open};",
        ),
        (
            "src/zip/eocd.rs",
            "use crate::ui::text; pub struct Eocd; pub fn find() {}",
        ),
        ("src/zip/gaps.rs", "use super::Eocd; pub struct Gap;"),
    ];
    assert_eq!(Sources::of(sound).findings(), [""; 0]);
    let others = sound.into_iter().filter(|(path, _)| *path != file);
    Sources::of(others.chain([(file, text)])).findings()
}

#[test]
fn a_climb_is_found_in_every_form() {
    for (text, path) in [
        ("use crate::vfs::Vfs;", "crate::vfs::Vfs"),
        ("use crate::{ui::text, vfs::{self, Vfs}};", "crate::vfs"),
        (
            "use super::super::vfs::Entry as Other;",
            "crate::vfs::Entry",
        ),
        ("fn f() { let _ = [crate::vfs::Vfs]; }", "crate::vfs::Vfs"),
        (
            "mod inner { fn f(_: super::super::super::vfs::Vfs) {} }",
            "crate::vfs::Vfs",
        ),
        (
            "macro_rules! m { () => { $crate::vfs::Vfs } }",
            "crate::vfs::Vfs",
        ),
    ] {
        let expected = format!("src/zip/gaps.rs:1: zip uses {path}, which is above it");
        assert_eq!(findings("src/zip/gaps.rs", text), [expected], "{text}");
    }
    let below_all = findings("src/ui.rs", "\npub fn text() { crate::vfs::Entry }");
    assert_eq!(
        below_all[0],
        "src/ui.rs:2: ui uses crate::vfs::Entry, which is above it"
    );
    let new = findings("src/new.rs", "");
    assert_eq!(new, ["src/new.rs: its layer is not known"]);
}

#[test]
fn a_circle_is_found_once_and_through_re_exports() {
    let two = findings("src/zip/eocd.rs", "pub struct Eocd;\nuse super::gaps::Gap;");
    let expected = "circle: src/zip/eocd.rs:2 uses crate::zip::gaps::Gap, \
                    src/zip/gaps.rs:1 uses crate::zip::Eocd";
    assert_eq!(two, [expected]);
    let three = findings("src/ui.rs", "pub fn text() { crate::zip::gaps::Gap }");
    let expected = "circle: src/ui.rs:1 uses crate::zip::gaps::Gap, \
                    src/zip/gaps.rs:1 uses crate::zip::Eocd, \
                    src/zip/eocd.rs:1 uses crate::ui::text";
    assert_eq!(three[1..], [expected]);
}

#[test]
fn unit_tests_comments_and_strings_are_exempt() {
    for text in [
        "#[cfg(test)] mod tests { use crate::vfs::Vfs; unsafe fn f() {} }",
        "#[cfg(test)] use crate::vfs::Vfs;",
        "/// See [`crate::vfs::Vfs`]. \nfn f() -> &'static str { \"crate::vfs::Vfs\" }",
        "pub(in crate::vfs) struct S; // unsafe",
        "use fuser_like::clapper; fn f() -> impl Sized + use<> {}",
    ] {
        assert_eq!(findings("src/zip/eocd.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn misplaced_words_are_found() {
    for (text, word) in [
        ("unsafe fn f() {}", "unsafe"),
        ("fn f() { unsafe {} }", "unsafe"),
        ("use fuser::Errno;", "fuser"),
        ("fn f(_: ::fuser::Errno) {}", "fuser"),
        ("#[derive(clap::Args)] struct S;", "clap"),
    ] {
        let found = findings("src/zip/eocd.rs", text);
        let start = format!("src/zip/eocd.rs:1: `{word}` belongs in src/");
        assert!(
            found.len() == 1 && found[0].starts_with(&start),
            "{found:?}"
        );
    }
    assert_eq!(findings("src/sys/map.rs", "unsafe fn f() {}"), [""; 0]);
}

#[test]
fn lengths_beyond_the_limits_are_found() {
    let function = |lines: usize| format!("fn long() {{{}}}", "\n".repeat(lines - 1));
    assert_eq!(findings("src/vfs/entry.rs", &function(80)), [""; 0]);
    assert_eq!(
        findings("src/vfs/entry.rs", &function(81)),
        ["src/vfs/entry.rs:1: long has 81 lines, of at most 80"]
    );
    let tests = "#[cfg(test)]\nmod tests {\n\n\n}\n";
    let file = |lines: usize| format!("{}{tests}", "// A line.\n".repeat(lines));
    assert_eq!(findings("src/vfs/entry.rs", &file(400)), [""; 0]);
    assert_eq!(
        findings("src/vfs/entry.rs", &file(401)),
        ["src/vfs/entry.rs: 401 lines without its tests, of at most 400"]
    );
}
