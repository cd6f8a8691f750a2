//! Every metric, in one table: the page is in its order.

/// A metric: a family of samples, one for each combination of its labels' values.
#[derive(Debug)]
pub(crate) struct Metric<const N: usize> {
    /// As Prometheus wants it: what it is about, its unit, and `_total` if it only grows.
    pub(crate) name: &'static str,
    /// What can be done with its values.
    pub(crate) kind: Kind,
    /// What it says, one sentence.
    pub(crate) help: &'static str,
    /// By what its samples differ.
    pub(crate) labels: [&'static str; N],
}

/// What can be done with a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, from 0 at the daemon's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something was at most so large, for some bounds; the number and the sum of all.
    Histogram,
}

impl Kind {
    /// In the words of the text form.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table, however many labels it has.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In what it is measured; empty if it is a number of things.
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

/// Defines metrics, and the table of them all.
macro_rules! metrics {
    ($(#[doc = $help:literal] $metric:ident = $name:literal, $kind:ident $([$unit:literal])?
        $(, by $($label:literal)+)?;)*) => {
        $(
            #[doc = $help]
            pub(crate) static $metric: Metric<{ 0 $($( + metrics!(@one $label))+)? }> = Metric {
                name: $name,
                kind: Kind::$kind,
                help: $help.trim_ascii(),
                labels: [$($($label),+)?],
            };
        )*

        /// All of them.
        #[cfg(test)]
        pub(super) static TABLE: &[Row] = &[$(Row {
            name: $metric.name,
            kind: $metric.kind,
            unit: metrics!(@unit $($unit)?),
            help: $metric.help,
            labels: &$metric.labels,
        }),*];
    };
    (@one $label:literal) => { 1 };
    (@unit) => { "" };
    (@unit $unit:literal) => { $unit };
}

metrics! {
    /// Which version this is; always 1.
    BUILD_INFO = "pyinotifyd_build_info", Gauge, by "version";
    /// 1 once all that is to be watched is watched, until the daemon stops.
    READY = "pyinotifyd_ready", Gauge;

    /// Events that a Watch has let through to its event map.
    EVENTS = "pyinotifyd_events_total", Counter, by "watch" "event";
    /// How old the oldest of the kernel's records is that has been read and not handled; 0: none waits.
    LAG = "pyinotifyd_lag_seconds", Gauge ["seconds"];
    /// The kernel's records that have been read and not handled.
    BACKLOG = "pyinotifyd_backlog_bytes", Gauge ["bytes"];
    /// How often the kernel has dropped events because its queue was full; what changed was looked up.
    OVERFLOWS = "pyinotifyd_overflows_total", Counter;
    /// Directories, and files that a Watch names, that are watched.
    DIRECTORIES = "pyinotifyd_directories", Gauge;
    /// Directories that should be watched and cannot be: what happens there is not seen.
    UNWATCHED = "pyinotifyd_directories_unwatched", Gauge;
    /// The watched directories that a Watch sees; Watches may share some.
    WATCH_DIRECTORIES = "pyinotifyd_watch_directories", Gauge, by "watch";

    /// Tasks that there are: `waiting` for their time, `ready` and without a slot, or `running`.
    TASKS = "pyinotifyd_tasks", Gauge, by "scheduler" "state";
    /// Runs that go on; fewer than tasks that run where several share one.
    RUNS = "pyinotifyd_runs", Gauge, by "scheduler";
    /// Tasks that events have made.
    SCHEDULED = "pyinotifyd_tasks_scheduled_total", Counter, by "scheduler";
    /// Tasks that were given up before they started.
    CANCELLED = "pyinotifyd_tasks_cancelled_total", Counter, by "scheduler";
    /// Tasks that have ended: `done`, `failed` and not tried again, or `stopped` because somebody asked.
    ENDED = "pyinotifyd_tasks_ended_total", Counter, by "scheduler" "outcome";
    /// Runs of a task that failed and were followed by another attempt.
    RETRIED = "pyinotifyd_tasks_retried_total", Counter, by "scheduler";
    /// How long tasks ran, each attempt for itself.
    RUN_DURATION = "pyinotifyd_run_duration_seconds", Histogram ["seconds"], by "scheduler";
    /// 1 while nothing of a scheduler starts because somebody has paused it.
    PAUSED = "pyinotifyd_scheduler_paused", Gauge, by "scheduler";
    /// How many runs a scheduler may have at once; without a limit there is no sample.
    SCHEDULER_SLOTS = "pyinotifyd_scheduler_slots", Gauge, by "scheduler";
    /// How many runs there may be at once, over all schedulers.
    SLOTS = "pyinotifyd_slots", Gauge;

    /// How often the configuration was read anew: `good`, or `bad` and so what was in force stayed.
    RELOADS = "pyinotifyd_reloads_total", Counter, by "outcome";
    /// 1 unless the configuration was bad when it was last read anew.
    LAST_RELOAD_GOOD = "pyinotifyd_last_reload_good", Gauge;

    /// 1 while the Python of a config.py lives; all metrics of Python are there only with a config.py.
    PYTHON_UP = "pyinotifyd_python_up", Gauge;
    /// How often Python was started again because it had ended.
    PYTHON_RESTARTS = "pyinotifyd_python_restarts_total", Counter;
    /// Runs that are with Python.
    PYTHON_RUNS = "pyinotifyd_python_runs", Gauge;
    /// For how long Python has not answered because a task blocks it; 0: it answers.
    PYTHON_SILENT = "pyinotifyd_python_silent_seconds", Gauge ["seconds"];

    /// How often something that a run waited for has been put on the disk; there only with a `state_dir`.
    STORE_COMMITS = "pyinotifyd_store_commits_total", Counter;
    /// 1 while nothing can be written to the `state_dir`; there only with one.
    STORE_ERROR = "pyinotifyd_store_error", Gauge;
    /// Lines that the log has dropped because they came faster than they were read.
    LOG_DROPPED = "pyinotifyd_log_lines_dropped_total", Counter;
    /// How long it took the daemon's loop to gather these figures; it does nothing else meanwhile.
    SCRAPE = "pyinotifyd_scrape_duration_seconds", Gauge ["seconds"];

    /// When the daemon was started, in seconds since 1970.
    START_TIME = "process_start_time_seconds", Gauge ["seconds"];
    /// Time of a CPU that the daemon has used, without that of commands and of Python.
    CPU = "process_cpu_seconds_total", Counter ["seconds"];
    /// Memory of the daemon that is in RAM.
    RESIDENT = "process_resident_memory_bytes", Gauge ["bytes"];
    /// Memory that the daemon has mapped.
    VIRTUAL = "process_virtual_memory_bytes", Gauge ["bytes"];
    /// Files that the daemon has open.
    OPEN_FDS = "process_open_fds", Gauge;
    /// The most files that it may have open; without a limit there is no sample.
    MAX_FDS = "process_max_fds", Gauge;
}
