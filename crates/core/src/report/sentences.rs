//! The sentences themselves.

use std::fmt;

use super::Say;
use crate::{count::Count, path::shown, task::Outcome, time::Human};

#[expect(clippy::too_many_lines, reason = "all sentences of the program stand in one place")]
impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduled { path, mask, delay } => {
                write!(f, "scheduled for {mask} of {}, starts in {}", shown(path), Human(*delay))
            }
            Self::Rescheduled { path, mask, delay } => {
                write!(f, "put off by {mask} of {}, starts in {}", shown(path), Human(*delay))
            }
            Self::Cancelled { path, why } => write!(f, "cancelled for {}: {why}", shown(path)),
            Self::CancelTooLate { path } => {
                write!(f, "not cancelled for {}: it runs already", shown(path))
            }
            Self::SkippedBusy { path } => {
                write!(f, "event skipped for {}: its task still runs", shown(path))
            }
            Self::RunsAgain { path } => {
                write!(f, "runs again for {} when its run has ended", shown(path))
            }
            Self::Started { path, mask, attempt, batch } => {
                write!(f, "started for {mask} of {}", shown(path))?;
                if *batch > 1 {
                    write!(f, " and {} more", batch - 1)?;
                }
                if *attempt > 1 {
                    write!(f, ", attempt {attempt}")?;
                }
                Ok(())
            }
            Self::Ended { path, outcome: outcome @ Outcome::Done(_), took } => {
                write!(f, "{outcome} for {} after {}", shown(path), Human(*took))
            }
            Self::Ended { path, outcome: Outcome::Stopped, took } => {
                write!(f, "stopped for {} after {}", shown(path), Human(*took))
            }
            Self::Ended { path, outcome, took } => {
                write!(f, "failed for {} after {}: {outcome}", shown(path), Human(*took))
            }
            Self::Retries { path, outcome, attempt, tries, delay } => write!(
                f,
                "attempt {attempt} of {tries} failed for {}, the next starts in {}: {outcome}",
                shown(path),
                Human(*delay)
            ),
            Self::TimedOut { path, timeout } => write!(
                f,
                "timed out for {}: still runs after {}, is asked to end",
                shown(path),
                Human(*timeout)
            ),
            Self::Kills { path, kill_after } => write!(
                f,
                "killed for {}: still runs {} after it was asked to end",
                shown(path),
                Human(*kill_after)
            ),
            Self::BreakerTripped { path, runs, rest } => write!(
                f,
                "{} triggers its own task: {runs} runs in a row, each ordered while the one \
                 before ran or right after it; the next waits {}",
                shown(path),
                Human(*rest)
            ),
            Self::NotReady { path, reason } => write!(f, "{} is not ready: {reason}", shown(path)),
            Self::Followed { from, to } => {
                write!(f, "follows {} to {}", shown(from), shown(to))
            }
            Self::Paused => f.write_str("paused, nothing starts until it is resumed"),
            Self::Resumed => f.write_str("resumed"),
            Self::Copying { path, bytes, took } => {
                let mib = bytes >> 20;
                write!(f, "copying for {}: {mib} MiB after {}", shown(path), Human(*took))
            }
            Self::Reading { directories } => {
                write!(f, "still reading directories, {} by now", Directories(*directories))
            }
            Self::Waits { path } => {
                write!(f, "{} does not exist: it is watched as soon as it does", shown(path))
            }
            Self::Watches { path, directories } => {
                write!(f, "watching {}, {}", shown(path), Directories(*directories))
            }
            Self::Vanished { path } => {
                write!(f, "{} is gone: it is watched again as soon as it is back", shown(path))
            }
            Self::Unwatched { path, error } => {
                write!(f, "cannot watch {}: {error}", shown(path))
            }
            Self::WatchLimit { path, unwatched } => write!(
                f,
                "cannot watch {}: the limit of inotify watches is reached; {} unwatched; raise it \
                 with sysctl fs.inotify.max_user_watches, and reload",
                shown(path),
                Count(*unwatched, "directory stays", "directories stay")
            ),
            Self::Overflow => f.write_str(
                "events were lost: the kernel's queue is full; all Watches are read anew; enlarge \
                 it with sysctl fs.inotify.max_queued_events",
            ),
            Self::StartsOver { path } => {
                write!(f, "lost track of {}: it is read anew", shown(path))
            }
            Self::WatchesLeft { watches } => write!(
                f,
                "{} of no known directory {} left over, and removed",
                Count(*watches, "watch", "watches"),
                if *watches == 1 { "was" } else { "were" },
            ),
            Self::Resynced { recovered, directories } => write!(
                f,
                "in step again, {} watched; {}; what was only opened, read or written to in \
                 between is not known",
                Directories(*directories),
                Count(*recovered, "change was found", "changes were found")
            ),
            Self::Unprobed { path, error } => {
                write!(f, "cannot tell whether {} is still written to: {error}", shown(path))
            }
            Self::PatternFault { path, error } => {
                write!(f, "cannot match {}: {error}", shown(path))
            }
            Self::Ready { directories, watches } => write!(
                f,
                "ready, {}, {}",
                Count(*watches, "Watch", "Watches"),
                Directories(*directories)
            ),
            Self::Stopping { running: 0, waiting: 0, .. } => f.write_str("stopping"),
            Self::Stopping { running, waiting, timeout } => write!(
                f,
                "stopping, {running} running and {waiting} waiting tasks have up to {}",
                Human(*timeout)
            ),
            Self::ShutdownTimeout { running, waiting } => write!(
                f,
                "gave up {running} running and {waiting} waiting tasks: shutdown_timeout is over"
            ),
            Self::Stopped => f.write_str("stopped"),
            Self::Reloaded { watches, schedulers } => write!(
                f,
                "reloaded, {}, {}",
                Count(*watches, "Watch", "Watches"),
                Count(*schedulers, "scheduler", "schedulers")
            ),
            Self::Restored { tasks } => {
                write!(f, "{} from before the start", Count(*tasks, "task goes on", "tasks go on"))
            }
            Self::Interrupted { path, attempt, again } => write!(
                f,
                "attempt {attempt} for {} was cut off by the end of the daemon, {}",
                shown(path),
                if *again { "it runs again" } else { "it is not run again" }
            ),
            Self::StrayEnded { path, process } => write!(
                f,
                "process {process} of the run for {} that was cut off was still there, and was \
                 ended",
                shown(path),
            ),
            Self::StrayStays { path, process, error } => write!(
                f,
                "process {process} of the run for {} that was cut off is still there, and goes on \
                 beside the next: {error}",
                shown(path),
            ),
            Self::CaughtUp { recovered } => write!(
                f,
                "{} from while the daemon did not run",
                Count(*recovered, "change was found", "changes were found")
            ),
            Self::Kept { tasks } => {
                write!(f, "{} for the next start", Count(*tasks, "task is kept", "tasks are kept"))
            }
            Self::StoreSetAside { path, error } => write!(
                f,
                "the store could not be read ({error}) and was put aside as {}: waiting tasks, and \
                 what changed while the daemon did not run, are not known",
                shown(path)
            ),
            Self::StoreTight { error } => write!(
                f,
                "cannot hold back room for the store: {error}; it is written to as long as there \
                 is some"
            ),
            Self::StoreFull { error } => {
                write!(f, "cannot write to the store, no task starts until that works: {error}")
            }
            Self::StoreSilent { since } => write!(
                f,
                "the store has not answered for {}, no task starts until it does: is its disk well?",
                Human(*since)
            ),
            Self::StoreWorks => f.write_str("the store is written to again"),
            Self::StoreFailed { error } => {
                write!(f, "the store cannot be trusted any more, the daemon ends: {error}")
            }
        }
    }
}

/// A number of directories.
struct Directories(usize);

impl fmt::Display for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Count(self.0, "directory", "directories").fmt(f)
    }
}
