//! Regular expressions on paths, as Python's `re` understands them.
//!
//! Decides whether a path matches and what a substitution makes of it. Patterns that allow it run
//! in linear time (`regex`); those with look-around, back-references and the like backtrack, up to
//! a limit (`fancy-regex`). What is matched is [`crate::path::text`], so bytes that are not UTF-8
//! are characters that `.` takes and that a group gives back unchanged.
//!
//! `$` also matches before a final newline, and `\b` has Python's idea of a word: only a
//! backtracking pattern can say that, so there are two programs, and the text decides which one
//! runs. Nearly every path is one for the linear one.
//!
//! Where Python may do something else (a loop whose body matched nothing may leave other contents
//! in its groups; beyond ASCII, `(?i)` is as old as Python's tables), [`Pattern::same_as_python`]
//! and [`Pattern::matches_as_python`] say so. A test holds both against Python.

mod python;
mod substitution;

use std::{fmt, sync::Arc};

use self::python::{Same, Special};
pub use self::substitution::{Substitution, SubstitutionError};
use crate::path;

/// Bytes that one compiled program may take: a few hundred `\w`, but no `((a{99}){99}){99}`.
const SIZE_LIMIT: usize = 4 << 20;
/// Instructions of a backtracking program.
const MAX_INSTRUCTIONS: usize = 1 << 16;
/// Steps back in one search: some 20 ms.
const BACKTRACK_LIMIT: usize = 100_000;

/// A regular expression, matched against [`crate::path::text`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pattern {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    groups: Vec<Option<Box<str>>>,
    same: Same,
    usual: Program,
    /// For the texts that `special` covers.
    exact: Option<Program>,
    special: Special,
    /// Matches what does not end where the search began; for patterns that can match nothing.
    advancing: Option<Engine>,
}

/// A pattern in two forms, since neither engine can be told to match at a place only.
#[derive(Debug)]
struct Program {
    start: Engine,
    search: Engine,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// Where in the source, in bytes, if known.
    pub at: Option<usize>,
}

/// A match was given up: the pattern's backtracking went past its limit on this path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` gave up: too much backtracking")]
pub struct PatternFault {
    /// The pattern's source.
    pub pattern: Arc<str>,
}

impl Pattern {
    /// Compiles a pattern.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let translation = python::translate(source)?;
        let program = |text: &str, backtracks: bool| {
            Ok(Program {
                start: Engine::new(&format!("\\A(?:{text})"), backtracks)?,
                search: Engine::new(text, backtracks)?,
            })
        };
        let (usual, exact) = match (translation.backtracks, translation.special.is_none()) {
            (true, _) => (program(&translation.exact, true)?, None),
            (false, true) => (program(&translation.linear, false)?, None),
            (false, false) => {
                (program(&translation.linear, false)?, Some(program(&translation.exact, true)?))
            }
        };
        let advancing = if translation.nullable {
            Some(Engine::new(&format!("(?:{})(?!\\G)", translation.exact), true)?)
        } else {
            None
        };
        Ok(Self {
            inner: Arc::new(Inner {
                source: source.into(),
                groups: translation.groups,
                same: translation.same,
                usual,
                exact,
                special: translation.special,
                advancing,
            }),
        })
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// How many groups there are; group 0, the whole match, is not counted.
    pub fn groups(&self) -> usize {
        self.inner.groups.len()
    }

    /// The groups that have a name, with their numbers.
    pub fn group_names(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(&self.inner.groups).filter_map(|(group, name)| Some((group, name.as_deref()?)))
    }

    /// Whether this surely matches the same texts as Python's `re`. `false` means that a difference
    /// cannot be excluded.
    pub fn matches_as_python(&self) -> bool {
        self.inner.same >= Same::Matches
    }

    /// Whether this surely finds the same as Python's `re`, in each group, too, so that
    /// [`Self::substitute`] gives the same.
    pub fn same_as_python(&self) -> bool {
        self.inner.same == Same::Groups
    }

    /// Whether it matches in linear time, so that [`PatternFault`] cannot happen on paths that are
    /// ASCII and do not end with a newline.
    pub fn is_linear(&self) -> bool {
        matches!(self.inner.usual.search, Engine::Linear(_))
    }

    /// Whether it matches at the path's start, like Python's `re.match`. The match may end before
    /// the path does.
    pub fn is_match_at_start(&self, path: &[u8]) -> Result<bool, PatternFault> {
        let text = path::text(path);
        let start = &self.program(&text).start;
        start.is_match(&text).map_err(|GaveUp| self.fault())
    }

    /// Whether it matches anywhere, like Python's `re.search`.
    pub fn is_match(&self, path: &[u8]) -> Result<bool, PatternFault> {
        let text = path::text(path);
        let search = &self.program(&text).search;
        search.is_match(&text).map_err(|GaveUp| self.fault())
    }

    /// What `re.sub(pattern, substitution, path)` gives, if the pattern matches at the path's
    /// start: every match is replaced, and what lies between and behind them stays.
    pub fn substitute(
        &self,
        substitution: &Substitution,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, PatternFault> {
        let text = path::text(path);
        // A search may have to try every place where a match at the start tries one.
        if !self.program(&text).start.is_match(&text).map_err(|GaveUp| self.fault())? {
            return Ok(None);
        }
        self.replace_all(substitution, &text).map(Some).map_err(|GaveUp| self.fault())
    }

    /// Since Python 3.7: an empty match may touch the match before it, but two empty ones are
    /// never at the same place.
    fn replace_all(&self, substitution: &Substitution, text: &str) -> Result<Vec<u8>, GaveUp> {
        let search = &self.program(text).search;
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut groups = Groups::default();
        let mut copied = 0;
        let mut at = 0;
        let mut was_empty = false;
        loop {
            let engine = match (was_empty, &self.inner.advancing) {
                (true, _) if at == text.len() => break,
                (true, Some(advancing)) => advancing,
                (true, None) | (false, _) => search,
            };
            if !engine.captures(text, at, &mut groups)? {
                break;
            }
            let (start, end) = groups.0[0].expect("group 0 is the match");
            copy(&mut out, &text[copied..start]);
            substitution.expand(&mut out, |group| {
                groups.0.get(group).copied().flatten().map(|(start, end)| &text[start..end])
            });
            (copied, at, was_empty) = (end, end, start == end);
        }
        copy(&mut out, &text[copied..]);
        Ok(out)
    }

    fn program(&self, text: &str) -> &Program {
        match &self.inner.exact {
            Some(exact) if self.inner.special.covers(text) => exact,
            Some(_) | None => &self.inner.usual,
        }
    }

    fn fault(&self) -> PatternFault {
        PatternFault { pattern: Arc::clone(&self.inner.source) }
    }
}

/// The engine's limit was reached.
struct GaveUp;

/// Where each group of a match is, from group 0.
#[derive(Default)]
struct Groups(Vec<Option<(usize, usize)>>);

impl Engine {
    fn new(text: &str, backtracks: bool) -> Result<Self, PatternError> {
        let too_big = || PatternError { message: "the pattern is too big".to_owned(), at: None };
        let told = |error: &dyn fmt::Display| PatternError {
            message: one_line(&error.to_string()),
            at: None,
        };
        if backtracks {
            let built = fancy_regex::RegexBuilder::new(text)
                .backtrack_limit(BACKTRACK_LIMIT)
                .delegate_size_limit(SIZE_LIMIT)
                .delegate_dfa_size_limit(SIZE_LIMIT)
                .max_prog_size(MAX_INSTRUCTIONS)
                .build();
            return built.map(|regex| Self::Backtracking(Box::new(regex))).map_err(|error| {
                use fancy_regex::{CompileError, Error};

                let Error::CompileError(compiling) = &error else { return told(&error) };
                match &**compiling {
                    CompileError::PatternTooComplex => too_big(),
                    CompileError::InnerError(inner) if inner.size_limit().is_some() => too_big(),
                    CompileError::InnerError(inner) => {
                        inner.syntax_error().map_or_else(|| told(&error), |it| told(it))
                    }
                    _ => told(&error),
                }
            });
        }
        let built = regex::RegexBuilder::new(text).size_limit(SIZE_LIMIT).build();
        built.map(Self::Linear).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => too_big(),
            error => told(&error),
        })
    }

    fn is_match(&self, text: &str) -> Result<bool, GaveUp> {
        match self {
            Self::Linear(regex) => Ok(regex.is_match(text)),
            Self::Backtracking(regex) => regex.is_match(text).map_err(|_| GaveUp),
        }
    }

    /// The first match from `at` on; what lies before `at` is still seen by look-behind.
    fn captures(&self, text: &str, at: usize, groups: &mut Groups) -> Result<bool, GaveUp> {
        groups.0.clear();
        match self {
            Self::Linear(regex) => {
                let Some(found) = regex.captures_at(text, at) else { return Ok(false) };
                groups.0.extend(found.iter().map(|it| it.map(|it| (it.start(), it.end()))));
            }
            Self::Backtracking(regex) => {
                let found = regex.captures_from_pos(text, at).map_err(|_| GaveUp)?;
                let Some(found) = found else { return Ok(false) };
                groups.0.extend(found.iter().map(|it| it.map(|it| (it.start(), it.end()))));
            }
        }
        Ok(true)
    }
}

/// Appends a piece of a path's text as the bytes it stands for.
fn copy(out: &mut Vec<u8>, text: &str) {
    // Private characters are U+10FF00 and above: their first byte in UTF-8 is 0xf4.
    if text.as_bytes().contains(&0xf4) {
        out.extend_from_slice(&path::bytes(text));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The engines draw carets under the translated pattern, which the user did not write: only the
/// last line says what is wrong.
fn one_line(message: &str) -> String {
    let line = message.trim().lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests;
