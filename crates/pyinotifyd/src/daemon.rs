//! The daemon, and the two commands that are a daemon without a configuration: what they watch,
//! what they log, and the loop that they all share.

use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use pyinotifyd_core::{
    event::Event,
    path,
    plan::{Level, Plan},
};
use pyinotifyd_sys::{limits, process};

use crate::{
    cli::{
        self, adhoc,
        check::{self, Read},
        config_file::{self, ConfigFile},
        events::{self, Ended, Form, Printer},
    },
    config::{
        Loaded,
        diagnostic::{Diagnostic, Severity},
        settings::{ControlSocket, Loopback},
    },
    control, env,
    errors::{Exit, Fatal, words},
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
    let (debug, dry_run) = (options.debug, options.dry_run);
    let start = Options::new(options.python.clone(), debug);
    let metrics_listen = options.metrics_listen;
    let configuration = Configuration { file, options: start, debug, dry_run, metrics_listen };
    // The host of a config.py inherits it, too.
    prepare()?;
    let (file, start) = (&configuration.file, &configuration.options);
    let Read { loaded, host } = match check::read(file, start) {
        Ok(read) => read,
        Err(diagnostics) => return Ok(check::refuse(&diagnostics, file)),
    };
    let _log = start_log(log_settings(&loaded, debug), Below::Progress)?;
    tell(&loaded.warnings);
    let state_dir = state_dir(options, &loaded)?;
    let config = configuration.file.path.clone();
    let control = control(options, &loaded.settings.control_socket)?;
    let metrics = configuration.metrics(&loaded);
    runtime::run(Setup {
        plan: Arc::new(loaded.plan),
        dry_run,
        listener: None,
        host,
        source: Some(Arc::new(configuration)),
        state_dir,
        service: service(),
        control,
        config: Some(config),
        metrics,
    })
}

/// Where the daemon can be asked.
fn control(options: &cli::Run, configured: &ControlSocket) -> Result<Option<PathBuf>, Fatal> {
    if let Some(socket) = &options.socket {
        let failed = |error| Fatal::text(format!("cannot use {}: {error}", socket.display()));
        return std::path::absolute(socket).map(Some).map_err(failed);
    }
    Ok(match configured {
        // What is only tried must not be taken for the real one.
        ControlSocket::Usual if options.dry_run => None,
        ControlSocket::Usual => control::Places::new().of_daemon(),
        ControlSocket::Off => None,
        ControlSocket::At(path) => Some(path.clone()),
    })
}

/// Where state is kept, if it is kept: writing to it must not make events.
fn state_dir(options: &cli::Run, loaded: &Loaded) -> Result<Option<PathBuf>, Fatal> {
    let Some(dir) = options.state_dir.as_ref().or(loaded.settings.state_dir.as_ref()) else {
        return Ok(None);
    };
    let dir = std::path::absolute(dir)
        .map_err(|error| Fatal::text(format!("cannot use {}: {}", dir.display(), words(&error))))?;
    let mut paths = loaded.plan.watches.iter().flat_map(|it| &it.paths);
    match paths.find(|it| path::below(dir.as_os_str().as_bytes(), &it.source).is_some()) {
        None => Ok(Some(dir)),
        Some(it) => {
            let watched = path::shown(&it.source);
            let error = format!("the state directory is inside the watched {watched}");
            Err(Fatal::text(error).hint("keep it elsewhere, such as in /var/lib/pyinotifyd"))
        }
    }
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
    let no_color = std::env::var_os(env::NO_COLOR);
    let is_terminal = io::stdout().is_terminal();
    let form = Form::new(options, is_terminal, no_color.as_deref());
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
        .map_err(|error| Fatal::text(format!("cannot start the log: {error}")))
}

/// Only after the log has started: that there is no way to the manager is said there.
fn service() -> Service {
    let usec = std::env::var_os(env::WATCHDOG_USEC);
    let pid = std::env::var_os(env::WATCHDOG_PID);
    let watchdog = Watchdog::new(usec.as_deref(), pid.as_deref(), std::process::id());
    Service::new(std::env::var_os(env::NOTIFY_SOCKET), watchdog)
}

/// Where the configuration comes from, and comes from again.
struct Configuration {
    file: ConfigFile,
    options: Options,
    debug: bool,
    dry_run: bool,
    /// As the command line has it.
    metrics_listen: Option<Loopback>,
}

impl Source for Configuration {
    fn load(&self) -> Option<Fresh> {
        let Read { loaded, host } = self.good(check::read(&self.file, &self.options))?;
        if let Some(host) = &host {
            ::log::debug!("{}", host::start::introduction(host, &self.file.path));
        }
        let log = log_settings(&loaded, self.debug);
        let metrics = self.metrics(&loaded);
        tell(&loaded.warnings);
        Some(Fresh { plan: Arc::new(loaded.plan), log, metrics, host })
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
    /// Where metrics are served. What is only tried must not be taken for the real one.
    fn metrics(&self, loaded: &Loaded) -> Option<Loopback> {
        let configured = loaded.settings.metrics_listen.filter(|_| !self.dry_run);
        self.metrics_listen.or(configured)
    }

    /// What is not good changes nothing, and is told.
    fn good<T>(&self, read: Result<T, Vec<Diagnostic>>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(diagnostics) => {
                tell(&diagnostics);
                let path = self.file.path.display();
                ::log::error!("{path}: not reloaded, what was in force stays so");
                None
            }
        }
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
