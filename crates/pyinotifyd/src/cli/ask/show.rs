//! The daemon's answers as people read them.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use pyinotifyd_core::{
    count::Count,
    path::{OneLine, shown},
    time::Human,
};

use crate::{
    control::words::{
        Ended, History, How, Life, PythonStatus, Reply, Said, SchedulerStatus, Shown, State,
        Status, StoreStatus, TASKS, Task, Tasks, WatchStatus,
    },
    log::stamp,
};

/// So much of a task's id is shown: as good as always, no other begins with the same.
const ID: usize = 8;

/// An answer as text.
pub(super) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Status(it) => status(it),
        Reply::Tasks(it) => tasks(it),
        Reply::History(it) => history(it),
        Reply::Done(it) => match &it.task {
            Some(task) => format!("{}: {}\n", short(task), OneLine(&it.message)),
            None => format!("{}\n", OneLine(&it.message)),
        },
        Reply::Text(it) => text(&it.text),
        Reply::Said(it) => said(it),
        Reply::Refused(it) => format!("{}\n", OneLine(&it.message)),
    }
}

/// A text of several lines.
pub(super) fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        writeln!(shown, "{}", OneLine(line)).expect("a String takes all");
    }
    shown
}

fn status(it: &Status) -> String {
    let life = life(it.life);
    let mut facts = Table::new();
    let uptime = human(it.uptime.trunc());
    facts.row([
        "daemon".into(),
        format!("{life} for {uptime}, pid {}, {}", it.pid, OneLine(&it.version)),
    ]);
    if let Some(config) = &it.config {
        facts.row(["configuration".into(), path(config)]);
    }
    let unseen = match it.unwatched {
        0 => String::new(),
        some => format!(", {some} could not be: what happens there is not seen"),
    };
    facts.row(["directories".into(), format!("{} watched{unseen}", it.directories)]);
    facts.row(["backlog".into(), backlog(it)]);
    if it.overflows > 0 {
        let times = Count(it.overflows, "time", "times");
        let lost = format!("{times}; what changed was looked up");
        facts.row(["overflows".into(), lost]);
    }
    let tasks = it.tasks;
    facts.row([
        "tasks".into(),
        format!(
            "{} waiting, {} ready, {} running, {}",
            tasks.waiting,
            tasks.ready,
            tasks.running,
            Count(it.slots, "slot", "slots")
        ),
    ]);
    if let Some(python) = &it.python {
        facts.row(["python".into(), self::python(python)]);
    }
    if let Some(store) = &it.store {
        facts.row(["store".into(), self::store(store)]);
    }
    let mut watches = Table::headed(["WATCH", "DIRECTORIES", "EVENTS"]);
    for WatchStatus { paths, directories, events } in &it.watches {
        let paths: Vec<_> = paths.iter().map(path).collect();
        watches.row([paths.join(", "), directories.to_string(), events.to_string()]);
    }
    let mut schedulers = Table::headed([
        "SCHEDULER",
        "WAITING",
        "READY",
        "RUNNING",
        "DONE",
        "FAILED",
        "CANCELLED",
        "STOPPED",
        "RETRIED",
    ]);
    for it in &it.schedulers {
        schedulers.row(scheduler(it));
    }
    format!("{facts}\n{watches}\n{schedulers}")
}

/// Where a daemon is in its life.
pub(in crate::cli) fn life(life: Life) -> &'static str {
    match life {
        Life::Starting => "starting",
        Life::Running => "running",
        Life::Stopping => "stopping",
    }
}

fn backlog(it: &Status) -> String {
    if it.backlog == 0 {
        return "none".into();
    }
    format!("{} KiB of events, the oldest is {} old", it.backlog.div_ceil(1024), human(it.lag))
}

fn python(it: &PythonStatus) -> String {
    let mut text = match it.pid {
        None => "is being started".into(),
        Some(pid) => format!("pid {pid}, {} with it", Count(it.running, "task", "tasks")),
    };
    if let Some(silent) = it.silent {
        write!(text, ", has not answered for {}", human(silent)).expect("a String takes all");
    }
    if it.restarts > 0 {
        let times = Count(it.restarts, "time", "times");
        write!(text, ", started again {times}").expect("a String takes all");
    }
    text
}

fn store(it: &StoreStatus) -> String {
    match &it.error {
        None => path(&it.path),
        Some(error) => format!("{}: nothing can be written: {}", path(&it.path), OneLine(error)),
    }
}

fn scheduler(it: &SchedulerStatus) -> [String; 9] {
    let name = shown(it.name.as_bytes());
    [
        if it.paused { format!("{name} (paused)") } else { name.to_string() },
        it.tasks.waiting.to_string(),
        it.tasks.ready.to_string(),
        it.tasks.running.to_string(),
        it.done.to_string(),
        it.failed.to_string(),
        it.cancelled.to_string(),
        it.stopped.to_string(),
        it.retried.to_string(),
    ]
}

fn tasks(Tasks { tasks, of }: &Tasks) -> String {
    if tasks.is_empty() {
        return "no tasks\n".into();
    }
    let mut table = Table::headed(["TASK", "SCHEDULER", "STATE", "TIME", "TRY", "EVENT", "PATH"]);
    for it in tasks {
        table.row(task(it));
    }
    match of.saturating_sub(tasks.len()) {
        0 => table.to_string(),
        more => format!("{table}and {more} more; --limit shows up to {}\n", TASKS.1),
    }
}

/// Where a task stands, and for how long it has, or in how long that ends.
pub(in crate::cli) fn state(it: &Task) -> (&'static str, Option<(&'static str, f64)>) {
    match it.state {
        State::Waiting => ("waiting", it.due_in.map(|it| ("in", it))),
        State::Held => ("held", None),
        State::Ready => ("ready", None),
        State::Running => ("running", it.running_for.map(|it| ("for", it))),
    }
}

fn task(it: &Task) -> [String; 7] {
    let (state, time) = state(it);
    let time = time.map(|(word, it)| format!("{word} {}", human(it)));
    [
        short(&it.task),
        it.scheduler.as_deref().map_or_else(|| "-".into(), |it| shown(it.as_bytes()).to_string()),
        state.into(),
        time.unwrap_or_else(|| "-".into()),
        it.attempt.to_string(),
        OneLine(&it.event).to_string(),
        path(&it.path),
    ]
}

fn history(History { tasks }: &History) -> String {
    if tasks.is_empty() {
        return "no task has ended\n".into();
    }
    let mut table = Table::headed(["ENDED", "TASK", "SCHEDULER", "TOOK", "TRY", "PATH", "OUTCOME"]);
    for it in tasks {
        table.row(ended(it));
    }
    table.to_string()
}

fn ended(it: &Ended) -> [String; 7] {
    let outcome = OneLine(&it.outcome).to_string();
    [
        at(it.at),
        short(&it.task),
        shown(it.scheduler.as_bytes()).to_string(),
        human(it.took),
        it.attempt.to_string(),
        path(&it.path),
        match it.how {
            How::Done | How::Stopped => outcome,
            How::Failed => format!("failed: {outcome}"),
        },
    ]
}

fn said(it: &Said) -> String {
    let task = it.task.as_ref().map(|it| format!("{}: ", short(it))).unwrap_or_default();
    let (at, level, name) =
        (at(it.at), OneLine(&it.level).to_string(), shown(it.logname.as_bytes()));
    format!("{at} {level:<7} {name}: {task}{}\n", OneLine(&it.message))
}

/// As much of a task's id as people need.
pub(in crate::cli) fn short(task: &str) -> String {
    OneLine(&task.chars().take(ID).collect::<String>()).to_string()
}

/// A path, safe to show.
pub(in crate::cli) fn path(it: &Shown) -> String {
    let unreadable = || OneLine(&it.path).to_string();
    it.bytes().map_or_else(unreadable, |it| shown(&it).to_string())
}

/// A time as people write it.
pub(in crate::cli) fn human(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    // Of times that people read, a millisecond is the least.
    Human(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))).to_string()
}

/// A point in time, by the clock on the wall here.
pub(in crate::cli) fn at(at: f64) -> String {
    let mut text = Vec::new();
    stamp::asctime(&mut text, Duration::try_from_secs_f64(at).unwrap_or_default());
    String::from_utf8_lossy(&text).into_owned()
}

/// Rows of columns; each but the last as wide as its widest text.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new() -> Self {
        Self { rows: Vec::new() }
    }

    fn headed(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &String| text.chars().count();
        let widths: [usize; N] = std::array::from_fn(|column| {
            self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)
        });
        for row in &self.rows {
            let (last, others) = row.split_last().expect("a table has a column");
            for (text, column) in others.iter().zip(widths) {
                write!(f, "{text:column$}  ")?;
            }
            writeln!(f, "{last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::top::samples;

    /// What a server could want a terminal to do: another title, another line, text from the right.
    const EVIL: &str = "\u{1b}]0;x\u{7}\r\u{9b}2J\u{202e}";

    /// An answer in which every text is [`EVIL`], but for words that are one of a few.
    fn evil(mut answer: Value, words: &[&str]) -> Reply {
        fn spoil(value: &mut Value, words: &[&str]) {
            match value {
                Value::String(text) if !words.contains(&text.as_str()) => *text = EVIL.into(),
                Value::Array(values) => values.iter_mut().for_each(|it| spoil(it, words)),
                Value::Object(fields) => fields.values_mut().for_each(|it| spoil(it, words)),
                Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => (),
            }
        }
        spoil(&mut answer, words);
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn what_is_wrong_is_seen_in_what_is_shown() {
        let starts = Status {
            life: Life::Starting,
            python: Some(PythonStatus { pid: None, running: 0, silent: None, restarts: 1 }),
            ..samples::status()
        };
        let few = Tasks { tasks: samples::tasks()[..5].to_vec(), of: 39 };
        let statuses = [samples::bad_status(), starts].map(|it| Reply::Status(Box::new(it)));
        let told = statuses.into_iter().chain([Reply::Tasks(few)]).map(|it| reply(&it));
        insta::assert_snapshot!("bad", told.collect::<Vec<_>>().join("\n----\n"));
    }

    #[test]
    fn nothing_that_is_answered_does_anything_to_a_terminal() {
        let counts = json!({ "waiting": 1, "ready": 1, "running": 1 });
        let scheduler = json!({
            "name": "x", "paused": true, "waiting": 1, "ready": 1, "running": 1, "scheduled": 1,
            "done": 1, "failed": 1, "cancelled": 1, "stopped": 1, "retried": 1,
        });
        let status = json!({
            "reply": "status", "protocol": 1, "version": "x", "pid": 1, "life": "running",
            "uptime": 1.0, "config": { "path": "x" }, "directories": 1, "unwatched": 1,
            "overflows": 1, "backlog": 1, "lag": 1.0, "tasks": counts, "slots": 1,
            "watches": [{ "paths": [{ "path": "x" }], "directories": 1, "events": 1 }],
            "schedulers": [scheduler],
            "python": { "pid": 1, "running": 1, "silent": 1.0, "restarts": 1 },
            "store": { "path": { "path": "x" }, "error": "x", "commits": 1 },
        });
        let task = json!({
            "task": "x", "scheduler": "x", "state": "waiting", "path": "x", "path_hex": "x",
            "event": "x", "attempt": 1, "due_in": 1.0, "running_for": null,
        });
        let ended = json!({
            "task": "x", "scheduler": "x", "path": "x", "event": "x", "attempt": 1,
            "how": "failed", "outcome": "x", "at": 1.0, "took": 1.0,
        });
        let said = json!({
            "reply": "said", "at": 1.0, "level": "x", "logname": "x", "name": "x", "task": "x",
            "path": "x", "message": "x",
        });
        let answers = [
            status,
            json!({ "reply": "tasks", "tasks": [task], "of": 2 }),
            json!({ "reply": "history", "tasks": [ended] }),
            json!({ "reply": "done", "message": "x", "task": "x", "needs_restart": ["x"] }),
            json!({ "reply": "text", "text": "x" }),
            said,
            json!({ "reply": "refused", "code": "busy", "message": "x", "hint": "x" }),
        ];
        let words = [
            "status", "tasks", "history", "done", "text", "said", "refused", "running", "waiting",
            "failed", "busy",
        ];
        for answer in answers {
            let shown = reply(&evil(answer, &words));
            let acts = |it: char| {
                it != '\n' && (it.is_control() || pyinotifyd_core::path::is_invisible(it))
            };
            assert!(!shown.contains(acts), "{shown:?}");
        }
    }

    #[test]
    fn one_of_anything_is_told_as_one() {
        let status = |count: u64, slots| {
            let mut it = samples::status();
            it.python =
                Some(PythonStatus { pid: Some(7), running: slots, silent: None, restarts: count });
            let text = super::status(&Status { overflows: count, slots, ..it });
            let of = |fact: &str| text.lines().find(|it| it.starts_with(fact)).map(str::to_owned);
            ["overflows", "python", "tasks"].map(|it| of(it).unwrap())
        };
        assert_eq!(
            status(1, 1),
            [
                "overflows      1 time; what changed was looked up",
                "python         pid 7, 1 task with it, started again 1 time",
                "tasks          1200 waiting, 3 ready, 4 running, 1 slot",
            ]
        );
        assert_eq!(
            status(2, 2),
            [
                "overflows      2 times; what changed was looked up",
                "python         pid 7, 2 tasks with it, started again 2 times",
                "tasks          1200 waiting, 3 ready, 4 running, 2 slots",
            ]
        );
    }
}
