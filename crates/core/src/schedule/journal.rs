//! What of the schedule outlives the process: each change of a task is noted, and noted tasks are
//! taken up again.
//!
//! Without a store nothing is noted. Lines of the log that do not wait are not noted either: they
//! are written when they are due, and nothing is left of them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Schedule,
    breaker::Trigger,
    lane::Lane,
    moved::renamed,
    pending::{Due, State, Task},
    table::{LaneId, Spot},
};
use crate::{
    event::Event,
    plan::OnCrash,
    report::{CancelReason, Say},
    stamp::IndexId,
    stats::Finished,
    task::{KeptState, KeptTask, Leader, Order, OrderKind, RunId, RunTask, TaskId},
    time::Instant,
};

/// A task whose run was cut off so often is not run again: it may be what cuts it off.
const INTERRUPTIONS: u32 = 10;

/// A change of a task that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is this now.
    Task(KeptTask),
    /// It has run, and does not run again.
    Ended(TaskId),
    /// It is given up.
    Dropped(TaskId),
    /// These run as this process.
    Spawned(Vec<TaskId>, Leader),
    /// How a task has ended, for people.
    Finished(Finished),
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Whether anything is noted.
    pub(super) keeps: bool,
    /// Whether no run starts for now.
    pub(super) held: bool,
    notes: VecDeque<Note>,
}

impl Schedule {
    /// From now on changes are noted.
    pub fn keep(&mut self) {
        self.journal.keeps = true;
    }

    /// The next change to write down. It comes before the run that follows from it.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.journal.notes.pop_front()
    }

    /// Starts no run until [`Schedule::handle_release`]: whether there is still anything to do is
    /// being found out.
    pub fn hold(&mut self) {
        self.journal.held = true;
    }

    /// Takes in that it is known what there is to do.
    pub fn handle_release(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.phase == super::Phase::Open {
            self.journal.held = false;
        }
        self.start_ready(now);
    }

    /// Takes in a task of an earlier process. False: its scheduler is not in the plan, so that it
    /// is given up.
    ///
    /// What waited goes on to wait, but no longer than its scheduler's longest wait: clocks may
    /// have been set. What ran is run again, or reported, as `on_crash` says.
    pub fn handle_restored(&mut self, now: Instant, kept: KeptTask) -> bool {
        let now = self.advance(now);
        let Some(lane) = self.lane_named(&kept.scheduler) else {
            self.journal.notes.push_back(Note::Dropped(kept.id));
            return false;
        };
        let settings = self.lane(lane).settings;
        let KeptTask { id, event, first, mut attempt, state, .. } = kept;
        let due = match state {
            KeptState::Pending { due } => {
                let rest =
                    settings.breaker.map_or(settings.delay, |it| it.rest.max(settings.delay));
                let longest = if attempt > 1 { settings.retry.max_backoff } else { rest };
                let due = due.min(now + longest);
                if due <= now { Due::Now } else { Due::At(due) }
            }
            KeptState::Running => {
                let path = Arc::clone(&event.pathname);
                let again = settings.on_crash == OnCrash::Rerun && attempt < INTERRUPTIONS;
                self.say(lane, id, Say::Interrupted { path, attempt, again });
                if !again {
                    self.journal.notes.push_back(Note::Ended(id));
                    return true;
                }
                attempt += 1;
                Due::Now
            }
        };
        if let Some(other) = self.find_task(lane, &event) {
            // Both are about one subject; what was ordered later weighs more.
            if self.tasks[other].attempt == 1 || attempt > 1 {
                let path = Arc::clone(&event.pathname);
                self.say(lane, id, Say::Cancelled { path, why: CancelReason::Superseded });
                self.journal.notes.push_back(Note::Dropped(id));
                return true;
            }
            self.cancel_task(other, CancelReason::Superseded);
        }
        let task = Task {
            id,
            event,
            first,
            spot: Spot::NONE,
            state: State::Held,
            attempt,
            lane,
            trigger: if attempt > 1 { Trigger::Before } else { Trigger::Outside },
            single: settings.singlejob,
        };
        let noted = self.journal.notes.len();
        self.insert_task(now, task, due);
        // What is kept of it stays as it is until it starts: with it goes the state in which its
        // file was, by which it is found again should it be elsewhere now.
        self.journal.notes.truncate(noted);
        true
    }

    /// Whether anything is to run for the subject of a task that was restored: that task, or what
    /// has taken its place. Looks at every task.
    #[must_use]
    pub fn has_task(&self, scheduler: &str, id: TaskId, event: &Event) -> bool {
        let follows = || self.tasks.iter().any(|(_, it)| it.id == id);
        let lane = self.lane_named(scheduler);
        lane.is_some_and(|it| self.find_task(it, event).is_some() || follows())
    }

    /// The tasks that have not started and are about something that has to be there: all but those
    /// of a deletion, and those with one subject for all.
    #[must_use]
    pub fn tasks_of_files(&self) -> Vec<(TaskId, Arc<Event>)> {
        let about_a_file = |it: &&Task| {
            !it.single
                && it.event.subject.is_none()
                && it.event.event_type.leaves_something()
                && !it.event.pathname.is_empty()
        };
        let tasks = self.tasks.iter().map(|(_, it)| it).filter(about_a_file);
        tasks.map(|it| (it.id, Arc::clone(&it.event))).collect()
    }

    /// Takes in that the files of these tasks are not there. A task that has got another event
    /// since is left alone.
    pub fn handle_missing(&mut self, missing: &BTreeMap<TaskId, Arc<Event>>) {
        if missing.is_empty() {
            return;
        }
        for key in self.tasks.keys() {
            let task = &self.tasks[key];
            if missing.get(&task.id).is_some_and(|it| Arc::ptr_eq(it, &task.event)) {
                self.cancel_task(key, CancelReason::Missing);
            }
        }
    }

    /// Takes in that what these tasks are about is to be found at other paths: all of them have moved
    /// at once. A task that was ordered for such a path since takes the place of the one that
    /// comes there. One that was ordered since is for what came to its old path, and stays: for
    /// what moved there is a new one, for the event that it had.
    pub fn handle_relocated(
        &mut self,
        now: Instant,
        places: &BTreeMap<TaskId, (Arc<[u8]>, Arc<Event>)>,
    ) {
        let now = self.advance(now);
        let (mut moving, mut ordered) = (Vec::new(), Vec::new());
        for key in self.tasks.keys() {
            let task = &self.tasks[key];
            let Some((to, event)) = places.get(&task.id) else { continue };
            let Lane { id: scheduler, settings, .. } = self.lane(task.lane);
            if *to == task.event.pathname || !settings.follow {
                continue;
            }
            if let Some(scheduler) = *scheduler
                && !Arc::ptr_eq(&task.event, event)
            {
                let event = renamed(event, to);
                ordered.push(Order { kind: OrderKind::Schedule, scheduler, event });
                continue;
            }
            let due = match task.state {
                State::Waiting(timer) => Due::At(self.timers.due(timer)),
                State::Held | State::Ready(_) | State::Tested(_) => Due::Now,
            };
            moving.push((self.remove_task(key), due, Arc::clone(to)));
        }
        for (mut task, due, to) in moving {
            let from = Arc::clone(&task.event.pathname);
            task.event = renamed(&task.event, &to);
            let (lane, id) = (task.lane, task.id);
            self.say(lane, id, Say::Followed { from, to: Arc::clone(&to) });
            if self.find_task(lane, &task.event).is_some() {
                let say = Say::Cancelled { path: to, why: CancelReason::Superseded };
                self.say(lane, id, say);
                self.note_end(lane, Note::Dropped(id));
            } else {
                self.insert_task(now, Task { spot: Spot::NONE, ..task }, due);
            }
        }
        for order in ordered {
            self.handle_order(now, order);
        }
        self.start_ready(now);
    }

    /// Whether everything that is left is noted, so that another process can go on with it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.journal.keeps && self.runs.is_empty()
    }

    /// Notes how a task stands that has not started.
    pub(super) fn note_task(&mut self, key: u32) {
        let task = &self.tasks[key];
        if !self.notes(task.lane) {
            return;
        }
        let due = match task.state {
            State::Waiting(timer) => self.timers.due(timer),
            State::Held | State::Ready(_) | State::Tested(_) => self.now,
        };
        self.journal.notes.push_back(Note::Task(KeptTask {
            id: task.id,
            scheduler: Arc::clone(&self.lane(task.lane).name),
            event: Arc::clone(&task.event),
            attempt: task.attempt,
            first: task.first,
            dir: IndexId::NONE,
            state: KeptState::Pending { due },
            leader: None,
        }));
    }

    /// Notes that a task is about to run.
    pub(super) fn note_run(&mut self, lane: LaneId, task: &RunTask, first: Instant) {
        if self.notes(lane) {
            self.journal.notes.push_back(Note::Task(KeptTask {
                id: task.id,
                scheduler: Arc::clone(&self.lane(lane).name),
                event: Arc::clone(&task.event),
                attempt: task.attempt,
                first,
                dir: IndexId::NONE,
                state: KeptState::Running,
                leader: None,
            }));
        }
    }

    /// Takes in what the command of a run began as; the last one's, if it has several.
    pub fn handle_spawned(&mut self, run: RunId, leader: Leader) {
        let Some(run) = self.by_run.get(&run).map(|it| &self.runs[*it]) else { return };
        if self.notes(run.lane) {
            let tasks = run.tasks.iter().map(|it| it.task.id).collect();
            self.journal.notes.push_back(Note::Spawned(tasks, leader));
        }
    }

    /// Notes how a task has ended.
    pub(super) fn note_finished(&mut self, lane: LaneId, finished: &Finished) {
        if self.notes(lane) {
            self.journal.notes.push_back(Note::Finished(finished.clone()));
        }
    }

    /// Remembers what an earlier process did, oldest first.
    pub fn handle_history(&mut self, finished: Vec<Finished>) {
        for it in finished {
            self.history.add(it);
        }
    }

    /// Notes that a task is over.
    pub(super) fn note_end(&mut self, lane: LaneId, note: Note) {
        if self.notes(lane) {
            self.journal.notes.push_back(note);
        }
    }

    /// Whether tasks of this scheduler are noted.
    pub(super) fn notes(&self, lane: LaneId) -> bool {
        self.journal.keeps && !self.lane(lane).settings.is_line
    }

    fn lane_named(&self, name: &str) -> Option<LaneId> {
        let lanes = (0..).map(LaneId).zip(&self.lanes);
        let found = lanes.filter_map(|(id, lane)| Some((id, lane.as_ref()?)));
        found.filter(|(_, it)| it.id.is_some()).find(|(_, it)| *it.name == *name).map(|it| it.0)
    }
}
