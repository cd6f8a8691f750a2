//! The log: which records are written, and how they leave the process.
//!
//! A record is a [`Report`] of the daemon, a line that a command printed, or what a library says
//! through the `log` facade. Here it is decided whether its logname's level lets it pass; the
//! formats are in [`stderr`], [`json`], [`journald`] and [`syslog`], each a pure function from a
//! record to bytes; [`queue`] carries the bytes to a thread of its own, so that a full pipe or a
//! stuck journal never holds up the daemon.
//!
//! A record is one line, whatever is in it: all text passes [`OneLine`], and the parts that others
//! can choose (file names, output) are escaped before that.

pub(crate) mod bar;
#[cfg(test)]
mod heard;
pub(crate) mod journald;
pub(crate) mod json;
pub(crate) mod queue;
mod settings;
pub(crate) mod stamp;
pub(crate) mod stderr;
pub(crate) mod syslog;

use std::{
    cell::RefCell,
    fmt::{self, Display, Write as _},
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
    panic,
    path::PathBuf,
    process,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyinotifyd_core::{
    path::{OneLine, shown},
    plan::Level,
    report::Report,
    task::TaskId,
};
use pyinotifyd_sys::terminal;

#[cfg(test)]
pub(crate) use self::heard::heard;
use self::{
    bar::Work,
    queue::{Columns, Lane, Queue, Show},
};
pub(crate) use self::{
    bar::can_draw,
    settings::{
        Facility, Format, Governed, LogSettings, Syslog, SyslogAddress, level_of_number, number,
    },
};
use crate::env;

/// The logname of what the daemon says of itself, unless the configuration gives another.
pub(crate) const DAEMON: &str = "daemon";

/// How much may wait for a slow reader of stderr, the journal or syslog before lines are dropped.
const BACKLOG: usize = 8 << 20;

/// How long an exit waits for what is still to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// What a terminal shows below the lines of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// How far it is what takes long.
    Progress,
    /// Nothing, since others write to that terminal, too.
    Nothing,
}

/// One line of the log, before it has a form.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// When it was said, since 1970-01-01 00:00 UTC.
    pub at: Duration,
    /// How severe it is.
    pub level: Level,
    /// Who says it.
    pub logname: &'a str,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// The path that it is about, as it is.
    pub path: Option<&'a [u8]>,
    /// The report's name, for programs.
    pub name: Option<&'a str>,
    /// The sentence, with its task.
    pub message: &'a dyn Display,
}

/// Keeps the log going; dropped, it waits a moment until all is written.
#[must_use = "dropping the guard is what writes the last lines"]
pub(crate) struct Guard(&'static Logger);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
    }
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the log. A second call only sets the settings.
///
/// # Errors
///
/// Standard error cannot be duplicated, or no thread can be started.
pub(crate) fn init(settings: LogSettings, below: Below) -> io::Result<Guard> {
    if let Some(logger) = LOGGER.get() {
        logger.reconfigure(settings);
        return Ok(Guard(logger));
    }
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let journal = std::env::var("JOURNAL_STREAM").is_ok_and(|it| is_journal(&stderr, &it));
    let can_draw = below == Below::Progress
        && stderr.is_terminal()
        && can_draw(std::env::var_os(env::TERM).as_deref());
    let terminal = if can_draw { Some(stderr.try_clone()?) } else { None };
    let logger = Logger::new(settings, stderr, terminal, journal, journald::SOCKET.into())?;
    let logger = LOGGER.get_or_init(|| logger);
    if log::set_logger(logger).is_ok() {
        log::set_max_level(filter(logger.settings().floor()));
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if let Some(logger) = LOGGER.get() {
                logger.end();
            }
            hook(info);
        }));
    }
    Ok(Guard(logger))
}

/// Puts other settings in force.
pub(crate) fn reconfigure(settings: LogSettings) {
    if let Some(logger) = LOGGER.get() {
        log::set_max_level(filter(settings.floor()));
        logger.reconfigure(settings);
    }
}

/// How many lines came faster than they were read, and are not written.
pub(crate) fn dropped() -> u64 {
    LOGGER.get().map_or(0, |it| it.queue.dropped())
}

/// Whether there is a terminal that shows how far it is what takes long.
pub(crate) fn has_bar() -> bool {
    LOGGER.get().is_some_and(Logger::has_bar)
}

/// Shows how far it is what takes long; `None`: nothing does any more.
pub(crate) fn show(work: Option<Work>) {
    if let Some(logger) = LOGGER.get() {
        logger.queue.show(work.map_or(Show::Nothing, Show::Work));
    }
}

/// Writes a report.
pub(crate) fn say(report: &Report) {
    if let Some(logger) = LOGGER.get() {
        logger.say(now(), report);
    }
}

/// Who takes records for the handlers of a config.py: the number of the level, and the record.
/// Gives back whether it has taken it.
pub(crate) type Forward = Arc<dyn Fn(u32, &Record<'_>) -> bool + Send + Sync>;

/// From now on, records that a config.py has handlers for go there; what is not taken is written
/// here.
pub(crate) fn set_forward(forward: Option<Forward>) {
    if let Some(logger) = LOGGER.get() {
        *logger.forward.write().unwrap_or_else(PoisonError::into_inner) = forward;
    }
}

/// Writes what Python logged, a record for each line. Whether it is shown was decided there.
pub(crate) fn hosted(number: u32, logname: &str, bytes: &[u8], at: Duration) {
    if let Some(logger) = LOGGER.get() {
        let level = level_of_number(number);
        lines(bytes, |line| {
            let message = &shown(line);
            let record = Record { at, level, logname, task: None, path: None, name: None, message };
            logger.write_natively(&logger.settings(), &record);
        });
    }
}

/// Writes what a command printed, a record for each line, its bytes escaped.
pub(crate) fn output(level: Level, logname: &str, task: Option<TaskId>, bytes: &[u8]) {
    if let Some(logger) = LOGGER.get() {
        logger.output(now(), level, logname, task, bytes);
    }
}

/// Writes a line about a task that is no report: a message that the configuration asks for, or what
/// a dry run would do. What others can choose in it is escaped already.
pub(crate) fn message(
    level: Level,
    logname: &str,
    task: TaskId,
    path: &[u8],
    message: &dyn Display,
) {
    if let Some(logger) = LOGGER.get() {
        logger.message(now(), level, logname, (task, path), message);
    }
}

/// The program's clock for the log.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whether this file is the stream to the journal that `$JOURNAL_STREAM` names: its device and
/// inode, `8:12345` (systemd.exec(5)). The variable alone proves nothing: children inherit it.
fn is_journal(stderr: &File, stream: &str) -> bool {
    stderr.metadata().is_ok_and(|it| {
        stream.split_once(':') == Some((&it.dev().to_string(), &it.ino().to_string()))
    })
}

/// Decides what is shown, gives it its form, and queues it.
struct Logger {
    settings: RwLock<Arc<LogSettings>>,
    forward: RwLock<Option<Forward>>,
    /// Whether standard error is a terminal to draw on.
    terminal: bool,
    /// Whether standard error is the journal.
    journal: bool,
    queue: Queue,
    pid: u32,
}

impl Logger {
    fn new(
        settings: LogSettings,
        stderr: File,
        terminal: Option<File>,
        journal: bool,
        journal_socket: PathBuf,
    ) -> io::Result<Self> {
        let is_terminal = terminal.is_some();
        let columns: Columns = Box::new(move || terminal.as_ref().and_then(terminal::columns));
        let queue = Queue::start(BACKLOG, stderr, columns, journal_socket)?;
        let logger = Self {
            settings: RwLock::default(),
            forward: RwLock::default(),
            terminal: is_terminal,
            journal,
            queue,
            pid: process::id(),
        };
        logger.reconfigure(settings);
        Ok(logger)
    }

    fn settings(&self) -> Arc<LogSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reconfigure(&self, settings: LogSettings) {
        self.queue.set_syslog(settings.syslog.clone());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Waits a moment until all is written, and leaves the terminal as it is for others.
    fn end(&self) {
        self.queue.show(Show::Nothing);
        self.queue.flush(FLUSH);
    }

    /// Lines for people, on a terminal.
    fn has_bar(&self) -> bool {
        if !self.terminal {
            return false;
        }
        let settings = self.settings();
        let is_text = match settings.format {
            Format::Auto => !self.journal,
            Format::Text => true,
            Format::Journal | Format::Json => false,
        };
        is_text && settings.governed.as_ref().is_none_or(|it| it.native)
    }

    fn say(&self, at: Duration, report: &Report) {
        self.write(&Record {
            at,
            level: report.say.level(),
            logname: &report.logname,
            task: report.task,
            path: report.say.path(),
            name: Some(report.say.name()),
            message: report,
        });
    }

    fn output(
        &self,
        at: Duration,
        level: Level,
        logname: &str,
        task: Option<TaskId>,
        bytes: &[u8],
    ) {
        lines(bytes, |line| {
            let line = shown(line);
            let message: &dyn Display = match task {
                Some(task) => &format!("{task}: {line}"),
                None => &line,
            };
            self.write(&Record { at, level, logname, task, path: None, name: None, message });
        });
    }

    fn message(
        &self,
        at: Duration,
        level: Level,
        logname: &str,
        (task, path): (TaskId, &[u8]),
        message: &dyn Display,
    ) {
        let (path, message) = (Some(path), &format_args!("{task}: {message}"));
        self.write(&Record { at, level, logname, task: Some(task), path, name: None, message });
    }

    fn write(&self, record: &Record<'_>) {
        let settings = self.settings();
        if !settings.shows(record.level, record.logname) {
            return;
        }
        if let Some(governed) = &settings.governed
            && governed.forwards(record.logname)
            && self.give(record)
            && !governed.writes(record.logname)
        {
            return;
        }
        self.write_natively(&settings, record);
    }

    fn give(&self, record: &Record<'_>) -> bool {
        let forward = self.forward.read().unwrap_or_else(PoisonError::into_inner);
        forward.as_ref().is_some_and(|it| it(number(record.level), record))
    }

    fn write_natively(&self, settings: &LogSettings, record: &Record<'_>) {
        with_scratch(|line| {
            let lane = match (settings.format, self.journal) {
                (Format::Journal, _) | (Format::Auto, true) => {
                    journald::write(line, record);
                    Lane::Journal
                }
                (Format::Text, _) | (Format::Auto, false) => {
                    stderr::write(line, record);
                    Lane::Stderr
                }
                (Format::Json, _) => {
                    json::write(line, record);
                    Lane::Stderr
                }
            };
            self.queue.push(lane, line);
            if let Some(syslog) = &settings.syslog
                && record.level >= syslog.level
            {
                line.clear();
                syslog::write(line, record, syslog.facility, self.pid);
                self.queue.push(Lane::Syslog, line);
            }
        });
    }
}

/// The lines of a text, without their ends. An end at its end begins no other.
fn lines(text: &[u8], mut each: impl FnMut(&[u8])) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|it| *it == b'\n') {
        each(line.strip_suffix(b"\r").unwrap_or(line));
    }
}

/// Lends a buffer that keeps its memory from record to record. (A message that logs while it is
/// being written gets another.)
fn with_scratch(f: impl FnOnce(&mut Vec<u8>)) {
    thread_local! { static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) } }
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut line) => {
            line.clear();
            f(&mut line);
        }
        Err(_) => f(&mut Vec::new()),
    });
}

/// Appends what is shown, without anything that could end or disguise the line.
fn push(line: &mut Vec<u8>, shown: &dyn Display) {
    /// Escapes on the way.
    struct Escaped<'a>(&'a mut Vec<u8>);
    /// Takes all as it is.
    struct Plain<'a>(&'a mut Vec<u8>);

    impl fmt::Write for Escaped<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if text.bytes().all(|it| matches!(it, b' '..=b'~')) {
                self.0.extend_from_slice(text.as_bytes());
                return Ok(());
            }
            write!(Plain(self.0), "{}", OneLine(text))
        }
    }
    impl fmt::Write for Plain<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    if write!(Escaped(line), "{shown}").is_err() {
        line.extend_from_slice(b" (and then the message failed to be shown)");
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let (logname, least) = speaker(metadata.target());
        let level = level(metadata.level());
        level >= least && self.settings().shows(level, logname)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !log::Log::enabled(self, record.metadata()) {
            return;
        }
        self.write(&Record {
            at: now(),
            level: level(record.level()),
            logname: speaker(record.target()).0,
            task: None,
            path: None,
            name: None,
            message: record.args(),
        });
    }

    fn flush(&self) {
        self.queue.flush(FLUSH);
    }
}

/// Whose record it is that has this target, and the least severe level that is of interest. Our
/// own modules speak for the daemon; of a library's modules only warnings count; any other target
/// is a logname.
fn speaker(target: &str) -> (&str, Level) {
    match target.split_once("::").map_or(target, |(crate_name, _)| crate_name) {
        "pyinotifyd" | "pyinotifyd_core" | "pyinotifyd_sys" => (DAEMON, Level::Debug),
        name if name.len() < target.len() => (name, Level::Warning),
        name => (name, Level::Debug),
    }
}

/// Our word for a level of the facade.
fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warning,
        log::Level::Info => Level::Info,
        log::Level::Debug | log::Level::Trace => Level::Debug,
    }
}

/// The facade's word for what is shown.
fn filter(level: Level) -> log::LevelFilter {
    match level {
        Level::Debug => log::LevelFilter::Debug,
        Level::Info => log::LevelFilter::Info,
        Level::Warning => log::LevelFilter::Warn,
        Level::Error | Level::Critical => log::LevelFilter::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::UdpSocket, os::unix::net::UnixDatagram};

    use pyinotifyd_core::report::Say;

    use super::*;

    /// A log into a file of its own.
    struct World {
        dir: tempfile::TempDir,
        logger: Logger,
    }

    impl World {
        fn new(settings: LogSettings) -> Self {
            Self::with(tempfile::tempdir().unwrap(), settings, false)
        }

        fn with(dir: tempfile::TempDir, settings: LogSettings, journal: bool) -> Self {
            let file = File::create(dir.path().join("log")).unwrap();
            let socket = dir.path().join("journal");
            Self { logger: Logger::new(settings, file, None, journal, socket).unwrap(), dir }
        }

        /// What was written, without the time.
        fn lines(&self) -> Vec<String> {
            assert!(self.logger.queue.flush(Duration::from_secs(60)), "all is written");
            let text = fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            text.lines().map(|it| it.split_once(" - ").map_or(it, |it| it.1).to_owned()).collect()
        }

        fn say(&self, level: Level, logname: &str, message: &str) {
            let at = Duration::from_millis(1_795_414_890_123);
            let (task, path, name) = (None, None, None);
            self.logger.write(&Record { at, level, logname, task, path, name, message: &message });
        }
    }

    #[test]
    fn a_bar_is_for_those_who_read_lines_on_a_terminal() {
        let governed = |native| Some(Governed { native, ..Governed::default() });
        let with = |format, governed, terminal: bool, journal| {
            let dir = tempfile::tempdir().unwrap();
            let file = || File::create(dir.path().join("log")).unwrap();
            let settings = LogSettings { format, governed, ..LogSettings::default() };
            let terminal = terminal.then(file);
            Logger::new(settings, file(), terminal, journal, PathBuf::new()).unwrap().has_bar()
        };
        assert!(with(Format::Auto, None, true, false));
        assert!(with(Format::Text, governed(true), true, true));
        assert!(!with(Format::Auto, None, false, false));
        assert!(!with(Format::Auto, None, true, true));
        assert!(!with(Format::Json, None, true, false));
        assert!(!with(Format::Journal, None, true, false));
        assert!(!with(Format::Text, governed(false), true, false), "its handlers have the lines");
    }

    #[test]
    fn lines_look_as_the_originals() {
        let levels = [("mine".into(), Level::Warning)].into();
        let world = World::new(LogSettings { levels, ..LogSettings::default() });
        world.say(Level::Debug, "daemon", "not shown");
        world.say(Level::Info, "daemon", "shown");
        world.say(Level::Info, "mine", "not shown");
        world.say(Level::Critical, "mine", "shown");
        assert_eq!(
            world.lines(),
            ["pyinotifyd/daemon - INFO - shown", "pyinotifyd/mine - CRITICAL - shown"]
        );
    }

    #[test]
    fn settings_change_while_it_runs() {
        let world = World::new(LogSettings::default());
        world.say(Level::Debug, "daemon", "one");
        world.logger.reconfigure(LogSettings::default().debugging());
        world.say(Level::Debug, "daemon", "two");
        assert_eq!(world.lines(), ["pyinotifyd/daemon - DEBUG - two"]);
    }

    #[test]
    fn a_record_stays_on_its_line() {
        let world = World::new(LogSettings::default());
        world.say(Level::Info, "a\nb", "c\n2026-11-23 - CRITICAL - forged\x1b[2J\\n");
        assert_eq!(
            world.lines(),
            [r"pyinotifyd/a\nb - INFO - c\n2026-11-23 - CRITICAL - forged\x1b[2J\n"]
        );
    }

    #[test]
    fn output_is_a_record_for_each_line() {
        let world = World::new(LogSettings::default());
        let task = Some(TaskId(7));
        world.logger.output(Duration::ZERO, Level::Info, "sched", task, b"one\r\n\xfftwo\n");
        world.logger.output(Duration::ZERO, Level::Info, "sched", None, b"\x1b[31m\nfour");
        assert_eq!(
            world.lines(),
            [
                "pyinotifyd/sched - INFO - 00000000-0000-4000-8000-000000000007: one",
                r"pyinotifyd/sched - INFO - 00000000-0000-4000-8000-000000000007: \xfftwo",
                r"pyinotifyd/sched - INFO - \x1b[31m",
                "pyinotifyd/sched - INFO - four",
            ]
        );
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        assert_eq!(speaker("pyinotifyd::runtime"), (DAEMON, Level::Debug));
        assert_eq!(speaker("mio::poll"), ("mio", Level::Warning));
        assert_eq!(speaker("my.sched"), ("my.sched", Level::Debug));
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        let meta = file.metadata().unwrap();
        assert!(is_journal(&file, &format!("{}:{}", meta.dev(), meta.ino())));
        assert!(!is_journal(&file, &format!("{}:{}", meta.dev(), meta.ino() + 1)));
        assert!(!is_journal(&file, ""));
    }

    #[test]
    fn the_journal_gets_fields() {
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("journal")).unwrap();
        let world = World::with(dir, LogSettings::default(), true);
        let report = Report {
            logname: "sched".into(),
            task: Some(TaskId(7)),
            say: Say::Vanished { path: Arc::from(&b"/in/a\nb"[..]) },
        };
        world.logger.say(Duration::ZERO, &report);
        let mut buf = [0; 4096];
        let len = journal.recv(&mut buf).unwrap();
        let mut expected =
            b"MESSAGE=sched: 00000000-0000-4000-8000-000000000007: /in/a\\nb is gone: \
            it is watched again as soon as it is back\nPRIORITY=4\nSYSLOG_IDENTIFIER=pyinotifyd\n\
            PYINOTIFYD_LOGNAME=sched\nPYINOTIFYD_EVENT=vanished\n\
            PYINOTIFYD_TASK_ID=00000000-0000-4000-8000-000000000007\nPYINOTIFYD_PATHNAME\n"
                .to_vec();
        expected.extend_from_slice(b"\x07\0\0\0\0\0\0\0/in/a\nb\n");
        assert_eq!(String::from_utf8_lossy(&buf[..len]), String::from_utf8_lossy(&expected));
        assert_eq!(world.lines(), [""; 0]);
    }

    #[test]
    fn without_its_socket_the_journal_gets_priorities() {
        let world = World::with(tempfile::tempdir().unwrap(), LogSettings::default(), true);
        world.say(Level::Warning, "daemon", "hello");
        assert_eq!(world.lines(), ["<4>daemon: hello"]);
    }

    #[test]
    fn the_journal_can_be_forced() {
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("journal")).unwrap();
        let settings = LogSettings { format: Format::Journal, ..LogSettings::default() };
        let world = World::with(dir, settings, false);
        world.say(Level::Info, "daemon", "hello");
        let mut buf = [0; 4096];
        let len = journal.recv(&mut buf).unwrap();
        assert!(buf[..len].starts_with(b"MESSAGE=daemon: hello\nPRIORITY=6\n"));
        assert_eq!(world.lines(), [""; 0]);
    }

    #[test]
    fn syslog_is_reached_by_udp() {
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = SyslogAddress::Udp(daemon.local_addr().unwrap().to_string().into());
        let syslog = Some(Syslog { address, level: Level::Info, facility: Facility(19) });
        let world = World::new(LogSettings { syslog, ..LogSettings::default() });
        world.say(Level::Critical, "sched", "it burns");
        assert_eq!(world.lines().len(), 1);
        let mut buf = [0; 4096];
        let len = daemon.recv(&mut buf).unwrap();
        let text = str::from_utf8(&buf[..len]).unwrap();
        assert!(text.starts_with("<154>Nov 2"), "local3 is 19, critical 2: {text}");
        assert!(text.ends_with(": it burns"), "{text}");
    }

    #[test]
    fn syslog_gets_its_own_level() {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("dev-log");
        let syslog = UnixDatagram::bind(&address).unwrap();
        let world = World::with(
            dir,
            LogSettings {
                syslog: Some(Syslog {
                    address: SyslogAddress::Unix(address),
                    level: Level::Warning,
                    facility: Facility::DAEMON,
                }),
                ..LogSettings::default()
            },
            false,
        );
        world.say(Level::Info, "sched", "for stderr");
        world.say(Level::Error, "sched", "for both");
        assert_eq!(world.lines().len(), 2);
        let mut buf = [0; 4096];
        let len = syslog.recv(&mut buf).unwrap();
        let text = str::from_utf8(&buf[..len]).unwrap();
        assert!(text.starts_with("<27>Nov 2"), "{text}");
        assert!(
            text.contains(&format!(" pyinotifyd/sched[{}]: for both", process::id())),
            "{text}"
        );
        syslog.set_nonblocking(true).unwrap();
        assert_eq!(syslog.recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_syslog_that_is_not_there_is_told_each_time_that_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev-log");
        let (address, facility) = (SyslogAddress::Unix(path.clone()), Facility::DAEMON);
        let syslog = Some(Syslog { address, level: Level::Info, facility });
        let world = World::with(dir, LogSettings { syslog, ..LogSettings::default() }, false);
        let told = format!(
            "pyinotifyd/daemon - WARNING - cannot reach syslog at {}: no such file or directory",
            path.display()
        );
        let say = |what: &str| {
            world.say(Level::Info, "x", what);
            world.lines()
        };
        assert_eq!(say("one"), ["pyinotifyd/x - INFO - one", &told]);
        assert_eq!(say("two").len(), 3, "it is known");
        let syslog = UnixDatagram::bind(&path).unwrap();
        assert_eq!(say("three").len(), 4, "it is there");
        drop(syslog);
        fs::remove_file(&path).unwrap();
        assert_eq!(say("four")[4..], ["pyinotifyd/x - INFO - four", &told]);
    }

    #[test]
    fn a_message_is_one_line_of_its_task() {
        let world = World::new(LogSettings::default());
        let task = TaskId(7);
        let name = shown(b"/in/a\n\\").to_string();
        let say = |level| {
            let about = (task, &b"/in/a\n\\"[..]);
            world.logger.message(Duration::ZERO, level, "sched", about, &name);
        };
        say(Level::Debug);
        say(Level::Warning);
        assert_eq!(
            world.lines(),
            [format!(r"pyinotifyd/sched - WARNING - {task}: /in/a\n\\")],
            "escaped once, and only what the level lets pass"
        );
    }

    #[test]
    fn json_is_an_object_a_line() {
        let world = World::new(LogSettings { format: Format::Json, ..LogSettings::default() });
        let path = |bytes: &[u8]| Report {
            logname: "sched".into(),
            task: Some(TaskId(7)),
            say: Say::Waits { path: Arc::from(bytes) },
        };
        world.logger.say(Duration::from_millis(1_795_414_890_123), &path(b"/in/\"a\"\nb"));
        world.logger.say(Duration::ZERO, &path(b"/in/\xff"));
        let lines: Vec<serde_json::Value> =
            world.lines().iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(lines[0]["path"], "/in/\"a\"\nb");
        assert_eq!(lines[0]["level"], "WARNING");
        assert_eq!(lines[0]["event"], "waits");
        assert_eq!(lines[0]["task"], "00000000-0000-4000-8000-000000000007");
        assert!(lines[0]["time"].as_str().unwrap().contains(":30.123"), "{}", lines[0]);
        assert_eq!(lines[1]["path"], r"/in/\xff");
        assert_eq!(lines[1]["path_hex"], "2f696e2fff");
        assert_eq!(lines[0].get("path_hex"), None);
    }
}
