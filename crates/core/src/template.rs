//! Commands and messages with placeholders, parsed once.
//!
//! Decides where a template's placeholders are and what they stand for. Values are put in, never
//! looked at: a file whose name is `{src_pathname}` stays that file.

mod shell;

use std::fmt;

pub use self::shell::{ShellTemplate, ShellTemplateError};
use crate::{event::Event, path, task::TaskId};

/// What a template's placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The event that the task was last scheduled with.
    pub event: &'a Event,
    /// The task.
    pub task: TaskId,
    /// The scheduler's name.
    pub scheduler: &'a str,
}

/// What users write in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// `{maskname}`: the event type, without `|IN_ISDIR`.
    Maskname,
    /// `{pathname}`: the subject's absolute path.
    Pathname,
    /// `{src_pathname}`: where the subject was before; empty if that is not known.
    SrcPathname,
    /// `{dirname}`: the directory that the subject is in; of `/` it is `/`.
    Dirname,
    /// `{basename}`: the subject's name; of `/` it is empty.
    Basename,
    /// `{task_id}`.
    TaskId,
    /// `{scheduler}`: the scheduler's name.
    Scheduler,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Maskname,
        Self::Pathname,
        Self::SrcPathname,
        Self::Dirname,
        Self::Basename,
        Self::TaskId,
        Self::Scheduler,
    ];

    /// The word in the braces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Maskname => "maskname",
            Self::Pathname => "pathname",
            Self::SrcPathname => "src_pathname",
            Self::Dirname => "dirname",
            Self::Basename => "basename",
            Self::TaskId => "task_id",
            Self::Scheduler => "scheduler",
        }
    }

    /// The environment variable that a command finds the value in.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Maskname => "PYINOTIFYD_MASKNAME",
            Self::Pathname => "PYINOTIFYD_PATHNAME",
            Self::SrcPathname => "PYINOTIFYD_SRC_PATHNAME",
            Self::Dirname => "PYINOTIFYD_DIRNAME",
            Self::Basename => "PYINOTIFYD_BASENAME",
            Self::TaskId => "PYINOTIFYD_TASK_ID",
            Self::Scheduler => "PYINOTIFYD_SCHEDULER",
        }
    }

    /// Appends the value.
    pub fn write(self, values: &Values<'_>, out: &mut Vec<u8>) {
        let path = &values.event.pathname;
        match self {
            Self::Maskname => out.extend_from_slice(values.event.event_type.name().as_bytes()),
            Self::Pathname => out.extend_from_slice(path),
            Self::SrcPathname => {
                out.extend_from_slice(values.event.src_pathname.as_deref().unwrap_or_default());
            }
            Self::Dirname => out.extend_from_slice(dir_and_name(path).0),
            Self::Basename => out.extend_from_slice(dir_and_name(path).1),
            Self::TaskId => out.extend_from_slice(values.task.to_string().as_bytes()),
            Self::Scheduler => out.extend_from_slice(values.scheduler.as_bytes()),
        }
    }

    /// The value.
    #[must_use]
    pub fn value(self, values: &Values<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(values, &mut out);
        out
    }
}

fn dir_and_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path::split(path) {
        Some(both) => both,
        None if path.contains(&b'/') => (b"/", b""),
        None => (b"", path),
    }
}

/// Text with placeholders, for one argument of `exec` or one line of `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value(Placeholder),
}

impl Template {
    /// Reads a template. Every text is one: braces that name no placeholder are text.
    #[must_use]
    pub fn parse(source: &str) -> Self {
        let mut template = Self { parts: Vec::new() };
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((placeholder, len)) = placeholder_at(rest) {
                template.push_text(&std::mem::take(&mut text));
                template.parts.push(Part::Value(placeholder));
                rest = &rest[len..];
            } else {
                text.push('{');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        template.push_text(&text);
        template
    }

    /// Text in which braces mean nothing.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut template = Self { parts: Vec::new() };
        template.push_text(text);
        template
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => (),
            Some(Part::Text(before)) => *before = format!("{before}{text}").into(),
            Some(Part::Value(_)) | None => self.parts.push(Part::Text(text.into())),
        }
    }

    /// The text, if it has no values.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the values in it.
    #[must_use]
    pub fn render(&self, values: &Values<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(placeholder) => placeholder.write(values, &mut out),
            }
        }
        out
    }

    /// The text with the values in it, for people: each value as [`path::shown`], the text between
    /// them as it is.
    #[must_use]
    pub fn shown<'a>(&'a self, values: &'a Values<'a>) -> ShownTemplate<'a> {
        ShownTemplate { template: self, values }
    }

    /// The placeholders in it, in order, each as often as it stands there.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(placeholder) => Some(*placeholder),
        })
    }
}

/// See [`Template::shown`].
#[derive(Clone, Copy, Debug)]
pub struct ShownTemplate<'a> {
    template: &'a Template,
    values: &'a Values<'a>,
}

impl fmt::Display for ShownTemplate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Value(placeholder) => {
                write!(f, "{}", path::shown(&placeholder.value(self.values)))
            }
        })
    }
}

/// A word in braces that is no placeholder: `{pathnam}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddBrace<'a> {
    /// The word, without the braces.
    pub word: &'a str,
    /// Where its brace opens, in bytes.
    pub at: usize,
}

/// The words in braces that look like placeholders and are none, for hints. A brace after a `$`
/// is a shell's.
pub fn odd_braces(source: &str) -> impl Iterator<Item = OddBrace<'_>> {
    source.match_indices('{').filter_map(|(at, _)| {
        let word = source[at + 1..].split('}').next()?;
        let is_word = word.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let closed = source.as_bytes().get(at + 1 + word.len()) == Some(&b'}');
        let odd = is_word
            && closed
            && !source[..at].ends_with('$')
            && Placeholder::ALL.iter().all(|it| it.name() != word);
        odd.then_some(OddBrace { word, at })
    })
}

/// The placeholder at the start of `text`, and its length with the braces.
fn placeholder_at(text: &str) -> Option<(Placeholder, usize)> {
    let rest = text.strip_prefix('{')?;
    Placeholder::ALL.into_iter().find_map(|it| {
        rest.strip_prefix(it.name())?.starts_with('}').then_some((it, it.name().len() + 2))
    })
}

#[cfg(test)]
mod tests;
