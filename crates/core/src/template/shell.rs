//! Command lines for `/bin/sh` in which values are never text.
//!
//! Each placeholder becomes a reference to an environment variable, written as the quoting asks
//! for in which it stands: `"${PYINOTIFYD_PATHNAME}"` where nothing is quoted. A shell never reads
//! the result of such an expansion as commands, so no value can inject one, wherever it ends up.
//! What is left to decide is that it arrives byte for byte, as one piece, and that nothing further
//! along reads it as text after all: what cannot promise that is refused, with what to write
//! instead.
//!
//! Why the environment, and not `$1`: positional parameters are taken away by `set --`, by
//! `shift`, by every function and by `sh -c` inside; a variable with a prefix of our own is there
//! in all of them, in subshells, in here-documents and in the scripts that the command calls.
//! `env -i cmd {pathname}` and `V= cmd {pathname}` are right, too: the shell expands the words
//! before `env` or the assignment takes effect. A text that assigns `PYINOTIFYD_…` itself gets
//! what it asked for.

mod direct;
mod reread;
mod scan;

use std::collections::BTreeSet;

use super::{Placeholder, Template, Values};

/// The kernel's limit on one argument (`MAX_ARG_STRLEN`), with its NUL.
const MAX_LEN: usize = 128 * 1024 - 1;

/// A command line for `/bin/sh`, in which values are never text that is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellTemplate {
    source: Box<str>,
    script: Box<str>,
    placeholders: BTreeSet<Placeholder>,
    reread: Option<ShellTemplateError>,
    direct: Option<Vec<Template>>,
}

/// Why a placeholder cannot stand where it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShellTemplateError {
    /// What is wrong.
    pub message: String,
    /// Where in the source, in bytes.
    pub at: usize,
    /// What to write instead; empty if there is nothing to say.
    pub hint: String,
}

impl ShellTemplate {
    /// Reads a command line. Without placeholders it is the shell's own business, whatever it
    /// says; with placeholders its quoting has to be understood, so quotes, brackets and
    /// here-documents have to be complete.
    pub fn parse(source: &str) -> Result<Self, ShellTemplateError> {
        let template = Self::parse_with_reread(source)?;
        match template.reread {
            Some(error) => Err(error),
            None => Ok(template),
        }
    }

    /// As [`parse`](Self::parse), but takes a command in which a shell further along reads a value
    /// as text, `bash -c "x {pathname}"`. Its values have to pass [`check`](Self::check).
    pub fn parse_with_reread(source: &str) -> Result<Self, ShellTemplateError> {
        if let Some(at) = source.find('\0') {
            let message = "a command cannot contain NUL".to_owned();
            return Err(ShellTemplateError { message, at, hint: String::new() });
        }
        let (script, placeholders, reread) = match Template::parse(source).placeholders().next() {
            None => (source.to_owned(), BTreeSet::new(), None),
            Some(_) => scan::scan(source)?,
        };
        if script.len() > MAX_LEN {
            return Err(ShellTemplateError {
                message: format!("the command is longer than {MAX_LEN} bytes"),
                at: MAX_LEN.min(source.len()),
                hint: "put it into a script and run that".to_owned(),
            });
        }
        Ok(Self {
            source: source.into(),
            script: script.into(),
            placeholders,
            reread,
            direct: direct::argv(source),
        })
    }

    /// What reads a value as text, if anything does.
    pub fn reread(&self) -> Option<&ShellTemplateError> {
        self.reread.as_ref()
    }

    /// Fails with a placeholder whose value would be more than text to what reads it. Those of which
    /// there is nothing in the command count, too: a text that calculates with one reads the
    /// variables that it names.
    pub fn check(&self, values: &Values<'_>) -> Result<(), Placeholder> {
        if self.reread.is_none() {
            return Ok(());
        }
        let bad = |it: &Placeholder| !is_plain(&it.value(values));
        let always = [Placeholder::Pathname, Placeholder::SrcPathname];
        always.into_iter().chain(self.placeholders.iter().copied()).find(bad).map_or(Ok(()), Err)
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What goes to `/bin/sh -c`.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The placeholders in use, each once, with the environment variables that have to hold their
    /// values. They have to be set after the user's own `env`.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, Placeholder)> {
        self.placeholders.iter().map(|it| (it.variable(), *it))
    }

    /// What the shell would run, if it has nothing to do but to split words: then it can be left
    /// out.
    pub fn direct_argv(&self) -> Option<&[Template]> {
        self.direct.as_deref()
    }
}

/// Whether a value is nothing but itself in every language that a command may be written in:
/// letters, digits, and what has a meaning in none of them. No option begins like it.
fn is_plain(value: &[u8]) -> bool {
    let is_plain = |char: char| char.is_alphanumeric() || "_./+:@-".contains(char);
    value.first() != Some(&b'-') && str::from_utf8(value).is_ok_and(|it| it.chars().all(is_plain))
}
