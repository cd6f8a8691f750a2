//! Every sentence that the daemon says of its work.
//!
//! Other things to log exist (a command's output, a user's message), but what the program itself
//! tells at level info and above is a [`Report`], so that one page lists it all.

mod sentences;

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    event::Mask,
    plan::Level,
    task::{Outcome, TaskId},
};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who says it: the daemon's logname or a scheduler's.
    pub logname: Arc<str>,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// What it says.
    pub say: Say,
}

/// What a report says.
///
/// Paths are absolute, and a task's path is its subject: where several are possible, that of its
/// last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    // -- schedule --
    /// A task waits for its delay.
    Scheduled {
        /// The task's subject.
        path: Arc<[u8]>,
        /// The event that asked for it.
        mask: Mask,
        /// How long until it starts.
        delay: Duration,
    },
    /// A waiting task waits anew.
    Rescheduled {
        /// The task's subject.
        path: Arc<[u8]>,
        /// The event that put it off.
        mask: Mask,
        /// How long until it starts.
        delay: Duration,
    },
    /// A task that had not started is given up.
    Cancelled {
        /// The task's subject.
        path: Arc<[u8]>,
        /// Why it is given up.
        why: CancelReason,
    },
    /// A cancel came too late: the task runs.
    CancelTooLate {
        /// The task's subject.
        path: Arc<[u8]>,
    },
    /// An event came while its subject's task runs, and `busy = "skip"`.
    SkippedBusy {
        /// The task's subject.
        path: Arc<[u8]>,
    },
    /// An event came while its subject's task runs; it runs again afterwards.
    RunsAgain {
        /// The task's subject.
        path: Arc<[u8]>,
    },
    /// A run starts.
    Started {
        /// The subject; that of the first task of a batch.
        path: Arc<[u8]>,
        /// The event that the run is for.
        mask: Mask,
        /// 1 for the first run, one more for each retry.
        attempt: u32,
        /// How many tasks the run is for.
        batch: usize,
    },
    /// A run ended.
    Ended {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How it ended.
        outcome: Outcome,
        /// How long it ran.
        took: Duration,
    },
    /// A run failed and is tried again.
    Retries {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How the run ended.
        outcome: Outcome,
        /// Which run failed, from 1.
        attempt: u32,
        /// How many runs there are in all.
        tries: u32,
        /// How long until the next.
        delay: Duration,
    },
    /// A run takes longer than its `timeout`.
    TimedOut {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How long it was allowed to take.
        timeout: Duration,
    },
    /// A run is still there `kill_after` past `SIGTERM`.
    Kills {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How long it had to end.
        kill_after: Duration,
    },
    /// A task triggers itself.
    BreakerTripped {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How many runs followed one another.
        runs: u32,
        /// How long its orders are held back.
        rest: Duration,
    },
    /// A task could start, but its `ready` does not hold yet.
    NotReady {
        /// The task's subject.
        path: Arc<[u8]>,
        /// What it waits for.
        reason: String,
    },
    /// A waiting task's subject was renamed.
    Followed {
        /// The subject's old path.
        from: Arc<[u8]>,
        /// Its new one.
        to: Arc<[u8]>,
    },

    /// Nothing starts of a scheduler, or of none at all, until that is taken back.
    Paused,
    /// What was paused goes on.
    Resumed,

    /// A run copies files, and has not come to an end for a while.
    Copying {
        /// The task's subject.
        path: Arc<[u8]>,
        /// How many bytes it has copied.
        bytes: u64,
        /// For how long it has run.
        took: Duration,
    },

    // -- tree --
    /// Directories are being read, and have been for a while.
    Reading {
        /// How many are watched by now.
        directories: usize,
    },
    /// A Watch's path does not exist.
    Waits {
        /// The Watch's path.
        path: Arc<[u8]>,
    },
    /// A Watch's path exists.
    Watches {
        /// The Watch's path.
        path: Arc<[u8]>,
        /// How many directories are watched for it.
        directories: usize,
    },
    /// A Watch's path has vanished.
    Vanished {
        /// The Watch's path.
        path: Arc<[u8]>,
    },
    /// A directory cannot be watched.
    Unwatched {
        /// The directory.
        path: Arc<[u8]>,
        /// What the kernel said to it.
        error: String,
    },
    /// No more directories can be watched.
    WatchLimit {
        /// The directory that was refused.
        path: Arc<[u8]>,
        /// How many directories are not watched by now.
        unwatched: usize,
    },
    /// The kernel dropped events.
    Overflow,
    /// What the tree believed contradicted itself; it starts over.
    StartsOver {
        /// The directory below which it does.
        path: Arc<[u8]>,
    },
    /// The trees are known again.
    Resynced {
        /// How many changes were found that nobody told of.
        recovered: usize,
        /// How many directories are watched.
        directories: usize,
    },
    /// Watches were found that no directory has: they are removed.
    WatchesLeft {
        /// How many.
        watches: usize,
    },
    /// It cannot be known whether a file is still being written.
    Unprobed {
        /// The file.
        path: Arc<[u8]>,
        /// What was tried, and what the kernel said to it.
        error: String,
    },

    // -- rules --
    /// A pattern gave up on a path.
    PatternFault {
        /// The path.
        path: Arc<[u8]>,
        /// The pattern, and why it gave up.
        error: String,
    },

    // -- the daemon --
    /// All Watches are set.
    Ready {
        /// How many directories are watched.
        directories: usize,
        /// How many Watches there are.
        watches: usize,
    },
    /// It stops, and waits for tasks.
    Stopping {
        /// How many tasks run.
        running: usize,
        /// How many tasks wait.
        waiting: usize,
        /// The longest that it waits for them, in all.
        timeout: Duration,
    },
    /// The wait is over: these tasks are given up.
    ShutdownTimeout {
        /// How many tasks still run.
        running: usize,
        /// How many tasks still wait.
        waiting: usize,
    },
    /// It has stopped.
    Stopped,
    /// A new configuration is in force.
    Reloaded {
        /// How many Watches it has.
        watches: usize,
        /// How many schedulers it has.
        schedulers: usize,
    },

    // -- what outlives the process --
    /// Tasks of an earlier process are taken up again.
    Restored {
        /// How many.
        tasks: usize,
    },
    /// A run was cut off by the end of an earlier process.
    Interrupted {
        /// The task's subject.
        path: Arc<[u8]>,
        /// Which run it was, from 1.
        attempt: u32,
        /// Whether it runs again.
        again: bool,
    },
    /// What such a run has started was still there, and has been ended.
    StrayEnded {
        /// The task's subject.
        path: Arc<[u8]>,
        /// The process.
        process: u32,
    },
    /// It was still there, and could not be ended.
    StrayStays {
        /// The task's subject.
        path: Arc<[u8]>,
        /// The process.
        process: u32,
        /// What was tried, and why it failed.
        error: String,
    },
    /// Nothing has been missed while no process ran, but this.
    CaughtUp {
        /// How many changes were found.
        recovered: usize,
    },
    /// Tasks wait for the next process.
    Kept {
        /// How many.
        tasks: usize,
    },
    /// The store could not be read: it has been put aside.
    StoreSetAside {
        /// Where to.
        path: Arc<[u8]>,
        /// What is wrong with it.
        error: String,
    },
    /// There is no room left that could be held back for the store.
    StoreTight {
        /// What came of it.
        error: String,
    },
    /// Nothing can be written to the store for now.
    StoreFull {
        /// What was tried, and what came of it.
        error: String,
    },
    /// The store has not answered for long, and runs wait for it.
    StoreSilent {
        /// For how long.
        since: Duration,
    },
    /// The store is written to again.
    StoreWorks,
    /// The store cannot be trusted any more.
    StoreFailed {
        /// What was tried, and what came of it.
        error: String,
    },
}

/// Why a task was given up before it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// An event of this kind cancels it.
    Event(Mask),
    /// The daemon stops.
    Shutdown,
    /// Its scheduler is no longer in the configuration.
    SchedulerGone,
    /// Somebody asked.
    Command,
    /// Another task of the same subject takes its place: an event came while it waited to be tried
    /// again, or its subject was renamed to one that has a task.
    Superseded,
    /// The file that it is about has gone, and nobody told of it.
    Missing,
}

impl Say {
    /// The [`name`](Self::name)s of all variants, in their order.
    pub const NAMES: [&'static str; 46] = [
        "scheduled",
        "rescheduled",
        "cancelled",
        "cancel-too-late",
        "skipped-busy",
        "runs-again",
        "started",
        "ended",
        "retries",
        "timed-out",
        "kills",
        "breaker-tripped",
        "not-ready",
        "followed",
        "paused",
        "resumed",
        "copying",
        "reading",
        "waits",
        "watches",
        "vanished",
        "unwatched",
        "watch-limit",
        "overflow",
        "starts-over",
        "resynced",
        "watches-left",
        "unprobed",
        "pattern-fault",
        "ready",
        "stopping",
        "shutdown-timeout",
        "stopped",
        "reloaded",
        "restored",
        "interrupted",
        "stray-ended",
        "stray-stays",
        "caught-up",
        "kept",
        "store-set-aside",
        "store-tight",
        "store-full",
        "store-silent",
        "store-works",
        "store-failed",
    ];

    /// A word for programs that read the log: it stays when the sentence is reworded.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Scheduled { .. } => "scheduled",
            Self::Rescheduled { .. } => "rescheduled",
            Self::Cancelled { .. } => "cancelled",
            Self::CancelTooLate { .. } => "cancel-too-late",
            Self::SkippedBusy { .. } => "skipped-busy",
            Self::RunsAgain { .. } => "runs-again",
            Self::Started { .. } => "started",
            Self::Ended { .. } => "ended",
            Self::Retries { .. } => "retries",
            Self::TimedOut { .. } => "timed-out",
            Self::Kills { .. } => "kills",
            Self::BreakerTripped { .. } => "breaker-tripped",
            Self::NotReady { .. } => "not-ready",
            Self::Followed { .. } => "followed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Copying { .. } => "copying",
            Self::Reading { .. } => "reading",
            Self::Waits { .. } => "waits",
            Self::Watches { .. } => "watches",
            Self::Vanished { .. } => "vanished",
            Self::Unwatched { .. } => "unwatched",
            Self::WatchLimit { .. } => "watch-limit",
            Self::Overflow => "overflow",
            Self::StartsOver { .. } => "starts-over",
            Self::Resynced { .. } => "resynced",
            Self::WatchesLeft { .. } => "watches-left",
            Self::Unprobed { .. } => "unprobed",
            Self::PatternFault { .. } => "pattern-fault",
            Self::Ready { .. } => "ready",
            Self::Stopping { .. } => "stopping",
            Self::ShutdownTimeout { .. } => "shutdown-timeout",
            Self::Stopped => "stopped",
            Self::Reloaded { .. } => "reloaded",
            Self::Restored { .. } => "restored",
            Self::Interrupted { .. } => "interrupted",
            Self::StrayEnded { .. } => "stray-ended",
            Self::StrayStays { .. } => "stray-stays",
            Self::CaughtUp { .. } => "caught-up",
            Self::Kept { .. } => "kept",
            Self::StoreSetAside { .. } => "store-set-aside",
            Self::StoreTight { .. } => "store-tight",
            Self::StoreFull { .. } => "store-full",
            Self::StoreSilent { .. } => "store-silent",
            Self::StoreWorks => "store-works",
            Self::StoreFailed { .. } => "store-failed",
        }
    }

    /// The path that it is about.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Scheduled { path, .. }
            | Self::Rescheduled { path, .. }
            | Self::Cancelled { path, .. }
            | Self::CancelTooLate { path, .. }
            | Self::SkippedBusy { path, .. }
            | Self::RunsAgain { path, .. }
            | Self::Started { path, .. }
            | Self::Ended { path, .. }
            | Self::Retries { path, .. }
            | Self::TimedOut { path, .. }
            | Self::Kills { path, .. }
            | Self::BreakerTripped { path, .. }
            | Self::NotReady { path, .. }
            | Self::Copying { path, .. }
            | Self::Waits { path, .. }
            | Self::Watches { path, .. }
            | Self::Vanished { path, .. }
            | Self::Unwatched { path, .. }
            | Self::WatchLimit { path, .. }
            | Self::StartsOver { path, .. }
            | Self::Unprobed { path, .. }
            | Self::Interrupted { path, .. }
            | Self::StrayEnded { path, .. }
            | Self::StrayStays { path, .. }
            | Self::StoreSetAside { path, .. }
            | Self::PatternFault { path, .. }
            | Self::Followed { to: path, .. } => Some(path),
            Self::Overflow
            | Self::Resynced { .. }
            | Self::WatchesLeft { .. }
            | Self::Ready { .. }
            | Self::Stopping { .. }
            | Self::ShutdownTimeout { .. }
            | Self::Stopped
            | Self::Reloaded { .. }
            | Self::Restored { .. }
            | Self::CaughtUp { .. }
            | Self::Kept { .. }
            | Self::StoreTight { .. }
            | Self::StoreFull { .. }
            | Self::StoreSilent { .. }
            | Self::StoreWorks
            | Self::StoreFailed { .. }
            | Self::Reading { .. }
            | Self::Paused
            | Self::Resumed => None,
        }
    }

    /// How severe it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Rescheduled { .. } | Self::RunsAgain { .. } | Self::CancelTooLate { .. } => {
                Level::Debug
            }
            Self::Ended { outcome, .. } => match outcome {
                Outcome::Done(_) => Level::Info,
                Outcome::Stopped => Level::Warning,
                Outcome::Exited(..)
                | Outcome::Signalled(..)
                | Outcome::Failed(_)
                | Outcome::Refused(_) => Level::Error,
            },
            Self::Cancelled { why, .. } => match why {
                CancelReason::Event(_)
                | CancelReason::SchedulerGone
                | CancelReason::Command
                | CancelReason::Superseded
                | CancelReason::Missing => Level::Info,
                CancelReason::Shutdown => Level::Warning,
            },
            Self::Scheduled { .. }
            | Self::Paused
            | Self::Resumed
            | Self::Copying { .. }
            | Self::Reading { .. }
            | Self::Started { .. }
            | Self::NotReady { .. }
            | Self::Followed { .. }
            | Self::Watches { .. }
            | Self::Resynced { .. }
            | Self::Ready { .. }
            | Self::Stopping { .. }
            | Self::Stopped
            | Self::Reloaded { .. }
            | Self::Restored { .. }
            | Self::CaughtUp { .. }
            | Self::Kept { .. }
            | Self::StoreWorks => Level::Info,
            Self::Interrupted { again, .. } => {
                if *again {
                    Level::Warning
                } else {
                    Level::Error
                }
            }
            Self::SkippedBusy { .. }
            | Self::Retries { .. }
            | Self::TimedOut { .. }
            | Self::Kills { .. }
            | Self::Waits { .. }
            | Self::Vanished { .. }
            | Self::StartsOver { .. }
            | Self::StrayEnded { .. }
            | Self::WatchesLeft { .. }
            | Self::Unprobed { .. }
            | Self::StoreTight { .. } => Level::Warning,
            Self::BreakerTripped { .. }
            | Self::Unwatched { .. }
            | Self::WatchLimit { .. }
            | Self::Overflow
            | Self::PatternFault { .. }
            | Self::ShutdownTimeout { .. }
            | Self::StrayStays { .. }
            | Self::StoreSetAside { .. }
            | Self::StoreFull { .. }
            | Self::StoreSilent { .. }
            | Self::StoreFailed { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Some(task) => write!(f, "{task}: {}", self.say),
            None => write!(f, "{}", self.say),
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(mask) => write!(f, "{mask}"),
            Self::Shutdown => f.write_str("the daemon stops"),
            Self::SchedulerGone => f.write_str("its scheduler is no longer configured"),
            Self::Command => f.write_str("on request"),
            Self::Superseded => f.write_str("another task takes its place"),
            Self::Missing => f.write_str("the file is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    /// One report of each kind, in the order of [`Say`], and more where the sentence differs.
    fn examples() -> Vec<Say> {
        let path = || Arc::<[u8]>::from(&b"/srv/in/a.pdf"[..]);
        let dir = || Arc::<[u8]>::from(&b"/srv/in"[..]);
        let secs = Duration::from_secs;
        let mask = EventType::CloseWrite.mask();
        let failed = || Outcome::Exited(1, "scan: no space left".into());
        vec![
            Say::Scheduled { path: path(), mask, delay: secs(30) },
            Say::Rescheduled { path: path(), mask: EventType::Modify.mask(), delay: secs(30) },
            Say::Cancelled { path: path(), why: CancelReason::Event(EventType::Delete.mask()) },
            Say::Cancelled { path: path(), why: CancelReason::Shutdown },
            Say::Cancelled { path: path(), why: CancelReason::SchedulerGone },
            Say::Cancelled { path: path(), why: CancelReason::Command },
            Say::Cancelled { path: path(), why: CancelReason::Superseded },
            Say::Cancelled { path: path(), why: CancelReason::Missing },
            Say::CancelTooLate { path: path() },
            Say::SkippedBusy { path: path() },
            Say::RunsAgain { path: path() },
            Say::Started { path: path(), mask, attempt: 1, batch: 1 },
            Say::Started { path: path(), mask, attempt: 2, batch: 1 },
            Say::Started { path: path(), mask, attempt: 1, batch: 40 },
            Say::Ended { path: path(), outcome: Outcome::Done(None), took: secs(2) },
            Say::Ended { path: path(), outcome: Outcome::Stopped, took: secs(2) },
            Say::Ended { path: path(), outcome: failed(), took: secs(2) },
            Say::Ended {
                path: path(),
                outcome: Outcome::Signalled(9, String::new()),
                took: Duration::from_millis(1500),
            },
            Say::Retries { path: path(), outcome: failed(), attempt: 1, tries: 3, delay: secs(10) },
            Say::TimedOut { path: path(), timeout: secs(120) },
            Say::Kills { path: path(), kill_after: secs(5) },
            Say::BreakerTripped { path: path(), runs: 50, rest: secs(60) },
            Say::NotReady {
                path: path(),
                reason: "open for writing by pid 4121 (sftp-server)".into(),
            },
            Say::Followed { from: path(), to: Arc::from(&b"/srv/done/a.pdf"[..]) },
            Say::Paused,
            Say::Resumed,
            Say::Copying { path: path(), bytes: 7 << 30, took: Duration::from_secs(30) },
            Say::Reading { directories: 812_345 },
            Say::Waits { path: dir() },
            Say::Watches { path: dir(), directories: 1 },
            Say::Watches { path: dir(), directories: 1204 },
            Say::Vanished { path: dir() },
            Say::Unwatched { path: dir(), error: "inotify_add_watch: permission denied".into() },
            Say::WatchLimit { path: dir(), unwatched: 1 },
            Say::WatchLimit { path: dir(), unwatched: 311 },
            Say::Overflow,
            Say::StartsOver { path: dir() },
            Say::Resynced { recovered: 1, directories: 1 },
            Say::Resynced { recovered: 17, directories: 1204 },
            Say::WatchesLeft { watches: 1 },
            Say::WatchesLeft { watches: 2 },
            Say::Unprobed { path: path(), error: "no lease could be had on it".into() },
            Say::PatternFault {
                path: path(),
                error: "the pattern `(a*)*b` gave up: too much backtracking".into(),
            },
            Say::Ready { directories: 1204, watches: 2 },
            Say::Stopping { running: 0, waiting: 0, timeout: secs(30) },
            Say::Stopping { running: 1, waiting: 12, timeout: secs(30) },
            Say::ShutdownTimeout { running: 1, waiting: 0 },
            Say::Stopped,
            Say::Reloaded { watches: 1, schedulers: 3 },
            Say::Restored { tasks: 1 },
            Say::Restored { tasks: 12 },
            Say::Interrupted { path: path(), attempt: 1, again: true },
            Say::Interrupted { path: path(), attempt: 1, again: false },
            Say::StrayEnded { path: path(), process: 4711 },
            Say::StrayStays {
                path: path(),
                process: 4711,
                error: "it does not end, although it was killed".into(),
            },
            Say::CaughtUp { recovered: 1 },
            Say::CaughtUp { recovered: 37 },
            Say::Kept { tasks: 1 },
            Say::Kept { tasks: 12 },
            Say::StoreSetAside {
                path: Arc::from(&b"/var/lib/pyinotifyd/state.sqlite.corrupt-1795000000"[..]),
                error: "it is no database".into(),
            },
            Say::StoreTight { error: "no space left on device".into() },
            Say::StoreFull { error: "database or disk is full".into() },
            Say::StoreSilent { since: Duration::from_secs(15) },
            Say::StoreWorks,
            Say::StoreFailed { error: "disk I/O error".into() },
        ]
    }

    #[test]
    fn every_sentence_is_on_the_reference_page() {
        let examples = examples();
        let mut names: Vec<_> = examples.iter().map(Say::name).collect();
        names.dedup();
        assert_eq!(names, Say::NAMES, "each variant needs an example, in the order of the enum");
        let lines =
            examples.iter().map(|it| format!("{} | {} | {it}", it.level().name(), it.name()));
        insta::assert_snapshot!("sentences", lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_report_begins_with_its_task() {
        let report = |task| Report { logname: "sched".into(), task, say: Say::Stopped }.to_string();
        assert_eq!(report(None), "stopped");
        assert_eq!(report(Some(TaskId(0))), "00000000-0000-4000-8000-000000000000: stopped");
    }

    #[test]
    fn no_file_name_breaks_a_sentence() {
        let path = Arc::<[u8]>::from(&b"/in/a\n2026-01-01 - CRITICAL - forged\x1b[2J\xff"[..]);
        let said = Say::Vanished { path: Arc::clone(&path) };
        assert!(!said.to_string().contains(char::is_control), "{said}");
        assert_eq!(said.path(), Some(&path[..]), "programs get the bytes themselves");
    }
}
