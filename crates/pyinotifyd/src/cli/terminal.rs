//! Writing to standard output, for commands whose output is what they are for.

use std::{
    ffi::OsStr,
    io::{self, Write},
};

use crate::errors::{Exit, Fatal, words};

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

/// Whether to use colours: on a terminal, unless `$NO_COLOR` is there and not empty.
pub(super) fn colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_of_those_who_want_them() {
        assert!(colours(true, None));
        assert!(colours(true, Some(OsStr::new(""))));
        assert!(!colours(true, Some(OsStr::new("1"))));
        assert!(!colours(false, None));
    }
}
