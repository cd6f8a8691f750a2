//! Opening: the directory, its lock, the file, and what to do if that is no good store.

use std::{io, path::PathBuf};

use pyinotifyd_core::path::shown;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something about the directory or a file in it.
    #[error("cannot {what} {}: {source}", shown(path.as_os_str().as_encoded_bytes()))]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => None,
        }
    }
}
