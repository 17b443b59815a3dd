//! Python literals, as `ast.literal_eval` reads them.
//!
//! Left out is what no part of an npy header can be: fractions, complex numbers and sets.

use std::borrow::Cow;

/// How deep brackets may nest: as deep as in Python's own parser.
const DEPTH_MAX: u32 = 200;

/// The value of a literal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string, or bytes: some writers use these for strings.
    Text(Cow<'a, str>),
    Int(i128),
    Bool(bool),
    None,
    Tuple(Vec<Self>),
    List(Vec<Self>),
    /// The entries as written; of equal keys, the last one counts.
    Dict(Vec<Entry<'a>>),
}

/// An entry of a dictionary.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) key: Value<'a>,
    pub(super) value: Value<'a>,
    /// The value as it is written.
    pub(super) source: &'a str,
}

impl<'a> Value<'a> {
    /// Evaluates a literal; `None` if Python could not.
    pub(super) fn parse(source: &'a str) -> Option<Self> {
        let mut parser = Parser { rest: source };
        let value = parser.value(0)?;
        parser.skip_space();
        parser.rest.is_empty().then_some(value)
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: u32) -> Option<Value<'a>> {
        self.skip_space();
        match self.rest.bytes().next()? {
            b'(' | b'[' | b'{' if depth == DEPTH_MAX => None,
            b'(' => self.parenthesised(depth + 1),
            b'[' => Some(Value::List(self.elements(']', depth + 1)?.0)),
            b'{' => self.dictionary(depth + 1),
            b'+' | b'-' | b'0'..=b'9' => self.integer().map(Value::Int),
            _ => self.constant().or_else(|| self.string().map(Value::Text)),
        }
    }

    /// A tuple, or a value in parentheses, which are none of it.
    fn parenthesised(&mut self, depth: u32) -> Option<Value<'a>> {
        let (mut elements, has_trailing_comma) = self.elements(')', depth)?;
        if elements.len() == 1 && !has_trailing_comma {
            return elements.pop();
        }
        Some(Value::Tuple(elements))
    }

    /// The values from the opening bracket to `close`, and whether a comma follows the last one.
    fn elements(&mut self, close: char, depth: u32) -> Option<(Vec<Value<'a>>, bool)> {
        self.rest = &self.rest[1..];
        let mut elements = Vec::new();
        let mut has_comma = false;
        while !self.eat(close) {
            elements.push(self.value(depth)?);
            has_comma = self.eat(',');
            if !has_comma {
                return self.eat(close).then_some((elements, false));
            }
        }
        Some((elements, has_comma))
    }

    fn dictionary(&mut self, depth: u32) -> Option<Value<'a>> {
        self.rest = &self.rest[1..];
        let mut entries = Vec::new();
        while !self.eat('}') {
            let key = self.value(depth)?;
            if !self.eat(':') {
                return None;
            }
            self.skip_space();
            let before = self.rest;
            let value = self.value(depth)?;
            let source = before[..before.len() - self.rest.len()].trim_end();
            entries.push(Entry { key, value, source });
            if !self.eat(',') {
                return self.eat('}').then_some(Value::Dict(entries));
            }
        }
        Some(Value::Dict(entries))
    }

    fn constant(&mut self) -> Option<Value<'a>> {
        let constants = [
            ("True", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("None", Value::None),
        ];
        let (name, value) = constants
            .into_iter()
            .find(|(name, _)| self.rest.starts_with(name))?;
        self.rest = &self.rest[name.len()..];
        Some(value)
    }

    /// An integer of any radix, with a sign or without; Python 2 put an `L` behind long ones.
    fn integer(&mut self) -> Option<i128> {
        let is_negative = self.rest.starts_with('-');
        if is_negative || self.rest.starts_with('+') {
            self.rest = &self.rest[1..];
            self.skip_space();
        }
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let len = self.rest.bytes().take_while(|&byte| is_digit(byte)).count();
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        let token = token.strip_suffix(['L', 'l']).unwrap_or(token);
        let (radix, digits) = match token.get(..2) {
            Some("0x" | "0X") => (16, &token[2..]),
            Some("0o" | "0O") => (8, &token[2..]),
            Some("0b" | "0B") => (2, &token[2..]),
            _ => (10, token),
        };
        let has_leading_zero =
            digits.starts_with('0') && !digits.trim_matches(['0', '_']).is_empty();
        if radix == 10 && (has_leading_zero || digits.starts_with('_'))
            || digits.contains("__")
            || digits.ends_with('_')
        {
            return None;
        }
        let int = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
        Some(if is_negative { -int } else { int })
    }

    /// A string, or several that stand side by side and make one.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let mut text = self.string_token()?;
        loop {
            self.skip_space();
            match self.string_token() {
                Some(more) => text.to_mut().push_str(&more),
                None => return Some(text),
            }
        }
    }

    fn string_token(&mut self) -> Option<Cow<'a, str>> {
        let letters = self.rest.bytes().take_while(u8::is_ascii_alphabetic);
        let (prefix, quoted) = self.rest.split_at(letters.take(3).count());
        let prefix = prefix.to_ascii_lowercase();
        if !["", "u", "b", "r", "br", "rb"].contains(&&*prefix) {
            return None;
        }
        let quotes = ["'''", "\"\"\"", "'", "\""];
        let quote = quotes.into_iter().find(|quote| quoted.starts_with(quote))?;
        let inside = &quoted[quote.len()..];
        let len = string_len(inside, quote)?;
        self.rest = &inside[len + quote.len()..];
        let inside = &inside[..len];
        if prefix.contains('r') || !inside.contains('\\') {
            Some(Cow::Borrowed(inside))
        } else {
            unescaped(inside, prefix.contains('b')).map(Cow::Owned)
        }
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Skips white space, comments and backslashes that join lines.
    fn skip_space(&mut self) {
        loop {
            self.rest = self
                .rest
                .trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
            if let Some(comment) = self.rest.strip_prefix('#') {
                self.rest = comment.trim_start_matches(|character| !"\n\r".contains(character));
            } else if self.rest.starts_with("\\\n") || self.rest.starts_with("\\\r") {
                self.rest = &self.rest[1..];
            } else {
                return;
            }
        }
    }
}

/// The length of a string, in bytes, that ends with `quote`, the same as before `inside`.
fn string_len(inside: &str, quote: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            // The backslash of a raw string stays, but it keeps a quote from ending it, too.
            b'\\' => at += 2,
            b'\n' | b'\r' if quote.len() == 1 => return None,
            _ if bytes[at..].starts_with(quote.as_bytes()) => return Some(at),
            _ => at += 1,
        }
    }
}

/// Replaces the escapes of a string. Lone surrogates, which only Python's strings can hold, become
/// U+FFFD; character names are not known.
fn unescaped(inside: &str, is_bytes: bool) -> Option<String> {
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let escape = rest.chars().next()?;
        let digits = match escape {
            '0'..='7' => {
                let digits = rest.bytes().take(3);
                let len = digits.take_while(|byte| (b'0'..=b'7').contains(byte));
                Some((len.count(), 8))
            }
            'x' => Some((2, 16)),
            'u' if !is_bytes => Some((4, 16)),
            'U' if !is_bytes => Some((8, 16)),
            _ => None,
        };
        if digits.is_none_or(|(_, radix)| radix == 16) {
            rest = &rest[escape.len_utf8()..];
        }
        if let Some((len, radix)) = digits {
            let digits = rest.get(..len)?;
            rest = &rest[len..];
            let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, radix).ok()?;
            if !is_number || code > char::MAX.into() {
                return None;
            }
            text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            continue;
        }
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            'N' if !is_bytes => return None,
            _ => text.extend(['\\', escape]),
        }
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Value<'_>> {
        Some(Value::Text(Cow::Borrowed(text)))
    }

    fn ints<const N: usize>(ints: [i128; N]) -> Vec<Value<'static>> {
        ints.map(Value::Int).into()
    }

    #[test]
    fn integers_have_signs_radixes_and_underscores() {
        for (source, value) in [
            ("0", 0),
            ("00", 0),
            ("+3", 3),
            ("- 4", -4),
            ("12L", 12),
            ("0x1F", 31),
            ("0x_fL", 15),
            ("0o17", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("(((7)))", 7),
            ("18446744073709551616", 1 << 64),
        ] {
            assert_eq!(Value::parse(source), Some(Value::Int(value)), "{source}");
        }
        let too_long = "9".repeat(40);
        for source in [
            "007", "0_1", "1__0", "1_", "_1", "0x", "0xg", "1.5", "1e3", "2j", "--1", "3 4", "3x",
            "+", "L", &too_long,
        ] {
            assert_eq!(Value::parse(source), None, "{source}");
        }
    }

    #[test]
    fn strings_have_prefixes_quotes_and_escapes() {
        for (source, value) in [
            ("'<f8'", "<f8"),
            ("\"it's\"", "it's"),
            ("'''a\n'b' '''", "a\n'b' "),
            ("\"\"\"\"a\"\"\"", "\"a"),
            ("u'a'", "a"),
            ("B'a\\u0041'", "a\\u0041"),
            ("Rb'\\x41'", "\\x41"),
            ("r'\\''", "\\'"),
            ("'\\x66\\u0038\\U0001f600'", "f8\u{1f600}"),
            ("'\\146\\70\\0'", "f8\0"),
            ("'\\ud800'", "\u{fffd}"),
            (
                "'\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\\q'",
                "\x07\x08\x0c\n\r\t\x0b\\'\"\\q",
            ),
            ("'a\\\nb'", "ab"),
            ("'flo' \"at\" # comment\n r'64'", "float64"),
            ("'é'", "é"),
            ("''", ""),
        ] {
            assert_eq!(
                Value::parse(&format!("({source})")),
                text(value),
                "{source}"
            );
        }
        for source in [
            "'a",
            "'a\"",
            "'a\n'",
            "'''a''",
            "'\\'",
            "'\\x4'",
            "'\\x+4'",
            "'\\U00110000'",
            "'\\N{SPACE}'",
            "x'a'",
            "ur'a'",
            "'a'b",
        ] {
            assert_eq!(Value::parse(source), None, "{source}");
        }
    }

    #[test]
    fn brackets_make_tuples_lists_and_dictionaries() {
        for (source, value) in [
            ("()", Value::Tuple(vec![])),
            ("(1)", Value::Int(1)),
            ("(1,)", Value::Tuple(ints([1]))),
            ("((1), (2))", Value::Tuple(ints([1, 2]))),
            ("[1, 2,]", Value::List(ints([1, 2]))),
            ("[\n1, # one\\\n\t2\x0c\\\n]\r\n", Value::List(ints([1, 2]))),
            ("{}", Value::Dict(vec![])),
            (
                "(None, True)",
                Value::Tuple(vec![Value::None, Value::Bool(true)]),
            ),
        ] {
            assert_eq!(Value::parse(source), Some(value), "{source}");
        }
        let entries = [("1", "(2)"), ("1", "[3]")];
        let expected = entries.map(|(key, source)| Entry {
            key: Value::parse(key).unwrap(),
            value: Value::parse(source).unwrap(),
            source,
        });
        let dict = Value::parse("{1: (2) , 1\t:[3]}");
        assert_eq!(dict, Some(Value::Dict(expected.into())));
        for source in [
            "",
            "(",
            "(1",
            "(,)",
            "(1,,2)",
            "(1 2)",
            "(1]",
            "[1",
            "{1}",
            "{1: }",
            "{1: 2",
            "{:}",
            "{1: 2 3: 4}",
            "Truely",
            "none",
            "1,2",
            "[__import__('os')]",
            "\u{b}1",
            "\u{a0}1",
        ] {
            assert_eq!(Value::parse(source), None, "{source}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Value::parse(&nested(200)).is_some());
        assert_eq!(Value::parse(&nested(201)), None);
        for open in ["[", "(", "{1:", "[(", "({1:"] {
            assert_eq!(Value::parse(&open.repeat(100_000)), None);
        }
    }
}
