//! What of a configuration only a start puts in force. All else takes effect on a reload.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use pyinotifyd_core::{
    path::{self, shown},
    plan::Plan,
};

use crate::{
    cli,
    config::{
        Loaded,
        keys::{SectionKeys, TopKey},
        settings::ControlSocket,
    },
    control::Places,
    errors::{Fatal, shown_path, words},
};

/// What only a start puts in force, as the command line and the configuration have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtStart {
    /// Where state is kept, if it is kept.
    pub(super) state_dir: Option<PathBuf>,
    /// Where the daemon can be asked.
    pub(super) control_socket: Option<PathBuf>,
}

impl AtStart {
    pub(super) fn new(options: &cli::Run, loaded: &Loaded) -> Result<Self, Fatal> {
        let state_dir = options.state_dir.as_ref().or(loaded.settings.state_dir.as_ref());
        let control_socket = match (&options.socket, &loaded.settings.control_socket) {
            (Some(socket), _) => Some(absolute(socket)?),
            // What is only tried must not be taken for the real one.
            (None, ControlSocket::Usual) if options.dry_run => None,
            (None, ControlSocket::Usual) => Places::new().of_daemon(),
            (None, ControlSocket::Off) => None,
            (None, ControlSocket::At(path)) => Some(path.clone()),
        };
        let new = Self { state_dir: state_dir.map(|it| absolute(it)).transpose()?, control_socket };
        new.fits(&loaded.plan)?;
        Ok(new)
    }

    /// Fails if a plan watches what is written to: that would make events of its own, without end.
    pub(super) fn fits(&self, plan: &Plan) -> Result<(), Fatal> {
        let Some(dir) = &self.state_dir else { return Ok(()) };
        let mut paths = plan.watches.iter().flat_map(|it| &it.paths);
        match paths.find(|it| path::below(dir.as_os_str().as_bytes(), &it.source).is_some()) {
            None => Ok(()),
            Some(it) => {
                let watched = shown(&it.source);
                let error = format!("the state directory is inside the watched {watched}");
                Err(Fatal::text(error).hint("keep it elsewhere, such as in /var/lib/pyinotifyd"))
            }
        }
    }

    /// The keys by which a configuration that is read later asks for something else.
    pub(super) fn changed(&self, later: &Self) -> Vec<&'static str> {
        // Each field: what is only kept from the start and not named here would be ignored silently.
        let Self { state_dir, control_socket } = self;
        let keys = [
            (TopKey::StateDir, *state_dir == later.state_dir),
            (TopKey::ControlSocket, *control_socket == later.control_socket),
        ];
        keys.into_iter().filter(|it| !it.1).map(|(key, _)| key.key().name).collect()
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Fatal> {
    std::path::absolute(path)
        .map_err(|error| Fatal::text(format!("cannot use {}: {}", shown_path(path), words(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_leaves_as_it_is_says_so_in_the_reference() {
        let at = |state_dir: &str, control_socket: &str| AtStart {
            state_dir: Some(state_dir.into()),
            control_socket: Some(control_socket.into()),
        };
        let changed = at("/a", "/b").changed(&at("/b", "/a"));
        let says = |it: &&TopKey| it.key().doc.ends_with(" A change of it needs a restart.");
        let keys: Vec<_> = TopKey::ALL.iter().filter(says).map(|it| it.key().name).collect();
        assert_eq!(changed, keys);
        assert_eq!(at("/a", "/b").changed(&at("/a", "/c")), ["control_socket"]);
        assert!(at("/a", "/b").changed(&at("/a", "/b")).is_empty());
    }
}
