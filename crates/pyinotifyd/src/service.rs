//! What the service manager is told: that the daemon is ready, reloads, stops, and how it is.
//!
//! This is the protocol of `sd_notify(3)`, which systemd speaks, and others after it. What is said
//! follows from the [`Say`]s of the engine alone, and from the two ends of a reload that it does
//! not see. Nothing here waits: a manager that does not read misses what is said, and the log says
//! so.
//!
//! That the daemon is alive is said by the loop, each time that it comes round and half of what the
//! manager waits has gone by. No thread does it in its place: a loop that hangs falls silent, and
//! the manager ends it.

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
    time::{Duration, Instant},
};

use pyinotifyd_core::{path::shown, report::Say};

use crate::errors::words;

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Service {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// Whether it was told that the daemon is ready: before that, there is no reload to tell of.
    ready: bool,
    watchdog: Option<Watchdog>,
}

/// How often the manager wants to hear that the daemon is alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watchdog {
    /// Half of what it waits.
    every: Duration,
    /// When it is told again; `None`: it was not told yet.
    due: Option<Instant>,
}

impl Watchdog {
    /// What `$WATCHDOG_USEC` asks for, if `$WATCHDOG_PID` does not name another than `pid`, such
    /// as the one that has started us (`sd_watchdog_enabled(3)`).
    pub(crate) fn new(usec: Option<&OsStr>, pid: Option<&OsStr>, own_pid: u32) -> Option<Self> {
        let number = |it: &OsStr| it.to_str().and_then(|it| it.parse::<u64>().ok());
        if pid.is_some_and(|it| number(it) != Some(own_pid.into())) {
            return None;
        }
        let usec = usec?;
        match number(usec) {
            Some(usec) if usec > 1 => {
                Some(Self { every: Duration::from_micros(usec / 2), due: None })
            }
            Some(_) | None => {
                let usec = shown(usec.as_bytes());
                ::log::warn!("the watchdog is not told that the daemon is alive every {usec} µs");
                None
            }
        }
    }
}

impl Service {
    /// The manager that `$NOTIFY_SOCKET` names; `None`: there is none.
    pub(crate) fn new(notify_socket: Option<OsString>, watchdog: Option<Watchdog>) -> Self {
        let way = notify_socket.filter(|it| !it.is_empty()).and_then(|it| {
            way(&it)
                .inspect_err(|error| {
                    let name = shown(it.as_bytes());
                    ::log::warn!("cannot tell the service manager at {name}: {}", words(error));
                })
                .ok()
        });
        // Nobody to tell, nothing to wake up for.
        let watchdog = watchdog.filter(|_| way.is_some());
        Self { way, ready: false, watchdog }
    }

    /// Takes in that the loop has come round: everything that it took up is done. To be called by
    /// nobody else.
    pub(crate) fn handle_round(&mut self) {
        if self.watchdog.is_some() {
            self.round(Instant::now());
        }
    }

    /// When the loop has to come round again, whatever happens; `None`: it need not.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.watchdog?.due
    }

    fn round(&mut self, now: Instant) {
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.due.is_none_or(|it| it <= now)
        {
            watchdog.due = Some(now + watchdog.every);
            self.tell("WATCHDOG=1");
        }
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
            | Say::Reading { .. }
            | Say::Resynced { .. }
            | Say::CaughtUp { .. }
            | Say::StoreTight { .. }
            | Say::StoreFull { .. }
            | Say::StoreSilent { .. }
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
            | Say::Paused
            | Say::Resumed
            | Say::Copying { .. }
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
                "cannot tell the service manager {}: sendto: {}",
                shown(state.as_bytes()),
                words(&error)
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
    use crate::log::heard;

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
            Self { socket, service: Service::new(Some(path.into()), None), _dir: dir }
        }

        fn watched(usec: &str) -> Self {
            let mut world = Self::new();
            world.service.watchdog = watchdog(Some(usec), None);
            world
        }

        fn told(&self) -> Vec<String> {
            let mut buf = [0; 4096];
            let next = || self.socket.recv(&mut buf).ok().map(|len| buf[..len].to_vec());
            std::iter::from_fn(next).map(|it| String::from_utf8(it).unwrap()).collect()
        }
    }

    fn watchdog(usec: Option<&str>, pid: Option<&str>) -> Option<Watchdog> {
        Watchdog::new(usec.map(OsStr::new), pid.map(OsStr::new), 42)
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
    fn what_cannot_be_told_is_told_in_the_log() {
        let mut world = World::new();
        drop(world.socket);
        let mut said = heard(|| world.service.handle_say(&READY));
        said.extend(heard(|| assert!(watchdog(Some("soon\n"), None).is_none())));
        insta::assert_snapshot!("told", said.join("\n"));
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
        Service::new(Some(format!("@{name}").into()), None).handle_say(&Say::Stopped);
        let mut buf = [0; 64];
        let len = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], b"STOPPING=1\nSTATUS=stopped");
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        for name in [None, Some(""), Some("vsock:2:1234"), Some("relative"), Some("/nowhere/x")] {
            Service::new(name.map(OsString::from), None).handle_say(&READY);
        }
    }

    #[test]
    fn a_loop_that_goes_round_is_told_of_at_half_the_time() {
        let mut world = World::watched("10000000");
        let start = Instant::now();
        let second = |it: u64| start + Duration::from_secs(it);
        // The first round is told at once, and the others only when it is time.
        for at in [0, 1, 2, 4, 5, 5, 9, 12] {
            world.service.round(second(at));
        }
        assert_eq!(world.told(), ["WATCHDOG=1"; 3]);
        assert_eq!(world.service.poll_timeout(), Some(second(17)));
    }

    #[test]
    fn a_loop_that_hangs_is_not_told_of() {
        let mut world = World::watched("10000000");
        let start = Instant::now();
        world.service.round(start);
        // It does other things for the manager, but does not come round.
        world.service.handle_say(&Say::Resynced { recovered: 0, directories: 1 });
        world.service.handle_reload(Duration::ZERO);
        assert_eq!(world.told().iter().filter(|it| it.contains("WATCHDOG")).count(), 1);
        assert_eq!(world.service.poll_timeout(), Some(start + Duration::from_secs(5)));
    }

    #[test]
    fn without_a_watchdog_nobody_wakes_up() {
        let mut world = World::new();
        world.service.handle_round();
        assert_eq!(world.service.poll_timeout(), None);
        assert_eq!(world.told(), [""; 0]);
        // Nor without somebody to tell.
        let mut service = Service::new(None, watchdog(Some("10000000"), None));
        service.handle_round();
        assert_eq!(service.poll_timeout(), None);
    }

    #[test]
    fn a_watchdog_is_that_of_the_process_it_names() {
        let every = |usec, pid| watchdog(usec, pid).map(|it| it.every);
        let half = Some(Duration::from_secs(90));
        assert_eq!(every(Some("180000000"), None), half);
        assert_eq!(every(Some("180000000"), Some("42")), half);
        assert_eq!(every(Some("180000000"), Some("41")), None);
        assert_eq!(every(Some("180000000"), Some("")), None);
        assert_eq!(every(None, Some("42")), None);
        for usec in ["", "0", "1", "-5", "soon", "99999999999999999999"] {
            assert_eq!(every(Some(usec), None), None, "{usec}");
        }
        // The longest that there is does not overflow.
        let mut world = World::watched(&u64::MAX.to_string());
        world.service.handle_round();
        assert_eq!(world.told(), ["WATCHDOG=1"]);
    }
}
