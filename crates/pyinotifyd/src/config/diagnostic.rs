//! What is wrong with a configuration, and how it is shown.
//!
//! A [`Diagnostic`] knows its place, what is wrong there and what would help. It is shown in full
//! for people (the line itself with a caret under what is meant), or on one line for a log. Text
//! that comes from the file is shown escaped: no configuration can paint on a terminal.

use std::{fmt::Write, ops::Range};

use super::document::{At, Place};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use pyinotifyd_core::count::Count;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but something in it is probably not meant so.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where.
    pub(crate) place: Place,
    /// What is wrong, in one sentence.
    pub(crate) message: String,
    /// What stands under the caret; may be empty.
    pub(crate) label: String,
    /// What would help, one sentence each.
    pub(crate) hints: Vec<String>,
    /// Where Python was when it failed, several lines.
    pub(crate) traceback: Option<String>,
}

impl Diagnostic {
    /// A mistake.
    pub(crate) fn error(place: &Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: place.clone(),
            message: message.into(),
            label: String::new(),
            hints: Vec::new(),
            traceback: None,
        }
    }

    /// A warning.
    pub(crate) fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// With this under the caret.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With this hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With this hint, if there is one.
    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The bytes of the file's text that are meant; `None` without the text, or if the whole file
    /// is meant.
    fn span(&self) -> Option<(&str, Range<usize>)> {
        let text = self.place.source.text.as_deref()?;
        match &self.place.at {
            At::Span(span) => {
                let start = floor_char_boundary(text, span.start);
                Some((text, start..floor_char_boundary(text, span.end).max(start)))
            }
            At::Line(line) => {
                let line = text.split_inclusive('\n').nth(line.checked_sub(1)?)?;
                let start = line.as_ptr() as usize - text.as_ptr() as usize;
                let indent = line.len() - line.trim_start().len();
                Some((text, start + indent..start + line.trim_end().len().max(indent)))
            }
            At::File => None,
        }
    }

    /// Line and column, the first being 1 each; a column counts characters.
    pub(crate) fn position(&self) -> Option<(usize, Option<usize>)> {
        match (&self.place.at, self.span()) {
            (At::Line(line), _) => Some((*line, None)),
            (At::Span(_), Some((text, span))) => {
                let before = &text[..span.start];
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                let column = before[line_start..].chars().count() + 1;
                Some((before.matches('\n').count() + 1, Some(column)))
            }
            (At::Span(_), None) | (At::File, _) => None,
        }
    }

    /// All on one line, for a log: `config.toml:3:9: unknown key …; help: …`.
    pub(crate) fn one_line(&self) -> String {
        let mut out = harmless(&self.place.source.name);
        match self.position() {
            Some((line, Some(column))) => _ = write!(out, ":{line}:{column}"),
            Some((line, None)) => _ = write!(out, ":{line}"),
            None => (),
        }
        _ = write!(out, ": {}", harmless(&self.message));
        if !self.label.is_empty() {
            _ = write!(out, " ({})", harmless(&self.label));
        }
        for hint in &self.hints {
            _ = write!(out, "; help: {}", harmless(hint));
        }
        out
    }

    /// In full, over several lines, without a line end.
    pub(crate) fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let name = harmless(&self.place.source.name);
        let title = level.primary_title(harmless(&self.message));
        let mut group = match self.span() {
            Some((text, span)) => {
                // Only the lines that matter: the renderer's work would grow with the file.
                let (start, number) = line_start(text, span.start);
                let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
                let label = (!self.label.is_empty()).then(|| self.label.clone());
                let before = without_c1(&text[start..span.start]);
                let meant = without_c1(&text[span.clone()]);
                let after = without_c1(&text[span.end..end]);
                let annotation = AnnotationKind::Primary
                    .span(before.len()..before.len() + meant.len())
                    .label(label.map(|it| harmless(&it)));
                let snippet = Snippet::source(before + &meant + &after)
                    .line_start(number)
                    .path(name)
                    .annotation(annotation);
                title.element(snippet)
            }
            None => match self.position() {
                Some((line, _)) => title.element(annotate_snippets::Origin::path(name).line(line)),
                None => title.element(annotate_snippets::Origin::path(name)),
            },
        };
        for hint in &self.hints {
            group = group.element(Level::HELP.message(harmless(hint)));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let report: &[Group<'_>] = &[group];
        let mut out = renderer.render(report);
        for line in self.traceback() {
            _ = write!(out, "\n{line}");
        }
        out
    }

    /// The lines of the traceback, if there is one.
    pub(crate) fn traceback(&self) -> impl Iterator<Item = String> {
        self.traceback.iter().flat_map(|it| it.lines()).map(harmless)
    }
}

/// Sorts by file, then by place, mistakes before warnings.
pub(crate) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_cached_key(|it| {
        let start = match (&it.place.at, it.span()) {
            (_, Some((_, span))) => span.start,
            (At::Line(line), None) => *line,
            (At::Span(span), None) => span.start,
            (At::File, None) => 0,
        };
        (it.place.source.name.clone(), start, it.severity, it.message.clone())
    });
}

/// All of them in full, and how many there are: what `check` prints.
pub(crate) fn render_all(diagnostics: &[Diagnostic], name: &str, colour: bool) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        _ = writeln!(out, "{}\n", diagnostic.render(colour));
    }
    out.push_str(&summary(diagnostics, name));
    out
}

/// `10 mistakes and 1 warning in config.toml`.
pub(crate) fn summary(diagnostics: &[Diagnostic], name: &str) -> String {
    let warnings = diagnostics.iter().filter(|it| it.severity == Severity::Warning).count();
    let counts = [
        Count(diagnostics.len() - warnings, "mistake", "mistakes"),
        Count(warnings, "warning", "warnings"),
    ];
    let parts: Vec<String> =
        counts.into_iter().filter(|it| it.0 > 0).map(|it| it.to_string()).collect();
    let what = if parts.is_empty() { "no mistakes".to_owned() } else { parts.join(" and ") };
    format!("{what} in {}", harmless(name))
}

/// Where the line that holds this byte starts, and its number.
fn line_start(text: &str, at: usize) -> (usize, usize) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    (start, text[..start].matches('\n').count() + 1)
}

/// Values are escaped where they are put into a sentence. This is for what others say about them,
/// a library's words or the system's: no control character gets through, whoever wrote it, and nothing
/// that is endless.
fn harmless(text: &str) -> String {
    const MOST: usize = 1_000;
    let mut out = String::with_capacity(text.len().min(MOST));
    for char in text.chars() {
        if out.len() >= MOST {
            out.push('…');
            break;
        }
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

/// The renderer shows the control characters of ASCII and those that change the direction of text
/// as pictures of themselves, but leaves alone U+0080 to U+009F, one of which begins commands for
/// the terminal.
fn without_c1(text: &str) -> String {
    let harmless = |char: char| match char {
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().map(harmless).collect()
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::document::Source;

    fn at_line(text: Option<&str>, line: usize) -> Diagnostic {
        let source = Arc::new(Source { name: "config.py".into(), text: text.map(str::to_owned) });
        Diagnostic::error(&Place::line(&source, line), "no such thing").label("here")
    }

    #[test]
    fn a_line_without_columns_is_shown_whole() {
        let it = at_line(Some("a = 1\n    b = Nothing()  \nc"), 2);
        insta::assert_snapshot!("line", it.render(false));
        assert_eq!(it.one_line(), "config.py:2: no such thing (here)");
    }

    #[test]
    fn a_line_that_is_not_at_hand_is_named() {
        insta::assert_snapshot!("line_without_text", at_line(None, 7).render(false));
        // The file has changed since: nothing is shown rather than something wrong.
        assert_eq!(at_line(Some("a"), 7).position(), Some((7, None)));
        assert!(at_line(Some("a"), 7).render(false).contains("config.py:7"));
    }

    #[test]
    fn colours_are_only_used_when_asked() {
        assert!(at_line(Some("a"), 1).render(true).contains('\u{1b}'));
        assert!(!at_line(Some("a"), 1).render(false).contains('\u{1b}'));
    }

    #[test]
    fn a_summary_counts_like_people() {
        let error = at_line(None, 1);
        let warning = Diagnostic { severity: Severity::Warning, ..error.clone() };
        let of = |list: &[Diagnostic]| summary(list, "c.toml");
        assert_eq!(of(&[]), "no mistakes in c.toml");
        assert_eq!(of(std::slice::from_ref(&error)), "1 mistake in c.toml");
        assert_eq!(of(&[error.clone(), error, warning]), "2 mistakes and 1 warning in c.toml");
    }
}
