//! Names and numbers for people to read, safe for a terminal and a log.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Shows bytes as text: UTF-8 as it is, but for control characters, backslashes and bytes that are
/// no UTF-8, which become escapes.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

/// The most bytes of a member's name that are shown.
const NAME_SHOWN_MAX: usize = 200;

impl<'a> Escaped<'a> {
    /// The start of a member's name: the whole may be 64 KiB long, and six times that once escaped.
    pub fn member(name: &'a [u8]) -> Self {
        Self(&name[..name.len().min(NAME_SHOWN_MAX)])
    }

    /// Shows a path.
    pub fn path(path: &'a Path) -> Self {
        Self(path.as_os_str().as_encoded_bytes())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    _ if is_harmful(character) => write!(f, "{}", character.escape_unicode())?,
                    _ => f.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character would control a terminal, turn the direction of what follows, or hide.
pub fn is_harmful(character: char) -> bool {
    let turns_or_hides = matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns_or_hides || character.is_control()
}

/// `text` in at most `width` characters of a terminal: if it is wider, what is in its middle is left
/// out.
pub fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub(1);
    // The end of a name often tells more than its start, so it gets the odd character.
    let (mut start, mut used) = (0, 0);
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > room / 2 {
            break;
        }
        start = at + character.len_utf8();
    }
    let room = room.saturating_sub(text[..start].width());
    let (mut end, mut used) = (text.len(), 0);
    for (at, character) in text.char_indices().rev() {
        let width = character.width().unwrap_or(0);
        used += width;
        if used > room {
            break;
        }
        // An accent is not parted from its letter.
        if width > 0 {
            end = at;
        }
    }
    Cow::Owned(format!("{}…{}", &text[..start], &text[end..]))
}

/// Shows JSON, or a part of a string in it, so that it does a terminal no harm: what people are shown
/// as escapes is escaped here, too, as JSON does it. What JSON itself forbids in strings it has
/// escaped already.
#[derive(Debug, Clone, Copy)]
pub struct TerminalSafeJson<'a>(pub &'a str);

impl fmt::Display for TerminalSafeJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            // Only between strings, where lines end.
            if character != '\n' && is_harmful(character) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(f, "\\u{unit:04x}")?;
                }
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Shows a length in bytes in the unit that suits it: `1.2 GB`.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64 / 1000.0;
        let mut unit = 0;
        // What would be rounded to 1000 belongs to the next unit.
        while size >= 999.5 && unit + 1 < UNITS.len() {
            size /= 1000.0;
            unit += 1;
        }
        let decimals = usize::from(size < 9.95);
        write!(f, "{size:.decimals$} {}", UNITS[unit])
    }
}

/// Shows a path as a shell takes it: in quotes, where it needs any.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_os_str().as_encoded_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(byte);
        let text = Escaped(bytes).to_string();
        if bytes.iter().all(plain) {
            f.write_str(&text)
        } else {
            write!(f, "'{}'", text.replace('\'', r"'\''"))
        }
    }
}

/// Formats an error without the `(os error N)` that the standard library appends.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_two_digits_or_three() {
        let shown: Vec<String> = [0, 999, 1000, 1234, 9949, 9950, 123_456, 999_499, 999_500]
            .map(|len| Size(len).to_string())
            .to_vec();
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.0 kB", "1.2 kB", "9.9 kB", "10 kB", "123 kB", "999 kB", "1.0 MB"
            ]
        );
        assert_eq!(Size(1_234_567_890).to_string(), "1.2 GB");
        assert_eq!(Size(u64::MAX).to_string(), "18447 PB");
    }

    #[test]
    fn a_text_is_shortened_in_its_middle() {
        assert_eq!(shortened("0123456789", 10), "0123456789");
        assert_eq!(shortened("0123456789", 9), "0123…6789");
        assert_eq!(shortened("0123456789", 6), "01…789");
        assert_eq!(shortened("0123456789", 1), "…");
        // Two of these characters have the room of four, and a letter takes its accent along.
        assert_eq!(shortened("漢字漢字漢字", 6), "漢…字");
        assert_eq!(shortened("aaa\u{301}aaaa", 3), "a…a");
    }

    #[test]
    fn a_path_is_quoted_only_where_a_shell_needs_it() {
        let shown = |path: &str| Quoted(Path::new(path)).to_string();
        assert_eq!(shown("/mnt/frame-1.npz"), "/mnt/frame-1.npz");
        assert_eq!(shown("/mnt/my frame"), "'/mnt/my frame'");
        assert_eq!(shown("it's"), r"'it'\''s'");
    }

    #[test]
    fn control_characters_and_stray_bytes_are_escaped() {
        let shown = Escaped(b"a\x1b[31m\n\\ \xffz\xc3\xa4").to_string();
        assert_eq!(shown, "a\\u{1b}[31m\\n\\\\ \\xffzä");
    }

    #[test]
    fn characters_that_turn_the_text_around_are_escaped() {
        assert_eq!(Escaped("\u{202e}x".as_bytes()).to_string(), "\\u{202e}x");
    }
}
