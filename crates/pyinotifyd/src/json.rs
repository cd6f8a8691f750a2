//! JSON: text for lines that programs and terminals both get to see, and what the host of a
//! config.py says and is told, where a text may be any bytes.
//!
//! A byte that is no UTF-8 is a lone surrogate there, `\\udcNN`, as Python's `os.fsdecode` has it.

use std::{
    fmt,
    io::{self, Write},
};

use pyinotifyd_core::path::is_invisible;
use serde::{Serialize, de};
use serde_json::{ser::Formatter, value::RawValue};

/// A JSON string. Everything that could do something to a terminal is escaped, besides what has to
/// be.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let end = rest.bytes().position(|it| !is_plain(it)).unwrap_or(rest.len());
        // Not plain are single ASCII bytes and all of every longer character.
        out.extend_from_slice(&rest.as_bytes()[..end]);
        let mut chars = rest[end..].chars();
        let Some(char) = chars.next() else { break };
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            char if char.is_control() || is_invisible(char) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a Vec takes all");
                }
            }
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = chars.as_str();
    }
    out.push(b'"');
}

/// A value as a line, safe for terminals as [`string`] is.
///
/// # Panics
///
/// If it has a map whose keys are no text.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Tame);
    value.serialize(&mut serializer).expect("a Vec takes all, and our values are plain");
    out.push(b'\n');
    out
}

/// A line of JSON that somebody else has written, on one line and safe for terminals.
pub(crate) fn tame(line: &str) -> String {
    // Outside of strings they are the only ones, and inside JSON has none of them.
    let line = line.trim_end().replace(['\t', '\n', '\r'], " ");
    let mut out = Vec::with_capacity(line.len() + 1);
    fragment(&mut out, &line).expect("a Vec takes all");
    out.push(b'\n');
    String::from_utf8(out).expect("it was text, and only characters are replaced")
}

/// Escapes what could do something to a terminal.
struct Tame;

impl Formatter for Tame {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        text: &str,
    ) -> io::Result<()> {
        fragment(to, text)
    }
}

/// Part of a string, with everything escaped that could do something to a terminal.
fn fragment(to: &mut (impl io::Write + ?Sized), text: &str) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(|it: char| it.is_control() || is_invisible(it)) {
        to.write_all(&rest.as_bytes()[..at])?;
        let mut chars = rest[at..].chars();
        let Some(char) = chars.next() else { break };
        for unit in char.encode_utf16(&mut [0; 2]) {
            write!(to, "\\u{unit:04x}")?;
        }
        rest = chars.as_str();
    }
    to.write_all(rest.as_bytes())
}

/// A JSON string of any bytes, in nothing but ASCII.
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                ' '..='~' if char != '"' && char != '\\' => out.push(char as u8),
                char => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}").expect("a Vec takes all");
                    }
                }
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\udc{byte:02x}").expect("a Vec takes all");
        }
    }
    out.push(b'"');
}

/// Any bytes in hex, for what JSON cannot hold.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|it| [it >> 4, it & 15]);
    digits.map(|it| char::from_digit(it.into(), 16).expect("a digit")).collect()
}

/// Any JSON. Texts are bytes, objects keep their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Vec<u8>),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Map(Vec<(Vec<u8>, Value)>),
}

/// Nothing that is said is nested deeper; each level is a step of recursion.
const DEEPEST: usize = 32;

impl Value {
    /// Reads a text that holds one value.
    ///
    /// # Errors
    ///
    /// It is no JSON, or nested too deeply.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        Self::of(serde_json::from_slice(text)?, DEEPEST)
    }

    fn of(raw: &RawValue, depth: usize) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        let Some(depth) = depth.checked_sub(1) else {
            return Err(de::Error::custom("nested too deeply"));
        };
        Ok(match text.as_bytes()[0] {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Text(serde_json::from_str::<Text>(text)?.0),
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                let items = items.into_iter().map(|it| Self::of(it, depth));
                Self::List(items.collect::<Result<_, _>>()?)
            }
            b'{' => {
                let Entries(entries) = serde_json::from_str(text)?;
                let entries =
                    entries.into_iter().map(|(name, value)| Ok((name.0, Self::of(value, depth)?)));
                Self::Map(entries.collect::<Result<_, serde_json::Error>>()?)
            }
            _ => match serde_json::from_str(text) {
                Ok(number) => Self::Int(number),
                Err(_) => Self::Float(serde_json::from_str(text)?),
            },
        })
    }

    /// What an object has under this name; `None` also for `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        let (_, value) = entries.iter().find(|(it, _)| it == name.as_bytes())?;
        (*value != Self::Null).then_some(value)
    }

    /// The text, if it is one.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text for people, if it is one. What is no UTF-8 in it is replaced.
    pub(crate) fn text(&self) -> Option<String> {
        self.bytes().map(|it| String::from_utf8_lossy(it).into_owned())
    }

    /// The items, if it is an array.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The number, if it is a whole one in range.
    pub(crate) fn int<T: TryFrom<i128>>(&self) -> Option<T> {
        match self {
            Self::Int(number) => T::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is `true` or `false`, if it is one of them.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(is) => Some(*is),
            _ => None,
        }
    }
}

/// A text of any bytes.
struct Text(Vec<u8>);

impl<'de> de::Deserialize<'de> for Text {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes, a lone surrogate is no mistake.
        deserializer.deserialize_bytes(Surrogates)
    }
}

struct Surrogates;

impl de::Visitor<'_> for Surrogates {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, wtf8: &[u8]) -> Result<Text, E> {
        let mut out = Vec::with_capacity(wtf8.len());
        let mut rest = wtf8;
        while let Some((&byte, behind)) = rest.split_first() {
            // U+DC80 to U+DCFF as three bytes; no other character begins so.
            if let [0xed, high @ 0xb2..=0xb3, low, ..] = rest {
                out.push((high & 0b11) << 6 | low & 0b11_1111);
                rest = &rest[3..];
            } else {
                out.push(byte);
                rest = behind;
            }
        }
        Ok(Text(out))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.as_bytes().to_owned()))
    }
}

/// An object's entries in their order.
struct Entries<'a>(Vec<(Text, &'a RawValue)>);

impl<'de> de::Deserialize<'de> for Entries<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> de::Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Whether a byte of ASCII is the same in a JSON string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_somebody_else_is_one_line_that_says_the_same() {
        let text = "\u{9b}2J\u{7f}\u{202e}\u{1b}";
        let line = serde_json::json!({ "a": text, "b": [1] });
        let pretty = serde_json::to_string_pretty(&line).unwrap() + "\r\n";
        let tame = tame(&pretty);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&tame).unwrap(), line);
        let acts = |it: char| it.is_control() || is_invisible(it);
        assert!(!tame.strip_suffix('\n').unwrap().contains(acts), "{tame:?}");
    }

    #[test]
    fn any_json_is_read() {
        let text = br#" {"a": [1, -2.5, true, null, "x\udcff\ud83d\ude00\u00e4"], "\udc80": {}} "#;
        let value = Value::parse(text).unwrap();
        let list = value.get("a").unwrap().list().unwrap();
        assert_eq!((list[0].int(), list[1].float()), (Some(1_u8), Some(-2.5)));
        assert_eq!(list[4], Value::Text([b"x\xff".as_slice(), "😀ä".as_bytes()].concat()));
        let Value::Map(entries) = &value else { panic!("not a map") };
        assert_eq!(entries[1], (b"\x80".to_vec(), Value::Map(Vec::new())));
        assert!(Value::parse(&b"[".repeat(100_000)).is_err());
        assert!(Value::parse(&[b"[".repeat(40), b"]".repeat(40)].concat()).is_err());
        assert!(Value::parse(b"[NaN]").is_err());
        assert!(Value::parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(name in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            bytes(&mut out, &name);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(Value::parse(&out).unwrap(), Value::Text(name));
        }

        #[test]
        fn text_comes_back_and_paints_nothing(text in any::<String>(), odd in "[\u{7f}-\u{9f}\u{2020}-\u{2030}\u{e0000}-\u{e0080}\"\\\\]*") {
            for text in [&text, &odd] {
                let mut out = Vec::new();
                string(&mut out, text);
                let json = str::from_utf8(&out).unwrap();
                prop_assert_eq!(&serde_json::from_str::<String>(json).unwrap(), text);
                prop_assert!(!json.contains(|it: char| it.is_control() || is_invisible(it)));
            }
        }
    }
}
