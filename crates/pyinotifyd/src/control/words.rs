//! What can be asked over the control socket, and what is answered.
//!
//! Times are seconds, points in time seconds since 1970 (`CLOCK_REALTIME`); both may have a
//! fraction. Paths are [`Shown`]: JSON has no bytes. Fields may be added to what is answered without
//! a new [`PROTOCOL`]; a client leaves aside what it does not know.

use std::sync::Arc;

use pyinotifyd_core::path::shown;
use serde::{Deserialize, Serialize};

use crate::json;

/// The version of the protocol. It is in each [`Status`], with which a stream begins.
pub(crate) const PROTOCOL: u32 = 1;

/// So many tasks are told at most if nothing else was asked, and in any case.
pub(crate) const TASKS: (usize, usize) = (1_000, 10_000);

/// What can be asked. The names of the variants stand in the field `ask`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    tag = "ask",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case",
    expecting = "an object with the field `ask`"
)]
pub(crate) enum Request {
    /// How the daemon is.
    Status,
    /// The tasks that have not ended.
    Tasks(OfTasks),
    /// The tasks that have ended, as far as they are remembered.
    History(OfHistory),
    /// Give up a task that waits.
    Cancel {
        /// Its id.
        task: String,
        /// Whether to end it if it runs: `SIGTERM`, and `SIGKILL` once `kill_after` is over.
        #[serde(default)]
        stop: bool,
    },
    /// Start a task that waits before its time, as soon as there is a slot.
    RunNow {
        /// Its id.
        task: String,
    },
    /// Run again what a task that has ended was for, as a new task that waits for nothing.
    Retry {
        /// Its id.
        task: String,
    },
    /// Let nothing start for now.
    Pause {
        /// Of this scheduler; without it, of any.
        scheduler: Option<String>,
    },
    /// Let what was paused go on.
    Resume {
        /// This scheduler; without it, all of them.
        scheduler: Option<String>,
    },
    /// Read the configuration anew. The answer comes when it is in force, or refused.
    Reload,
    /// Answer when everything that happened before this request has been handled.
    Sync {
        /// And when every task that there is by then has ended.
        #[serde(default)]
        tasks: bool,
    },
    /// Tell from now on what the daemon does: first `status`, then `said` without end.
    Tail,
    /// What would be done about an event, and why, by the configuration in force.
    Explain {
        /// The path that the event is about, absolute.
        #[serde(flatten)]
        path: Shown,
        /// The event's type, such as `IN_CREATE`.
        event: String,
        /// Whether the path is a directory.
        #[serde(default)]
        is_dir: bool,
        /// Whether the answer is for programs.
        #[serde(default)]
        json: bool,
    },
    /// The metrics, in the text form of Prometheus.
    Metrics,
}

/// Which tasks to tell of: those for which all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct About {
    /// Only those of this scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheduler: Option<String>,
    /// Only those about this path, or about what is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<Shown>,
    /// So many at most: those that run and then the others, or the last that ended. 1,000 if nothing
    /// is said, and never more than 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// Which of the tasks that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OfTasks {
    /// Of all tasks.
    #[serde(flatten)]
    pub(crate) about: About,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

/// Which of the tasks that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OfHistory {
    /// Of all tasks.
    #[serde(flatten)]
    pub(crate) about: About,
    /// Only those that ended at this point or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<f64>,
    /// Only those that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failed: bool,
}

/// No number of a request is anything but a number.
impl Eq for OfHistory {}

/// What is answered. The names of the variants stand in the field `reply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The answer to `status`, and the first to `tail`.
    Status(Box<Status>),
    /// The answer to `tasks`.
    Tasks(Tasks),
    /// The answer to `history`.
    History(History),
    /// It was done.
    Done(Done),
    /// The answer to `explain` and `metrics`.
    Text(Text),
    /// Part of the answer to `tail`: the daemon says something of its work.
    Said(Said),
    /// It was not done. Also the last that a stream says whose reader is too slow.
    Refused(Refused),
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Status {
    /// The version of the protocol.
    pub(crate) protocol: u32,
    /// The version of the daemon.
    pub(crate) version: String,
    /// Its process id.
    pub(crate) pid: u32,
    /// Where it is in its life.
    pub(crate) life: Life,
    /// How long it has run.
    pub(crate) uptime: f64,
    /// Where its configuration is; none if it has none.
    pub(crate) config: Option<Shown>,
    /// How many directories and files are watched, for all Watches.
    pub(crate) directories: usize,
    /// How many directories could not be watched: what happens in them is not seen.
    pub(crate) unwatched: usize,
    /// How often the kernel has dropped events; what that left unknown was looked up.
    pub(crate) overflows: u64,
    /// How much has been read from the kernel and not handled yet, in bytes.
    pub(crate) backlog: usize,
    /// How old the oldest of that is.
    pub(crate) lag: f64,
    /// How many tasks there are.
    pub(crate) tasks: Counts,
    /// How many runs there may be at once, over all schedulers that share slots.
    pub(crate) slots: usize,
    /// In the order of the configuration.
    pub(crate) watches: Vec<WatchStatus>,
    /// In the order of the configuration.
    pub(crate) schedulers: Vec<SchedulerStatus>,
    /// The process in which config.py lives; none if there is no config.py.
    pub(crate) python: Option<PythonStatus>,
    /// Where tasks are kept over a restart; none if they are not.
    pub(crate) store: Option<StoreStatus>,
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Life {
    /// The Watches are being set.
    Starting,
    /// It does its work.
    Running,
    /// It waits for tasks to end.
    Stopping,
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Counts {
    /// For their time, or for their subject's run to end.
    pub(crate) waiting: usize,
    /// For a slot, or for the answer whether they may start.
    pub(crate) ready: usize,
    /// That run.
    pub(crate) running: usize,
}

/// A Watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WatchStatus {
    /// What it watches, as configured.
    pub(crate) paths: Vec<Shown>,
    /// How many directories and files are watched for it.
    pub(crate) directories: usize,
    /// How many events it has let through to its event map.
    pub(crate) events: u64,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SchedulerStatus {
    /// Its name.
    pub(crate) name: String,
    /// Whether nothing of it starts for now.
    pub(crate) paused: bool,
    /// Its tasks that have not ended.
    #[serde(flatten)]
    pub(crate) tasks: Counts,
    /// How many tasks it was ordered, since the daemon has started.
    pub(crate) scheduled: u64,
    /// How many of its tasks did what they were for.
    pub(crate) done: u64,
    /// How many did not, and are not tried again.
    pub(crate) failed: u64,
    /// How many were given up before they started.
    pub(crate) cancelled: u64,
    /// How many were ended before they were done.
    pub(crate) stopped: u64,
    /// How many attempts failed and were followed by another.
    pub(crate) retried: u64,
}

/// The process in which config.py lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PythonStatus {
    /// Its process id; none while there is none and one is being started.
    pub(crate) pid: Option<u32>,
    /// How many tasks are with it.
    pub(crate) running: usize,
    /// How long nothing was heard of it though it was asked; none if it answers.
    pub(crate) silent: Option<f64>,
    /// How often it was started again because it had ended.
    pub(crate) restarts: u64,
}

/// Where tasks are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StoreStatus {
    /// The directory.
    pub(crate) path: Shown,
    /// Why nothing can be written to it; none if that works.
    pub(crate) error: Option<String>,
    /// How many times what was said was put on the disk.
    pub(crate) commits: u64,
}

/// The tasks that have not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Tasks {
    /// Those that run, then the others.
    pub(crate) tasks: Vec<Task>,
    /// How many there are for which it holds what was asked.
    pub(crate) of: usize,
}

/// A task that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "fields have the same names in all answers")]
pub(crate) struct Task {
    /// Its id.
    pub(crate) task: String,
    /// Its scheduler; none when that has left the configuration and the task still runs.
    pub(crate) scheduler: Option<String>,
    /// Where it stands.
    pub(crate) state: State,
    /// What it is about.
    #[serde(flatten)]
    pub(crate) path: Shown,
    /// The last event that it was scheduled with.
    pub(crate) event: String,
    /// Which attempt goes on or comes next, from 1.
    pub(crate) attempt: u32,
    /// How long until its time comes, if it waits for that.
    pub(crate) due_in: Option<f64>,
    /// How long it has run, if it runs.
    pub(crate) running_for: Option<f64>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It waits for its time.
    Waiting,
    /// Its time has come, but another run for its path goes on.
    Held,
    /// It waits for a slot, or for the answer whether it may start.
    Ready,
    /// It runs.
    Running,
}

/// The tasks that have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) tasks: Vec<Ended>,
}

/// A task that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Ended {
    /// Its id.
    pub(crate) task: String,
    /// Its scheduler.
    pub(crate) scheduler: String,
    /// What it was about.
    #[serde(flatten)]
    pub(crate) path: Shown,
    /// The last event that it was scheduled with.
    pub(crate) event: String,
    /// Which attempt was the last, from 1.
    pub(crate) attempt: u32,
    /// How it ended.
    pub(crate) how: How,
    /// The same in words: what was done, or why not.
    pub(crate) outcome: String,
    /// When it ended.
    pub(crate) at: f64,
    /// How long its last attempt took.
    pub(crate) took: f64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// It did what it was for.
    Done,
    /// It did not.
    Failed,
    /// It was ended before it was done.
    Stopped,
}

/// It was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Done {
    /// What, as a sentence.
    pub(crate) message: String,
    /// The task that it was done to, or that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// The keys that have changed and that only a start puts in force, of `reload`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) needs_restart: Vec<String>,
}

/// A text as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Text {
    /// The text.
    pub(crate) text: String,
}

/// Something that the daemon says of its work, whatever the levels of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Said {
    /// When.
    pub(crate) at: f64,
    /// How severe it is: `DEBUG`, `INFO`, `WARNING`, `ERROR`.
    pub(crate) level: String,
    /// Whose it is, as in the log.
    pub(crate) logname: String,
    /// Which sentence it is, by the names of `docs/reference/log.md`.
    pub(crate) name: String,
    /// The task that it is about.
    pub(crate) task: Option<String>,
    /// The path that it is about.
    #[serde(flatten)]
    pub(crate) path: Option<Shown>,
    /// The sentence.
    pub(crate) message: String,
}

/// It was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Refused {
    /// Why, as a word for programs.
    pub(crate) code: Code,
    /// Why, as a sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// What was sent is no request.
    BadRequest,
    /// Whoever asks is neither root nor the user that the daemon runs as.
    NotAllowed,
    /// There is no task of this id.
    NoSuchTask,
    /// The task runs already.
    TaskRuns,
    /// There is no scheduler of this name.
    NoSuchScheduler,
    /// The configuration that was read has mistakes; the one before stays in force.
    BadConfiguration,
    /// This daemon has no configuration that it could read anew.
    NoConfiguration,
    /// The daemon stops.
    Stopping,
    /// There are too many connections.
    Busy,
    /// The reader of a stream was too slow.
    TooSlow,
}

/// A path, or another text of any bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Shown {
    /// The path; where it is not UTF-8, as it is shown to people, with escapes.
    pub(crate) path: String,
    /// Its bytes in hex, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_hex: Option<String>,
}

impl Shown {
    /// These bytes.
    pub(crate) fn new(path: &[u8]) -> Self {
        match str::from_utf8(path) {
            Ok(path) => Self { path: path.to_owned(), path_hex: None },
            Err(_) => Self { path: shown(path).to_string(), path_hex: Some(json::hex(path)) },
        }
    }

    /// The bytes; `None` if the hex digits are none.
    pub(crate) fn bytes(&self) -> Option<Arc<[u8]>> {
        let Some(hex) = &self.path_hex else { return Some(self.path.as_bytes().into()) };
        let pairs = hex.as_bytes().chunks(2).map(|it| {
            let digits = str::from_utf8(it).ok().filter(|it| it.len() == 2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        pairs.collect()
    }
}

impl Refused {
    /// A refusal without a hint.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// With a hint.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Done {
    /// A sentence about no task.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), task: None, needs_restart: Vec::new() }
    }

    /// A sentence about a task.
    pub(crate) fn of(message: impl Into<String>, task: impl Into<String>) -> Self {
        Self { task: Some(task.into()), ..Self::new(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that say nothing about a request were always left aside.
    #[test]
    fn the_requests_of_before_are_understood() {
        let request = |text: &str| serde_json::from_str::<Request>(text).unwrap();
        let all = r#""scheduler": "x", "path": {"path": "/a"}, "state": "held", "since": 1.5, "failed": true,
            "limit": 7"#;
        let path = Some(Shown::new(b"/a"));
        let about = About { scheduler: Some("x".into()), path, limit: Some(7) };
        let tasks = OfTasks { about: about.clone(), state: Some(State::Held) };
        assert_eq!(request(&format!(r#"{{"ask": "tasks", {all}}}"#)), Request::Tasks(tasks));
        let history = OfHistory { about, since: Some(1.5), failed: true };
        assert_eq!(request(&format!(r#"{{"ask": "history", {all}}}"#)), Request::History(history));
        assert_eq!(request(r#"{"ask": "tasks"}"#), Request::Tasks(OfTasks::default()));
    }

    #[test]
    fn what_is_not_asked_is_not_said() {
        let line = |request: &Request| serde_json::to_string(request).unwrap();
        assert_eq!(line(&Request::History(OfHistory::default())), r#"{"ask":"history"}"#);
        let hex = About { path: Some(Shown::new(b"/\xff")), ..About::default() };
        let tasks = Request::Tasks(OfTasks { about: hex, state: Some(State::Ready) });
        assert_eq!(
            line(&tasks),
            r#"{"ask":"tasks","path":{"path":"/\\xff","path_hex":"2fff"},"state":"ready"}"#
        );
    }
}
