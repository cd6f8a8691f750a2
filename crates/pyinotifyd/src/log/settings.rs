//! What the log shows, and where: as a configuration has it, or Python's `logging`.

use std::{collections::BTreeMap, fmt, os::unix::ffi::OsStrExt, path::PathBuf};

use pyinotifyd_core::{path::shown, plan::Level};

/// What the log shows, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The least severe level that is shown, for lognames without one of their own.
    pub level: Level,
    /// The same by logname; `a` also governs `a.b`, unless that has its own.
    pub levels: BTreeMap<Box<str>, Level>,
    /// How lines on standard error look.
    pub format: Format,
    /// Whether records go to syslog too.
    pub syslog: Option<Syslog>,
    /// What Python's `logging` says, which is then in force in place of the levels above.
    pub governed: Option<Governed>,
}

/// What the `logging` of a config.py says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Governed {
    /// The least number of a level that is shown, by logname; `""` is the root.
    pub levels: BTreeMap<Box<str>, u32>,
    /// Whether records are written here; else only the handlers of config.py get them.
    pub native: bool,
    /// The lognames that handlers of config.py want to hear of, with all below them.
    pub forward: Vec<Box<str>>,
    /// The lognames whose records, with those of all below them, are written here only if they
    /// come back.
    pub apart: Vec<Box<str>>,
}

impl Governed {
    /// Whether config.py has handlers for this logname.
    pub(super) fn forwards(&self, logname: &str) -> bool {
        covers(&self.forward, logname)
    }

    /// Whether records of this logname that config.py gets are written here, too.
    pub(super) fn writes(&self, logname: &str) -> bool {
        self.native && !covers(&self.apart, logname)
    }

    fn level_of(&self, logname: &str) -> u32 {
        let own = ancestors(logname).chain([""]).find_map(|it| self.levels.get(it));
        own.copied().unwrap_or_else(|| number(Level::Info))
    }
}

/// Whether a logname, or one above it, is among these; `""` is above all.
fn covers(names: &[Box<str>], logname: &str) -> bool {
    names.iter().any(|it| it.is_empty() || ancestors(logname).any(|name| name == &**it))
}

/// A logname, and those above it: `a.b.c`, `a.b`, `a`.
fn ancestors(logname: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(logname), |it| it.rsplit_once('.').map(|(parent, _)| parent))
}

/// The number that Python has for a level.
pub(crate) const fn number(level: Level) -> u32 {
    match level {
        Level::Debug => 10,
        Level::Info => 20,
        Level::Warning => 30,
        Level::Error => 40,
        Level::Critical => 50,
    }
}

/// The level that a number of Python's is shown as.
pub(crate) const fn level_of_number(number: u32) -> Level {
    match number {
        0..20 => Level::Debug,
        20..30 => Level::Info,
        30..40 => Level::Warning,
        40..50 => Level::Error,
        50.. => Level::Critical,
    }
}

/// How lines on standard error look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For the journal with fields, when standard error is the journal; text otherwise.
    #[default]
    Auto,
    /// `2026-11-23 06:21:30,123 - pyinotifyd/daemon - INFO - ready`.
    Text,
    /// With fields, to the journal's own socket, wherever standard error leads. Where there is no
    /// journal, lines on standard error with their priority.
    Journal,
    /// An object a line.
    Json,
}

/// Records for a syslog daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syslog {
    /// Where it is.
    pub address: SyslogAddress,
    /// The least severe level that it gets, of those that are shown at all.
    pub level: Level,
    /// As what it gets them.
    pub facility: Facility,
}

/// Where a syslog daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyslogAddress {
    /// On this machine, at a socket, usually `/dev/log`.
    Unix(PathBuf),
    /// Anywhere, by UDP: `host:port`, with brackets around an IPv6 address. A name is looked up
    /// when there is something to send, by the thread that sends it.
    Udp(Box<str>),
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", shown(path.as_os_str().as_bytes())),
            Self::Udp(address) => write!(f, "{}", shown(address.as_bytes())),
        }
    }
}

/// A facility of syslog(3) by its number, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facility(pub(crate) u8);

impl Facility {
    /// Of a system daemon.
    #[cfg(test)]
    pub(crate) const DAEMON: Self = Self(3);
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: Level::Info,
            levels: BTreeMap::new(),
            format: Format::Auto,
            syslog: None,
            governed: None,
        }
    }
}

impl LogSettings {
    /// These settings under `--debug`, which beats the global level, but no logname's own.
    #[must_use]
    pub(crate) fn debugging(self) -> Self {
        Self { level: Level::Debug, ..self }
    }

    /// The least severe level that is shown for a logname.
    #[must_use]
    pub(crate) fn level_of(&self, logname: &str) -> Level {
        ancestors(logname).find_map(|it| self.levels.get(it)).copied().unwrap_or(self.level)
    }

    /// Whether a record of this level is shown.
    pub(super) fn shows(&self, level: Level, logname: &str) -> bool {
        match &self.governed {
            Some(governed) => number(level) >= governed.level_of(logname),
            None => level >= self.level_of(logname),
        }
    }

    /// The least severe level that is shown for any logname.
    pub(super) fn floor(&self) -> Level {
        match &self.governed {
            Some(governed) => {
                level_of_number(governed.levels.values().copied().min().unwrap_or_default())
            }
            None => self.levels.values().copied().fold(self.level, Level::min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(pairs: &[(&str, Level)]) -> LogSettings {
        LogSettings {
            levels: pairs.iter().map(|(name, level)| ((*name).into(), *level)).collect(),
            ..LogSettings::default()
        }
    }

    #[test]
    fn a_logname_inherits_its_parents_level() {
        let settings = levels(&[("a", Level::Error), ("a.b.c", Level::Debug)]);
        assert_eq!(settings.level_of("a"), Level::Error);
        assert_eq!(settings.level_of("a.b"), Level::Error);
        assert_eq!(settings.level_of("a.b.c"), Level::Debug);
        assert_eq!(settings.level_of("ab"), Level::Info);
    }

    #[test]
    fn debugging_beats_the_global_level_only() {
        let settings = levels(&[("quiet", Level::Error)]).debugging();
        assert_eq!(settings.level_of("daemon"), Level::Debug);
        assert_eq!(settings.level_of("quiet"), Level::Error);
    }
}
