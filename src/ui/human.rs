//! Names, numbers and errors as text for people, safe for a terminal and a log.
//!
//! Names come from archives and paths, and may contain any bytes: escape sequences, line breaks,
//! characters that reverse the direction of the text.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Displays bytes as UTF-8, with escapes for backslashes, for characters that are unsafe on a terminal
/// and for bytes that are not UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

/// The most bytes of a member's name that messages contain.
const NAME_SHOWN_MAX: usize = 200;

impl<'a> Escaped<'a> {
    /// Displays the start of a member's name. The whole may be 64 KiB long, and six times that with
    /// escapes.
    pub fn member(name: &'a [u8]) -> Self {
        Self(&name[..name.len().min(NAME_SHOWN_MAX)])
    }

    /// Displays a path.
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
                    _ if is_terminal_unsafe(character) => {
                        write!(f, "{}", character.escape_unicode())?
                    }
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

/// Whether a character controls a terminal, changes the direction of the text, or is invisible.
pub fn is_terminal_unsafe(character: char) -> bool {
    let is_directional_or_invisible = matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_directional_or_invisible || character.is_control()
}

/// Shortens `text` to at most `width` columns of a terminal: if it is wider, an ellipsis replaces its
/// middle.
pub fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub(1);
    // The end of a name often says more than its start, so it gets the odd column.
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
        // An accent, of width 0, stays with its letter.
        if width > 0 {
            end = at;
        }
    }
    Cow::Owned(format!("{}…{}", &text[..start], &text[end..]))
}

/// Displays JSON, or a part of a string in it, with JSON escapes for characters that are unsafe on a
/// terminal. Characters that JSON forbids in strings are escaped already.
#[derive(Debug, Clone, Copy)]
pub struct TerminalSafeJson<'a>(pub &'a str);

impl fmt::Display for TerminalSafeJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            // A line break can only be between strings.
            if character != '\n' && is_terminal_unsafe(character) {
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

/// Displays a length in bytes with two or three digits and a unit: `1.2 GB`.
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
        // 999.5 would be rounded to 1000.
        while size >= 999.5 && unit + 1 < UNITS.len() {
            size /= 1000.0;
            unit += 1;
        }
        let decimals = usize::from(size < 9.95);
        write!(f, "{size:.decimals$} {}", UNITS[unit])
    }
}

/// Displays a path as a word of a shell, in quotes if it needs them.
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

/// Formats an I/O error without the `(os error N)` that the standard library appends.
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
    fn directional_characters_are_escaped() {
        assert_eq!(Escaped("\u{202e}x".as_bytes()).to_string(), "\\u{202e}x");
    }
}
