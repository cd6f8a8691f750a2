//! Tasks that have not started: the one place where they come, change their state, and go.

use std::{sync::Arc, time::Duration};

use super::{
    Note, Schedule, Timer,
    breaker::Trigger,
    slab::Links,
    table::{Entry, LaneId, Spot},
    timers::TimerId,
};
use crate::{
    event::Event,
    plan::Busy,
    report::{CancelReason, Say},
    task::{ProbeId, TaskId},
    time::Instant,
};

/// A task that has not started.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    /// The last event that it was scheduled with.
    pub(super) event: Arc<Event>,
    /// When its first event came.
    pub(super) first: Instant,
    pub(super) spot: Spot,
    pub(super) state: State,
    /// Which run of it comes next, from 1.
    pub(super) attempt: u32,
    pub(super) lane: LaneId,
    pub(super) trigger: Trigger,
    /// Whether its scheduler has one subject for all.
    pub(super) single: bool,
}

/// What a task that has not started waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For its time.
    Waiting(TimerId),
    /// For the end of its subject's run.
    Held,
    /// For a slot.
    Ready(Links),
    /// For the answer whether it may start; it has a slot meanwhile.
    Tested(ProbeId),
}

/// When a task's wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// At once.
    Now,
    /// After one of the configuration's delays, from now.
    After(Duration),
    /// At a point of its own.
    At(Instant),
}

impl Entry for Task {
    fn lane(&self) -> LaneId {
        self.lane
    }

    fn subject(&self) -> &[u8] {
        if self.single { b"" } else { self.event.subject() }
    }

    fn path(&self) -> &Arc<[u8]> {
        &self.event.pathname
    }

    fn spot(&self) -> &Spot {
        &self.spot
    }

    fn spot_mut(&mut self) -> &mut Spot {
        &mut self.spot
    }
}

impl Task {
    /// Its links in the list of its lane's ready tasks.
    pub(super) fn ready_links(&self) -> Links {
        match self.state {
            State::Ready(links) => links,
            State::Waiting(_) | State::Held | State::Tested(_) => {
                unreachable!("only ready tasks are linked")
            }
        }
    }

    pub(super) fn ready_links_mut(&mut self) -> &mut Links {
        match &mut self.state {
            State::Ready(links) => links,
            State::Waiting(_) | State::Held | State::Tested(_) => {
                unreachable!("only ready tasks are linked")
            }
        }
    }
}

impl Due {
    /// As a point in time.
    pub(super) fn instant(self, now: Instant) -> Instant {
        match self {
            Self::Now => now,
            Self::After(delay) => now + delay,
            Self::At(due) => due,
        }
    }
}

impl Schedule {
    /// The task of a subject that has not started.
    pub(super) fn find_task(&self, lane: LaneId, event: &Event) -> Option<u32> {
        self.tasks.find(lane, self.lane(lane).settings.subject(event))
    }

    /// Adds a task. Its subject must have none that has not started.
    pub(super) fn insert_task(&mut self, now: Instant, task: Task, due: Due) -> u32 {
        debug_assert_eq!(task.state, State::Held);
        let lane = &mut self.lanes[usize::from(task.lane.0)];
        let lane = lane.as_mut().expect("a task's lane is there");
        lane.counts.waiting += 1;
        let follow = lane.settings.follow;
        let key = self.tasks.insert(task, follow);
        self.set_due(now, key, due);
        key
    }

    /// Takes a task out of every table.
    pub(super) fn remove_task(&mut self, key: u32) -> Task {
        self.set_state(key, State::Held);
        let task = self.tasks.remove(key);
        self.probes.forget(key);
        self.lane_mut(task.lane).counts.waiting -= 1;
        task
    }

    /// Takes a task out that will not run.
    pub(super) fn cancel_task(&mut self, key: u32, why: CancelReason) {
        let task = self.remove_task(key);
        let path = Arc::clone(&task.event.pathname);
        self.say(task.lane, task.id, Say::Cancelled { path, why });
        self.note_end(task.lane, Note::Dropped(task.id));
        self.lane_mut(task.lane).totals.cancelled += 1;
        if let Some(subject) = self.subjects.find(task.lane, task.subject()) {
            self.forget_if_idle(subject);
        }
    }

    /// Sets when a task's wait is over, and notes how it stands then.
    pub(super) fn set_due(&mut self, now: Instant, key: u32, due: Due) {
        self.place_due(now, key, due);
        self.note_task(key);
    }

    fn place_due(&mut self, now: Instant, key: u32, due: Due) {
        let timer = Timer::Task(key);
        let timer = match due {
            Due::Now => {
                // What is ready keeps its place among the ready.
                if let State::Waiting(_) = self.tasks[key].state {
                    self.set_state(key, State::Held);
                }
                return self.settle(key);
            }
            // What does not change the due time must not cost an order of magnitude more: a task
            // that is cut short by `max_wait` meets every further event here.
            Due::At(due) => match self.tasks[key].state {
                State::Waiting(timer) if self.timers.due(timer) == due => return,
                _ => self.timers.insert_at(due, timer),
            },
            Due::After(delay) => self.timers.insert(now, delay, timer),
        };
        self.set_state(key, State::Waiting(timer));
    }

    /// Has a task whose wait is over wait for what is in its way: its subject's run, or a slot.
    pub(super) fn settle(&mut self, key: u32) {
        let task = &self.tasks[key];
        let held = self.lane(task.lane).settings.busy != Busy::Parallel
            && self.runs_now(task.lane, task.subject());
        match (task.state, held) {
            (State::Waiting(_), _)
            | (State::Held, true)
            | (State::Ready(_) | State::Tested(_), false) => (),
            (State::Ready(_) | State::Tested(_), true) => self.set_state(key, State::Held),
            (State::Held, false) => self.set_state(key, State::Ready(Links::NONE)),
        }
    }

    /// Whether a run of this subject goes on.
    pub(super) fn runs_now(&self, lane: LaneId, subject: &[u8]) -> bool {
        let subject = self.subjects.find(lane, subject);
        subject.is_some_and(|it| !self.subjects[it].runs.is_empty())
    }

    /// A task's timer has fallen due, and is gone.
    pub(super) fn handle_due(&mut self, key: u32) {
        // Not by `set_state`, which would remove the timer once more.
        self.tasks.get_mut(key).state = State::Held;
        self.settle(key);
    }

    /// The one place where a task's state changes: the tables that the old state stands in and
    /// those of the new one change with it.
    pub(super) fn set_state(&mut self, key: u32, state: State) {
        let lane_id = self.tasks[key].lane;
        let lane = self.lanes[usize::from(lane_id.0)].as_mut().expect("a task's lane is there");
        match self.tasks[key].state {
            State::Waiting(timer) => self.timers.remove(timer),
            State::Held => (),
            State::Ready(_) => {
                lane.ready.remove(self.tasks.slab_mut(), key, Task::ready_links_mut);
                lane.counts.ready -= 1;
                lane.counts.waiting += 1;
            }
            State::Tested(probe) => {
                self.probes.take_out(probe, key);
                lane.counts.ready -= 1;
                lane.counts.waiting += 1;
            }
        }
        self.tasks.get_mut(key).state = state;
        match state {
            State::Waiting(_) | State::Held => (),
            State::Ready(_) => {
                lane.ready.push_back(self.tasks.slab_mut(), key, Task::ready_links_mut);
                lane.counts.ready += 1;
                lane.counts.waiting -= 1;
                self.offer(lane_id);
            }
            State::Tested(_) => {
                lane.counts.ready += 1;
                lane.counts.waiting -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_80_bytes() {
        // With 32 for its timer and up to 10 for the look-up by subject it stays below 140.
        assert_eq!(size_of::<Task>(), 80);
    }
}
