//! The configuration: what a file says, checked, and what it means.
//!
//! ```text
//! config.toml → toml ───────────┐
//!                               ├→ Document → lower → Plan, Settings
//! config.py → its host → python ┘   ↘ Diagnostic ↙
//! ```
//!
//! The way back from a document to a config.toml is `convert`.
//!
//! A [`document::Document`] is what was written, every value with its place. `lower` makes of it
//! what it means ([`Plan`] for the core, [`Settings`] for the program), or says everything that is
//! wrong at once. The users, the files and the machine that a configuration speaks of are asked
//! through an [`Environment`]; nothing here looks at anything else but the files it is given.

pub(crate) mod convert;
pub(crate) mod diagnostic;
pub(crate) mod document;
pub(crate) mod environment;
pub(crate) mod keys;
mod lower;
mod parts;
pub(crate) mod permissions;
mod python;
pub(crate) mod schema;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod toml;
mod words;

use std::{path::Path, sync::Arc};

use pyinotifyd_core::{count::Count, plan::Plan};

use self::{
    convert::Converted,
    diagnostic::{Diagnostic, Severity},
    document::{At, Place, Source},
    environment::Environment,
    permissions::check_permissions,
    python::Described,
    settings::Settings,
};
use crate::{errors::shown_path, json::Value, log::Governed};

/// The most that is said about one file: nobody reads more, and each costs a walk through the file
/// when it is shown.
const MOST: usize = 200;

/// A configuration that can be used.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What to watch and what to do.
    pub(crate) plan: Plan,
    /// What concerns the program only.
    pub(crate) settings: Settings,
    /// What is probably not meant so.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Reads a config.toml. The file is opened once; its owner and mode are those of what was read.
///
/// On failure everything that is wrong, warnings too, sorted by place; at least one is an error.
pub(crate) fn load(path: &Path, environment: &Environment) -> Result<Loaded, Vec<Diagnostic>> {
    let name = shown_path(path).to_string();
    let (bytes, mut diagnostics) = match permissions::read_checked(path) {
        Ok((bytes, ownership)) => (bytes, check_permissions(&ownership, environment.uid)),
        Err(message) => {
            let source = Arc::new(Source { name, text: None });
            return Err(vec![Diagnostic::error(&Place::file(&source), message)]);
        }
    };
    match parse_bytes(&name, bytes, environment) {
        Ok(mut loaded) => {
            loaded.warnings.append(&mut diagnostics);
            diagnostic::sort(&mut loaded.warnings);
            Ok(loaded)
        }
        Err(mut mistakes) => {
            mistakes.append(&mut diagnostics);
            diagnostic::sort(&mut mistakes);
            Err(mistakes)
        }
    }
}

/// Reads a configuration from any bytes. `name` stands for the file in messages.
pub(crate) fn parse_bytes(
    name: &str,
    bytes: Vec<u8>,
    environment: &Environment,
) -> Result<Loaded, Vec<Diagnostic>> {
    match String::from_utf8(bytes) {
        Ok(text) => parse_str(name, &text, environment),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let byte = error.as_bytes()[at];
            // Up to the first bad byte this has the same offsets; that byte becomes one character.
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Arc::new(Source { name: name.to_owned(), text: Some(text) });
            let place = Place::span(&source, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            let message = "the file is not UTF-8";
            Err(vec![
                Diagnostic::error(&place, message)
                    .label(format!("the byte {byte:#04x} at offset {at}"))
                    .hint("save it as UTF-8"),
            ])
        }
    }
}

/// Reads a configuration from text. `name` stands for the file in messages.
pub(crate) fn parse_str(
    name: &str,
    text: &str,
    environment: &Environment,
) -> Result<Loaded, Vec<Diagnostic>> {
    let source = Arc::new(Source { name: name.to_owned(), text: Some(text.to_owned()) });
    let toml::Parsed { document, mut syntax, mut diagnostics, broken } = toml::parse(&source);
    let lowered = lower::lower(&document, environment, &mut diagnostics);
    // What was recovered from broken syntax is a guess. Nobody is told off for it.
    diagnostics.retain(|it| !overlaps(it, &broken));
    diagnostics.append(&mut syntax);
    finish(&source, lowered, diagnostics)
}

/// A config.py: its name and text are known here, what it means its host tells.
#[derive(Debug)]
pub(crate) struct PythonFile {
    source: Arc<Source>,
    /// What is said about its owner and mode.
    ownership: Vec<Diagnostic>,
}

impl PythonFile {
    /// Looks at a config.py, without running it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) fn open(path: &Path, environment: &Environment) -> Result<Self, Vec<Diagnostic>> {
        let name = shown_path(path).to_string();
        match permissions::read_checked(path) {
            Ok((bytes, ownership)) => {
                let source = Arc::new(Source { name, text: String::from_utf8(bytes).ok() });
                Ok(Self { source, ownership: check_permissions(&ownership, environment.uid) })
            }
            Err(message) => {
                let source = Arc::new(Source { name, text: None });
                Err(vec![Diagnostic::error(&Place::file(&source), message)])
            }
        }
    }

    /// With this text, wherever it is.
    pub(crate) fn of(name: &str, text: &str) -> Self {
        let source = Arc::new(Source { name: name.to_owned(), text: Some(text.to_owned()) });
        Self { source, ownership: Vec::new() }
    }

    /// Something that is wrong with it as a whole.
    pub(crate) fn mistake(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&Place::file(&self.source), message)
    }

    /// What its host found wrong.
    pub(crate) fn refused(&self, said: &[Value], environment: &Environment) -> Vec<Diagnostic> {
        let mut mistakes = python::refusal(said, &self.source, environment);
        mistakes.extend(self.ownership.iter().cloned());
        diagnostic::sort(&mut mistakes);
        mistakes
    }

    /// What it is as a config.toml.
    pub(crate) fn converted(
        &self,
        description: &Value,
        cwd: &Path,
        logging: &Governed,
        environment: &Environment,
    ) -> Converted {
        let Described { document, .. } =
            python::document(description, &self.source, cwd, environment);
        convert::convert(&document, logging)
    }

    /// What it means, as its host describes it. Relative paths in it are below `cwd`.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub(crate) fn described(
        &self,
        description: &Value,
        cwd: &Path,
        environment: &Environment,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let Described { document, mut diagnostics } =
            python::document(description, &self.source, cwd, environment);
        let lowered = lower::lower(&document, environment, &mut diagnostics);
        diagnostics.extend(self.ownership.iter().cloned());
        finish(&self.source, lowered, diagnostics)
    }
}

/// What was lowered, if nothing is wrong.
fn finish(
    source: &Arc<Source>,
    lowered: Option<(Plan, Settings)>,
    mut diagnostics: Vec<Diagnostic>,
) -> Result<Loaded, Vec<Diagnostic>> {
    diagnostic::sort(&mut diagnostics);
    diagnostics.dedup();
    let good = diagnostics.iter().all(|it| it.severity != Severity::Error);
    let hidden = diagnostics.len().saturating_sub(MOST);
    if hidden > 0 {
        diagnostics.truncate(MOST);
        let is = Count(hidden, "more is", "more are");
        let message = format!("{is} not shown");
        let mut rest = Diagnostic::warning(&Place::file(source), message);
        if !good {
            rest.severity = Severity::Error;
        }
        diagnostics.push(rest);
    }
    match lowered {
        Some((plan, settings)) if good => Ok(Loaded { plan, settings, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}

/// Whether it begins where the syntax is broken.
fn overlaps(diagnostic: &Diagnostic, broken: &[std::ops::Range<usize>]) -> bool {
    match &diagnostic.place.at {
        At::Span(span) => broken.iter().any(|it| it.start <= span.start && span.start <= it.end),
        At::Line(_) | At::File => false,
    }
}
