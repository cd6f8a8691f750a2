//! Whether a task that could start may: `ready` of its scheduler.
//!
//! What would start is tested first, as a [`Probe`]: it takes the slot that its run would take, and
//! no longer than the test. The tasks of a probe stay where orders, cancels and renames find them.
//! What is put off, given up, held or renamed meanwhile is out of the probe: nothing starts on an
//! answer about something else.
//!
//! A task that is not ready waits again, with its id and its attempt. What is known of the put-off
//! tasks stands apart from them: of many tasks, few are put off.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Command, Schedule, pending::State, slab::Links, table::LaneId};
use crate::{
    report::Say,
    task::{Look, Probe, ProbeId, ProbeTask, Readiness, RunTask},
    time::Instant,
};

/// The wait after the first test that was in vain; doubled after each further one.
pub(super) const BACKOFF: Duration = Duration::from_millis(500);
/// The longest such wait.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// What is being tested, and what was put off.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Their lanes and tasks, in the order of asking.
    asked: BTreeMap<ProbeId, Asked>,
    last: u64,
    put_off: BTreeMap<u32, PutOff>,
}

#[derive(Debug)]
struct Asked {
    lane: LaneId,
    /// `None`: something has happened to it since.
    tasks: Vec<Option<u32>>,
}

#[derive(Debug)]
struct PutOff {
    /// How many tests in a row, since the last order, were in vain.
    tests: u32,
    /// No order brings the next test further forward than this.
    not_before: Instant,
    look: Look,
}

impl Probes {
    /// How many go on.
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    /// A task is given up, or runs.
    pub(super) fn forget(&mut self, task: u32) {
        self.put_off.remove(&task);
    }

    /// Takes in that an order came for a task; gives the earliest time at which it may be tested.
    pub(super) fn handle_order(&mut self, task: u32) -> Instant {
        let Some(put_off) = self.put_off.get_mut(&task) else { return Instant::ZERO };
        put_off.tests = 0;
        put_off.not_before
    }

    /// Something happens to a task that is being tested.
    pub(super) fn take_out(&mut self, probe: ProbeId, task: u32) {
        let asked = self.asked.get_mut(&probe).expect("a task is in a probe that goes on");
        for it in asked.tasks.iter_mut().filter(|it| **it == Some(task)) {
            *it = None;
        }
    }
}

impl Schedule {
    /// Asks whether a lane's first ready tasks, as many as one run takes, may start.
    pub(super) fn ask(&mut self, id: LaneId) {
        let lane = self.lane(id);
        let scheduler = lane.id.expect("a lane without a scheduler has no ready task");
        let most = lane.settings.batch;
        self.probes.last += 1;
        let probe = ProbeId(self.probes.last);
        let (mut keys, mut tasks) = (Vec::new(), Vec::new());
        while keys.len() < most
            && let Some(key) = self.lane(id).ready.front()
        {
            self.set_state(key, State::Tested(probe));
            let task = &self.tasks[key];
            let put_off = self.probes.put_off.get(&key);
            tasks.push(ProbeTask {
                task: RunTask {
                    id: task.id,
                    event: Arc::clone(&task.event),
                    attempt: task.attempt,
                },
                look: put_off.map(|it| it.look),
            });
            keys.push(Some(key));
        }
        self.lane_mut(id).probes += 1;
        self.probes.asked.insert(probe, Asked { lane: id, tasks: keys });
        self.commands.push_back(Command::Probe(Probe { id: probe, scheduler, tasks }));
    }

    /// Takes in whether the tasks of a probe may start, in their order. An answer to what was not
    /// asked changes nothing; a task without an answer is ready.
    pub fn handle_probed(&mut self, now: Instant, probe: ProbeId, answers: Vec<Readiness>) {
        let now = self.advance(now);
        let Some(Asked { lane: id, tasks }) = self.probes.asked.remove(&probe) else { return };
        self.lane_mut(id).probes -= 1;
        let mut ready = Vec::new();
        let answers = answers.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (key, answer) in tasks.into_iter().zip(answers) {
            match (key, answer) {
                (None, _) => (),
                (Some(key), Some(Readiness::NotYet { reason, again, look })) => {
                    self.put_off(now, key, reason, again, look);
                }
                (Some(key), Some(Readiness::Ready) | None) => ready.push(key),
            }
        }
        let lane = self.lane(id);
        // A reload may have taken the slot, or nothing is to start for now.
        let slot = !self.journal.held
            && lane.has_slot()
            && (self.has_slot() || !lane.settings.shares_slots());
        match lane.id {
            Some(scheduler) if slot && !ready.is_empty() => {
                self.start(now, id, scheduler, Some(ready));
            }
            Some(_) | None => {
                for key in ready {
                    self.set_state_unasked(key, State::Ready(Links::NONE));
                }
            }
        }
        self.offer(id);
        self.forget_lane_if_gone(id);
        self.start_ready(now);
    }

    fn put_off(
        &mut self,
        now: Instant,
        key: u32,
        reason: Option<String>,
        again: Option<Duration>,
        look: Look,
    ) {
        let tests = self.probes.put_off.get(&key).map_or(0, |it| it.tests);
        let doubled = 1_u32.checked_shl(tests).unwrap_or(u32::MAX);
        let wait = again.unwrap_or_else(|| BACKOFF.saturating_mul(doubled).min(MAX_BACKOFF));
        // Not even a clock that stands still has it tested without end.
        let wait = wait.max(Duration::from_millis(1));
        let put_off = PutOff { tests: tests.saturating_add(1), not_before: now + BACKOFF, look };
        self.probes.put_off.insert(key, put_off);
        let task = &self.tasks[key];
        let (lane, id, path) = (task.lane, task.id, Arc::clone(&task.event.pathname));
        if let Some(reason) = reason {
            self.say(lane, id, Say::NotReady { path, reason });
        }
        let timer = self.timers.insert_at(now + wait, super::Timer::Task(key));
        self.set_state_unasked(key, State::Waiting(timer));
    }

    /// The state of a task whose probe has been answered, and is no longer there.
    fn set_state_unasked(&mut self, key: u32, state: State) {
        self.tasks.get_mut(key).state = State::Held;
        let lane = self.tasks[key].lane;
        let counts = &mut self.lane_mut(lane).counts;
        (counts.ready, counts.waiting) = (counts.ready - 1, counts.waiting + 1);
        self.set_state(key, state);
    }

    /// As [`Schedule::remove_task`], of a task whose probe has been answered.
    pub(super) fn remove_tested(&mut self, key: u32) -> super::pending::Task {
        self.set_state_unasked(key, State::Held);
        self.remove_task(key)
    }

    /// What a task was tested for is not what it would start for: it is tested anew.
    pub(super) fn ask_anew(&mut self, key: u32) {
        if let State::Tested(_) = self.tasks[key].state {
            self.set_state(key, State::Held);
        }
    }

    /// Panics unless the probes agree with the tasks.
    pub(super) fn verify_probes(&self) {
        for (probe, asked) in &self.probes.asked {
            for key in asked.tasks.iter().flatten() {
                assert_eq!(self.tasks[*key].state, State::Tested(*probe));
                assert_eq!(self.tasks[*key].lane, asked.lane);
            }
        }
        let tested = self.tasks.iter().filter(|(_, it)| matches!(it.state, State::Tested(_)));
        let asked = self.probes.asked.values().flat_map(|it| it.tasks.iter().flatten());
        assert_eq!(tested.count(), asked.count(), "a tested task is in its probe");
        for key in self.probes.put_off.keys() {
            assert!(self.tasks.contains(*key), "what is known of a task goes with it");
        }
        for (id, lane) in (0..).map(LaneId).zip(&self.lanes) {
            let asked = self.probes.asked.values().filter(|it| it.lane == id).count();
            assert_eq!(lane.as_ref().map_or(0, |it| it.probes), asked);
        }
    }
}
