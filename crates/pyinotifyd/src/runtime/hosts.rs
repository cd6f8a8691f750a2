//! The loop and the hosts of a config.py: what they say, their end, and their successors.
//!
//! A configuration is read on a thread, whatever its language: config.py may take its time, and so
//! may the look-up of a user. What came of it arrives here as [`Loaded`].

mod words;

use std::{
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use pyinotifyd_core::{
    engine::Input,
    event::Event,
    path::{below, shown},
    plan::{NamePattern, Plan, SchedulerId},
    task::{Order, OrderKind, RunId, RunTask},
};
use pyinotifyd_sys::time;
use tokio::sync::mpsc;

use super::{Fresh, Loop, Source};
use crate::{
    action::hosted::{self, Gone, task_id},
    errors,
    host::{
        live::{Heard, HostId},
        start,
        wire::{FromHost, How},
    },
    json::Value,
    log,
};

/// How long it takes until a host is started again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A host that lived for so long was a good one: its successor is started soon again.
const HEALTHY: Duration = Duration::from_secs(60);

/// A configuration that was read.
pub(super) enum Loaded {
    /// On SIGHUP.
    Reload(Option<Fresh>),
    /// Because its host has ended.
    Restart(Option<Fresh>),
    /// Because its objects have changed, as this says.
    Changed(Value, Option<Arc<Plan>>),
}

/// What is being read.
pub(super) struct Loading {
    source: Option<Arc<dyn Source>>,
    loaded: (mpsc::UnboundedSender<Box<Loaded>>, mpsc::UnboundedReceiver<Box<Loaded>>),
    reloads: Reloads,
    backoff: Duration,
    restarts: u64,
}

/// How a reload goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reloads {
    /// None goes on.
    Idle,
    /// One goes on.
    Reading,
    /// One goes on, and the file may have changed since it began.
    ReadingAgain,
}

impl Loading {
    pub(super) fn new(source: Option<Arc<dyn Source>>) -> Self {
        let reloads = Reloads::Idle;
        let loaded = mpsc::unbounded_channel();
        Self { source, loaded, reloads, backoff: BACKOFF.0, restarts: 0 }
    }

    /// Whether there is a configuration that can be read anew.
    pub(super) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// How often a host was started again because it had ended.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// What has been read.
    pub(super) async fn next(&mut self) -> Box<Loaded> {
        match self.loaded.1.recv().await {
            Some(loaded) => loaded,
            // There is always one sender, here.
            None => std::future::pending().await,
        }
    }

    /// Reads on a thread, after a while.
    fn read(&self, after: Duration, read: impl FnOnce(&dyn Source) -> Loaded + Send + 'static) {
        let Some(source) = self.source.clone() else { return };
        let loaded = self.loaded.0.clone();
        tokio::spawn(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            // If the loop has ended, nobody needs it.
            tokio::task::spawn_blocking(move || drop(loaded.send(Box::new(read(&*source))))).await
        });
    }
}

impl Loop {
    /// SIGHUP.
    pub(super) fn reload(&mut self) {
        if self.loading.source.is_none() || self.is_stopping() {
            return;
        }
        self.service.handle_reload(time::monotonic());
        self.loading.reloads = match self.loading.reloads {
            Reloads::Idle => {
                self.asking.handle_reading();
                self.loading.read(Duration::ZERO, |it| Loaded::Reload(it.load()));
                Reloads::Reading
            }
            Reloads::Reading | Reloads::ReadingAgain => Reloads::ReadingAgain,
        };
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        match loaded {
            // It comes too late.
            Loaded::Reload(fresh) if self.is_stopping() => {
                if let Some(host) = fresh.and_then(|it| it.host) {
                    host.dismiss();
                }
                self.asking.handle_stopping();
            }
            Loaded::Reload(fresh) => {
                let again = self.loading.reloads == Reloads::ReadingAgain;
                if !again {
                    self.loading.reloads = Reloads::Idle;
                }
                self.measuring.reloads.add(fresh.is_some());
                if let Some(fresh) = fresh {
                    self.loading.backoff = BACKOFF.0;
                    self.asking.handle_adopted(&fresh.needs_restart);
                    self.adopt(fresh, true);
                } else {
                    self.service.handle_refused();
                    self.asking.handle_bad();
                }
                if again {
                    self.loading.reloads = Reloads::Idle;
                    self.reload();
                }
            }
            // A reload was faster.
            Loaded::Restart(fresh) if self.actions.hosted.current().is_some() => {
                if let Some(host) = fresh.and_then(|it| it.host) {
                    host.dismiss();
                }
            }
            Loaded::Restart(Some(fresh)) => {
                let described = fresh.host.as_ref().map(|it| &it.description);
                let is_new = described != self.description.as_ref();
                // A reload whose host was lost at once is still to be put in force.
                self.adopt(fresh, is_new || self.asking.awaits_watches());
            }
            Loaded::Restart(None) => self.restart(),
            Loaded::Changed(_, None) => (),
            Loaded::Changed(description, Some(plan)) => {
                let current = self.actions.hosted.current().map(|it| &it.description);
                // Of a host that has gone meanwhile, nothing is of interest.
                if current.is_some() {
                    self.description = Some(description);
                    self.handle(Input::Plan(plan));
                }
            }
        }
    }

    /// Puts a configuration in force.
    fn adopt(&mut self, fresh: Fresh, is_new: bool) {
        log::reconfigure(fresh.log);
        self.measuring.serve(fresh.metrics);
        if let Some(host) = fresh.host {
            let description = host.description.clone();
            if let Err(error) = self.actions.hosted.attach(host) {
                ::log::error!("cannot speak with Python: {}", errors::words(&error));
                return self.restart();
            }
            self.description = Some(description);
        }
        if is_new {
            self.handle(Input::Plan(fresh.plan));
        }
    }

    /// Starts a host again, after a while.
    fn restart(&mut self) {
        let after = self.loading.backoff;
        self.loading.backoff = (after * 2).min(BACKOFF.1);
        self.loading.restarts += 1;
        ::log::warn!("{}", words::again(after));
        self.loading.read(after, |it| Loaded::Restart(it.load()));
    }

    /// Deals with what is heard of a host.
    pub(super) fn heard(&mut self, host: HostId, heard: Heard) {
        match heard {
            Heard::Said(messages) => {
                self.silent_since = None;
                for message in messages {
                    self.said(host, message);
                }
                // Ends that came in one frame, in one go.
                self.carry_out();
            }
            Heard::Silent(since) => {
                self.silent_since = Clock::now().checked_sub(since);
                ::log::error!("{}", words::silent(since));
            }
            Heard::Overdue(run) => self.actions.hosted.overdue(host, run),
            Heard::Gone(why) => {
                let Some(Gone { was_current, how, lived }) = self.actions.hosted.gone(host) else {
                    return;
                };
                if !was_current {
                    return;
                }
                self.silent_since = None;
                ::log::error!("{}", words::ended(&how, why.as_deref()));
                if lived >= HEALTHY {
                    self.loading.backoff = BACKOFF.0;
                }
                self.restart();
            }
        }
    }

    /// What follows is to be carried out by the caller.
    fn run_ended(&mut self, host: HostId, run: RunId, how: How) {
        if let Some(outcome) = self.actions.hosted.ended(host, run, how) {
            self.one_ended(run, outcome);
        }
    }

    fn said(&mut self, host: HostId, message: FromHost) {
        let is_current = self.actions.hosted.current().is_some_and(|it| it.id == host);
        match message {
            FromHost::Ended(run, how) => self.run_ended(host, run, how),
            FromHost::Done(runs) => {
                for run in runs {
                    self.run_ended(host, run, How::Done(None));
                }
            }
            FromHost::Matched(run, answers) => {
                match self.actions.hosted.matched(host, run, answers) {
                    None => (),
                    Some((question, answers)) if hosted::is_call(run) => {
                        self.actions.begin_call(question, &answers);
                    }
                    Some((question, answers)) => self.handle(Input::Answered(question, answers)),
                }
            }
            FromHost::Order { kind, scheduler, event } => self.order(kind, &scheduler, event),
            FromHost::Files { call, scheduler, event, task } => {
                let plan = Arc::clone(self.engine.plan());
                match find(&plan, &scheduler) {
                    Some(id) => {
                        let event = placed(&plan, event);
                        let task = RunTask { id: task_id(task.as_deref()), event, attempt: 1 };
                        self.actions.call((host, call), id, &plan, task);
                    }
                    None => self.actions.hosted.reply(host, call, false, "it is not in force"),
                }
            }
            FromHost::Log(line) => {
                let at = Duration::try_from_secs_f64(line.created).unwrap_or_default();
                log::hosted(line.level, &line.logname, &line.text, at);
            }
            FromHost::Logging(logging) if is_current => log::reconfigure(start::settings(logging)),
            FromHost::Document(description) if is_current => {
                self.loading.read(Duration::ZERO, move |it| {
                    let plan = it.describe(&description);
                    Loaded::Changed(description, plan)
                });
            }
            FromHost::Blocked { run, seconds, stack } => {
                let path = run.and_then(|it| self.actions.hosted.path_of(it));
                ::log::error!("{}", words::blocked(path, seconds));
                for line in stack.lines() {
                    ::log::error!("{}", shown(line.as_bytes()));
                }
            }
            // Of one that leaves, only its runs are of interest; the rest was said before.
            FromHost::Logging(_)
            | FromHost::Document(_)
            | FromHost::Hello { .. }
            | FromHost::Refused(_)
            | FromHost::Pong(_) => (),
        }
    }

    /// Code of config.py asks something of a scheduler.
    fn order(&mut self, kind: OrderKind, scheduler: &str, event: Event) {
        let plan = Arc::clone(self.engine.plan());
        let Some(id) = find(&plan, scheduler) else {
            return ::log::warn!("{}", words::not_in_force(scheduler, &event.pathname));
        };
        let event = placed(&plan, event);
        self.handle(Input::Order(Order { kind, scheduler: id, event }));
    }
}

fn find(plan: &Plan, scheduler: &str) -> Option<SchedulerId> {
    plan.schedulers().find(|(_, it)| &*it.name == scheduler).map(|(id, _)| id)
}

/// An event that has been in Python, with the part of its path that a Watch has as its own.
fn placed(plan: &Plan, mut event: Event) -> Arc<Event> {
    let patterns = plan.watches.iter().flat_map(|it| &it.paths);
    let literal = patterns
        .filter(|it| it.names.iter().all(|name| matches!(name, NamePattern::Literal(_))))
        .map(|it| &it.source)
        .filter(|it| below(&event.pathname, it).is_some());
    let root_len = literal.map(|it| it.len()).max().unwrap_or(0);
    event.root_len = u32::try_from(root_len).unwrap_or(0);
    Arc::new(event)
}
