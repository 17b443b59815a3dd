//! Names of files and members, made safe for a terminal and a log.

use std::fmt::{self, Write};

/// Shows bytes as text: UTF-8 as it is, but for control characters, backslashes and bytes that are
/// no UTF-8, which become escapes.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    _ if character.is_control() => write!(f, "{}", character.escape_unicode())?,
                    // Would turn the direction of what follows, or hide.
                    '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                        write!(f, "{}", character.escape_unicode())?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
