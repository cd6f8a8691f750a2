//! `pyinotifyd check` and `-t`: all mistakes of a configuration at once.
//!
//! Decides what is said, where to, and with which exit status; what a mistake is, [`config`]
//! decides. `check` writes what it finds to standard output, since that is what it is for; `-t`
//! writes it to standard error, as the original does.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    path::Path,
    sync::Arc,
};

use pyinotifyd_core::{count::Count, path::OneLine};
use serde_json::json;

use super::{
    Check, CheckFormat, CheckManner,
    config_file::{self, ConfigFile, Language},
    terminal::{self, Look},
};
use crate::{
    config::{
        self, Loaded,
        convert::Converted,
        diagnostic::{Diagnostic, Severity, render_all},
        document::{Place, Source},
        environment::Environment,
    },
    env,
    errors::{Exit, Fatal, shown_path},
    host::{
        self,
        start::{Connected, Options},
    },
};

/// Checks a configuration.
///
/// # Errors
///
/// No configuration was named and there is none, or nothing can be written.
pub(crate) fn run(check: &Check) -> Result<Exit, Fatal> {
    let file = config_file::choose(check.file.as_deref(), Path::exists).map_err(|none| {
        none.fatal("write one of them, or name another").exit(mistaken(check.manner))
    })?;
    let options = Options::new(check.python.clone(), false);
    let found = read(&file, &options).map(Read::into_loaded);
    let is_terminal = match check.manner {
        CheckManner::Check => io::stdout().is_terminal(),
        CheckManner::Configtest => io::stderr().is_terminal(),
    };
    let answer = answer(check, &file, &found, Look::new().has_colours(is_terminal));
    // Nobody is left to tell when this fails.
    let _ = io::stderr().write_all(answer.stderr.as_bytes());
    terminal::print(&answer.stdout)?;
    Ok(answer.exit)
}

/// Shows why the daemon does not start with a configuration.
pub(crate) fn refuse(diagnostics: &[Diagnostic], file: &ConfigFile) -> Exit {
    let colour = Look::new().has_colours(io::stderr().is_terminal());
    let text = render_all(diagnostics, &shown_path(&file.path).to_string(), colour);
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "{text}");
    Exit::Failure
}

/// A configuration that can be used.
#[derive(Debug)]
pub(crate) struct Read {
    /// What it means.
    pub loaded: Loaded,
    /// Where a config.py lives.
    pub host: Option<Connected>,
}

impl Read {
    /// What it means, for who does not want it to be carried out.
    pub(crate) fn into_loaded(self) -> Loaded {
        if let Some(host) = self.host {
            host.dismiss();
        }
        self.loaded
    }
}

/// Reads a config.py, and writes it as config.toml.
///
/// # Errors
///
/// All that is wrong with it.
pub(crate) fn convert(file: &ConfigFile, options: &Options) -> Result<Converted, Vec<Diagnostic>> {
    let environment = environment();
    match file.language {
        Language::Toml => {
            let source = Arc::new(Source { name: shown_path(&file.path).to_string(), text: None });
            let message = "this is no config.py: it ends with .toml";
            Err(vec![Diagnostic::error(&Place::file(&source), message)])
        }
        Language::Python => {
            let (loaded, host) = host::start::load(&file.path, options, &environment)?;
            let logging = loaded.settings.log.governed.unwrap_or_default();
            let converted =
                host::start::convert(&file.path, &host.description, &logging, &environment);
            host.dismiss();
            converted
        }
    }
}

/// Reads a configuration, in whichever language it is, and adds what is to be said about the
/// choice of the file.
///
/// # Errors
///
/// All that is wrong; at least one of them is a mistake.
pub(crate) fn read(file: &ConfigFile, options: &Options) -> Result<Read, Vec<Diagnostic>> {
    let environment = environment();
    let mut found = match file.language {
        Language::Toml => {
            config::load(&file.path, &environment).map(|loaded| Read { loaded, host: None })
        }
        Language::Python => host::start::load(&file.path, options, &environment)
            .map(|(loaded, host)| Read { loaded, host: Some(host) }),
    };
    if let Some(other) = &file.passed_over {
        let source = Arc::new(Source { name: shown_path(other).to_string(), text: None });
        let warning = Diagnostic::warning(&Place::file(&source), "this file is not read")
            .hint(format!("{} comes first", shown_path(&file.path)));
        match &mut found {
            Ok(read) => read.loaded.warnings.push(warning),
            Err(diagnostics) => diagnostics.push(warning),
        }
    }
    found
}

/// The world that configurations are checked against.
pub(crate) fn environment() -> Environment {
    Environment::new(std::env::var_os(env::STATE_DIRECTORY).as_deref())
}

/// What is written, and the exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    stdout: String,
    stderr: String,
    exit: Exit,
}

fn answer(
    check: &Check,
    file: &ConfigFile,
    found: &Result<Loaded, Vec<Diagnostic>>,
    colour: bool,
) -> Answer {
    let name = shown_path(&file.path).to_string();
    let diagnostics = match found {
        Ok(loaded) => &loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    let good = found.is_ok() && (diagnostics.is_empty() || !check.strict);
    let mut said = match (check.format, diagnostics.as_slice()) {
        (CheckFormat::Text, []) => String::new(),
        (CheckFormat::Text, _) => render_all(diagnostics, &name, colour) + "\n",
        (CheckFormat::Json, _) => diagnostics.iter().map(json_line).collect(),
    };
    let exit = if good { Exit::Success } else { mistaken(check.manner) };
    match check.manner {
        CheckManner::Configtest => {
            let stdout = if good { "config file ok\n".to_owned() } else { String::new() };
            Answer { stdout, stderr: said, exit }
        }
        CheckManner::Check => {
            if let (Ok(loaded), true, CheckFormat::Text) = (found, good, check.format) {
                let watches = Count(loaded.plan.watches.len(), "watch", "watches");
                let schedulers = Count(loaded.plan.schedulers.len(), "scheduler", "schedulers");
                writeln!(said, "{}: ok, {watches}, {schedulers}", OneLine(&name))
                    .expect("a String takes all");
            }
            Answer { stdout: said, stderr: String::new(), exit }
        }
    }
}

/// The exit status that means mistakes.
fn mistaken(manner: CheckManner) -> Exit {
    match manner {
        CheckManner::Configtest => Exit::Failure,
        CheckManner::Check => Exit::Config,
    }
}

/// A mistake for programs: `file`, `line` and `column` (from 1, or null), `severity`, `message`,
/// `label`, `hints`, `traceback` (or null).
fn json_line(diagnostic: &Diagnostic) -> String {
    let position = diagnostic.position();
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let line = json!({
        "file": diagnostic.place.source.name,
        "line": position.map(|(line, _)| line),
        "column": position.and_then(|(_, column)| column),
        "severity": severity,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "hints": diagnostic.hints,
        "traceback": diagnostic.traceback,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[scheduler.list]\nexec = [\"/bin/ls\", \"{pathname}\"]\n
[[watch]]\npath = \"/srv/in\"\nevent_map = { IN_CREATE = \"list\" }\n";

    const WARNS: &str = "\
[scheduler.list]\nexec = [\"/bin/ls\", \"{pathnam}\"]\n
[[watch]]\npath = \"/srv/in\"\nevent_map = { IN_CREATE = \"list\" }\n";

    const BAD: &str = "\
[scheduler.list]\nexec = []\ndelay = \"soon\"\n
[[watch]]\npath = \"srv\"\nevent_map = { IN_CREAT = \"list\" }\n";

    fn page(manner: CheckManner, format: CheckFormat, strict: bool) -> String {
        let path = "config.toml".into();
        let file = ConfigFile { path, language: Language::Toml, passed_over: None };
        let check = Check { file: None, python: None, strict, format, manner };
        let mut page = String::new();
        for text in [GOOD, WARNS, BAD] {
            let found = config::parse_str("config.toml", text, &Environment::new(None));
            let Answer { stdout, stderr, exit } = answer(&check, &file, &found, false);
            write!(page, "--- stdout\n{stdout}--- stderr\n{stderr}--- {exit:?}\n\n").unwrap();
        }
        page
    }

    #[test]
    fn a_default_that_is_not_read_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let told = [GOOD, BAD].map(|text| {
            std::fs::write(&path, text).unwrap();
            let passed_over = Some("/etc/pyinotifyd/other\n.toml".into());
            let file = ConfigFile { path: path.clone(), language: Language::Toml, passed_over };
            let all = match read(&file, &Options::new(None, false)) {
                Ok(read) => read.loaded.warnings,
                Err(diagnostics) => diagnostics,
            };
            all.last().unwrap().one_line()
        });
        let at = dir.path().to_str().unwrap();
        assert_eq!(
            told.map(|it| it.replace(at, "@")),
            [r"/etc/pyinotifyd/other\n.toml: this file is not read; help: @/config.toml comes first";
                2]
        );
    }

    #[test]
    fn a_linter_answers_on_stdout() {
        insta::assert_snapshot!(page(CheckManner::Check, CheckFormat::Text, false));
    }

    #[test]
    fn programs_get_an_object_a_line() {
        let page = page(CheckManner::Check, CheckFormat::Json, true);
        for line in page.lines().filter(|it| it.starts_with('{')) {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        insta::assert_snapshot!(page);
    }

    #[test]
    fn the_originals_flag_answers_as_the_original() {
        insta::assert_snapshot!(page(CheckManner::Configtest, CheckFormat::Text, false));
    }
}
