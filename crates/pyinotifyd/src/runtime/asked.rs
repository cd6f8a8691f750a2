//! The loop and the control socket: what is asked, answered between two turns.
//!
//! Most is answered at once. What takes its time (a reload, a sync, a stream) is kept in [`Asking`]
//! until the loop has come so far.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pyinotifyd_core::{
    engine::{Input, Life},
    event::Event,
    explain::explain,
    path::below,
    plan::SchedulerId,
    report::{Report, Say},
    schedule::{TaskState, TaskView},
    stats::Finished,
    task::{self, Order, OrderKind, TaskId},
    time::Instant,
};
use pyinotifyd_sys::time;

use super::Loop;
use crate::{
    control::{
        server::{Answer, Asked, Server},
        words::{
            self, Code, Counts, Done, Ended, History, How, OfHistory, OfTasks, PROTOCOL,
            PythonStatus, Refused, Reply, Request, Said, SchedulerStatus, Shown, State, Status,
            StoreStatus, TASKS, Task, Tasks, Text, WatchStatus,
        },
    },
    errors, explained,
    metrics::snapshot::{OfScheduler, OfWatch},
};

/// The fences of syncs are numbered from here; the store's are below.
const FENCES: u64 = 1 << 63;

/// Who asks over the control socket, and what is still to be answered.
#[derive(Debug, Default)]
pub(super) struct Asking {
    server: Option<Server>,
    /// Where the configuration comes from, for people.
    config: Option<PathBuf>,
    reloads: Reloads,
    syncs: Vec<Sync>,
    fences: u64,
    tails: Vec<Answer>,
}

/// Who waits for a reload, by how far it has come: each is told of its own.
#[derive(Debug, Default)]
struct Reloads {
    /// It is not being read yet: another is, and the file may have changed since that began.
    next: Vec<Answer>,
    /// It is being read.
    reading: Vec<Answer>,
    /// It is good, and its Watches are being set; and what is to be said then.
    adopted: Vec<(Answer, Done)>,
}

/// Who waits until what has happened has been handled.
#[derive(Debug)]
struct Sync {
    answer: Answer,
    /// Whether the tasks are waited for, too.
    tasks: bool,
    /// The fence that has to pass; `None`: it has.
    fence: Option<u64>,
    /// The tasks that there were then.
    of: HashSet<TaskId>,
    /// Those of them that nobody has said to have ended.
    left: HashSet<TaskId>,
}

impl Asking {
    /// Listens at a path. A daemon that cannot be asked still does its work.
    pub(super) fn new(socket: Option<&Path>, config: Option<PathBuf>) -> Self {
        let server = socket.and_then(|path| {
            let failed = |error: &std::io::Error| {
                let at = errors::shown_path(path);
                match error.kind() {
                    std::io::ErrorKind::AddrInUse => ::log::warn!(
                        "the control socket {at} is another daemon's: this one cannot be asked"
                    ),
                    _ => ::log::warn!(
                        "this daemon cannot be asked: the control socket {at} cannot be made: \
                         {}",
                        errors::words(error)
                    ),
                }
            };
            Server::listen(path).inspect_err(failed).ok()
        });
        Self { server, config, ..Self::default() }
    }

    /// What is asked next.
    pub(super) async fn next(&mut self) -> Asked {
        match &mut self.server {
            Some(server) => server.next().await,
            None => std::future::pending().await,
        }
    }

    /// Takes in that the daemon says something.
    pub(super) fn handle_report(&mut self, report: &Report) {
        if !self.tails.is_empty() {
            let said = said(report);
            self.tails.retain(|it| it.send(Reply::Said(said.clone())));
        }
        if let (Some(task), Say::Ended { .. } | Say::Cancelled { .. }) = (report.task, &report.say)
        {
            for sync in &mut self.syncs {
                sync.left.remove(&task);
            }
        }
    }

    /// Whether a fence is one of a sync.
    pub(super) fn is_fence(number: u64) -> bool {
        number >= FENCES
    }

    /// Takes in that the configuration begins to be read.
    pub(super) fn handle_reading(&mut self) {
        self.reloads.reading.append(&mut self.reloads.next);
    }

    /// Takes in that what was read is not good.
    pub(super) fn handle_bad(&mut self) {
        let said = "the configuration has mistakes: what was in force stays so";
        let refused = Refused::new(Code::BadConfiguration, said)
            .hint("`pyinotifyd check` and the log say which");
        for answer in self.reloads.reading.drain(..) {
            answer.send(Reply::Refused(refused.clone()));
        }
    }

    /// Takes in that what was read is good, and that its Watches are being set; and which keys have
    /// changed that only a start puts in force.
    pub(super) fn handle_adopted(&mut self, needs_restart: &[&'static str]) {
        let mut message = "the configuration has been read anew and is in force".to_owned();
        if !needs_restart.is_empty() {
            message = format!("{message}, but {}", super::needs_restart(needs_restart));
        }
        let needs_restart = needs_restart.iter().map(|it| (*it).to_owned()).collect();
        let done = Done { needs_restart, ..Done::new(message) };
        let reading = self.reloads.reading.drain(..);
        self.reloads.adopted.extend(reading.map(|it| (it, done.clone())));
    }

    /// Whether somebody waits until the Watches of a configuration are set.
    pub(super) fn awaits_watches(&self) -> bool {
        !self.reloads.adopted.is_empty()
    }

    /// Takes in that the Watches of the last configuration that was adopted are set.
    pub(super) fn handle_in_force(&mut self) {
        for (answer, done) in self.reloads.adopted.drain(..) {
            answer.send(Reply::Done(done));
        }
    }

    /// Takes in that nothing is read anew any more.
    pub(super) fn handle_stopping(&mut self) {
        let Reloads { next, reading, adopted } = std::mem::take(&mut self.reloads);
        let adopted = adopted.into_iter().map(|(answer, _)| answer);
        for answer in next.into_iter().chain(reading).chain(adopted) {
            answer.send(Reply::Refused(stopping()));
        }
    }
}

impl Loop {
    /// Answers a request, now or later.
    pub(super) fn asked(&mut self, asked: Asked) {
        let Asked { request, answer } = asked;
        let reply = match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status()))),
            Request::Tasks(which) => self.tasks(&which),
            Request::History(which) => self.history(&which),
            Request::Cancel { task, stop } => self.cancel(&task, stop),
            Request::RunNow { task } => self.run_now(&task),
            Request::Retry { task } => self.retry(&task),
            Request::Pause { scheduler } => self.pause(scheduler.as_deref(), true),
            Request::Resume { scheduler } => self.pause(scheduler.as_deref(), false),
            Request::Reload if self.is_stopping() => Err(stopping()),
            Request::Reload if self.loading.has_source() => {
                self.asking.reloads.next.push(answer);
                return self.reload();
            }
            Request::Reload => {
                let said = "this daemon has no configuration that it could read anew";
                Err(Refused::new(Code::NoConfiguration, said))
            }
            Request::Sync { tasks } => match self.sync(answer, tasks) {
                Ok(()) => return,
                Err((answer, refused)) => {
                    answer.send(Reply::Refused(refused));
                    return;
                }
            },
            Request::Tail => {
                self.asking.tails.retain(Answer::is_wanted);
                if answer.send(Reply::Status(Box::new(self.status()))) {
                    self.asking.tails.push(answer);
                }
                return;
            }
            Request::Explain { path, event, is_dir, json } => {
                self.explain(&path, &event, is_dir, json)
            }
            Request::Metrics => return self.answer_metrics(answer),
        };
        answer.send(reply.unwrap_or_else(Reply::Refused));
    }

    /// Answers syncs whose time has come.
    pub(super) fn answer_syncs(&mut self) {
        let asking = &mut self.asking;
        asking.syncs.retain(|it| it.answer.is_wanted());
        if asking.syncs.iter().all(|it| it.fence.is_some() || !it.left.is_empty()) {
            return;
        }
        for mut sync in std::mem::take(&mut asking.syncs) {
            if sync.fence.is_some() || !sync.left.is_empty() {
                asking.syncs.push(sync);
                continue;
            }
            // A task of a batch that was started anew has ended, and goes on.
            let tasks = self.engine.schedule().tasks().map(|it| it.id);
            sync.left = tasks.filter(|it| sync.of.contains(it)).collect();
            if sync.left.is_empty() {
                let said = if sync.tasks {
                    "everything that had happened has been handled, and its tasks have ended"
                } else {
                    "everything that had happened has been handled"
                };
                sync.answer.send(Reply::Done(Done::new(said)));
            } else {
                asking.syncs.push(sync);
            }
        }
    }

    /// Takes in that the fence of a sync has passed.
    pub(super) fn handle_fence_of_sync(&mut self, number: u64) {
        let engine = &self.engine;
        for sync in self.asking.syncs.iter_mut().filter(|it| it.fence == Some(number)) {
            sync.fence = None;
            if sync.tasks {
                sync.of = engine.schedule().tasks().map(|it| it.id).collect();
                sync.left.clone_from(&sync.of);
            }
        }
    }

    fn sync(&mut self, answer: Answer, tasks: bool) -> Result<(), (Answer, Refused)> {
        if self.is_stopping() {
            return Err((answer, stopping()));
        }
        self.asking.fences += 1;
        let fence = FENCES + self.asking.fences;
        let (of, left) = (HashSet::new(), HashSet::new());
        self.asking.syncs.push(Sync { answer, tasks, fence: Some(fence), of, left });
        self.handle(Input::Fence(fence));
        Ok(())
    }

    pub(super) fn is_stopping(&self) -> bool {
        match self.engine.life() {
            Life::Starting | Life::Running => false,
            Life::Stopping { .. } | Life::GivingUp | Life::Over => true,
        }
    }

    fn status(&self) -> Status {
        let it = self.measure();
        Status {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            life: match self.engine.life() {
                Life::Starting => words::Life::Starting,
                Life::Running => words::Life::Running,
                Life::Stopping { .. } | Life::GivingUp | Life::Over => words::Life::Stopping,
            },
            uptime: self.start.elapsed().as_secs_f64(),
            config: self.asking.config.as_ref().map(|it| shown_path(it)),
            directories: it.directories,
            unwatched: it.unwatched,
            overflows: it.overflows,
            backlog: it.backlog,
            lag: it.lag.as_secs_f64(),
            tasks: counts(self.engine.counts()),
            slots: it.slots,
            watches: it.watches.iter().map(watch_status).collect(),
            schedulers: it.schedulers.iter().map(scheduler_status).collect(),
            python: it.python.map(|it| PythonStatus {
                pid: it.pid,
                running: it.runs,
                silent: it.silent.map(|it| it.as_secs_f64()),
                restarts: it.restarts,
            }),
            store: it.store.zip(self.state_dir.as_ref()).map(|(it, dir)| StoreStatus {
                path: shown_path(dir),
                error: it.error,
                commits: it.commits,
            }),
        }
    }

    /// What has been read and not handled, in bytes, and how old the oldest of it is.
    pub(super) fn backlog(&self) -> (usize, Duration) {
        let (waiting, since) = self.kernel.backlog();
        let here = self.records.len() - self.handed;
        let oldest = if here > 0 { self.records_since } else { since };
        (here + waiting, oldest.map(|it| it.elapsed()).unwrap_or_default())
    }

    fn tasks(&self, which: &OfTasks) -> Result<Reply, Refused> {
        let scheduler =
            which.about.scheduler.as_ref().map(|it| self.scheduler_named(it)).transpose()?;
        let path = which.about.path.as_ref().map(bytes).transpose()?;
        let fits = |it: &TaskView| {
            scheduler.is_none_or(|id| it.scheduler == Some(id))
                && which.state.is_none_or(|state| state == state_of(it.state))
                && path.as_ref().is_none_or(|at| below(&it.event.pathname, at).is_some())
        };
        let now = self.now();
        let plan = self.engine.plan();
        let limit = which.about.limit.unwrap_or(TASKS.0).min(TASKS.1);
        let (mut tasks, mut of) = (Vec::new(), 0);
        for it in self.engine.schedule().tasks().filter(fits) {
            of += 1;
            if tasks.len() < limit {
                let name = it.scheduler.map(|id| plan.scheduler(id).name.to_string());
                tasks.push(task(&it, name, now));
            }
        }
        Ok(Reply::Tasks(Tasks { tasks, of }))
    }

    fn history(&self, which: &OfHistory) -> Result<Reply, Refused> {
        let path = which.about.path.as_ref().map(bytes).transpose()?;
        let (now, wall) = (self.now(), wall());
        let at = |it: &Finished| wall - (now.since(it.at) + it.before).as_secs_f64();
        let fits = |it: &&Finished| {
            which.about.scheduler.as_ref().is_none_or(|name| **name == *it.scheduler)
                && (!which.failed || it.outcome.how() == task::How::Failed)
                && which.since.is_none_or(|since| at(it) >= since)
                && path.as_ref().is_none_or(|path| below(&it.event.pathname, path).is_some())
        };
        let all: Vec<&Finished> = self.engine.schedule().history().iter().filter(fits).collect();
        let limit = which.about.limit.unwrap_or(TASKS.0).min(TASKS.1);
        let last = &all[all.len().saturating_sub(limit)..];
        Ok(Reply::History(History { tasks: last.iter().map(|it| ended(it, at(it))).collect() }))
    }

    fn cancel(&mut self, id: &str, stop: bool) -> Result<Reply, Refused> {
        let task = self.task_named(id)?;
        let said = match task.state {
            TaskState::Running { .. } if stop => "the task is asked to end",
            TaskState::Running { .. } => {
                let said = format!("the task {id} runs already");
                return Err(Refused::new(Code::TaskRuns, said).hint("--stop ends it"));
            }
            TaskState::Waiting { .. } | TaskState::Held | TaskState::Ready => {
                "the task is given up"
            }
        };
        self.handle(Input::Cancel(task.id));
        Ok(Reply::Done(Done::of(said, id)))
    }

    fn run_now(&mut self, id: &str) -> Result<Reply, Refused> {
        let task = self.task_named(id)?;
        if let TaskState::Running { .. } = task.state {
            return Err(Refused::new(Code::TaskRuns, format!("the task {id} runs already")));
        }
        self.handle(Input::RunNow(task.id));
        let paused = task.scheduler.is_some_and(|it| self.engine.schedule().is_paused(it));
        let when = if paused { "its scheduler is resumed" } else { "there is a slot" };
        let message = format!("the task starts as soon as {when}");
        Ok(Reply::Done(Done::of(message, id)))
    }

    fn retry(&mut self, id: &str) -> Result<Reply, Refused> {
        if self.is_stopping() {
            return Err(stopping());
        }
        let ended = self.engine.schedule().history().iter();
        let it = one(ended, id, |it| it.id)?.cloned().ok_or_else(|| {
            Refused::new(Code::NoSuchTask, format!("no task {id} has ended"))
                .hint("`pyinotifyd history` lists those that are remembered")
        })?;
        let scheduler = self.scheduler_named(&it.scheduler)?;
        // One of its own, by which the task is known from one that runs for the same.
        let event = Arc::new(Event::clone(&it.event));
        let order = Order { kind: OrderKind::Schedule, scheduler, event: Arc::clone(&event) };
        self.handle(Input::Order(order));
        // Unless it runs already, and `busy` says that nothing comes of it.
        let is_it =
            |new: &TaskView| new.scheduler == Some(scheduler) && Arc::ptr_eq(&new.event, &event);
        let new = self.engine.schedule().tasks().find(is_it).map(|it| it.id);
        let Some(new) = new else {
            let said = "nothing was ordered: a task for its path runs already";
            return Err(Refused::new(Code::TaskRuns, said));
        };
        self.handle(Input::RunNow(new));
        let message = "it runs again as soon as there is a slot".to_owned();
        Ok(Reply::Done(Done::of(message, new.to_string())))
    }

    fn pause(&mut self, name: Option<&str>, pauses: bool) -> Result<Reply, Refused> {
        if self.is_stopping() {
            return Err(stopping());
        }
        let scheduler = name.map(|it| self.scheduler_named(it)).transpose()?;
        self.handle(if pauses { Input::Pause(scheduler) } else { Input::Resume(scheduler) });
        let whose = name.unwrap_or("every scheduler");
        Ok(Reply::Done(Done::new(if pauses {
            format!("{whose} is paused: nothing of it starts until it is resumed")
        } else {
            format!("{whose} is resumed")
        })))
    }

    fn explain(
        &self,
        path: &Shown,
        event: &str,
        is_dir: bool,
        json: bool,
    ) -> Result<Reply, Refused> {
        let event = event.parse().map_err(|_| {
            Refused::new(Code::BadRequest, format!("there is no event type {event}"))
                .hint("`pyinotifyd --list` lists them")
        })?;
        let explanation = explain(self.engine.plan(), &bytes(path)?, is_dir, event);
        Ok(Reply::Text(Text { text: explained::shown(&explanation, json) }))
    }

    fn task_named(&self, id: &str) -> Result<TaskView, Refused> {
        one(self.engine.schedule().tasks(), id, |it| it.id)?.ok_or_else(|| {
            Refused::new(Code::NoSuchTask, format!("there is no task {id}"))
                .hint("`pyinotifyd tasks` lists those that there are")
        })
    }

    fn scheduler_named(&self, name: &str) -> Result<SchedulerId, Refused> {
        let plan = self.engine.plan();
        plan.schedulers().find(|(_, it)| *it.name == *name).map(|(id, _)| id).ok_or_else(|| {
            let refused =
                Refused::new(Code::NoSuchScheduler, format!("there is no scheduler {name}"));
            let names: Vec<&str> = plan.schedulers.iter().map(|it| &*it.name).collect();
            match *names {
                [] => refused.hint("there is none at all"),
                [only] => refused.hint(format!("there is {only}")),
                _ => refused.hint(format!("there are {}", names.join(", "))),
            }
        })
    }
}

fn stopping() -> Refused {
    Refused::new(Code::Stopping, "the daemon stops")
}

fn bytes(path: &Shown) -> Result<Arc<[u8]>, Refused> {
    let said = "path_hex is not made of pairs of hex digits";
    path.bytes().ok_or_else(|| Refused::new(Code::BadRequest, said))
}

fn shown_path(path: &Path) -> Shown {
    Shown::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
}

/// The one whose id begins with these hex digits, with or without hyphens.
fn one<T>(
    among: impl Iterator<Item = T>,
    text: &str,
    id: impl Fn(&T) -> TaskId,
) -> Result<Option<T>, Refused> {
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    let is_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
    let shift = match digits.len() {
        len @ 1..=32 if is_hex => 4 * (32 - len),
        _ => return Ok(None),
    };
    let wanted = u128::from_str_radix(&digits, 16).ok();
    let mut found = among.filter(|it| Some(id(it).0 >> shift) == wanted);
    let first = found.next();
    if found.next().is_some() {
        let said = format!("the ids of several tasks begin with {text}");
        return Err(Refused::new(Code::NoSuchTask, said).hint("give more digits of it"));
    }
    Ok(first)
}

fn wall() -> f64 {
    Duration::from_nanos(u64::try_from(time::now()).unwrap_or(0)).as_secs_f64()
}

fn watch_status(it: &OfWatch) -> WatchStatus {
    WatchStatus {
        paths: it.paths.iter().map(|it| Shown::new(it)).collect(),
        directories: it.directories,
        events: it.events.total(),
    }
}

fn scheduler_status(it: &OfScheduler) -> SchedulerStatus {
    let totals = &it.totals;
    SchedulerStatus {
        name: it.name.to_string(),
        paused: it.is_paused,
        tasks: counts(it.counts),
        scheduled: totals.scheduled,
        done: totals.done,
        failed: totals.failed,
        cancelled: totals.cancelled,
        stopped: totals.stopped,
        retried: totals.retried,
    }
}

fn counts(counts: pyinotifyd_core::schedule::Counts) -> Counts {
    Counts { waiting: counts.waiting, ready: counts.ready, running: counts.running }
}

fn state_of(state: TaskState) -> State {
    match state {
        TaskState::Waiting { .. } => State::Waiting,
        TaskState::Held => State::Held,
        TaskState::Ready => State::Ready,
        TaskState::Running { .. } => State::Running,
    }
}

fn task(it: &TaskView, scheduler: Option<String>, now: Instant) -> Task {
    Task {
        task: it.id.to_string(),
        scheduler,
        state: state_of(it.state),
        path: Shown::new(&it.event.pathname),
        event: it.event.mask.to_string(),
        attempt: it.attempt,
        due_in: match it.state {
            TaskState::Waiting { due } => Some(due.since(now).as_secs_f64()),
            TaskState::Held | TaskState::Ready | TaskState::Running { .. } => None,
        },
        running_for: match it.state {
            TaskState::Running { since, .. } => Some(now.since(since).as_secs_f64()),
            TaskState::Waiting { .. } | TaskState::Held | TaskState::Ready => None,
        },
    }
}

fn ended(it: &Finished, at: f64) -> Ended {
    Ended {
        task: it.id.to_string(),
        scheduler: it.scheduler.to_string(),
        path: Shown::new(&it.event.pathname),
        event: it.event.mask.to_string(),
        attempt: it.attempt,
        how: match it.outcome.how() {
            task::How::Done => How::Done,
            task::How::Stopped => How::Stopped,
            task::How::Failed => How::Failed,
        },
        outcome: it.outcome.to_string(),
        at,
        took: it.took.as_secs_f64(),
    }
}

fn said(report: &Report) -> Said {
    Said {
        at: wall(),
        level: report.say.level().name().to_owned(),
        logname: report.logname.to_string(),
        name: report.say.name().to_owned(),
        task: report.task.map(|it| it.to_string()),
        path: report.say.path().map(Shown::new),
        message: report.say.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reload_is_answered_with_what_has_become_of_itself() {
        let mut asking = Asking::default();
        let ask = |asking: &mut Asking| {
            let (answer, arrives) = Answer::pair();
            asking.reloads.next.push(answer);
            arrives
        };
        let mut good = ask(&mut asking);
        asking.handle_reading();
        let mut bad = ask(&mut asking);
        let mut another = ask(&mut asking);
        asking.handle_adopted(&["state_dir"]);
        asking.handle_reading();
        let mut last = ask(&mut asking);
        asking.handle_bad();
        for it in [&mut bad, &mut another] {
            assert!(matches!(it.try_recv(), Ok(Reply::Refused(_))));
        }
        asking.handle_reading();
        assert!(good.try_recv().is_err(), "its Watches are not set");
        asking.handle_in_force();
        assert!(
            matches!(good.try_recv(), Ok(Reply::Done(it)) if it.needs_restart == ["state_dir"])
        );
        assert!(last.try_recv().is_err(), "it is being read");
        asking.handle_adopted(&[]);
        asking.handle_stopping();
        assert!(matches!(last.try_recv(), Ok(Reply::Refused(it)) if it.code == Code::Stopping));
    }
}
