//! Writing to standard output, for commands whose output is what they are for, and what a terminal
//! is given.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
};

use crate::{
    env,
    errors::{Exit, Fatal, words},
    log,
};

/// Writes to standard output. Who closes it early, as `head` does, has what he wants.
pub(crate) fn print(text: &str) -> Result<Exit, Fatal> {
    is_read(text).map(|_| Exit::Success)
}

/// The same; gives back whether there is somebody to write more to.
pub(super) fn is_read(text: &str) -> Result<bool, Fatal> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(unwritable(&error)),
    }
}

/// What is said when standard output takes nothing.
pub(super) fn unwritable(error: &io::Error) -> Fatal {
    Fatal::text(format!("cannot write to standard output: {}", words(error)))
}

/// What the environment says of the terminal, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// `$TERM`.
    term: Option<OsString>,
    /// `$NO_COLOR`.
    no_color: Option<OsString>,
}

impl Look {
    /// The real one.
    pub(crate) fn new() -> Self {
        Self { term: std::env::var_os(env::TERM), no_color: std::env::var_os(env::NO_COLOR) }
    }

    /// Whether it can be drawn on.
    pub(super) fn can_draw(&self) -> bool {
        log::can_draw(self.term.as_deref())
    }

    /// Whether to use colours: on a terminal that knows them, unless `$NO_COLOR` is there and not
    /// empty.
    pub(super) fn has_colours(&self, is_terminal: bool) -> bool {
        is_terminal && self.can_draw() && self.no_color.as_deref().is_none_or(OsStr::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Look {
        /// That of a terminal of this kind, with colours or not.
        pub(in crate::cli) fn of(term: &str, no_color: Option<&str>) -> Self {
            Self { term: Some(term.into()), no_color: no_color.map(Into::into) }
        }
    }

    #[test]
    fn colours_are_for_terminals_of_those_who_want_them() {
        assert!(Look::of("xterm", None).has_colours(true));
        assert!(Look::of("xterm", Some("")).has_colours(true));
        assert!(!Look::of("xterm", Some("1")).has_colours(true));
        assert!(!Look::of("xterm", None).has_colours(false));
        assert!(!Look::of("dumb", None).has_colours(true));
        assert!(!Look { term: None, no_color: None }.has_colours(true));
    }
}
