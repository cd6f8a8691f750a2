//! Paths as bytes.
//!
//! A file name on Linux is any bytes but `/` and NUL, so that is what a path is here. Two
//! translations exist: [`text`] for regular expressions, reversible, and [`shown`] for people,
//! which no name can use to forge a line of the log.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

/// The path of an entry of a directory.
#[must_use]
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push(&mut path, name);
    path
}

/// Appends a name to a directory's path.
pub fn push(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The path without slashes at its end; `/` stays.
#[must_use]
pub fn trim_end(mut path: &[u8]) -> &[u8] {
    while let [head @ .., b'/'] = path {
        if head.is_empty() {
            break;
        }
        path = head;
    }
    path
}

/// The directory that the path's last name is in, and that name; `None` for `/` and for a bare
/// name.
#[must_use]
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let name = &path[at + 1..];
    if name.is_empty() {
        return None;
    }
    Some((if at == 0 { b"/" } else { &path[..at] }, name))
}

/// Whether a name is one under which what a rule makes grows until it is whole: `.pyinotifyd-`,
/// 16 hex digits, `.tmp`.
#[must_use]
pub fn is_temporary(name: &[u8]) -> bool {
    let hex = name.strip_prefix(b".pyinotifyd-").and_then(|it| it.strip_suffix(b".tmp"));
    hex.is_some_and(|it| it.len() == 16 && it.iter().all(u8::is_ascii_hexdigit))
}

/// The names of a path, from the top.
pub fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// What of `path` lies below `dir`: empty if it is `dir` itself, without a leading slash
/// otherwise; `None` if it lies elsewhere.
#[must_use]
pub fn below<'a>(path: &'a [u8], dir: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(trim_end(dir))?;
    match rest {
        [] => Some(rest),
        [b'/', rest @ ..] => Some(rest),
        _ if dir == b"/" => Some(rest),
        _ => None,
    }
}

/// An absolute path without empty names, `.` and `..`. A relative one is taken from `cwd`.
/// `..` is resolved by its words alone, as `os.path.normpath` does.
#[must_use]
pub fn normalize(cwd: &[u8], path: &[u8]) -> Vec<u8> {
    let mut stack: Vec<&[u8]> = Vec::new();
    let base = if path.first() == Some(&b'/') { &b""[..] } else { cwd };
    for name in names(base).chain(names(path)) {
        match name {
            b"." => (),
            b".." => {
                stack.pop();
            }
            name => stack.push(name),
        }
    }
    let mut out = Vec::with_capacity(base.len() + path.len() + 1);
    for name in stack {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// The first of 256 private characters that stand for single bytes in [`text`].
const BYTE_CHARS: u32 = 0x10_FF00;

/// A path as text that regular expressions can match, one private character for each byte that is
/// not UTF-8. Reversible: [`bytes`] gives the path back, whatever its bytes. (Python's
/// `surrogateescape` does the same with lone surrogates, which Rust's text cannot hold.)
#[must_use]
pub fn text(path: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(path) {
        Ok(text) if !text.chars().any(is_byte_char) => Cow::Borrowed(text),
        _ => Cow::Owned(text_slow(path)),
    }
}

fn text_slow(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len() * 2);
    let escape = |out: &mut String, bytes: &[u8]| {
        out.extend(bytes.iter().map(|byte| byte_char(*byte)));
    };
    for chunk in path.utf8_chunks() {
        for (at, char) in chunk.valid().char_indices() {
            if is_byte_char(char) {
                escape(&mut out, &chunk.valid().as_bytes()[at..at + char.len_utf8()]);
            } else {
                out.push(char);
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

/// The path that [`text`] was made of.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut buf = [0; 4];
    for char in text.chars() {
        match u8::try_from(u32::from(char).wrapping_sub(BYTE_CHARS)) {
            Ok(byte) => out.push(byte),
            Err(_) => out.extend_from_slice(char.encode_utf8(&mut buf).as_bytes()),
        }
    }
    out
}

fn is_byte_char(char: char) -> bool {
    u32::from(char) >= BYTE_CHARS
}

fn byte_char(byte: u8) -> char {
    char::from_u32(BYTE_CHARS + u32::from(byte)).expect("U+10FF00 to U+10FFFF are characters")
}

/// Shows bytes to people: printable text as it is; control characters, bidirectional overrides
/// and invalid bytes as escapes (`\n`, `\x1b`, `\u{202e}`), so that a name stays on its line.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

/// [`Shown`], as a function.
#[must_use]
pub fn shown(bytes: &[u8]) -> Shown<'_> {
    Shown(bytes)
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            escape(f, chunk.valid(), |byte| is_plain(byte) && byte != b'\\')?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Shows a sentence on one line: as [`Shown`], but backslashes stay as they are, so that what was
/// shown once is not escaped again.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, is_plain)
    }
}

/// Writes text, with everything escaped that is not printable. Runs of bytes that `plain` lets
/// through are written at once; of them, only a backslash may need an escape all the same.
fn escape(f: &mut fmt::Formatter<'_>, text: &str, plain: impl Fn(u8) -> bool) -> fmt::Result {
    let mut rest = text;
    loop {
        let end = rest.bytes().position(|byte| !plain(byte)).unwrap_or(rest.len());
        // Not plain are single ASCII bytes and all of every longer character.
        f.write_str(&rest[..end])?;
        let mut chars = rest[end..].chars();
        let Some(char) = chars.next() else { return Ok(()) };
        match char {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            char if u32::from(char) < 0x80 && char.is_control() => {
                write!(f, "\\x{:02x}", u32::from(char))?;
            }
            char if char.is_control() || is_invisible(char) => {
                write!(f, "\\u{{{:x}}}", u32::from(char))?;
            }
            char => f.write_char(char)?,
        }
        rest = chars.as_str();
    }
}

/// Whether a byte is printable ASCII.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Characters that change how the rest of a line looks, or that end it: line and paragraph
/// separators, bidirectional controls, zero-width ones. [`shown`] escapes them, and control
/// characters.
#[must_use]
pub fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normalized_by_their_words() {
        let normalized =
            |path: &str| String::from_utf8(normalize(b"/cwd", path.as_bytes())).unwrap();
        assert_eq!(normalized("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(normalized("x"), "/cwd/x");
        assert_eq!(normalized("../.."), "/");
        assert_eq!(normalized("/"), "/");
    }

    #[test]
    fn below_knows_whole_names_only() {
        assert_eq!(below(b"/a/b", b"/a"), Some(&b"b"[..]));
        assert_eq!(below(b"/a", b"/a"), Some(&b""[..]));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(below(b"/ab", b"/"), Some(&b"ab"[..]));
        assert_eq!(below(b"/", b"/"), Some(&b""[..]));
    }

    #[test]
    fn a_name_cannot_leave_its_line() {
        let name = "a\nb\x1b[31m\r\u{202e}\u{2028}\\".as_bytes();
        assert_eq!(shown(name).to_string(), "a\\nb\\x1b[31m\\r\\u{202e}\\u{2028}\\\\");
        assert_eq!(shown(b"\xff\xfe").to_string(), "\\xff\\xfe");
        assert_eq!(shown("Grüße 日本".as_bytes()).to_string(), "Grüße 日本");
    }

    #[test]
    fn what_was_shown_is_not_escaped_again() {
        let once = shown(b"a\n\\\xff").to_string();
        assert_eq!(once, r"a\n\\\xff");
        assert_eq!(OneLine(&once).to_string(), once);
        assert_eq!(OneLine("a\r\nb\u{2028}").to_string(), r"a\r\nb\u{2028}");
    }

    proptest! {
        #[test]
        fn nothing_leaves_its_line(path: Vec<u8>, text: String) {
            for shown in [shown(&path).to_string(), OneLine(&text).to_string()] {
                prop_assert!(!shown.contains(|it: char| it.is_control() || is_invisible(it)));
            }
        }

        #[test]
        fn text_gives_every_path_back(path: Vec<u8>) {
            prop_assert_eq!(bytes(&text(&path)), path);
        }

        #[test]
        fn text_gives_private_characters_back(path in "[a\u{10ff00}-\u{10ffff}]*") {
            prop_assert_eq!(bytes(&text(path.as_bytes())), path.as_bytes());
        }
    }
}
