//! The rules by which the name of a member becomes the path of a file.
//!
//! A name may hold anything; a path must not lead out of the mount, and each of its components must
//! be a name that a directory can have. Nearly every name is such a path already and is not copied.

use std::borrow::Cow;

use crate::zip::{Name, Names};

/// The longest name of a directory entry, in bytes.
pub const NAME_MAX: usize = 255;

/// One component of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Component<'a> {
    /// At most [`NAME_MAX`] bytes, not empty, not `.` or `..`, without a slash.
    pub(super) text: Cow<'a, str>,
    /// Offset in the member's name, where the component is a part of it.
    offset: Option<usize>,
}

impl Component<'_> {
    /// Returns the parts of this component between which a number goes, the first one cut so that
    /// any number of 32 bits fits in.
    pub(super) fn around_number(&self) -> (&str, &str) {
        cut(&self.text, NAME_MAX - " (4294967295)".len())
    }

    /// Returns a component that is no part of a member's name.
    pub(super) fn new(text: String) -> Component<'static> {
        Component {
            text: Cow::Owned(text),
            offset: None,
        }
    }

    /// Adds this component of the name `whole` to `names`. Only one that decoding has changed is
    /// stored a second time.
    pub(super) fn name_in(&self, names: &mut Names, whole: Name) -> Option<Name> {
        match self.offset {
            Some(offset) => Some(whole.part(offset, self.text.len())),
            None => names.push(self.text.as_bytes()),
        }
    }
}

/// Returns the components of the name `raw`, which [`decode`](crate::zip::decode) decodes to `decoded`: without `.`,
/// `..` and empty ones; those longer than [`NAME_MAX`] are shortened.
pub(super) fn components<'a>(raw: &[u8], decoded: &'a str) -> impl Iterator<Item = Component<'a>> {
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
            return Some(Component::new([stem, extension].concat()));
        }
        Some(Component {
            text: Cow::Borrowed(text),
            offset: unchanged.then_some(offset),
        })
    })
}

/// Returns whether a member with this name is shown under exactly this name.
pub(super) fn is_kept(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_ok_and(|text| {
        text.split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= NAME_MAX)
    })
}

/// Returns the last component of a name that [is kept](is_kept); `None` for any other name.
pub(super) fn kept_file_name(names: &Names, whole: Name) -> Option<Name> {
    let raw = names.bytes(whole);
    let slash = raw.iter().rposition(|&byte| byte == b'/');
    let from = slash.map_or(0, |slash| slash + 1);
    is_kept(raw).then(|| whole.part(from, raw.len() - from))
}

/// Joins components to a path.
pub(super) fn join(components: &[Component<'_>]) -> String {
    let texts: Vec<&str> = components
        .iter()
        .map(|component| &*component.text)
        .collect();
    texts.join("/")
}

/// Splits a name into stem and extension, the stem cut so that both are no more than `max` bytes.
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
    use crate::zip::decode;

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
    fn components_are_decoded() {
        assert_eq!(path(b"gr\x94\xe1e.npy"), ["größe.npy"]);
        assert_eq!(path("größe.npy".as_bytes()), ["größe.npy"]);
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
            let component = Component::new(text.into());
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
            let name = component.name_in(&mut names, whole).unwrap();
            assert_eq!(names.bytes(name), expected);
        }
        assert_eq!(names.memory_bytes(), 9);
    }
}
