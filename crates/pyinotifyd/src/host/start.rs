//! A host, from its start to the moment at which it is known what config.py built.
//!
//! All of this blocks, for as long as config.py takes: it belongs on a thread of its own once the
//! loop runs.

use std::{
    ffi::{CString, OsStr, OsString},
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pyinotifyd_core::time::Human;
use pyinotifyd_sys::process::{self, Child, Ended, Spawn};

use super::{
    find::Clues,
    package,
    wire::{Decoder, Frames, FromHost, Logging, ToHost, WireError},
};
use crate::{
    config::{
        Loaded, PythonFile, convert::Converted, diagnostic::Diagnostic, environment::Environment,
    },
    env,
    errors::{shown_path, words},
    json::Value,
    log::{Governed, LogSettings},
};

/// So long a config.py may take until it is known what it built.
const PATIENCE: Duration = Duration::from_secs(60);

/// So long a host has to end by itself once nobody speaks to it any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a host is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Which Python.
    pub(crate) clues: Clues,
    /// Whether `--debug` was given.
    pub(crate) debug: bool,
}

impl Options {
    /// With what the environment says.
    pub(crate) fn new(python: Option<PathBuf>, debug: bool) -> Self {
        let program = std::env::current_exe().ok();
        let clues = Clues {
            named: python,
            variable: std::env::var_os(env::PYTHON),
            virtual_env: std::env::var_os(env::VIRTUAL_ENV),
            program: program.and_then(|it| it.parent().map(Path::to_owned)),
            path: std::env::var_os(env::PATH),
        };
        Self { clues, debug }
    }
}

/// A host whose config.py is good.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) process: Process,
    pub(super) link: UnixStream,
    pub(super) decoder: Decoder,
    /// What it said besides, to be dealt with first.
    pub(super) said: Vec<FromHost>,
    /// Its own words for what config.py built.
    pub(crate) description: Value,
    /// The version of its Python.
    pub(crate) python: String,
}

impl Connected {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Lets it end: nobody needs more of it than its document.
    pub(crate) fn dismiss(self) {
        let Self { process, link, .. } = self;
        drop(link);
        process.end();
    }
}

#[cfg(test)]
impl Connected {
    /// One that takes what it is told, and says nothing.
    pub(crate) fn mute() -> Self {
        let (link, theirs) = UnixStream::pair().expect("there are descriptors");
        let nothing = std::fs::File::options().write(true).open("/dev/null").expect("it is there");
        let child = process::spawn(&Spawn {
            program: c"/bin/cat",
            argv: &[c"cat"],
            env: &[],
            cwd: None,
            stdio: [theirs.as_fd(), nothing.as_fd(), nothing.as_fd()],
            report: None,
        });
        Self {
            process: Process(child.expect("there is a cat")),
            link,
            decoder: Decoder::default(),
            said: Vec::new(),
            description: Value::Null,
            python: String::new(),
        }
    }
}

/// Its process. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process(pub(super) Child);

impl Process {
    /// Waits a moment until it has ended, then ends it.
    pub(super) fn end(mut self) {
        if !matches!(self.0.wait_timeout(FAREWELL), Ok(Some(_))) {
            ::log::warn!("Python has not ended by itself: it is killed");
            // With the drop of the child.
        }
    }

    /// How it ended; it is ended if it has not.
    pub(super) fn post_mortem(mut self) -> String {
        match self.0.wait_timeout(FAREWELL) {
            Ok(Some(Ended::Exited(status))) => format!("exit status {status}"),
            Ok(Some(Ended::Signalled(signal))) => format!("signal {signal}"),
            Ok(None) => "it closed its link".to_owned(),
            Err(error) => words(&error),
        }
    }
}

/// Starts a host, lets it run this config.py, and says what that means.
///
/// # Errors
///
/// All that is wrong with it.
pub(crate) fn load(
    path: &Path,
    options: &Options,
    environment: &Environment,
) -> Result<(Loaded, Connected), Vec<Diagnostic>> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let file = PythonFile::open(&path, environment)?;
    let no_python = |message: String| {
        vec![file.mistake(message).hint("name one with --python or $PYINOTIFYD_PYTHON")]
    };
    let python = options.clues.follow().map_err(|error| no_python(error.to_string()))?;
    let mut start = Start::spawn(&python).map_err(|error| {
        no_python(format!("cannot start {}: {}", shown_path(&python), words(&error)))
    })?;
    let heard =
        start.introduce(path.as_os_str().as_bytes(), options.debug).and_then(|()| start.listen());
    let Heard { python, logging, document } = match heard {
        Ok(Answer::Document(heard)) => heard,
        Ok(Answer::Refused(said)) => {
            start.process.end();
            return Err(file.refused(&said, environment));
        }
        Err(end) => {
            let (text, hint) = end.tell(&python, || start.process.post_mortem());
            return Err(vec![file.mistake(text).hint(hint)]);
        }
    };
    let mut loaded = file.described(&document, &cwd(&document), environment)?;
    loaded.settings.log = settings(logging);
    let Start { process, link, decoder, said } = start;
    Ok((loaded, Connected { process, link, decoder, said, description: document, python }))
}

/// What a config.py means when objects of it have changed.
///
/// # Errors
///
/// All that is wrong with it.
pub(crate) fn redescribe(
    path: &Path,
    description: &Value,
    environment: &Environment,
) -> Result<Loaded, Vec<Diagnostic>> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    PythonFile::open(&path, environment)?.described(description, &cwd(description), environment)
}

/// A config.py as config.toml.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn convert(
    path: &Path,
    description: &Value,
    logging: &Governed,
    environment: &Environment,
) -> Result<Converted, Vec<Diagnostic>> {
    let file = PythonFile::open(path, environment)?;
    Ok(file.converted(description, &cwd(description), logging, environment))
}

/// Where config.py has left its process: relative paths are below that.
fn cwd(description: &Value) -> PathBuf {
    let left = description.get("process").and_then(|it| it.get("cwd")).and_then(Value::bytes);
    match left {
        Some(cwd) => OsStr::from_bytes(cwd).into(),
        None => std::env::current_dir().unwrap_or_else(|_| "/".into()),
    }
}

/// How the daemon logs when Python's `logging` says so.
pub(crate) fn settings(logging: Logging) -> LogSettings {
    let Logging { levels, stderr, forward, apart } = logging;
    let governed = Some(Governed { levels, native: stderr, forward, apart });
    LogSettings { governed, ..LogSettings::default() }
}

struct Start {
    process: Process,
    link: UnixStream,
    decoder: Decoder,
    said: Vec<FromHost>,
}

struct Heard {
    python: String,
    logging: Logging,
    document: Value,
}

enum Answer {
    Document(Heard),
    Refused(Vec<Value>),
}

/// Why there is no answer.
enum End {
    Gone,
    Late,
    Odd(WireError),
}

impl End {
    /// What is said of it, and what helps. `how`: in which way the process has ended.
    fn tell(self, python: &Path, how: impl FnOnce() -> String) -> (String, String) {
        let python = shown_path(python);
        match self {
            Self::Gone => (
                format!("Python has ended ({}) before it had read the file", how()),
                format!("it was {python}; see what it printed"),
            ),
            Self::Late => (
                format!("the file has not been read within {}", Human(PATIENCE)),
                "what takes long belongs in a task, not in the configuration".to_owned(),
            ),
            Self::Odd(error) => (
                format!("Python was ended: {error}"),
                format!("it was {python}; is that a Python?"),
            ),
        }
    }
}

impl Start {
    fn spawn(python: &Path) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
        let program = text(python.as_os_str().as_bytes())?;
        let bootstrap = text(package::BOOTSTRAP.as_bytes())?;
        let env: Vec<CString> = variables().map(|it| text(&it)).collect::<Result<_, _>>()?;
        let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let child = process::spawn(&Spawn {
            program: &program,
            argv: &[&program, c"-c", &bootstrap],
            env: &env,
            cwd: None,
            stdio: [theirs.as_fd(), stdout.as_fd(), stderr.as_fd()],
            report: None,
        })
        .map_err(io::Error::other)?;
        let (decoder, said) = (Decoder::default(), Vec::new());
        Ok(Self { process: Process(child), link: ours, decoder, said })
    }

    fn introduce(&mut self, config: &[u8], debug: bool) -> Result<(), End> {
        let mut frames = Frames::default();
        let argv: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
        frames.push(&ToHost::Start { modules: package::MODULES, config, debug, argv: &argv });
        let gone = |_| End::Gone;
        self.link.set_write_timeout(Some(PATIENCE)).map_err(gone)?;
        self.link.write_all(&frames.take()).map_err(gone)
    }

    fn listen(&mut self) -> Result<Answer, End> {
        let deadline = Instant::now() + PATIENCE;
        let (mut version, mut how) = (String::new(), Logging::default());
        let mut buffer = vec![0; 64 << 10];
        loop {
            let Some(messages) = self.decoder.frame().map_err(End::Odd)? else {
                let read = self.read(deadline, &mut buffer)?;
                self.decoder.push(&buffer[..read]);
                continue;
            };
            let mut answer = None;
            for message in messages {
                match message {
                    FromHost::Hello { python } => version = python,
                    FromHost::Logging(logging) => how = logging,
                    FromHost::Document(document) if answer.is_none() => {
                        let heard = Heard {
                            python: std::mem::take(&mut version),
                            logging: std::mem::take(&mut how),
                            document,
                        };
                        answer = Some(Answer::Document(heard));
                    }
                    FromHost::Refused(said) => answer = Some(Answer::Refused(said)),
                    other => self.said.push(other),
                }
            }
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    fn read(&mut self, deadline: Instant, buffer: &mut [u8]) -> Result<usize, End> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.link.set_read_timeout(Some(left)).is_err() {
            return Err(End::Late);
        }
        match self.link.read(buffer) {
            Ok(0) => Err(End::Gone),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(End::Late),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(_) => Err(End::Gone),
        }
    }
}

/// `NAME=value`, without what is no business of tasks.
fn variables() -> impl Iterator<Item = Vec<u8>> {
    let kept =
        |name: &OsString| !env::NOT_FOR_TASKS.iter().any(|it| it.as_bytes() == name.as_bytes());
    std::env::vars_os()
        .filter(move |(name, _)| kept(name))
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// How a host is called in the log.
pub(crate) fn introduction(host: &Connected, path: &Path) -> String {
    let path = shown_path(path);
    format!("Python {} (process {}) runs {path}", host.python, host.pid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::heard;

    #[test]
    fn a_file_of_which_python_says_nothing_is_told_with_what_helps() {
        let mut odd = Decoder::default();
        odd.push(b"\x02\0\0\0{}");
        let ends = [End::Gone, End::Late, End::Odd(odd.frame().unwrap_err())];
        let told = ends.map(|end| {
            let (text, hint) = end.tell(Path::new("/venv/\n/python3"), || "signal 9".into());
            format!("{text}\n  {hint}")
        });
        insta::assert_snapshot!("ends", told.join("\n"));
    }

    #[test]
    fn a_host_that_does_not_end_by_itself_is_told_of() {
        let Connected { process, link, .. } = Connected::mute();
        let heard = heard(|| process.end());
        assert_eq!(heard, ["WARN - Python has not ended by itself: it is killed"]);
        drop(link);
    }
}
