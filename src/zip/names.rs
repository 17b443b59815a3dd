//! Names: one arena that holds them all, and the rules by which the name of a member becomes the
//! path of a file.

use std::borrow::Cow;

/// The longest name of a directory entry, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// How long the names of an archive may be, all told, in bytes. Whoever makes an archive decides how
/// much memory they take; those of a million members come to a fraction of it.
pub(crate) const NAMES_LEN_MAX: usize = 128 << 20;

/// A name in a [`Names`] arena: at most 65,535 bytes, as in a ZIP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Name {
    start: u32,
    len: u16,
}

impl Name {
    /// The part of this name from byte `from` on, `len` bytes long, which must lie inside it.
    fn part(self, from: usize, len: usize) -> Self {
        debug_assert!(from + len <= self.len.into());
        Self {
            start: self.start + from as u32,
            len: len as u16,
        }
    }
}

/// An arena of names. A million small strings of their own would cost three times the memory.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
}

impl Names {
    /// Adds a name; `None` where it is longer than 65,535 bytes or the arena would pass 128 MiB.
    pub fn push(&mut self, name: &[u8]) -> Option<Name> {
        let start = u32::try_from(self.bytes.len()).ok()?;
        let len = u16::try_from(name.len()).ok()?;
        if name.len() > NAMES_LEN_MAX - self.bytes.len() {
            return None;
        }
        self.bytes.extend_from_slice(name);
        Some(Name { start, len })
    }

    /// The bytes of a name.
    pub fn bytes(&self, name: Name) -> &[u8] {
        self.bytes
            .get(name.start as usize..)
            .and_then(|rest| rest.get(..name.len.into()))
            .unwrap_or_default()
    }

    /// The name of `component`, a part of what [`decode`] made of `whole`. Where decoding changed
    /// nothing, which is nearly always, the part is not stored a second time.
    pub(crate) fn component(&mut self, whole: Name, component: &Component<'_>) -> Option<Name> {
        match component.offset {
            Some(offset) => Some(whole.part(offset, component.text.len())),
            None => self.push(component.text.as_bytes()),
        }
    }

    /// The last component of a name that is shown as it is; `None` for any other name.
    pub(crate) fn kept(&self, whole: Name) -> Option<Name> {
        let raw = self.bytes(whole);
        let slash = raw.iter().rposition(|&byte| byte == b'/');
        let from = slash.map_or(0, |slash| slash + 1);
        is_kept(raw).then(|| whole.part(from, raw.len() - from))
    }

    /// How much memory the names take, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

/// The name of a member as text: UTF-8 where it is valid UTF-8, flagged or not (Info-ZIP does not
/// set the flag), otherwise code page 437 (APPNOTE D.1).
pub fn decode(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(raw.iter().map(|&byte| cp437(byte)).collect()),
    }
}

/// The upper half of code page 437.
const CP437_UPPER: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ',
    'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ',
    'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕',
    '╣', '║', '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦',
    '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐',
    '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±',
    '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

fn cp437(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => byte.into(),
        Some(upper) => CP437_UPPER[usize::from(upper)],
    }
}

/// One component of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Component<'a> {
    /// At most [`NAME_MAX`] bytes, not empty, not `.` or `..`, without a slash.
    pub(crate) text: Cow<'a, str>,
    /// Where it stands in the decoded name, unless it was changed.
    offset: Option<usize>,
}

impl Component<'_> {
    /// The parts of this component between which a number goes, the first one cut so that any
    /// number of 32 bits fits in.
    pub(crate) fn around_number(&self) -> (&str, &str) {
        cut(&self.text, NAME_MAX - " (4294967295)".len())
    }

    /// A component that stands nowhere in the archive.
    pub(crate) fn made(text: String) -> Component<'static> {
        Component {
            text: Cow::Owned(text),
            offset: None,
        }
    }
}

/// The components of the name `raw`, of which [`decode`] made `decoded`: without `.`, `..` and
/// empty ones; those longer than [`NAME_MAX`] are shortened.
pub(crate) fn components<'a>(raw: &[u8], decoded: &'a str) -> impl Iterator<Item = Component<'a>> {
    let unchanged = raw == decoded.as_bytes();
    let mut next = 0;
    decoded.split('/').filter_map(move |text| {
        let offset = next;
        next += text.len() + 1;
        if matches!(text, "" | "." | "..") {
            return None;
        }
        let (stem, extension) = cut(text, NAME_MAX);
        if stem.len() + extension.len() < text.len() {
            return Some(Component::made([stem, extension].concat()));
        }
        Some(Component {
            text: Cow::Borrowed(text),
            offset: unchanged.then_some(offset),
        })
    })
}

/// Whether a member with this name is shown under just this name.
pub(crate) fn is_kept(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_ok_and(|text| {
        text.split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= NAME_MAX)
    })
}

/// The path that components make.
pub(crate) fn join(components: &[Component<'_>]) -> String {
    let texts: Vec<&str> = components
        .iter()
        .map(|component| &*component.text)
        .collect();
    texts.join("/")
}

/// The stem and the extension of a name, the stem cut so that both are no more than `max` bytes.
fn cut(text: &str, max: usize) -> (&str, &str) {
    let (stem, extension) = match text.rfind('.') {
        // An extension that leaves the stem no room is none.
        Some(dot) if dot > 0 && text.len() - dot <= NAME_MAX / 2 => text.split_at(dot),
        _ => (text, ""),
    };
    let mut end = stem.len().min(max - extension.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    (&stem[..end], extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &[u8]) -> Vec<String> {
        components(raw, &decode(raw))
            .map(|component| component.text.into_owned())
            .collect()
    }

    #[test]
    fn dots_empty_components_and_a_leading_slash_are_dropped() {
        assert_eq!(path(b"/a//./../b/c.npy"), ["a", "b", "c.npy"]);
        assert_eq!(path(b"../../"), [""; 0]);
    }

    #[test]
    fn backslashes_and_drive_letters_are_ordinary_characters() {
        assert_eq!(path(br"C:\x\y.npy"), [r"C:\x\y.npy"]);
    }

    #[test]
    fn names_that_are_not_utf8_are_code_page_437() {
        assert_eq!(path(b"gr\x94\xe1e.npy"), ["größe.npy"]);
        assert_eq!(path("größe.npy".as_bytes()), ["größe.npy"]);
        assert_eq!(decode(b"\x80\x9b\xb0\xe0\xff"), "Ç¢░α\u{a0}");
    }

    #[test]
    fn a_component_over_255_bytes_is_shortened_and_keeps_its_extension() {
        let long = [vec![b'x'; 300], b".npy".to_vec()].concat();
        let short = &path(&long)[0];
        assert_eq!(short.len(), 255);
        assert!(short.ends_with("x.npy"));
    }

    #[test]
    fn a_name_is_never_cut_within_a_character() {
        let long = "ä".repeat(200) + ".npy";
        let short = &path(long.as_bytes())[0];
        assert_eq!(short.len(), 254);
        assert_eq!(*short, "ä".repeat(125) + ".npy");
    }

    #[test]
    fn a_number_goes_before_the_extension_and_always_fits() {
        let around = |text: &str| {
            let component = Component::made(text.into());
            let (stem, extension) = component.around_number();
            (stem.to_owned(), extension.to_owned())
        };
        assert_eq!(around("x.npy"), ("x".into(), ".npy".into()));
        assert_eq!(around(".hidden"), (".hidden".into(), String::new()));
        assert_eq!(around("x"), ("x".into(), String::new()));
        let long = "y".repeat(251) + ".npy";
        assert_eq!(around(&long), ("y".repeat(238), ".npy".into()));
        let no_extension = "y.".to_owned() + &"z".repeat(253);
        assert_eq!(
            around(&no_extension),
            (no_extension[..242].into(), String::new())
        );
    }

    #[test]
    fn unchanged_components_are_not_stored_again() {
        let mut names = Names::default();
        let whole = names.push(b"dir/x.npy").unwrap();
        let decoded = decode(b"dir/x.npy");
        for (component, expected) in components(b"dir/x.npy", &decoded).zip([&b"dir"[..], b"x.npy"])
        {
            let name = names.component(whole, &component).unwrap();
            assert_eq!(names.bytes(name), expected);
        }
        assert_eq!(names.bytes.len(), 9);
    }
}
