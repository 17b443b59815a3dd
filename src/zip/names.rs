//! The names of members: an arena that holds them all, and their encoding.

use std::borrow::Cow;

/// The longest that the names of an archive may be together, in bytes. The archive decides how much
/// memory they take; ordinary names of a million members come to a fraction of it.
const NAMES_LEN_MAX: usize = 128 << 20;

/// A name in a [`Names`] arena: at most 65,535 bytes, as in a ZIP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Name {
    start: u32,
    len: u16,
}

impl Name {
    /// Returns the part of this name from byte `from` on, `len` bytes long, which must lie inside it.
    pub(crate) fn part(self, from: usize, len: usize) -> Self {
        debug_assert!(from + len <= self.len.into());
        Self {
            start: self.start + from as u32,
            len: len as u16,
        }
    }
}

/// An arena of names. A million separate strings would take three times the memory.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
}

impl Names {
    /// Adds a name; `None` where it is longer than 65,535 bytes or the arena would exceed 128 MiB.
    pub fn push(&mut self, name: &[u8]) -> Option<Name> {
        let start = u32::try_from(self.bytes.len()).ok()?;
        let len = u16::try_from(name.len()).ok()?;
        if name.len() > NAMES_LEN_MAX - self.bytes.len() {
            return None;
        }
        self.bytes.extend_from_slice(name);
        Some(Name { start, len })
    }

    /// Returns the bytes of a name.
    pub fn bytes(&self, name: Name) -> &[u8] {
        self.bytes
            .get(name.start as usize..)
            .and_then(|rest| rest.get(..name.len.into()))
            .unwrap_or_default()
    }

    /// Returns how much memory the names take, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

/// Returns the name of a member as text: UTF-8 where it is valid UTF-8, flagged or not (Info-ZIP
/// does not set the flag), otherwise code page 437 (APPNOTE D.1).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_utf8_are_code_page_437() {
        assert_eq!(decode(b"gr\x94\xe1e.npy"), "größe.npy");
        assert_eq!(decode("größe.npy".as_bytes()), "größe.npy");
        assert_eq!(decode(b"\x80\x9b\xb0\xe0\xff"), "Ç¢░α\u{a0}");
    }
}
