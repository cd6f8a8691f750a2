//! The control socket: how people and programs ask the running daemon things.
//!
//! It is a Unix socket of a stream. A client sends requests and gets replies, each a JSON object on a
//! line of its own; a connection may ask many times, one request after the other. The types in
//! [`words`] are the protocol: what they say is what `docs/reference/control.md` shows.
//!
//! Who may connect: root, and the user that the daemon runs as. The socket's mode says so, and the
//! kernel's word on the peer (`SO_PEERCRED`) is asked as well, in case the mode was changed.
//!
//! The daemon never waits for a client. A connection is a task of its own beside the loop, which
//! answers between two turns; a stream whose reader is too slow is ended, and the reader told so.

pub(crate) mod client;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::path::{Path, PathBuf};

use crate::env;

/// The socket's name in a directory of the daemon's own.
const NAME: &str = "control.sock";

/// Where it is for the system's daemon.
const SYSTEM: &str = "/run/pyinotifyd";

/// The directory's name in a user's own `$XDG_RUNTIME_DIR`.
const USER: &str = "pyinotifyd";

/// The longest request, in bytes. Replies may be longer.
pub(crate) const LONGEST: usize = 64 * 1024;

/// What of the environment decides where the socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// `$RUNTIME_DIRECTORY`, of which systemd may name several.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub(crate) xdg_runtime_dir: Option<PathBuf>,
    /// Whether this is root.
    pub(crate) is_root: bool,
}

impl Places {
    /// The real ones.
    pub(crate) fn new() -> Self {
        let directory = |name: &str| {
            let value = std::env::var_os(name)?;
            let first = std::os::unix::ffi::OsStrExt::as_bytes(&*value)
                .split(|it| *it == b':')
                .next()
                .unwrap_or_default();
            let path =
                Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(first));
            path.is_absolute().then(|| path.to_owned())
        };
        Self {
            runtime_directory: directory(env::RUNTIME_DIRECTORY),
            xdg_runtime_dir: directory(env::XDG_RUNTIME_DIR),
            is_root: nix::unistd::geteuid().is_root(),
        }
    }

    /// Where a daemon makes its socket if nothing else was said; `None`: nowhere.
    pub(crate) fn of_daemon(&self) -> Option<PathBuf> {
        let dir = match (&self.runtime_directory, self.is_root, &self.xdg_runtime_dir) {
            (Some(dir), _, _) => dir.clone(),
            (None, true, _) => SYSTEM.into(),
            (None, false, Some(dir)) => dir.join(USER),
            (None, false, None) => return None,
        };
        Some(dir.join(NAME))
    }

    /// Where a client looks for it if nothing else was said: a user's own daemon comes first.
    pub(crate) fn of_client(&self, exists: impl Fn(&Path) -> bool) -> PathBuf {
        let system = Path::new(SYSTEM).join(NAME);
        let own = self.xdg_runtime_dir.as_ref().map(|it| it.join(USER).join(NAME));
        own.filter(|it| !self.is_root && exists(it)).unwrap_or(system)
    }
}
