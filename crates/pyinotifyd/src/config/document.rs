//! What was written: plain data, every value with its place.
//!
//! Both languages end here. `toml` builds a [`Document`] from config.toml; the host of a config.py
//! describes its objects as one, with lines for places. What the values mean, and whether they
//! make sense together, is decided by `lower` alone, so a document may say anything that its types
//! can hold: a negative delay, a scheduler that does not exist, two actions at once.
//!
//! What is not written is `None`, and takes the default of `config.toml`. A language with other
//! defaults writes every value out.

use std::{fmt, ops::Range, sync::Arc};

/// A file that a configuration was read from.
#[derive(PartialEq, Eq)]
pub(crate) struct Source {
    /// As shown to people.
    pub(crate) name: String,
    /// Its text; `None` if it is not at hand.
    pub(crate) text: Option<String>,
}

/// Short: a text of a thousand lines helps nobody in a panic message.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.name)
    }
}

/// Where something was written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// In which file.
    pub(crate) source: Arc<Source>,
    /// Where in it.
    pub(crate) at: At,
}

/// A position in a [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// These bytes of the text.
    Span(Range<usize>),
    /// This line; the first is 1.
    Line(usize),
    /// The file as a whole.
    File,
}

impl Place {
    /// The file as a whole.
    pub(crate) fn file(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), at: At::File }
    }

    /// These bytes of the file's text.
    pub(crate) fn span(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self { source: Arc::clone(source), at: At::Span(span) }
    }

    /// A line of the file; the first is 1.
    pub(crate) fn line(source: &Arc<Source>, line: usize) -> Self {
        Self { source: Arc::clone(source), at: At::Line(line) }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Span(span) => write!(f, "{}@{}..{}", self.source.name, span.start, span.end),
            At::Line(line) => write!(f, "{}:{line}", self.source.name),
            At::File => f.write_str(&self.source.name),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it was written.
    pub(crate) place: Place,
}

impl<T> Spot<T> {
    /// A value at a place.
    pub(crate) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// What may or may not be written.
pub(crate) type Maybe<T> = Option<Spot<T>>;

/// Names of keys.
pub(crate) type Lost = Vec<&'static str>;

/// A whole configuration.
///
/// `lost`, here and in its parts, are the keys that were written in a way that nobody could read,
/// and were reported already: they are not there, but nobody has to complain about it again.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) source: Arc<Source>,
    /// Whether its regular expressions are Python's `re`, which can be asked at run time, and
    /// nothing else: whether it is a config.py.
    pub(crate) has_python: bool,
    /// Whether anything at all may have been lost.
    pub(crate) broken: bool,
    pub(crate) lost: Lost,
    pub(crate) shutdown_timeout: Maybe<DocDuration>,
    pub(crate) state_dir: Maybe<Vec<u8>>,
    pub(crate) control_socket: Maybe<Vec<u8>>,
    pub(crate) metrics_listen: Maybe<String>,
    pub(crate) slots: Maybe<i128>,
    pub(crate) logname: Maybe<String>,
    pub(crate) log: DocLog,
    /// In the order in which they were written.
    pub(crate) schedulers: Vec<DocScheduler>,
    /// In the order in which they were written.
    pub(crate) watches: Vec<DocWatch>,
}

/// A time span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DocDuration {
    /// A number of seconds.
    Seconds(f64),
    /// Words: `1h30m`.
    Text(String),
}

/// Permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocMode {
    /// The bits, written in a way that leaves no doubt.
    Bits(i128),
    /// A decimal number in a language where an octal one looks different: most likely a mistake.
    Decimal(i128),
    /// Octal digits.
    Text(String),
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocAccount {
    /// By name.
    Name(String),
    /// By id.
    Id(i128),
}

/// The program's log.
#[derive(Debug, Default)]
pub(crate) struct DocLog {
    pub(crate) level: Maybe<String>,
    pub(crate) levels: Vec<(Spot<String>, Spot<String>)>,
    pub(crate) format: Maybe<String>,
    pub(crate) syslog: Option<DocSyslog>,
}

/// Where syslog is, and what it gets.
#[derive(Debug)]
pub(crate) struct DocSyslog {
    pub(crate) address: Maybe<String>,
    pub(crate) level: Maybe<String>,
    pub(crate) facility: Maybe<String>,
}

/// A scheduler.
#[derive(Debug)]
pub(crate) struct DocScheduler {
    pub(crate) name: Spot<String>,
    pub(crate) lost: Lost,
    /// All that were written; exactly one is right.
    pub(crate) actions: Vec<DocAction>,
    pub(crate) log_level: Maybe<String>,
    pub(crate) delay: Maybe<DocDuration>,
    pub(crate) max_wait: Maybe<DocDuration>,
    pub(crate) ready: Vec<Spot<String>>,
    pub(crate) files: Maybe<bool>,
    pub(crate) dirs: Maybe<bool>,
    pub(crate) include_filter: Vec<Spot<DocMatcher>>,
    pub(crate) exclude_filter: Vec<Spot<DocMatcher>>,
    pub(crate) singlejob: Maybe<bool>,
    pub(crate) busy: Maybe<String>,
    pub(crate) slots: Maybe<i128>,
    pub(crate) timeout: Maybe<DocDuration>,
    pub(crate) kill_after: Maybe<DocDuration>,
    pub(crate) retry: Option<DocRetry>,
    pub(crate) follow: Maybe<bool>,
    pub(crate) breaker: Option<DocSwitch<DocBreaker>>,
    pub(crate) batch: Option<DocSwitch<DocBatch>>,
    pub(crate) on_crash: Maybe<String>,
    pub(crate) logname: Maybe<String>,
    pub(crate) process: DocProcess,
}

impl DocScheduler {
    /// A scheduler of which only the name is known.
    pub(crate) fn new(name: Spot<String>) -> Self {
        Self {
            name,
            lost: Lost::new(),
            actions: Vec::new(),
            log_level: None,
            delay: None,
            max_wait: None,
            ready: Vec::new(),
            files: None,
            dirs: None,
            include_filter: Vec::new(),
            exclude_filter: Vec::new(),
            singlejob: None,
            busy: None,
            slots: None,
            timeout: None,
            kill_after: None,
            retry: None,
            follow: None,
            breaker: None,
            batch: None,
            on_crash: None,
            logname: None,
            process: DocProcess::default(),
        }
    }
}

/// What a scheduler does.
#[derive(Debug)]
pub(crate) enum DocAction {
    /// `exec`: a program and its arguments.
    Exec(Spot<Vec<Spot<String>>>),
    /// `shell`: a command line.
    Shell(Spot<String>),
    /// `rules`: the file manager.
    Rules(Spot<Vec<DocRule>>),
    /// `log`: a line for the log.
    Log(Spot<String>),
    /// A task in Python.
    Hosted(Spot<DocJob>),
}

/// A callable of a config.py.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocJob {
    /// What its host knows it by.
    pub(crate) id: u64,
    /// What people know it by.
    pub(crate) name: String,
}

impl DocAction {
    /// The word it is written with.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Shell(_) => "shell",
            Self::Rules(_) => "rules",
            Self::Log(_) => "log",
            Self::Hosted(_) => "TaskScheduler",
        }
    }

    /// Where it was written.
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Exec(spot) => &spot.place,
            Self::Shell(spot) | Self::Log(spot) => &spot.place,
            Self::Rules(spot) => &spot.place,
            Self::Hosted(spot) => &spot.place,
        }
    }
}

/// Something that can be switched off, on, or on with particulars.
#[derive(Debug)]
pub(crate) enum DocSwitch<T> {
    /// `true` or `false`.
    Plain(Spot<bool>),
    /// A table.
    With(T),
}

/// Whether a failed run is tried again.
#[derive(Debug)]
pub(crate) struct DocRetry {
    pub(crate) tries: Maybe<i128>,
    pub(crate) backoff: Maybe<DocDuration>,
    pub(crate) max_backoff: Maybe<DocDuration>,
}

/// When a scheduler is suspected to trigger itself.
#[derive(Debug)]
pub(crate) struct DocBreaker {
    pub(crate) runs: Maybe<i128>,
    pub(crate) within: Maybe<DocDuration>,
    pub(crate) rest: Maybe<DocDuration>,
}

/// Many paths to one command.
#[derive(Debug)]
pub(crate) struct DocBatch {
    pub(crate) place: Place,
    pub(crate) max_items: Maybe<i128>,
    pub(crate) input: Maybe<String>,
}

/// How a command is run.
#[derive(Debug, Default)]
pub(crate) struct DocProcess {
    pub(crate) user: Maybe<DocAccount>,
    pub(crate) group: Maybe<DocAccount>,
    /// `None`: taken out of the environment.
    pub(crate) env: Vec<(Spot<String>, Maybe<Vec<u8>>)>,
    pub(crate) cwd: Maybe<Vec<u8>>,
    pub(crate) umask: Maybe<DocMode>,
    pub(crate) nice: Maybe<i128>,
    pub(crate) rlimits: Vec<(Spot<String>, Spot<DocLimit>)>,
    pub(crate) output: Maybe<String>,
    pub(crate) output_level: Maybe<String>,
}

/// A limit of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocLimit {
    /// In the resource's own unit.
    Number(i128),
    /// `unlimited`.
    Text(String),
}

/// A rule of the file manager.
#[derive(Debug)]
pub(crate) struct DocRule {
    pub(crate) place: Place,
    pub(crate) lost: Lost,
    pub(crate) action: Maybe<String>,
    pub(crate) src_re: Maybe<String>,
    pub(crate) dst_re: Maybe<String>,
    /// What Python's `re` has against them, as far as it was asked.
    pub(crate) fault: Option<DocFault>,
    pub(crate) auto_create: Maybe<bool>,
    pub(crate) overwrite: Maybe<bool>,
    pub(crate) filemode: Maybe<DocMode>,
    pub(crate) dirmode: Maybe<DocMode>,
    pub(crate) user: Maybe<DocAccount>,
    pub(crate) group: Maybe<DocAccount>,
    pub(crate) rec: Maybe<bool>,
}

/// What Python's `re` has against a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocFault {
    /// Whether it is about `dst_re`.
    pub(crate) in_destination: bool,
    /// In its words.
    pub(crate) message: String,
}

/// A Watch.
#[derive(Debug)]
pub(crate) struct DocWatch {
    pub(crate) place: Place,
    pub(crate) lost: Lost,
    pub(crate) path: Maybe<Vec<Spot<Vec<u8>>>>,
    pub(crate) rec: Maybe<bool>,
    pub(crate) auto_add: Maybe<bool>,
    pub(crate) include_filter: Vec<Spot<DocMatcher>>,
    pub(crate) exclude_filter: Vec<Spot<DocMatcher>>,
    pub(crate) event_map: Maybe<Vec<DocBinding>>,
}

/// One condition of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocMatcher {
    /// A regular expression.
    Regex(String),
    /// A glob.
    Glob(String),
    /// A file with one regular expression a line.
    File(Vec<u8>),
}

/// An entry of an event map: what one event type asks.
#[derive(Debug)]
pub(crate) struct DocBinding {
    /// An event type's name, or `default` for all that have no entry.
    pub(crate) event: Spot<String>,
    /// Empty: such events are ignored.
    pub(crate) orders: Vec<DocOrder>,
}

/// What is asked of which scheduler.
#[derive(Debug)]
pub(crate) enum DocOrder {
    /// To run.
    Schedule(Spot<String>),
    /// To give up.
    Cancel(Spot<String>),
}
