//! The daemon, and the two commands that are a daemon without a configuration: what they watch,
//! what they log, and the loop that they all share.

mod at_start;

use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use pyinotifyd_core::{
    event::Event,
    plan::{Level, Plan},
};
use pyinotifyd_sys::{limits, process};

use self::at_start::AtStart;
use crate::{
    cli::{
        self, adhoc,
        check::{self, Read},
        config_file::{self, ConfigFile},
        events::{self, Ended, Form, Printer},
        terminal::Look,
    },
    config::{
        Loaded,
        diagnostic::{Diagnostic, Severity},
        settings::{ControlSocket, Loopback},
    },
    env,
    errors::{Exit, Fatal, shown_path, words},
    host::{self, start::Options},
    json::Value,
    log::{self, Below},
    runtime::{self, Fresh, Listener, Setup, Source},
    service::{Service, Watchdog},
};

/// `pyinotifyd run`, and `pyinotifyd` alone.
pub(crate) fn run(options: &cli::Run) -> Result<Exit, Fatal> {
    let file = config_file::choose(options.config.as_deref(), Path::exists)
        .map_err(|none| none.fatal("write one of them, or name another with --config"))?;
    let start = Options::new(options.python.clone(), options.debug);
    // The host of a config.py inherits it, too.
    prepare()?;
    let Read { loaded, host } = match check::read(&file, &start) {
        Ok(read) => read,
        Err(diagnostics) => return Ok(check::refuse(&diagnostics, &file)),
    };
    let _log = start_log(log_settings(&loaded, options.debug), Below::Progress)?;
    tell(&loaded.warnings);
    let at_start = AtStart::new(options, &loaded)?;
    let AtStart { state_dir, control_socket } = at_start.clone();
    let is_usual = loaded.settings.control_socket == ControlSocket::Usual && !options.dry_run;
    if is_usual && control_socket.is_none() {
        ::log::warn!(
            "this daemon cannot be asked: its control socket would be in $XDG_RUNTIME_DIR, which is \
             not set; help: name another place with --socket"
        );
    }
    let config = file.path.clone();
    let metrics = metrics(options, &loaded);
    let configuration = Configuration { file, start, options: options.clone(), at_start };
    runtime::run(Setup {
        plan: Arc::new(loaded.plan),
        dry_run: options.dry_run,
        listener: None,
        host,
        source: Some(Arc::new(configuration)),
        state_dir,
        service: service(),
        control: control_socket,
        config: Some(config),
        metrics,
    })
}

/// Where metrics are served. What is only tried must not be taken for the real one.
fn metrics(options: &cli::Run, loaded: &Loaded) -> Option<Loopback> {
    options.metrics_listen.or(loaded.settings.metrics_listen.filter(|_| !options.dry_run))
}

/// `pyinotifyd watch`.
pub(crate) fn watch(options: &cli::Watch) -> Result<Exit, Fatal> {
    let cpus = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let plan = adhoc::plan(options, cpus)?;
    prepare()?;
    let level = if options.debug { Level::Debug } else { Level::Info };
    let _log = start_log(log::LogSettings { level, ..Default::default() }, Below::Progress)?;
    let dry_run = options.dry_run;
    runtime::run(Setup {
        plan: Arc::new(plan),
        dry_run,
        listener: None,
        host: None,
        source: None,
        state_dir: None,
        service: service(),
        control: None,
        config: None,
        metrics: None,
    })
}

/// `pyinotifyd events`.
pub(crate) fn events(options: &cli::Events) -> Result<Exit, Fatal> {
    let plan = events::plan(options)?;
    let is_terminal = io::stdout().is_terminal();
    let form = Form::new(options, is_terminal, &Look::new());
    prepare()?;
    let settings = log::LogSettings { level: Level::Warning, ..Default::default() };
    // Where events are shown on the same terminal, they would tear a bar.
    let below = if is_terminal { Below::Nothing } else { Below::Progress };
    let _log = start_log(settings, below)?;
    // Unbuffered: the printer keeps what belongs together.
    let printer = Printer::new(io::stdout(), form);
    let listener: Option<Box<dyn Listener>> = Some(Box::new(printer));
    runtime::run(Setup {
        plan: Arc::new(plan),
        dry_run: false,
        listener,
        host: None,
        source: None,
        state_dir: None,
        service: service(),
        control: None,
        config: None,
        metrics: None,
    })
}

impl<W: io::Write> Listener for Printer<W> {
    fn tell(&mut self, event: &Event) -> Result<(), Ended> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.print(now, event)
    }

    fn pause(&mut self) -> Result<(), Ended> {
        self.flush()
    }
}

/// So many files are open at once while nothing runs, with some to spare. With fewer the loop could
/// not even be made, and parts of it are not ours and panic.
const LEAST_FILES: u64 = 64;

/// What has to be so before the first thread starts: commands inherit it.
fn prepare() -> Result<(), Fatal> {
    if let Some(limit) = limits::open_files().filter(|it| *it < LEAST_FILES) {
        let text = format!(
            "cannot start: only {limit} files may be open at once, and {LEAST_FILES} are needed"
        );
        let hint = "raise the limit: `ulimit -n 1024`, or `LimitNOFILE=` of the service";
        return Err(Fatal::text(text).hint(hint));
    }
    let failed =
        |what: &str, error: &io::Error| Fatal::text(format!("cannot {what}: {}", words(error)));
    process::reset_signals().map_err(|error| failed("reset the signals", &error))?;
    process::seal_descriptors().map_err(|error| failed("seal the descriptors", &error))
}

fn start_log(settings: log::LogSettings, below: Below) -> Result<log::Guard, Fatal> {
    log::init(settings, below)
        .map_err(|error| Fatal::text(format!("cannot start the log: {}", words(&error))))
}

/// Only after the log has started: that there is no way to the manager is said there.
fn service() -> Service {
    let usec = std::env::var_os(env::WATCHDOG_USEC);
    let pid = std::env::var_os(env::WATCHDOG_PID);
    let watchdog = Watchdog::new(usec.as_deref(), pid.as_deref(), std::process::id());
    Service::new(std::env::var_os(env::NOTIFY_SOCKET), watchdog)
}

/// Where the configuration has come from, and comes from again.
struct Configuration {
    file: ConfigFile,
    /// How a host is started.
    start: Options,
    /// What the command line says.
    options: cli::Run,
    /// What stays in force until the end.
    at_start: AtStart,
}

impl Source for Configuration {
    fn load(&self) -> Option<Fresh> {
        let Read { loaded, host } = self.good(check::read(&self.file, &self.start))?;
        if let Some(host) = &host {
            ::log::debug!("{}", host::start::introduction(host, &self.file.path));
        }
        let fits = self.at_start.fits(&loaded.plan);
        let later = match fits.and_then(|()| AtStart::new(&self.options, &loaded)) {
            Ok(later) => later,
            Err(error) => {
                ::log::error!("{}", error.message);
                self.tell_refused();
                if let Some(host) = host {
                    host.dismiss();
                }
                return None;
            }
        };
        let log = log_settings(&loaded, self.options.debug);
        let metrics = metrics(&self.options, &loaded);
        tell(&loaded.warnings);
        let needs_restart = self.at_start.changed(&later);
        if !needs_restart.is_empty() {
            let path = shown_path(&self.file.path);
            ::log::warn!("{path}: {}", runtime::needs_restart(&needs_restart));
        }
        Some(Fresh { plan: Arc::new(loaded.plan), log, metrics, host, needs_restart })
    }

    fn describe(&self, description: &Value) -> Option<Arc<Plan>> {
        let loaded = self.good(host::start::redescribe(
            &self.file.path,
            description,
            &check::environment(),
        ))?;
        Some(Arc::new(loaded.plan))
    }
}

impl Configuration {
    /// What is not good changes nothing, and is told.
    fn good<T>(&self, read: Result<T, Vec<Diagnostic>>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(diagnostics) => {
                tell(&diagnostics);
                self.tell_refused();
                None
            }
        }
    }

    fn tell_refused(&self) {
        let path = shown_path(&self.file.path);
        ::log::error!("{path}: not reloaded, what was in force stays so");
    }
}

fn log_settings(loaded: &Loaded, debug: bool) -> log::LogSettings {
    let settings = loaded.settings.log.clone();
    if debug { settings.debugging() } else { settings }
}

fn tell(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => ::log::Level::Error,
            Severity::Warning => ::log::Level::Warn,
        };
        ::log::log!(level, "{}", diagnostic.one_line());
        for line in diagnostic.traceback() {
            ::log::log!(level, "{line}");
        }
    }
}
