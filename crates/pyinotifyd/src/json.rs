//! Text in JSON, for lines that programs and terminals both get to see.

use std::io::Write;

use pyinotifyd_core::path::is_invisible;

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

/// Whether a byte of ASCII is the same in a JSON string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
