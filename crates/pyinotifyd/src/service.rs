//! What the service manager is told: that the daemon is ready, reloads, stops, and how it is.
//!
//! This is the protocol of `sd_notify(3)`, which systemd speaks, and others after it. What is said
//! follows from the [`Say`]s of the engine alone, and from the two ends of a reload that it does
//! not see. Nothing here waits: a manager that does not read misses what is said, and the log says
//! so.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use pyinotifyd_core::{path::shown, report::Say};

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Service {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// Whether it was told that the daemon is ready: before that, there is no reload to tell of.
    ready: bool,
}

impl Service {
    /// The manager that `$NOTIFY_SOCKET` names; `None`: there is none.
    pub(crate) fn new(notify_socket: Option<OsString>) -> Self {
        let way = notify_socket.filter(|it| !it.is_empty()).and_then(|it| {
            way(&it)
                .inspect_err(|error| {
                    let name = shown(it.as_bytes());
                    ::log::warn!("cannot tell the service manager at {name}: {error}");
                })
                .ok()
        });
        Self { way, ready: false }
    }

    /// Tells what the engine said, if that is of interest.
    pub(crate) fn handle_say(&mut self, say: &Say) {
        match say {
            Say::Ready { .. } => {
                self.ready = true;
                self.tell(&format!("READY=1\nSTATUS={say}"));
            }
            Say::Reloaded { .. } if self.ready => self.tell(&format!("READY=1\nSTATUS={say}")),
            Say::Stopping { .. } | Say::Stopped => self.tell(&format!("STOPPING=1\nSTATUS={say}")),
            Say::Reloaded { .. }
            | Say::Overflow
            | Say::Resynced { .. }
            | Say::CaughtUp { .. }
            | Say::StoreFull { .. }
            | Say::StoreWorks
            | Say::StoreFailed { .. }
            | Say::ShutdownTimeout { .. } => self.tell(&format!("STATUS={say}")),
            Say::Scheduled { .. }
            | Say::Rescheduled { .. }
            | Say::Cancelled { .. }
            | Say::CancelTooLate { .. }
            | Say::SkippedBusy { .. }
            | Say::RunsAgain { .. }
            | Say::Started { .. }
            | Say::Ended { .. }
            | Say::Retries { .. }
            | Say::TimedOut { .. }
            | Say::Kills { .. }
            | Say::BreakerTripped { .. }
            | Say::NotReady { .. }
            | Say::Followed { .. }
            | Say::Waits { .. }
            | Say::Watches { .. }
            | Say::Vanished { .. }
            | Say::Unwatched { .. }
            | Say::WatchLimit { .. }
            | Say::StartsOver { .. }
            | Say::Unprobed { .. }
            | Say::PatternFault { .. }
            | Say::Restored { .. }
            | Say::Interrupted { .. }
            | Say::Kept { .. }
            | Say::StrayEnded { .. }
            | Say::WatchesLeft { .. }
            | Say::StrayStays { .. }
            | Say::StoreSetAside { .. } => (),
        }
    }

    /// Tells that the configuration is about to be read anew. `now` is `CLOCK_MONOTONIC`, by which
    /// systemd tells the answer to its reload from that to the one before (`Type=notify-reload`).
    /// [`Say::Reloaded`] or [`Self::handle_refused`] has to follow.
    pub(crate) fn handle_reload(&mut self, now: Duration) {
        if self.ready {
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        }
    }

    /// Tells that the configuration that was read has mistakes.
    pub(crate) fn handle_refused(&mut self) {
        if self.ready {
            self.tell("READY=1\nSTATUS=not reloaded: the configuration has mistakes, see the log");
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.way else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            ::log::warn!(
                "cannot tell the service manager {}: sendto: {error}",
                shown(state.as_bytes())
            );
        }
    }
}

/// A socket that never waits, and the address: a path, or `@` and an abstract name (`sd_notify(3)`).
fn way(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("this is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager, and what it was told.
    struct World {
        socket: UnixDatagram,
        service: Service,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { socket, service: Service::new(Some(path.into())), _dir: dir }
        }

        fn told(&self) -> Vec<String> {
            let mut buf = [0; 4096];
            let next = || self.socket.recv(&mut buf).ok().map(|len| buf[..len].to_vec());
            std::iter::from_fn(next).map(|it| String::from_utf8(it).unwrap()).collect()
        }
    }

    const READY: Say = Say::Ready { directories: 1204, watches: 3 };
    const RELOADED: Say = Say::Reloaded { watches: 1, schedulers: 2 };

    #[test]
    fn a_life_is_told_in_order() {
        let mut world = World::new();
        let service = &mut world.service;
        service.handle_say(&READY);
        service.handle_reload(Duration::from_micros(123_456_789));
        service.handle_say(&RELOADED);
        service.handle_reload(Duration::from_micros(123_456_790));
        service.handle_refused();
        service.handle_say(&Say::Resynced { recovered: 0, directories: 1 });
        let timeout = Duration::from_secs(30);
        service.handle_say(&Say::Stopping { running: 1, waiting: 2, timeout });
        service.handle_say(&Say::Stopped);
        assert_eq!(
            world.told(),
            [
                "READY=1\nSTATUS=ready, 3 Watches, 1204 directories",
                "RELOADING=1\nMONOTONIC_USEC=123456789",
                "READY=1\nSTATUS=reloaded, 1 Watch, 2 schedulers",
                "RELOADING=1\nMONOTONIC_USEC=123456790",
                "READY=1\nSTATUS=not reloaded: the configuration has mistakes, see the log",
                "STATUS=in step again, 1 directory watched; 0 changes were found; what was only opened, read or written to in between is not known",
                "STOPPING=1\nSTATUS=stopping, 1 running and 2 waiting tasks have up to 30s",
                "STOPPING=1\nSTATUS=stopped",
            ]
        );
    }

    #[test]
    fn a_reload_before_the_start_is_over_does_not_end_it() {
        let mut world = World::new();
        world.service.handle_reload(Duration::ZERO);
        world.service.handle_say(&RELOADED);
        world.service.handle_reload(Duration::ZERO);
        world.service.handle_refused();
        assert_eq!(world.told(), ["STATUS=reloaded, 1 Watch, 2 schedulers"]);
    }

    #[test]
    fn tasks_are_not_told_of() {
        let mut world = World::new();
        world.service.handle_say(&Say::Vanished { path: b"/in".as_slice().into() });
        assert_eq!(world.told(), [""; 0]);
    }

    #[test]
    fn a_manager_that_does_not_read_holds_up_nobody() {
        let mut world = World::new();
        for _ in 0..100_000 {
            world.service.handle_say(&READY);
        }
        assert!(!world.told().is_empty());
    }

    #[test]
    fn a_manager_in_the_abstract_is_told_too() {
        let name = format!("pyinotifyd-test-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Service::new(Some(format!("@{name}").into())).handle_say(&Say::Stopped);
        let mut buf = [0; 64];
        let len = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], b"STOPPING=1\nSTATUS=stopped");
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        for name in [None, Some(""), Some("vsock:2:1234"), Some("relative"), Some("/nowhere/x")] {
            Service::new(name.map(OsString::from)).handle_say(&READY);
        }
    }
}
