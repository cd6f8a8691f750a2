//! What a match is replaced by: `\1`, `\g<1>` and `\g<name>` in Python's spelling.

use std::{fmt, sync::Arc};

use super::Pattern;

/// What `dst_re` says: text with `\1`, `\g<1>` and `\g<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    source: Arc<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Group(usize),
}

/// Why a substitution cannot be used with its pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SubstitutionError {
    /// What is wrong.
    pub message: String,
    /// Where in the source, in bytes.
    pub at: usize,
}

impl Substitution {
    /// Reads a substitution for the matches of a pattern.
    pub fn parse(source: &str, pattern: &Pattern) -> Result<Self, SubstitutionError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut at = 0;
        while let Some(found) = source[at..].find('\\') {
            text.push_str(&source[at..at + found]);
            let start = at + found;
            let (token, len) = escape(&source[start + 1..], pattern)
                .map_err(|message| SubstitutionError { message, at: start })?;
            at = start + 1 + len;
            match token {
                Token::Char(char) => text.push(char),
                Token::Kept(char) => text.extend(['\\', char]),
                Token::Group(group) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text).into()));
                    }
                    parts.push(Part::Group(group));
                }
            }
        }
        text.push_str(&source[at..]);
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Self { source: source.into(), parts })
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text before the first group: what every result of a match at the start begins with.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Group(_)) | None => "",
        }
    }

    /// As much of the literal prefix as can be known without the pattern.
    #[must_use]
    pub fn surely_literal(source: &str) -> &str {
        source.split('\\').next().unwrap_or_default()
    }

    /// Appends the substitution. A group that took no part in the match gives nothing.
    pub(super) fn expand<'t>(
        &self,
        out: &mut Vec<u8>,
        group_text: impl Fn(usize) -> Option<&'t str>,
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Group(group) => super::copy(out, group_text(*group).unwrap_or_default()),
            }
        }
    }
}

enum Token {
    Char(char),
    /// Python leaves a backslash before anything but letters and digits as it is.
    Kept(char),
    Group(usize),
}

/// What follows a backslash, and how many bytes of it belong to it.
fn escape(rest: &str, pattern: &Pattern) -> Result<(Token, usize), String> {
    let char = rest.chars().next().ok_or("a backslash at the end: write `\\\\`")?;
    let token = match char {
        '\\' => Token::Char('\\'),
        'a' => Token::Char('\x07'),
        'b' => Token::Char('\x08'),
        'f' => Token::Char('\x0c'),
        'n' => Token::Char('\n'),
        'r' => Token::Char('\r'),
        't' => Token::Char('\t'),
        'v' => Token::Char('\x0b'),
        'g' => {
            let name = rest[1..].strip_prefix('<').ok_or("`\\g` is not followed by `<`")?;
            let end = name.find('>').ok_or("`\\g<` is not ended by `>`")?;
            return Ok((Token::Group(group_named(&name[..end], pattern)?), end + 3));
        }
        '0'..='9' => return number(rest, pattern),
        char if char.is_ascii_alphabetic() => return Err(format!("bad escape `\\{char}`")),
        char => Token::Kept(char),
    };
    Ok((token, char.len_utf8()))
}

/// `\0` and three octal digits are a character; one or two digits name a group.
fn number(rest: &str, pattern: &Pattern) -> Result<(Token, usize), String> {
    let octal = |most: usize| {
        let len = rest.bytes().take(most).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        &rest[..len]
    };
    let digits = octal(3);
    if digits.len() == 3 || digits.starts_with('0') {
        let code = u8::from_str_radix(digits, 8)
            .map_err(|_| format!("octal escape `\\{digits}` is above `\\377`"))?;
        return Ok((Token::Char(char::from(code)), digits.len()));
    }
    let len = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let group = rest[..len].parse().expect("one or two digits");
    Ok((Token::Group(existing(group, pattern)?), len))
}

fn group_named(name: &str, pattern: &Pattern) -> Result<usize, String> {
    if name.is_empty() {
        return Err("`\\g<>` names no group".to_owned());
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let group = name.parse().map_err(|_| no_such_group(name, pattern))?;
        return existing(group, pattern);
    }
    let found = pattern.group_names().find(|it| it.1 == name);
    found.map(|it| it.0).ok_or_else(|| no_such_group(name, pattern))
}

fn existing(group: usize, pattern: &Pattern) -> Result<usize, String> {
    if group <= pattern.groups() { Ok(group) } else { Err(no_such_group(group, pattern)) }
}

fn no_such_group(group: impl fmt::Display, pattern: &Pattern) -> String {
    let mut groups: Vec<String> = (1..=pattern.groups()).map(|group| group.to_string()).collect();
    for (group, name) in pattern.group_names() {
        groups[group - 1] = format!("{group} (`{name}`)");
    }
    if groups.is_empty() {
        format!("the pattern has no group `{group}`: it has none at all")
    } else {
        format!("the pattern has no group `{group}`, only {}", groups.join(", "))
    }
}
