//! What actions say in the log, beside what commands print: the lines of `log`, and notes.

use std::{fmt::Display, sync::Arc};

use pyinotifyd_core::{
    plan::{Level, LogLine, Scheduler},
    task::{Run, RunTask},
    template::Values,
};

/// A line for the log about one task.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// How severe it is.
    pub(crate) level: Level,
    /// Of the scheduler.
    pub(crate) logname: &'a str,
    /// Whom it is about. The log puts its id in front.
    pub(crate) task: &'a RunTask,
    /// What is said. The parts that others can choose are escaped.
    pub(crate) message: &'a dyn Display,
}

/// Takes a line.
pub(crate) type Say = Arc<dyn Fn(&Line<'_>) + Send + Sync>;

/// Says the line of a `log` action, once for each task.
pub(super) fn say(run: &Run, scheduler: &Scheduler, line: &LogLine, say: &Say) {
    for task in &run.tasks {
        let values = Values { event: &task.event, task: task.id, scheduler: &scheduler.name };
        let message = &line.message.shown(&values);
        say(&Line { level: line.level, logname: &scheduler.logname, task, message });
    }
}
