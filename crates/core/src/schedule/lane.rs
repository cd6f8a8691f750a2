//! One scheduler of the plan: what it was told, and what of its tasks is where.

use std::{sync::Arc, time::Duration};

use super::{Counts, slab::List};
use crate::{
    event::Event,
    plan::{Action, Breaker, Busy, OnCrash, Retry, Scheduler, SchedulerId},
    stats::Totals,
};

/// So many runs go on at once of a scheduler without a limit: whoever carries them out has stopped
/// doing so, and what it has not taken must not grow for ever. Further tasks wait.
const IN_FLIGHT: usize = 1 << 18;

/// A scheduler. A reload that keeps its name keeps its lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its number in the plan; `None` once it has left the configuration and its runs go on.
    pub(super) id: Option<SchedulerId>,
    pub(super) name: Arc<str>,
    pub(super) logname: Arc<str>,
    pub(super) settings: Settings,
    /// The tasks that could run if there were a slot, in the order in which they became ready.
    pub(super) ready: List,
    pub(super) counts: Counts,
    pub(super) totals: Totals,
    /// Whether somebody has asked that nothing of it starts for now.
    pub(super) paused: bool,
    /// How many tests go on whether its tasks may start; each takes a slot.
    pub(super) probes: usize,
    /// Whether it is in the queue of lanes that could start a run.
    pub(super) in_turn: bool,
}

/// What of a scheduler's configuration decides when its tasks run.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the configuration, and none depends on another"
)]
pub(super) struct Settings {
    pub(super) delay: Duration,
    pub(super) max_wait: Option<Duration>,
    pub(super) singlejob: bool,
    pub(super) busy: Busy,
    /// `None`: its runs take none of the slots that all share.
    pub(super) slots: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) kill_after: Duration,
    pub(super) retry: Retry,
    pub(super) follow: bool,
    pub(super) breaker: Option<Breaker>,
    /// The most tasks in one run.
    pub(super) batch: usize,
    /// What becomes of a run that the end of the process cut off.
    pub(super) on_crash: OnCrash,
    /// Whether its runs are lines of the log that wait for nothing.
    pub(super) is_line: bool,
    /// Whether tasks are tested before they start.
    pub(super) tests: bool,
}

impl Lane {
    pub(super) fn new(id: SchedulerId, scheduler: &Scheduler) -> Self {
        Self {
            id: Some(id),
            name: Arc::clone(&scheduler.name),
            logname: Arc::clone(&scheduler.logname),
            settings: Settings::of(scheduler),
            ready: List::EMPTY,
            counts: Counts::default(),
            totals: Totals::default(),
            paused: false,
            probes: 0,
            in_turn: false,
        }
    }

    /// Whether it has a task to start and a slot of its own to start it in.
    pub(super) fn could_start(&self) -> bool {
        !self.ready.is_empty() && self.has_slot()
    }

    /// Whether one more run is within its own limit, which is none at all while it is paused.
    pub(super) fn has_slot(&self) -> bool {
        !self.paused && self.counts.runs + self.probes < self.settings.slots.unwrap_or(IN_FLIGHT)
    }
}

impl Settings {
    /// What an event is about, as far as this scheduler is concerned.
    pub(super) fn subject(self, event: &Event) -> &[u8] {
        if self.singlejob { b"" } else { event.subject() }
    }

    pub(super) fn shares_slots(self) -> bool {
        self.slots.is_some()
    }

    pub(super) fn of(scheduler: &Scheduler) -> Self {
        Self {
            delay: scheduler.delay,
            max_wait: scheduler.max_wait,
            singlejob: scheduler.singlejob,
            busy: scheduler.busy,
            slots: (scheduler.slots != Scheduler::UNLIMITED).then_some(scheduler.slots.get()),
            timeout: scheduler.timeout,
            kill_after: scheduler.kill_after,
            retry: scheduler.retry,
            follow: scheduler.follow,
            breaker: scheduler.breaker,
            batch: scheduler.batch.map_or(1, |it| it.max_items.get()),
            on_crash: scheduler.on_crash,
            is_line: match scheduler.action {
                Action::Log(_) => scheduler.delay.is_zero(),
                Action::Exec(_) | Action::Shell(_) | Action::Rules(_) | Action::Hosted(_) => false,
            },
            tests: !scheduler.ready.is_empty(),
        }
    }
}
