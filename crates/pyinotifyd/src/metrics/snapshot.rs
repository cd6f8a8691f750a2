//! What the page is made of, and the answer to `status`, as the loop has gathered it: plain data.

use std::{sync::Arc, time::Duration};

use pyinotifyd_core::{
    event::Mask,
    schedule::Counts,
    stats::{EventCounts, Totals},
};

/// How the daemon is at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// When it was started, since 1970.
    pub(crate) started: Duration,
    /// Whether all is watched, and it does not stop.
    pub(crate) is_ready: bool,
    /// Records that have been read and not handled, in bytes.
    pub(crate) backlog: usize,
    /// How old the oldest of them is.
    pub(crate) lag: Duration,
    /// How often the kernel has dropped events.
    pub(crate) overflows: u64,
    /// How much is watched.
    pub(crate) directories: usize,
    /// How much should be, and cannot.
    pub(crate) unwatched: usize,
    /// In the order of the configuration.
    pub(crate) watches: Vec<OfWatch>,
    /// In the order of the configuration.
    pub(crate) schedulers: Vec<OfScheduler>,
    /// How many runs there may be at once.
    pub(crate) slots: usize,
    /// What was read anew.
    pub(crate) reloads: Reloads,
    /// With a config.py.
    pub(crate) python: Option<OfPython>,
    /// With a state directory.
    pub(crate) store: Option<OfStore>,
    /// How many lines the log has dropped.
    pub(crate) log_dropped: u64,
    /// How long it took to gather this.
    pub(crate) took: Duration,
}

/// How a Watch is.
#[derive(Clone, Debug)]
pub(crate) struct OfWatch {
    /// As the configuration has them.
    pub(crate) paths: Vec<Arc<[u8]>>,
    /// How much of what is watched it sees.
    pub(crate) directories: usize,
    /// The event types that its event map has something for.
    pub(crate) wanted: Mask,
    /// The events that it has let through.
    pub(crate) events: EventCounts,
}

/// How a scheduler is.
#[derive(Clone, Debug)]
pub(crate) struct OfScheduler {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// How many runs it may have at once, if there is a limit.
    pub(crate) slots: Option<usize>,
    /// Whether nothing of it starts for now.
    pub(crate) is_paused: bool,
    /// The tasks that there are.
    pub(crate) counts: Counts,
    /// What has become of the others.
    pub(crate) totals: Totals,
}

/// How often a configuration was read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloads {
    /// And is in force.
    pub(crate) good: u64,
    /// And is not.
    pub(crate) bad: u64,
    /// Whether the last one is not.
    pub(crate) last_was_bad: bool,
}

/// How the Python of a config.py is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfPython {
    /// Its process, while it lives.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// How many runs are with it.
    pub(crate) runs: usize,
    /// For how long it has not answered; none if it answers.
    pub(crate) silent: Option<Duration>,
}

/// How the store is.
#[derive(Clone, Debug)]
pub(crate) struct OfStore {
    /// How often it has put on the disk what a run waited for.
    pub(crate) commits: u64,
    /// Why nothing can be written to it; none if that works.
    pub(crate) error: Option<String>,
}

impl Reloads {
    /// Counts one.
    pub(crate) fn add(&mut self, is_good: bool) {
        *(if is_good { &mut self.good } else { &mut self.bad }) += 1;
        self.last_was_bad = !is_good;
    }
}
