//! The daemon, and the two commands that are a daemon without a configuration: what they watch,
//! what they log, and the loop that they all share.

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
use pyinotifyd_sys::process;

use crate::{
    cli::{
        self, adhoc, check,
        config_file::{self, ConfigFile},
        events::{self, Ended, Form, Printer},
    },
    config::{
        Loaded,
        diagnostic::{Diagnostic, Severity},
    },
    env,
    errors::{Exit, Fatal},
    log,
    runtime::{self, Listener, Setup},
    service::Service,
};

/// `pyinotifyd run`, and `pyinotifyd` alone.
pub(crate) fn run(options: &cli::Run) -> Result<Exit, Fatal> {
    let file = config_file::choose(options.config.as_deref(), Path::exists)
        .map_err(|error| Fatal::new(&error).hint("name one with --config, or write one of them"))?;
    let loaded = match check::read(&file) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return Ok(check::refuse(&diagnostics, &file)),
    };
    let debug = options.debug;
    prepare()?;
    let _log = start_log(log_settings(&loaded, debug))?;
    tell(&loaded.warnings);
    runtime::run(Setup {
        plan: Arc::new(loaded.plan),
        dry_run: options.dry_run,
        listener: None,
        reload: Some(Box::new(move || reload(&file, debug))),
        service: service(),
    })
}

/// `pyinotifyd watch`.
pub(crate) fn watch(options: &cli::Watch) -> Result<Exit, Fatal> {
    let cpus = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let plan = adhoc::plan(options, cpus)?;
    prepare()?;
    let level = if options.debug { Level::Debug } else { Level::Info };
    let _log = start_log(log::LogSettings { level, ..Default::default() })?;
    let dry_run = options.dry_run;
    runtime::run(Setup {
        plan: Arc::new(plan),
        dry_run,
        listener: None,
        reload: None,
        service: service(),
    })
}

/// `pyinotifyd events`.
pub(crate) fn events(options: &cli::Events) -> Result<Exit, Fatal> {
    let plan = events::plan(options)?;
    let no_color = std::env::var_os(env::NO_COLOR);
    let form = Form::new(options, io::stdout().is_terminal(), no_color.as_deref());
    prepare()?;
    let _log = start_log(log::LogSettings { level: Level::Warning, ..Default::default() })?;
    // Unbuffered: the printer keeps what belongs together.
    let printer = Printer::new(io::stdout(), form);
    let listener: Option<Box<dyn Listener>> = Some(Box::new(printer));
    runtime::run(Setup {
        plan: Arc::new(plan),
        dry_run: false,
        listener,
        reload: None,
        service: service(),
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

/// What has to be so before the first thread starts: commands inherit it.
fn prepare() -> Result<(), Fatal> {
    let failed = |what: &str, error: &io::Error| Fatal::text(format!("cannot {what}: {error}"));
    process::reset_signals().map_err(|error| failed("reset the signals", &error))?;
    process::seal_descriptors().map_err(|error| failed("seal the descriptors", &error))
}

fn start_log(settings: log::LogSettings) -> Result<log::Guard, Fatal> {
    log::init(settings).map_err(|error| Fatal::text(format!("cannot start the log: {error}")))
}

/// Only after the log has started: that there is no way to the manager is said there.
fn service() -> Service {
    Service::new(std::env::var_os(env::NOTIFY_SOCKET))
}

/// Reads the configuration anew. One that is not good changes nothing.
fn reload(file: &ConfigFile, debug: bool) -> Option<Arc<Plan>> {
    match check::read(file) {
        Ok(loaded) => {
            log::reconfigure(log_settings(&loaded, debug));
            tell(&loaded.warnings);
            Some(Arc::new(loaded.plan))
        }
        Err(diagnostics) => {
            tell(&diagnostics);
            ::log::error!("{}: not reloaded, what was in force stays so", file.path.display());
            None
        }
    }
}

fn log_settings(loaded: &Loaded, debug: bool) -> log::LogSettings {
    let settings = loaded.settings.log.clone();
    if debug { settings.debugging() } else { settings }
}

fn tell(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => ::log::error!("{}", diagnostic.one_line()),
            Severity::Warning => ::log::warn!("{}", diagnostic.one_line()),
        }
    }
}
