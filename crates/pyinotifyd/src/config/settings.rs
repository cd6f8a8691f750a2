//! What a configuration says about the program itself.

use std::{net::SocketAddr, path::PathBuf};

use crate::log::LogSettings;

/// Where the daemon can be asked things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ControlSocket {
    /// Where such sockets are on this machine.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// Here.
    At(PathBuf),
}

/// What a configuration says about the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where pending tasks are kept over a restart; `None`: in memory.
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the daemon can be asked things.
    pub(crate) control_socket: ControlSocket,
    /// Where metrics are served over HTTP, on this machine; `None`: nowhere.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What is logged, and where to.
    pub(crate) log: LogSettings,
}
