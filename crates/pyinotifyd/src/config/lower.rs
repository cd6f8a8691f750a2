//! [`Document`] → what it means, or everything that is wrong with it.
//!
//! Decides defaults (of the table in `keys`) and whether values make sense, alone and together.
//! It goes on after each mistake with a value that fits, so that all are found at once; what comes
//! out is only used when there was none.

mod rule;
mod scheduler;
mod values;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
};

use pyinotifyd_core::{
    path,
    plan::{Level, Plan, SchedulerId},
};

use super::{
    diagnostic::Diagnostic,
    document::{DocSyslog, Document, Place, Spot},
    environment::Environment,
    keys::{FACILITIES, FORMATS, LogKey, SectionKeys, SyslogKey, TopKey},
    settings::{ControlSocket, Loopback, NoLoopback, Settings},
    words::did_you_mean,
};
use crate::log::{Facility, Format, LogSettings, Syslog, SyslogAddress};

/// What the document means. `None` only with at least one error among `out`; the other way round,
/// what comes with errors is not to be used.
pub(crate) fn lower(
    document: &Document,
    environment: &Environment,
    out: &mut Vec<Diagnostic>,
) -> Option<(Plan, Settings)> {
    let mut lower = Lower {
        environment,
        out,
        has_python: document.has_python,
        broken: document.broken,
        lost: &document.lost,
        names: BTreeMap::new(),
        scheduled: BTreeSet::new(),
        cancelled: BTreeSet::new(),
    };
    lower.document(document)
}

struct Lower<'a> {
    environment: &'a Environment,
    out: &'a mut Vec<Diagnostic>,
    /// See [`Document`].
    has_python: bool,
    /// See [`Document`].
    broken: bool,
    /// See [`Document`].
    lost: &'a [&'static str],
    names: BTreeMap<&'a str, SchedulerId>,
    /// The schedulers that an event map schedules.
    scheduled: BTreeSet<SchedulerId>,
    /// The schedulers that an event map cancels.
    cancelled: BTreeSet<SchedulerId>,
}

impl<'a> Lower<'a> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }

    /// Reports that something is not there, unless it was lost.
    fn report_missing(&mut self, lost: bool, diagnostic: Diagnostic) {
        if !(lost || self.broken) {
            self.report(diagnostic);
        }
    }

    fn document(&mut self, doc: &'a Document) -> Option<(Plan, Settings)> {
        let shutdown_timeout = self.duration_or(&doc.shutdown_timeout, TopKey::ShutdownTimeout);
        let slots =
            self.count(&doc.slots, TopKey::Slots).map_or(self.cpus(64), values::at_least_one);
        let logname = self.logname(doc.logname.as_ref(), TopKey::Logname.key().default);

        for (id, scheduler) in (0..=u16::MAX).map(SchedulerId).zip(&doc.schedulers) {
            self.scheduler_name(&scheduler.name);
            self.names.insert(&scheduler.name.value, id);
        }
        if doc.schedulers.len() > usize::from(u16::MAX) || doc.watches.len() > usize::from(u16::MAX)
        {
            let place = Place::file(&doc.source);
            self.report(Diagnostic::error(&place, "more than 65535 schedulers or Watches"));
            return None;
        }
        let schedulers: Vec<_> =
            doc.schedulers.iter().map(|it| self.scheduler(it, slots)).collect();
        let watches: Vec<_> = doc.watches.iter().map(|it| self.watch(it)).collect();
        self.unused(doc);
        if doc.watches.is_empty() {
            let place = Place::file(&doc.source);
            self.report_missing(
                self.lost.contains(&"watch"),
                Diagnostic::warning(&place, "nothing is watched").hint("add a [[watch]]"),
            );
        }
        let settings = self.settings(doc, &logname, &schedulers);
        self.state_dir_apart(doc, &settings);
        // With one left out, the ids of those behind it mean others.
        let schedulers = schedulers.into_iter().collect::<Option<Vec<_>>>()?;
        let watches = watches.into_iter().collect::<Option<Vec<_>>>()?;
        Some((Plan { watches, schedulers, shutdown_timeout, slots, logname }, settings))
    }

    fn unused(&mut self, doc: &Document) {
        // A map that is not there was reported, unless it was lost: it would have named some.
        let lost = self.lost.contains(&"watch")
            || doc.watches.is_empty()
            || doc.watches.iter().any(|it| {
                it.lost.contains(&"event_map")
                    || it.event_map.as_ref().is_none_or(|map| map.value.is_empty())
            });
        for (id, scheduler) in (0..=u16::MAX).map(SchedulerId).zip(&doc.schedulers) {
            if self.scheduled.contains(&id) {
                continue;
            }
            let name = path::shown(scheduler.name.value.as_bytes());
            let message = if self.cancelled.contains(&id) {
                format!("scheduler `{name}` is only ever cancelled")
            } else {
                format!("no Watch uses scheduler `{name}`")
            };
            let hint = format!("name it in the event_map of a Watch: IN_CLOSE_WRITE = \"{name}\"");
            let warning = Diagnostic::warning(&scheduler.name.place, message).hint(hint);
            self.report_missing(lost, warning);
        }
    }

    fn settings(
        &mut self,
        doc: &Document,
        logname: &str,
        schedulers: &[Option<pyinotifyd_core::plan::Scheduler>],
    ) -> Settings {
        let state_dir = match &doc.state_dir {
            None => self.environment.state_directory.clone(),
            Some(spot) if spot.value.is_empty() => None,
            Some(spot) => self
                .absolute(spot)
                .map(|it| PathBuf::from(std::ffi::OsStr::from_bytes(&it).to_owned())),
        };
        let control_socket = match &doc.control_socket {
            None => ControlSocket::Usual,
            Some(spot) if spot.value.is_empty() => ControlSocket::Off,
            Some(spot) => self.absolute(spot).map_or(ControlSocket::Off, |it| {
                ControlSocket::At(std::ffi::OsStr::from_bytes(&it).into())
            }),
        };
        let metrics_listen = doc.metrics_listen.as_ref().and_then(|it| self.loopback(it));
        let level = self.level_or(&doc.log.level, LogKey::Level);
        let mut levels = BTreeMap::new();
        for (name, value) in &doc.log.levels {
            if let Some(level) = self.level(value) {
                levels.insert(name.value.as_str().into(), level);
            }
            let known: BTreeSet<&str> =
                schedulers.iter().flatten().map(|it| &*it.logname).chain([logname]).collect();
            let missing = schedulers.iter().any(Option::is_none);
            if !known.contains(name.value.as_str()) {
                let shown = path::shown(name.value.as_bytes());
                let warning =
                    Diagnostic::warning(&name.place, format!("nothing logs under `{shown}`"))
                        .maybe_hint(did_you_mean(&name.value, known))
                        .hint(
                            "a scheduler logs under its own name, unless `logname` says otherwise",
                        );
                self.report_missing(missing, warning);
            }
        }
        let format = self.word_or(
            &doc.log.format,
            LogKey::Format,
            FORMATS,
            &[Format::Auto, Format::Text, Format::Journal, Format::Json],
        );
        let syslog = doc.log.syslog.as_ref().and_then(|it| self.syslog(it, level));
        let log = LogSettings { level, levels, format, syslog, governed: None };
        Settings { state_dir, control_socket, metrics_listen, log }
    }

    /// Whoever can reach it reads the Watches' paths: nobody from elsewhere is to.
    fn loopback(&mut self, spot: &Spot<String>) -> Option<Loopback> {
        let fault = match spot.value.parse() {
            Ok(address) => return Some(address),
            Err(fault) => fault,
        };
        let hint = match fault {
            NoLoopback::Reachable => {
                "write \"127.0.0.1:9469\"; a proxy there may let others in, with a password"
            }
            NoLoopback::Other => "write \"127.0.0.1:9469\" or \"[::1]:9469\"",
        };
        let message = format!("`{}` {fault}", path::shown(spot.value.as_bytes()));
        self.report(Diagnostic::error(&spot.place, message).hint(hint));
        None
    }

    fn syslog(&mut self, doc: &DocSyslog, level: Level) -> Option<Syslog> {
        let written = doc.address.as_ref();
        let address = written.map_or(SyslogKey::Address.key().default, |spot| spot.value.as_str());
        let address = if address.starts_with('/') {
            SyslogAddress::Unix(PathBuf::from(address))
        } else {
            let port = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            match port {
                Some((host, Ok(port))) if !host.is_empty() && port != 0 => {
                    SyslogAddress::Udp(address.into())
                }
                _ => {
                    let place = &written.expect("the default is a path").place;
                    let shown = path::shown(address.as_bytes());
                    self.report(
                        Diagnostic::error(place, format!("`{shown}` is no address of a syslog"))
                            .hint("write a socket's path, \"/dev/log\", or \"host:514\" for UDP"),
                    );
                    return None;
                }
            }
        };
        let level = doc.level.as_ref().and_then(|it| self.level(it)).unwrap_or(level);
        // 12 to 15 have no name, so the numbers jump behind `ftp`.
        let numbers: Vec<_> = (0..=11).chain(16..=23).map(Facility).collect();
        let facility = self.word_or(&doc.facility, SyslogKey::Facility, FACILITIES, &numbers);
        Some(Syslog { address, level, facility })
    }

    /// A state directory inside a watched tree would make events of its own, without end.
    fn state_dir_apart(&mut self, doc: &Document, settings: &Settings) {
        let (Some(spot), Some(dir)) = (&doc.state_dir, &settings.state_dir) else { return };
        for path in doc.watches.iter().filter_map(|it| it.path.as_ref()).flat_map(|it| &it.value) {
            let watched = path::normalize(b"/", &path.value);
            if path::below(dir.as_os_str().as_bytes(), &watched).is_some() {
                let watched = path::shown(&watched);
                let message = format!("the state directory is inside the watched {watched}");
                self.report(
                    Diagnostic::error(&spot.place, message)
                        .label("writing to it makes events")
                        .hint("keep it elsewhere, such as in /var/lib/pyinotifyd"),
                );
            }
        }
    }

    fn cpus(&self, times: usize) -> std::num::NonZeroUsize {
        values::at_least_one(
            i64::try_from(self.environment.cpus.get().saturating_mul(times)).unwrap_or(i64::MAX),
        )
    }

    fn logname(&mut self, written: Option<&Spot<String>>, default: &str) -> Arc<str> {
        match written {
            None => default.into(),
            Some(spot) => {
                self.printable(spot, "a logname");
                spot.value.as_str().into()
            }
        }
    }
}
