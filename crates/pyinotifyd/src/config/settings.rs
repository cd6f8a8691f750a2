//! What a configuration says about the program itself.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

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

/// An address and a port that nobody but this machine can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loopback(SocketAddr);

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLoopback {
    /// It is another address.
    #[error("can be reached from other machines")]
    Reachable,
    /// It is no address, or has no port.
    #[error("is no address and port")]
    Other,
}

impl Loopback {
    /// The address.
    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Loopback {
    type Err = NoLoopback;

    fn from_str(text: &str) -> Result<Self, NoLoopback> {
        let address: SocketAddr = text.parse().map_err(|_| NoLoopback::Other)?;
        if address.ip().is_loopback() { Ok(Self(address)) } else { Err(NoLoopback::Reachable) }
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a configuration says about the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where pending tasks are kept over a restart; `None`: in memory.
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the daemon can be asked things.
    pub(crate) control_socket: ControlSocket,
    /// Where metrics are served over HTTP; `None`: nowhere.
    pub(crate) metrics_listen: Option<Loopback>,
    /// What is logged, and where to.
    pub(crate) log: LogSettings,
}
