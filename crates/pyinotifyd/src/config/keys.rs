//! Every key of config.toml, in one table.
//!
//! From here come the parser's match arms (one enum for each section, so a key that nobody reads
//! does not compile), the lists in "unknown key", the JSON schema, and the reference page.

/// A table of the configuration.
#[derive(Debug)]
pub(crate) struct Section {
    /// How people call it: `a scheduler`.
    pub(crate) title: &'static str,
    /// Its name in the JSON schema.
    pub(crate) name: &'static str,
    /// What can be written in it.
    pub(crate) keys: &'static [Key],
}

/// A key of a [`Section`].
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// Another word for the same.
    pub(crate) alias: Option<&'static str>,
    /// What can be written behind it.
    pub(crate) kind: Kind,
    /// What holds without it, as people read it; empty if there is nothing to say.
    pub(crate) default: &'static str,
    /// What it does, one sentence.
    pub(crate) doc: &'static str,
}

impl Section {
    /// All words that can be written in it.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|it| it.name)
    }

    /// The place in `keys` of what is written with this word.
    pub(crate) fn find(&self, word: &str) -> Option<usize> {
        self.keys.iter().position(|it| it.name == word || it.alias == Some(word))
    }
}

/// What can be written as a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A text.
    Text,
    /// An absolute path.
    Path,
    /// A whole number in this range.
    Count {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// A time span.
    Duration,
    /// Permission bits.
    Mode,
    /// A user or group, by name or id.
    Account,
    /// A regular expression.
    Regex,
    /// A level of the log.
    Level,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A path or a list of them.
    Paths,
    /// A regular expression, `{ glob = … }`, `{ file = … }`, or a list of those.
    Filter,
    /// A condition, or a list of them.
    Conditions,
    /// A scheduler's name, or a list of names.
    Names,
    /// `[event_map]`.
    EventMap,
    /// A table of texts or `false`.
    Env,
    /// A table of numbers or `"unlimited"`.
    Rlimits,
    /// A table of levels.
    Levels,
    /// A table.
    Table(&'static Section),
    /// Tables with names.
    Named(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// A table or a list of tables.
    TableOrTables(&'static Section),
    /// A number or a table.
    CountOr(&'static Section),
    /// `true`, `false` or a table.
    SwitchOr(&'static Section),
}

impl Kind {
    /// What to expect, for messages.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Bool => "`true` or `false`".into(),
            Self::Text => "a string".into(),
            Self::Path => "an absolute path in quotes".into(),
            Self::Count { .. } => "a whole number".into(),
            Self::Duration => "a duration such as \"30s\" or a number of seconds".into(),
            Self::Mode => "octal permission bits such as \"0644\"".into(),
            Self::Account => "a name in quotes or a numeric id".into(),
            Self::Regex => "a regular expression in quotes".into(),
            Self::Level => format!("a level: {}", super::words::one_of(LEVELS)),
            Self::Word(words) => super::words::one_of(words.iter().copied()),
            Self::Texts => "a list of strings".into(),
            Self::Paths => "a path in quotes or a list of paths".into(),
            Self::Filter => {
                "a regular expression in quotes, `{ glob = \"…\" }`, `{ file = \"…\" }`, or a \
                 list of those"
                    .into()
            }
            Self::Conditions => {
                "\"closed\", \"quiet:5s\", \"done-file:{pathname}.ok\", or a list of those".into()
            }
            Self::Names => "a scheduler's name or a list of names".into(),
            Self::EventMap => "a table of event types, such as `IN_CLOSE_WRITE = \"name\"`".into(),
            Self::Env => "a table of strings, or `false` to take a variable out".into(),
            Self::Rlimits => "a table of numbers, or \"unlimited\"".into(),
            Self::Levels => "a table of levels by logname".into(),
            Self::Table(section) | Self::Named(section) => format!("a table: {}", section.title),
            Self::Tables(section) | Self::TableOrTables(section) => {
                format!("a table or a list of tables: {}", section.title)
            }
            Self::CountOr(_) => "a whole number or a table".into(),
            Self::SwitchOr(_) => "`true`, `false` or a table".into(),
        }
    }
}

/// The levels of the log.
pub(crate) const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "critical"];
/// What an event does while its subject's task runs.
pub(crate) const BUSY: &[&str] = &["again", "skip", "parallel", "restart"];

/// What becomes of a run that the end of the daemon cut off.
pub(crate) const ON_CRASH: &[&str] = &["rerun", "report"];
/// What a rule of the file manager does.
pub(crate) const FILE_ACTIONS: &[&str] = &["move", "copy", "delete"];
/// Where a command's output goes.
pub(crate) const OUTPUTS: &[&str] = &["log", "inherit", "discard"];
/// How a batch reaches its command.
pub(crate) const BATCH_INPUTS: &[&str] = &["args", "stdin"];
/// The shape of the log.
pub(crate) const FORMATS: &[&str] = &["auto", "text", "journal", "json"];
/// The facilities of `syslog(3)`, by number; 12 to 15 have no name on Linux.
pub(crate) const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// The resources of `getrlimit(2)`.
pub(crate) const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Defines a section: its static table, and an enum with a variant for each key, in the same
/// order.
macro_rules! section {
    ($(#[$meta:meta])* $table:ident, $keys:ident, $name:literal, $title:literal {
        $(#[doc = $doc:literal] $key:ident = $word:literal $(or $alias:literal)?,
            $kind:expr, $default:literal;)*
    }) => {
        $(#[$meta])*
        pub(crate) static $table: Section = Section {
            title: $title,
            name: $name,
            keys: &[$(Key {
                name: $word,
                alias: section!(@alias $($alias)?),
                kind: $kind,
                default: $default,
                doc: $doc.trim_ascii(),
            }),*],
        };

        /// The keys of this section, in the order of its table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $keys { $($key),* }

        impl SectionKeys for $keys {
            const SECTION: &'static Section = &$table;
            const ALL: &'static [Self] = &[$(Self::$key),*];

            fn key(self) -> &'static Key {
                &$table.keys[self as usize]
            }
        }
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

/// The keys of one section as an enum.
pub(crate) trait SectionKeys: Copy + 'static {
    /// The section.
    const SECTION: &'static Section;
    /// All keys, in the order of the section's table.
    const ALL: &'static [Self];

    /// What the table says about this key.
    fn key(self) -> &'static Key;
}

const SLOTS: Kind = Kind::Count { min: 1, max: 65_536 };
const MANY: Kind = Kind::Count { min: 1, max: 1_000_000 };

section! {
    /// The top of the file.
    TOP, TopKey, "config", "the configuration" {
        /// How long a stop waits for running and pending tasks, in all.
        ShutdownTimeout = "shutdown_timeout", Kind::Duration, "30s";
        /// Where pending tasks are kept over a restart; "" keeps them in memory. A change of it needs a restart.
        StateDir = "state_dir", Kind::Path, "$STATE_DIRECTORY, else in memory";
        /// The socket at which the daemon can be asked things, such as by `pyinotifyd status`; "" makes none. A change of it needs a restart.
        ControlSocket = "control_socket", Kind::Path,
            "control.sock in $RUNTIME_DIRECTORY, else in /run/pyinotifyd, or for other users in $XDG_RUNTIME_DIR/pyinotifyd";
        /// Where metrics are served over HTTP: an address of this machine and a port, such as "127.0.0.1:9469".
        MetricsListen = "metrics_listen", Kind::Text, "nowhere";
        /// How many runs at once, over all schedulers.
        Slots = "slots", SLOTS, "64 for each CPU";
        /// The daemon's own name in the log.
        Logname = "logname", Kind::Text, "daemon";
        /// What is logged, and where to.
        Log = "log", Kind::Table(&LOG), "";
        /// When tasks run, and what they do, by name.
        Scheduler = "scheduler", Kind::Named(&SCHEDULER), "";
        /// What is watched, and what its events mean.
        Watch = "watch", Kind::TableOrTables(&WATCH), "";
    }
}

section! {
    /// `[log]`.
    LOG, LogKey, "log", "the log" {
        /// The least severe level that is logged.
        Level = "level", Kind::Level, "info";
        /// Levels of single loggers, by logname.
        Levels = "levels", Kind::Levels, "";
        /// What a line looks like; `auto` is `journal` under systemd, else `text`.
        Format = "format", Kind::Word(FORMATS), "auto";
        /// Log to syslog as well.
        Syslog = "syslog", Kind::Table(&SYSLOG), "";
    }
}

section! {
    /// `syslog = { … }`.
    SYSLOG, SyslogKey, "syslog", "syslog" {
        /// A socket's path, or `host:port` for UDP.
        Address = "address", Kind::Text, "/dev/log";
        /// The least severe level that is sent.
        Level = "level", Kind::Level, "that of [log]";
        /// The facility of `syslog(3)`.
        Facility = "facility", Kind::Word(FACILITIES), "daemon";
    }
}

section! {
    /// `[scheduler.NAME]`.
    SCHEDULER, SchedulerKey, "scheduler", "a scheduler" {
        /// Runs a program with these arguments, without a shell.
        Exec = "exec", Kind::Texts, "";
        /// Runs a command line in `/bin/sh`; placeholders are safe in every quoting.
        Shell = "shell" or "cmd", Kind::Text, "";
        /// Moves, copies or deletes by the first of these rules that matches.
        Rules = "rules", Kind::Tables(&RULE), "";
        /// Writes this line to the log.
        Log = "log", Kind::Text, "";
        /// The level of that line.
        LogLevel = "log_level", Kind::Level, "info";
        /// How long a task waits before it starts; another event starts the wait anew.
        Delay = "delay", Kind::Duration, "0s";
        /// The longest that further events can put a task off.
        MaxWait = "max_wait", Kind::Duration, "no limit";
        /// What has to hold before a task starts, each of these.
        Ready = "ready", Kind::Conditions, "";
        /// Whether events of files, and of anything else but directories, are taken.
        Files = "files", Kind::Bool, "true";
        /// Whether events of directories are taken.
        Dirs = "dirs", Kind::Bool, "false";
        /// Only paths that match one of these are taken.
        IncludeFilter = "include_filter", Kind::Filter, "";
        /// Paths that match one of these are not taken.
        ExcludeFilter = "exclude_filter", Kind::Filter, "";
        /// Whether all events share one task, whatever their path.
        Singlejob = "singlejob", Kind::Bool, "false";
        /// What an event does while its path's task runs.
        Busy = "busy", Kind::Word(BUSY), "again";
        /// How many runs at once.
        Slots = "slots", SLOTS, "4 for each CPU; 2 with rules; 1 with log";
        /// How long a run may take before it is stopped.
        Timeout = "timeout", Kind::Duration, "no limit";
        /// How long after SIGTERM comes SIGKILL.
        KillAfter = "kill_after", Kind::Duration, "10s";
        /// How often a failed run is tried again; a number stands for `tries`.
        Retry = "retry", Kind::CountOr(&RETRY), "no retry";
        /// Whether a waiting task goes on under the new path when its file is renamed.
        Follow = "follow", Kind::Bool, "true";
        /// Holds a task back that seems to trigger itself.
        Breaker = "breaker", Kind::SwitchOr(&BREAKER), "true";
        /// Whether tasks that are due together share one command.
        Batch = "batch", Kind::SwitchOr(&BATCH), "false";
        /// What becomes of a run that the end of the daemon cut off, if `state_dir` is set.
        OnCrash = "on_crash", Kind::Word(ON_CRASH), "rerun";
        /// Its name in the log.
        Logname = "logname", Kind::Text, "the scheduler's name";
        /// As whom the command runs.
        User = "user", Kind::Account, "the daemon's";
        /// With which group the command runs.
        Group = "group", Kind::Account, "the user's, else the daemon's";
        /// Variables of the command's environment; `false` takes one out.
        Env = "env", Kind::Env, "the daemon's";
        /// The command's working directory.
        Cwd = "cwd", Kind::Path, "the daemon's";
        /// The command's file mode creation mask.
        Umask = "umask", Kind::Mode, "the daemon's";
        /// Added to the daemon's niceness.
        Nice = "nice", Kind::Count { min: -20, max: 19 }, "0";
        /// Limits of `getrlimit(2)`, such as `nofile`.
        Rlimits = "rlimits", Kind::Rlimits, "the daemon's";
        /// Where the command's output goes.
        Output = "output", Kind::Word(OUTPUTS), "log";
        /// The level at which the command's output is logged.
        OutputLevel = "output_level", Kind::Level, "info";
    }
}

section! {
    /// `[[scheduler.NAME.rules]]`.
    RULE, RuleKey, "rule", "a rule" {
        /// What to do with what matches.
        Action = "action", Kind::Word(FILE_ACTIONS), "";
        /// Matches at the start of the path; groups are written `(?P<name>…)`.
        SrcRe = "src_re", Kind::Regex, "";
        /// Where to; `\g<name>` stands for a group of `src_re`.
        DstRe = "dst_re", Kind::Text, "";
        /// Whether missing directories of the destination are made.
        AutoCreate = "auto_create", Kind::Bool, "false";
        /// Whether an existing destination is replaced.
        Overwrite = "overwrite" or "override", Kind::Bool, "false";
        /// Permission bits of files at the destination.
        Filemode = "filemode", Kind::Mode, "the source's";
        /// Permission bits of directories that are made.
        Dirmode = "dirmode", Kind::Mode, "by the daemon's umask";
        /// Owner of what is made at the destination.
        User = "user", Kind::Account, "the daemon's";
        /// Group of what is made at the destination.
        Group = "group", Kind::Account, "the daemon's";
        /// Whether a directory is deleted with all that is in it.
        Rec = "rec", Kind::Bool, "false";
    }
}

section! {
    /// `retry = { … }`.
    RETRY, RetryKey, "retry", "a retry" {
        /// Runs in all.
        Tries = "tries", MANY, "3";
        /// The wait before the second run; doubled before each further one.
        Backoff = "backoff", Kind::Duration, "1s";
        /// The longest wait.
        MaxBackoff = "max_backoff", Kind::Duration, "1h";
    }
}

section! {
    /// `breaker = { … }`.
    BREAKER, BreakerKey, "breaker", "a breaker" {
        /// This many runs in a row, each ordered while the one before ran or right after, trip it.
        Runs = "runs", Kind::Count { min: 2, max: 1_000_000 }, "50";
        /// How soon after a run's end is "right after".
        Within = "within", Kind::Duration, "10ms";
        /// How long the path's task is held back then; it runs once afterwards.
        Rest = "rest", Kind::Duration, "1m";
    }
}

section! {
    /// `batch = { … }`.
    BATCH, BatchKey, "batch", "a batch" {
        /// The most tasks in one command.
        MaxItems = "max_items", MANY, "100";
        /// Whether paths come as arguments in place of `{pathname}`, or NUL-ended on standard input.
        Input = "input", Kind::Word(BATCH_INPUTS), "args";
    }
}

section! {
    /// `[[watch]]`.
    WATCH, WatchKey, "watch", "a Watch" {
        /// What to watch: one path or a list; names may be globs.
        Path = "path", Kind::Paths, "";
        /// Whether directories below are watched.
        Rec = "rec", Kind::Bool, "true";
        /// Whether directories that come later are watched.
        AutoAdd = "auto_add", Kind::Bool, "true";
        /// Only paths that match one of these give events.
        IncludeFilter = "include_filter", Kind::Filter, "";
        /// Paths that match one of these give none; such directories are not watched.
        ExcludeFilter = "exclude_filter", Kind::Filter, "";
        /// Which event asks what of which scheduler; `default` stands for all other types.
        EventMap = "event_map", Kind::EventMap, "";
    }
}

section! {
    /// `{ glob = … }` in a filter.
    MATCHER, MatcherKey, "matcher", "a filter" {
        /// A glob on the name, or, if it has a slash, on the whole path.
        Glob = "glob", Kind::Text, "";
        /// A file with one regular expression a line; `#` starts a comment.
        File = "file", Kind::Path, "";
    }
}

section! {
    /// `{ cancel = … }` in an event map.
    ORDER, OrderKey, "order", "an entry of an event map" {
        /// Runs the task of this scheduler.
        Schedule = "schedule", Kind::Names, "";
        /// Gives up the waiting task of this scheduler.
        Cancel = "cancel", Kind::Names, "";
    }
}
