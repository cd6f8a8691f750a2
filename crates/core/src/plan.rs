//! What a configuration means: immutable, checked, and the same for every configuration language.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    event::{EventType, Mask},
    filerule::FileRule,
    filter::Filter,
    task::OrderKind,
    template::{ShellTemplate, Template},
};

/// The number of a Watch in [`Plan::watches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u16);

/// The number of a scheduler in [`Plan::schedulers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedulerId(pub u16);

/// What to watch and what to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order in which an event is offered to them.
    pub watches: Vec<Watch>,
    /// Names are unique.
    pub schedulers: Vec<Scheduler>,
    /// How long a stop waits for running and pending tasks, in all.
    pub shutdown_timeout: Duration,
    /// How many runs at once, over all schedulers.
    pub slots: NonZeroUsize,
    /// The daemon's own name in the log.
    pub logname: Arc<str>,
}

impl Plan {
    /// A Watch by its number.
    #[must_use]
    pub fn watch(&self, id: WatchId) -> &Watch {
        &self.watches[usize::from(id.0)]
    }

    /// A scheduler by its number.
    #[must_use]
    pub fn scheduler(&self, id: SchedulerId) -> &Scheduler {
        &self.schedulers[usize::from(id.0)]
    }

    /// The Watches and their numbers.
    pub fn watches(&self) -> impl Iterator<Item = (WatchId, &Watch)> {
        (0..).map(WatchId).zip(&self.watches)
    }

    /// The schedulers and their numbers.
    pub fn schedulers(&self) -> impl Iterator<Item = (SchedulerId, &Scheduler)> {
        (0..).map(SchedulerId).zip(&self.schedulers)
    }
}

/// What to watch, and what its events mean.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Absolute, normalized; each name may be a glob.
    pub paths: Vec<PathPattern>,
    /// Whether directories that are there are watched with all that is below them.
    pub rec: bool,
    /// Whether directories that come later are watched with all that is below them.
    pub auto_add: bool,
    /// Which paths give events; excluded directories are not watched.
    pub filter: Filter,
    /// Which event does what.
    pub map: EventMap,
    /// Event types that are handed to whoever listens (`pyinotifyd events`), besides the map's.
    pub listen: Mask,
}

impl Watch {
    /// The event types that anything is to happen for.
    #[must_use]
    pub fn wanted(&self) -> Mask {
        self.map.mask().with(self.listen)
    }
}

/// An absolute path whose names may be globs.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// As normalized from what the user wrote.
    pub source: Arc<[u8]>,
    /// From the top; empty for `/`.
    pub names: Vec<NamePattern>,
}

/// One name of a [`PathPattern`].
#[derive(Clone, Debug)]
pub enum NamePattern {
    /// This name.
    Literal(Box<[u8]>),
    /// Any name that the glob matches (`*`, `?`, `[…]`, `{…}`). As in a shell, a leading dot is
    /// only matched by a dot.
    Glob(crate::filter::Glob),
}

/// Event type → what to ask of which scheduler, in order.
#[derive(Clone, Debug, Default)]
pub struct EventMap {
    /// By [`EventType`], in its order.
    pub bindings: [Vec<Binding>; 15],
}

/// One entry of an event map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// What to ask.
    pub kind: OrderKind,
    /// Of which scheduler.
    pub scheduler: SchedulerId,
}

impl EventMap {
    /// What an event of this type asks.
    #[must_use]
    pub fn get(&self, event_type: EventType) -> &[Binding] {
        &self.bindings[event_type as usize]
    }

    /// Appends an entry.
    pub fn bind(&mut self, event_type: EventType, binding: Binding) {
        self.bindings[event_type as usize].push(binding);
    }

    /// The types that ask for anything.
    #[must_use]
    pub fn mask(&self) -> Mask {
        EventType::ALL.into_iter().filter(|it| !self.get(*it).is_empty()).collect()
    }
}

/// When a task runs, and what it does.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Scheduler {
    /// Unique; in `PYINOTIFYD_SCHEDULER` and `{scheduler}`.
    pub name: Arc<str>,
    /// Its name in the log.
    pub logname: Arc<str>,
    /// Whether events of anything but directories are taken.
    pub files: bool,
    /// Whether events of directories are taken.
    pub dirs: bool,
    /// Which paths are taken.
    pub filter: Filter,
    /// How long a task waits before it starts; another event starts the wait anew.
    pub delay: Duration,
    /// The longest that re-scheduling can put a task off, from the first event.
    pub max_wait: Option<Duration>,
    /// Whether all events are about one subject, so that there is one task at most.
    pub singlejob: bool,
    /// What an event does while its subject's task runs.
    pub busy: Busy,
    /// How many runs at once; [`UNLIMITED`](Self::UNLIMITED): as many as there are, and they take
    /// none of the daemon's slots.
    pub slots: NonZeroUsize,
    /// How long a run may take.
    pub timeout: Option<Duration>,
    /// How long after `SIGTERM` comes `SIGKILL`.
    pub kill_after: Duration,
    /// Whether a failed run is tried again.
    pub retry: Retry,
    /// Whether a waiting task goes on under its subject's new path when that is renamed.
    pub follow: bool,
    /// When to suspect that a task's own run triggers it; `None`: never.
    pub breaker: Option<Breaker>,
    /// Whether tasks that are due together run together.
    pub batch: Option<Batch>,
    /// What becomes of a run that was cut off by the end of the daemon, if tasks are kept.
    pub on_crash: OnCrash,
    /// What has to hold before a task starts; each of these.
    pub ready: Vec<Ready>,
    /// What a run does.
    pub action: Action,
}

/// A condition that a task waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Nobody has the file open for writing.
    Closed,
    /// Size and times of the file have not changed for so long.
    Quiet(Duration),
    /// There is something at this path, which is absolute.
    DoneFile(Template),
}

/// What an event does while its subject's task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Busy {
    /// The task runs once more afterwards, after its delay.
    Again,
    /// The event is dropped, with a warning.
    Skip,
    /// Another task of the same subject starts beside it.
    Parallel,
    /// The run is stopped, and the task starts anew, after its delay.
    Restart,
}

/// What becomes of a run that the end of the daemon cut off: nobody knows how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnCrash {
    /// It runs again: at least once.
    #[default]
    Rerun,
    /// It is reported, and not run again: at most once.
    Report,
}

/// How often, and after how long, a failed run is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Runs in all; 1: no retry.
    pub tries: u32,
    /// The wait before the second run; doubled before each further one.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

impl Retry {
    /// No retry.
    pub const NONE: Self =
        Self { tries: 1, backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(3600) };
}

/// Guards against a task whose run triggers it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// This many runs of one subject in a row, each ordered while the one before ran or within
    /// `within` of its end.
    pub runs: u32,
    /// See `runs`.
    pub within: Duration,
    /// How long the subject's orders are held back once it has tripped. What was held back runs
    /// once afterwards: nothing is lost.
    pub rest: Duration,
}

impl Breaker {
    /// What is guarded against unless something else is said. What a run does to its own file is
    /// told while it runs or a moment later; somebody else who writes to it again and again is
    /// seldom so punctual, fifty times in a row.
    pub const DEFAULT: Self =
        Self { runs: 50, within: Duration::from_millis(10), rest: Duration::from_secs(60) };
}

/// Many paths to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The most tasks in one run.
    pub max_items: NonZeroUsize,
    /// How the command gets the paths.
    pub input: BatchInput,
}

/// How a batch's paths reach its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchInput {
    /// As arguments in place of `{pathname}`; split over several commands where the kernel's limit
    /// on arguments asks for it.
    Args,
    /// On standard input, each ended by NUL.
    Stdin,
}

/// What a run does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Runs a program, without a shell.
    Exec(Exec),
    /// Runs a command line in `/bin/sh`.
    Shell(Shell),
    /// Applies the first of these rules that matches.
    Rules(Vec<FileRule>),
    /// Writes a line to the log.
    Log(LogLine),
    /// Runs a job of a config.py, in the host of its Python.
    Hosted(Job),
}

impl Scheduler {
    /// For [`slots`](Self::slots): runs that are no processes need no limit.
    pub const UNLIMITED: NonZeroUsize = NonZeroUsize::MAX;

    /// The rules of the file manager, if its action is those.
    #[must_use]
    pub fn rules(&self) -> &[FileRule] {
        match &self.action {
            Action::Rules(rules) => rules,
            Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => &[],
        }
    }
}

/// A callable of a config.py.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What its host knows it by.
    pub id: u64,
    /// What people know it by: `task`, `Uploads.job`.
    pub name: Arc<str>,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The program, then its arguments; never empty.
    pub argv: Vec<Template>,
    /// How it is run.
    pub process: Process,
}

/// A command line for `/bin/sh`.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The command line.
    pub command: ShellTemplate,
    /// How it is run.
    pub process: Process,
}

/// A line for the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// The line.
    pub message: Template,
    /// Its level.
    pub level: Level,
}

/// A variable of the environment: its name, and its value; `None`: it is taken out.
pub type Variable = (Box<[u8]>, Option<Box<[u8]>>);

/// How a command is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// As whom; `None`: as the daemon.
    pub user: Option<User>,
    /// Group id; `None`: the user's, else the daemon's.
    pub group: Option<u32>,
    /// What it has in its environment other than the daemon.
    pub env: Vec<Variable>,
    /// Working directory; `None`: the daemon's.
    pub cwd: Option<Box<[u8]>>,
    /// File mode creation mask; `None`: the daemon's.
    pub umask: Option<u32>,
    /// Added to the daemon's niceness, -20 to 19.
    pub nice: Option<i32>,
    /// Limits by `getrlimit(2)`: the resource's name in lower case (`nofile`), soft and hard.
    pub rlimits: Vec<(Box<str>, u64)>,
    /// Where what it prints goes.
    pub output: Output,
}

/// A user, looked up when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User name, for the supplementary groups.
    pub name: Box<str>,
    /// User id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// Home directory, for `HOME`.
    pub home: Box<[u8]>,
    /// Login shell, for `SHELL`.
    pub shell: Box<[u8]>,
}

/// Where a command's standard output and error go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Line by line to the log at this level; the last lines are in the report of a failure.
    Log(Level),
    /// The daemon's own standard output and error, as the original does.
    #[default]
    Inherit,
    /// Nowhere.
    Discard,
}

/// A level of the log, most severe last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For finding out what the program does.
    Debug,
    /// What it does.
    Info,
    /// Unexpected, but nothing was lost.
    Warning,
    /// Something was lost, or somebody has to act.
    Error,
    /// It cannot go on.
    Critical,
}

impl Level {
    /// The name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}
