//! What always holds.

use std::collections::BTreeMap;

use super::{
    Counts, Schedule, Timer,
    pending::{State, Task},
    table::{Entry, LaneId},
};

impl Schedule {
    /// Panics unless the tables agree with each other.
    ///
    /// # Panics
    ///
    /// See above.
    pub fn verify_invariants(&self) {
        self.timers.verify_invariants();
        self.memories.verify_invariants();
        let follows = |lane| self.lane(lane).settings.follow;
        self.tasks.verify_invariants(follows);
        self.subjects.verify_invariants(follows);
        let mut timers = 0;
        let mut counted: BTreeMap<LaneId, Counts> = BTreeMap::new();

        for (key, task) in self.tasks.iter() {
            let lane = self.lane(task.lane);
            assert!(lane.id.is_some(), "a task that waits has a scheduler");
            assert_eq!(task.single, lane.settings.singlejob);
            let counts = counted.entry(task.lane).or_default();
            match task.state {
                State::Waiting(timer) => {
                    assert_eq!(self.timers.key(timer), Timer::Task(key));
                    timers += 1;
                    counts.waiting += 1;
                }
                State::Held => {
                    let subject = task.subject();
                    assert!(self.runs_now(task.lane, subject), "nothing would let {} go", task.id);
                    counts.waiting += 1;
                }
                State::Ready(_) | State::Tested(_) => counts.ready += 1,
            }
        }

        assert_eq!(self.by_run.len(), self.runs.len());
        for (id, key) in &self.by_run {
            let run = &self.runs[*key];
            assert_eq!(run.id, *id);
            assert!(!run.tasks.is_empty(), "a run has a task");
            let counts = counted.entry(run.lane).or_default();
            counts.runs += 1;
            counts.running += run.tasks.len();
            for task in &run.tasks {
                let subject = &self.subjects[task.subject];
                assert_eq!(subject.lane, run.lane);
                assert!(subject.runs.contains(key), "a subject knows its runs");
            }
            if let Some(timer) = run.timer {
                assert_eq!(self.timers.key(timer), Timer::Run(*key));
                timers += 1;
            }
        }

        let mut memories = 0;
        for (key, subject) in self.subjects.iter() {
            for run in &subject.runs {
                assert!(self.runs[*run].tasks.iter().any(|it| it.subject == key));
            }
            if let Some(timer) = subject.memory {
                assert_eq!(self.memories.key(timer), key);
                assert!(subject.runs.is_empty(), "a breaker's memory ends when a run begins");
                memories += 1;
            } else if subject.runs.is_empty() {
                let waits = self.tasks.find(subject.lane, &subject.path);
                assert!(waits.is_some(), "a subject that nothing depends on is forgotten");
            }
        }
        assert_eq!(self.timers.len(), timers, "a timer belongs to something");
        assert_eq!(self.memories.len(), memories, "a memory belongs to a subject");

        self.verify_probes();
        let slotless = self.by_run.values().filter(|it| self.runs[**it].slotless).count();
        assert_eq!(slotless, self.slotless);
        let idle = self.has_slot();
        for (id, lane) in (0..).map(LaneId).zip(&self.lanes) {
            let Some(lane) = lane else {
                assert!(!counted.contains_key(&id));
                continue;
            };
            assert_eq!(lane.counts, counted.remove(&id).unwrap_or_default());
            let ready: Vec<u32> = lane.ready.iter(self.tasks.slab(), Task::ready_links).collect();
            let tested = self.tasks.iter().filter(|(_, it)| it.lane == id);
            let tested = tested.filter(|(_, it)| matches!(it.state, State::Tested(_))).count();
            assert_eq!(ready.len() + tested, lane.counts.ready);
            assert!(ready.iter().all(|key| self.tasks[*key].lane == id));
            let shares = lane.settings.shares_slots();
            let (turn, other) =
                if shares { (&self.turn, &self.own_turn) } else { (&self.own_turn, &self.turn) };
            assert_eq!(turn.iter().filter(|it| **it == id).count(), lane.in_turn.into());
            assert!(!other.contains(&id), "a lane is in one queue");
            if lane.could_start() {
                assert!(lane.in_turn, "{} would never get its turn", lane.name);
                assert!(
                    shares && !idle || self.journal.held,
                    "{} has a task to start, and there is a slot",
                    lane.name
                );
            }
        }
        assert!(counted.is_empty());
    }
}
