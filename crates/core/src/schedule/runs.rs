//! Runs: which starts next, how it is ended, and what comes after it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Command, Note, Phase, Schedule, Timer,
    breaker::{Streak, Trigger},
    lane::Lane,
    moved::renamed,
    pending::{Due, State, Task},
    retry,
    table::{Entry, LaneId, Spot},
    timers::TimerId,
};
use crate::{
    plan::SchedulerId,
    report::Say,
    stats::Finished,
    task::{How, Outcome, Run, RunId, RunTask, StopHow, TaskId},
    time::{Human, Instant},
};

/// A run that has started and not ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: RunId,
    pub(super) lane: LaneId,
    pub(super) tasks: Vec<RunningTask>,
    pub(super) since: Instant,
    /// For its `timeout`, then for its `kill_after`.
    pub(super) timer: Option<TimerId>,
    pub(super) stage: Stage,
    /// As they were when it started: a reload does not change what was promised to it.
    timeout: Option<Duration>,
    kill_after: Duration,
    /// Whether it takes no slot.
    pub(super) slotless: bool,
}

/// A task of a run.
#[derive(Debug)]
pub(super) struct RunningTask {
    pub(super) task: RunTask,
    /// Its entry in the table of subjects.
    pub(super) subject: u32,
    /// When its first event came.
    first: Instant,
}

/// How far a run is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has asked it to end.
    Runs,
    /// It was sent `SIGTERM`.
    Asked(Why),
    /// It was sent `SIGKILL`.
    Killed(Why),
}

/// Why a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It took longer than its `timeout`.
    TimedOut,
    /// An event came, and `busy = "restart"`.
    Restart,
    /// The daemon stops, and waits no longer.
    GivenUp,
    /// Somebody asked.
    Command,
}

/// What is known of a subject apart from its task that has not started: there while a run of it
/// goes on, and while its breaker remembers it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) lane: LaneId,
    /// Empty when the scheduler has one subject for all.
    pub(super) path: Arc<[u8]>,
    pub(super) spot: Spot,
    /// The runs that go on, in the order of their starts; several only with `busy = "parallel"`, or
    /// when a rename made two subjects one.
    pub(super) runs: VecDeque<u32>,
    /// The task that started last.
    pub(super) task: TaskId,
    pub(super) streak: Streak,
    /// Until when the breaker remembers it, once no run goes on.
    pub(super) memory: Option<TimerId>,
    /// Whether an event since the start of the last run says that there is nothing to do.
    pub(super) cancelled: bool,
    /// Whether an event since the start of the last run asked for it to end and start anew.
    pub(super) restarted: bool,
}

impl Subject {
    /// Forgets a run that has ended. Of many that go on, it is most likely the first.
    fn ended(&mut self, run: u32) {
        if let Some(at) = self.runs.iter().position(|it| *it == run) {
            self.runs.remove(at);
        }
    }
}

impl Entry for Subject {
    fn lane(&self) -> LaneId {
        self.lane
    }

    fn subject(&self) -> &[u8] {
        &self.path
    }

    fn path(&self) -> &Arc<[u8]> {
        &self.path
    }

    fn spot(&self) -> &Spot {
        &self.spot
    }

    fn spot_mut(&mut self) -> &mut Spot {
        &mut self.spot
    }
}

impl Stage {
    /// Why the run was asked to end.
    pub(super) fn why(self) -> Option<Why> {
        match self {
            Self::Runs => None,
            Self::Asked(why) | Self::Killed(why) => Some(why),
        }
    }
}

impl Schedule {
    /// Puts a lane into the queue of those that could start a run, if it could.
    pub(super) fn offer(&mut self, id: LaneId) {
        let lane = self.lane_mut(id);
        if !lane.in_turn && lane.could_start() {
            lane.in_turn = true;
            self.give_turn(id);
        }
    }

    pub(super) fn give_turn(&mut self, id: LaneId) {
        if self.lane(id).settings.shares_slots() {
            self.turn.push_back(id);
        } else {
            self.own_turn.push_back(id);
        }
    }

    /// Whether one more run is within the limit for all.
    pub(super) fn has_slot(&self) -> bool {
        self.runs.len() - self.slotless + self.probes.len() < self.slots
    }

    /// Whether a task that is due, and that nothing else is in the way of, would be the next to
    /// start. Then it need not be written down among those that wait: most tasks have no delay.
    pub(super) fn could_start_at_once(&self, id: LaneId) -> bool {
        let lane = self.lane(id);
        lane.ready.is_empty()
            && lane.has_slot()
            && (self.has_slot() || !lane.settings.shares_slots())
            && !lane.settings.tests
            && !self.journal.held
            && !self.journal.keeps
    }

    /// The next lane that could start a run.
    fn next_turn(&mut self) -> Option<LaneId> {
        if let Some(id) = self.own_turn.pop_front() {
            return Some(id);
        }
        if self.has_slot() { self.turn.pop_front() } else { None }
    }

    /// Starts what there are slots for: within a scheduler in the order of becoming ready, and
    /// the schedulers take turns, so that a flood in one does not keep the others waiting.
    pub(super) fn start_ready(&mut self, now: Instant) {
        while !self.journal.held
            && let Some(id) = self.next_turn()
        {
            let lane = self.lane_mut(id);
            lane.in_turn = false;
            // It may have come into the queue and lost its tasks since.
            if lane.could_start() {
                let scheduler = lane.id.expect("a lane without a scheduler has no ready task");
                if lane.settings.tests {
                    self.ask(id);
                } else {
                    self.start(now, id, scheduler, None);
                }
                self.offer(id);
            }
        }
    }

    /// Takes in that a run has begun: until it is noted that it does, it may have to wait.
    pub fn handle_begun(&mut self, now: Instant, run: RunId) {
        let now = self.advance(now);
        if let Some(key) = self.by_run.get(&run).copied()
            && self.runs[key].stage == Stage::Runs
        {
            self.time(now, key);
        }
    }

    /// From now on a run may take no longer than its `timeout`.
    fn time(&mut self, now: Instant, key: u32) {
        let timeout = self.runs[key].timeout;
        self.runs[key].timer = timeout.map(|it| self.timers.insert(now, it, Timer::Run(key)));
    }

    /// Takes in that a started run has ended. A run that is not known, such as one that was
    /// reported twice, changes nothing.
    pub fn handle_ended(&mut self, now: Instant, run: RunId, outcome: Outcome) {
        let now = self.advance(now);
        let Some(key) = self.by_run.remove(&run) else { return };
        let run = self.runs.remove(key);
        self.slotless -= usize::from(run.slotless);
        if let Some(timer) = run.timer {
            self.timers.remove(timer);
        }
        let lane = self.lane_mut(run.lane);
        lane.counts.runs -= 1;
        lane.counts.running -= run.tasks.len();
        let outcome = match (run.stage.why(), run.timeout, outcome) {
            (Some(Why::TimedOut), Some(timeout), Outcome::Done(_) | Outcome::Stopped) => {
                Outcome::Failed(format!("timed out after {}", Human(timeout)))
            }
            (_, _, outcome) => outcome,
        };
        let (lane, took, why) = (run.lane, now.since(run.since), run.stage.why());
        // Two tasks of a batch share a subject when renames made their subjects one.
        let mut subjects: Vec<u32> = run.tasks.iter().map(|it| it.subject).collect();
        for task in run.tasks {
            self.subjects.get_mut(task.subject).ended(key);
            self.go_on(now, lane, task, outcome.clone(), why, took);
        }
        subjects.sort_unstable();
        subjects.dedup();
        for subject in subjects {
            self.release(now, subject);
        }
        self.offer(lane);
        self.forget_lane_if_gone(lane);
        self.start_ready(now);
    }

    /// Asks a run to end, unless it was asked before.
    pub(super) fn stop(&mut self, now: Instant, key: u32, why: Why) {
        let run = &mut self.runs[key];
        if run.stage != Stage::Runs {
            return;
        }
        run.stage = Stage::Asked(why);
        if let Some(timer) = run.timer.take() {
            self.timers.remove(timer);
        }
        run.timer = Some(self.timers.insert(now, run.kill_after, Timer::Run(key)));
        self.commands.push_back(Command::Stop { run: run.id, how: StopHow::Term });
    }

    /// A run's timer has fallen due, and is gone.
    pub(super) fn handle_overtime(&mut self, now: Instant, key: u32) {
        let run = &mut self.runs[key];
        run.timer = None;
        let (lane, first) = (run.lane, &run.tasks[0].task);
        let (id, path) = (first.id, Arc::clone(&first.event.pathname));
        match run.stage {
            Stage::Runs => {
                let timeout = run.timeout.expect("a timer of a run that goes on is its timeout");
                self.say(lane, id, Say::TimedOut { path, timeout });
                self.stop(now, key, Why::TimedOut);
            }
            Stage::Asked(why) => {
                run.stage = Stage::Killed(why);
                let (run, kill_after) = (run.id, run.kill_after);
                self.say(lane, id, Say::Kills { path, kill_after });
                self.commands.push_back(Command::Stop { run, how: StopHow::Kill });
            }
            Stage::Killed(_) => unreachable!("nothing comes after SIGKILL"),
        }
    }

    /// Removes a subject that nothing depends on.
    pub(super) fn forget_if_idle(&mut self, key: u32) {
        let subject = &self.subjects[key];
        let idle = subject.runs.is_empty() && subject.memory.is_none();
        if idle && self.tasks.find(subject.lane, &subject.path).is_none() {
            self.subjects.remove(key);
        }
    }

    /// The breaker's memory of a subject has fallen due, and is gone.
    pub(super) fn handle_forget(&mut self, now: Instant, key: u32) {
        let subject = self.subjects.get_mut(key);
        subject.memory = None;
        let until = subject.streak.rests_until;
        if now < until && subject.runs.is_empty() {
            subject.memory = Some(self.memories.insert_at(until, key));
        }
        self.forget_if_idle(key);
    }

    /// Starts a lane's first ready tasks, as many as one run takes; or those that were tested.
    pub(super) fn start(
        &mut self,
        now: Instant,
        id: LaneId,
        scheduler: SchedulerId,
        tested: Option<Vec<u32>>,
    ) {
        let settings = self.lane(id).settings;
        let mut starting = Vec::new();
        match tested {
            Some(keys) => starting.extend(keys.into_iter().map(|it| self.remove_tested(it))),
            None => {
                while starting.len() < settings.batch
                    && let Some(key) = self.lane(id).ready.front()
                {
                    starting.push(self.remove_task(key));
                }
            }
        }
        self.begin_run(now, id, scheduler, starting);
    }

    /// Starts a run of these tasks, which are not among those that wait.
    pub(super) fn begin_run(
        &mut self,
        now: Instant,
        id: LaneId,
        scheduler: SchedulerId,
        starting: Vec<Task>,
    ) {
        let settings = self.lane(id).settings;
        self.last_run += 1;
        let run = RunId(self.last_run);
        let timer = None;
        let key = self.runs.insert(Running {
            id: run,
            lane: id,
            tasks: Vec::new(),
            since: now,
            timer,
            stage: Stage::Runs,
            timeout: settings.timeout,
            kill_after: settings.kill_after,
            slotless: !settings.shares_slots(),
        });
        self.slotless += usize::from(!settings.shares_slots());
        self.by_run.insert(run, key);
        if !self.notes(id) {
            self.time(now, key);
        }
        let mut tasks = Vec::with_capacity(starting.len());
        for task in starting {
            let subject = self.begin(id, &task, key);
            let first = task.first;
            let task = RunTask { id: task.id, event: task.event, attempt: task.attempt };
            self.note_run(id, &task, first);
            tasks.push(RunningTask { task, subject, first });
        }
        let counts = &mut self.lane_mut(id).counts;
        counts.runs += 1;
        counts.running += tasks.len();
        let RunTask { id: task, event, attempt } = tasks[0].task.clone();
        let path = Arc::clone(&event.pathname);
        self.say(id, task, Say::Started { path, mask: event.mask, attempt, batch: tasks.len() });
        let run_tasks = tasks.iter().map(|it| it.task.clone()).collect();
        self.commands.push_back(Command::Start(Run { id: run, scheduler, tasks: run_tasks }));
        self.runs[key].tasks = tasks;
    }

    /// Notes in a subject's entry that a run of it begins.
    fn begin(&mut self, lane: LaneId, task: &Task, run: u32) -> u32 {
        let key = self.subjects.find(lane, task.subject()).unwrap_or_else(|| {
            let path = if task.single { &self.nothing } else { task.event.subject() }.clone();
            let subject = Subject {
                lane,
                path,
                spot: Spot::NONE,
                runs: VecDeque::new(),
                task: task.id,
                streak: Streak::default(),
                memory: None,
                cancelled: false,
                restarted: false,
            };
            let follow = self.lane(lane).settings.follow;
            self.subjects.insert(subject, follow)
        });
        let subject = self.subjects.get_mut(key);
        subject.runs.push_back(run);
        subject.task = task.id;
        subject.streak.handle_start(task.trigger);
        (subject.cancelled, subject.restarted) = (false, false);
        if let Some(timer) = subject.memory.take() {
            self.memories.remove(timer);
        }
        key
    }

    /// Decides what comes after a task's run.
    fn go_on(
        &mut self,
        now: Instant,
        lane: LaneId,
        ended: RunningTask,
        outcome: Outcome,
        why: Option<Why>,
        took: Duration,
    ) {
        let RunningTask { task, subject, first } = ended;
        let subject = &self.subjects[subject];
        let path = Arc::clone(&task.event.pathname);
        // The file may have been renamed while the task ran.
        let event =
            if subject.path.is_empty() { task.event } else { renamed(&task.event, &subject.path) };
        let Lane { id, settings, .. } = self.lane(lane);
        let settings = *settings;
        let may_go_on = id.is_some()
            && !subject.cancelled
            && !subject.restarted
            && self.find_task(lane, &event).is_none();
        let mut next = None;
        if may_go_on {
            match why {
                // Its run was ended for the sake of another task of the same batch.
                Some(Why::Restart) if !outcome.is_done() && self.phase != Phase::GivenUp => {
                    next = Some((task.attempt, Due::Now));
                }
                Some(Why::Restart | Why::GivenUp | Why::Command) => (),
                Some(Why::TimedOut) | None if self.phase != Phase::Open && !self.notes(lane) => (),
                Some(Why::TimedOut) | None => {
                    let delay = retry::backoff(settings.retry, task.attempt, &outcome);
                    next = delay.map(|delay| (task.attempt + 1, after(delay)));
                }
            }
        }
        // What this process had to cut off is the next one's to go on with.
        let is_cut_off = why == Some(Why::GivenUp) && !outcome.is_done();
        if next.is_none() && !is_cut_off {
            self.note_end(lane, Note::Ended(task.id));
        }
        let retries = next.filter(|(attempt, _)| *attempt > task.attempt);
        if next.is_none() || retries.is_some() {
            let finished = Finished {
                id: task.id,
                scheduler: Arc::clone(&self.lane(lane).name),
                event: Arc::clone(&event),
                attempt: task.attempt,
                outcome: outcome.clone(),
                took,
                at: now,
                before: Duration::ZERO,
            };
            self.count_end(lane, finished, retries.is_some());
        }
        let say = match retries {
            Some((_, due)) => Say::Retries {
                path,
                outcome,
                attempt: task.attempt,
                tries: settings.retry.tries,
                delay: due.instant(now).since(now),
            },
            None => Say::Ended { path, outcome, took },
        };
        self.say(lane, task.id, say);
        if let Some((attempt, due)) = next {
            let task = Task {
                id: task.id,
                event,
                first,
                spot: Spot::NONE,
                state: State::Held,
                attempt,
                lane,
                trigger: Trigger::Before,
                single: self.lane(lane).settings.singlejob,
            };
            self.insert_task(now, task, due);
        }
    }

    /// Counts an attempt that is over, and remembers a task that is.
    fn count_end(&mut self, lane: LaneId, finished: Finished, is_retried: bool) {
        let totals = &mut self.lane_mut(lane).totals;
        totals.took.add(finished.took);
        if is_retried {
            totals.retried += 1;
            return;
        }
        match finished.outcome.how() {
            How::Done => totals.done += 1,
            How::Stopped => totals.stopped += 1,
            How::Failed => totals.failed += 1,
        }
        self.note_finished(lane, &finished);
        self.history.add(finished);
    }

    /// After the end of a subject's run: lets go what it held, and decides for how long the
    /// breaker remembers it.
    fn release(&mut self, now: Instant, key: u32) {
        let subject = self.subjects.get_mut(key);
        if !subject.runs.is_empty() {
            return;
        }
        subject.streak.handle_end(now);
        let (lane, path) = (subject.lane, Arc::clone(&subject.path));
        if let Lane { id: Some(_), settings, .. } = self.lane(lane)
            && let Some(breaker) = settings.breaker
        {
            // One past the end: an order exactly `within` later is still near.
            let memory = breaker.within.saturating_add(Duration::from_nanos(1));
            let timer = self.memories.insert(now, memory, key);
            let old = self.subjects.get_mut(key).memory.replace(timer);
            debug_assert_eq!(old, None);
        }
        if let Some(task) = self.tasks.find(lane, &path) {
            self.settle(task);
        }
        self.forget_if_idle(key);
    }
}

fn after(delay: Duration) -> Due {
    if delay.is_zero() { Due::Now } else { Due::After(delay) }
}
