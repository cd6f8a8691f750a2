//! Commands that need no shell.
//!
//! A simple command of plain words, quoted literals and placeholders, whose first word is an
//! absolute path: what a shell would run is known, so it does not have to run. Everything else,
//! and everything of which one would have to think twice, is left to the shell.

use crate::template::{Part, Template, placeholder_at};

/// The argv that a shell would run; `None` if it takes a shell to know.
pub(super) fn argv(source: &str) -> Option<Vec<Template>> {
    let mut words: Vec<Template> = Vec::new();
    let mut word: Option<Template> = None;
    let mut rest = source;
    while let Some(char) = rest.chars().next() {
        let mut len = char.len_utf8();
        match char {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let inner = rest[1..].split_once('\'')?.0;
                push_quoted(word.get_or_insert_with(empty), inner);
                len = inner.len() + 2;
            }
            '"' => {
                let inner = rest[1..].split_once('"')?.0;
                if inner.contains(['$', '`', '\\']) {
                    return None;
                }
                push_quoted(word.get_or_insert_with(empty), inner);
                len = inner.len() + 2;
            }
            '{' => {
                let (placeholder, taken) = placeholder_at(rest)?;
                word.get_or_insert_with(empty).parts.push(Part::Value(placeholder));
                len = taken;
            }
            char if char.is_ascii_alphanumeric() || "_-./:=,@%+".contains(char) => {
                word.get_or_insert_with(empty).push_text(&rest[..len]);
            }
            _ => return None,
        }
        rest = &rest[len..];
    }
    words.extend(word);
    match &words.first()?.parts[..] {
        // A slash at the end, or nothing behind it, is no program; a shell says so better. And
        // with a `=` in it, it is still a path: no name has a slash.
        [Part::Text(program)] if program.starts_with('/') => Some(words),
        _ => None,
    }
}

fn empty() -> Template {
    Template { parts: Vec::new() }
}

fn push_quoted(word: &mut Template, inner: &str) {
    for part in Template::parse(inner).parts {
        match part {
            Part::Text(text) => word.push_text(&text),
            value @ Part::Value(_) => word.parts.push(value),
        }
    }
}
