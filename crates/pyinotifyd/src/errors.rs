//! What ends the program: the exit statuses, and how the last error is shown.

use std::{fmt, os::unix::ffi::OsStrExt, path::Path};

use pyinotifyd_core::path::{OneLine, Shown, shown};
pub(crate) use pyinotifyd_sys::errno::words;

/// The exit statuses. All of them are promises to scripts and units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked; also after `SIGTERM` and `SIGINT`.
    Success = 0,
    /// It failed, and for the daemon and `-t` also: the configuration has mistakes.
    Failure = 1,
    /// The command line cannot be understood, or asks for more rights than there are.
    Usage = 2,
    /// No daemon is there that could be asked (`EX_UNAVAILABLE` of sysexits(3)).
    Unavailable = 69,
    /// `check`: the configuration has mistakes (`EX_CONFIG` of sysexits(3)).
    Config = 78,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A path as part of a sentence.
pub(crate) fn shown_path(path: &Path) -> Shown<'_> {
    shown(path.as_os_str().as_bytes())
}

/// An error that ends the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fatal {
    /// What was tried, on what, and why it failed.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub exit: Exit,
}

impl Fatal {
    /// An error with its whole chain of causes, exit status 1.
    pub(crate) fn new(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.downcast_ref().map_or_else(|| error.to_string(), words);
            // Some errors show their cause themselves.
            if !message.ends_with(&cause) {
                message.push_str(": ");
                message.push_str(&cause);
            }
            source = error.source();
        }
        Self::text(message)
    }

    /// An error by its words, exit status 1.
    pub(crate) fn text(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failure }
    }

    /// With a hint.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// With another exit status.
    #[must_use]
    pub(crate) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

impl std::error::Error for Fatal {}

/// `error: …`, and on a line of its own `hint: …`.
impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", OneLine(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {}", OneLine(hint)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /etc/x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_path_cannot_do_anything_to_a_terminal() {
        assert_eq!(shown_path(Path::new("/a\u{1b}[2J\u{9b}\n")).to_string(), r"/a\x1b[2J\u{9b}\n");
    }

    #[test]
    fn causes_are_shown_behind_and_hints_below() {
        let error = Fatal::new(&Outer(io::Error::other("permission\ndenied")));
        assert_eq!(error.exit, Exit::Failure);
        assert_eq!(
            error.hint("run it as root").to_string(),
            "error: cannot read /etc/x: permission\\ndenied\nhint: run it as root"
        );
    }

    /// When the program ends so.
    fn when(exit: Exit) -> &'static str {
        match exit {
            Exit::Success => {
                "it did what was asked; for the daemon also: SIGTERM or SIGINT ended it, and for \
                 `events`: its reader has gone"
            }
            Exit::Failure => {
                "it failed, and says why on standard error; for the daemon, `-t`, `explain` and \
                 `convert` also: the configuration has mistakes"
            }
            Exit::Usage => {
                "the command line cannot be understood, or asks for what only root can do; \
                 nothing was done"
            }
            Exit::Unavailable => {
                "no daemon answers on the control socket; the name is `EX_UNAVAILABLE` in \
                 `sysexits(3)`"
            }
            Exit::Config => {
                "`check`: the configuration has mistakes, or, with `--strict`, warnings; the name \
                 is `EX_CONFIG` in `sysexits(3)`"
            }
        }
    }

    #[test]
    fn the_statuses_are_what_the_reference_shows() {
        let statuses = [Exit::Success, Exit::Failure, Exit::Usage, Exit::Unavailable, Exit::Config];
        let line = |exit: Exit| format!("{} | {}", exit as u8, when(exit));
        insta::assert_snapshot!("statuses", statuses.map(line).join("\n"));
    }
}
