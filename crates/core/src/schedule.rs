//! When each task starts, is put off, is given up, is stopped, is tried again.
//!
//! [`Schedule`] decides about orders, tasks and runs, and about nothing else: which event makes
//! which order is the rules' to say, what a run does and how it is ended is the caller's.
//!
//! # Theory of operation
//!
//! A task is made by an order, and is in one of four states:
//!
//! ```text
//!            order                     its time         a slot
//!   (none) ─────────▶ waiting ────────────────▶ ready ─────────▶ running ───▶ (none)
//!                      ▲   │ its time, but its    ▲                 │
//!                order │   ▼ subject runs         │ that run ends   │ failed, and
//!                      └─ held ───────────────────┘                 │ may be retried
//!                      ▲                                            │
//!                      └──────────── waiting, attempt + 1 ◀─────────┘
//! ```
//!
//! * A subject has one task at most that has not started. It may have one beside a run: what an
//!   order makes while its subject runs (`busy` is `again` or `restart`) is a task like any other,
//!   with an id of its own, whose delay counts from the order; when the delay is over and the run
//!   is not, it is held until the run has ended. So a task is cancelled, re-scheduled, followed
//!   and counted the same way whether or not something runs.
//! * An order for a task that has not started gives it the order's event and the full delay again,
//!   also when it is already ready and waits for a slot: quiet means quiet. `max_wait` counts from
//!   the first event; once it is over, the task keeps its place.
//! * An order for a task that waits to be tried again makes a new task in its place, with a new id:
//!   id and attempt together name what a command is run for once.
//! * A cancel ends a task that has not started. A run goes on, but it is not tried again: there is
//!   nothing to do any more, until the next order. A cancel after an order that came during the run
//!   takes that order back.
//! * A run is about its subject's file. When that is renamed and `follow` is set, the subject goes
//!   on under the new name while it runs: orders for the new name find it busy, and a retry gets
//!   the new path.
//! * Where `ready` is set, what would start is tested first; what is not ready waits again, and is
//!   still a task that has not started.
//! * A run that timed out has failed, whatever its end looks like.
//! * `busy = "restart"` ends a whole batch. Its other tasks start over, with id and attempt kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    event::Event,
    plan::{Busy, Plan, SchedulerId},
    report::{CancelReason, Report, Say},
    stats::{History, Totals},
    task::{Order, OrderKind, Probe, Run, RunId, StopHow, TaskId},
    time::Instant,
};

pub use self::journal::Note;
use self::{
    breaker::Trigger,
    hash::HashKey,
    journal::Journal,
    lane::{Lane, Settings},
    pending::{Due, State, Task},
    probe::Probes,
    runs::{Running, Subject, Why},
    slab::Slab,
    table::{LaneId, Spot, Table},
    timers::Timers,
};

mod breaker;
mod hash;
mod journal;
mod lane;
mod moved;
mod pending;
mod probe;
mod reload;
mod retry;
mod runs;
mod slab;
mod table;
mod timers;
mod verify;

/// What the caller has to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Start this run, then say how it ended with [`Schedule::handle_ended`].
    Start(Run),
    /// Ask a run to end. That it has ended is still to be said.
    Stop {
        /// Which.
        run: RunId,
        /// How hard.
        how: StopHow,
    },
    /// Find out whether these may start, then say so with [`Schedule::handle_probed`].
    Probe(Probe),
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// For their time, or for their subject's run to end.
    pub waiting: usize,
    /// For a slot, or for the answer whether they may start.
    pub ready: usize,
    /// Tasks that run.
    pub running: usize,
    /// Runs; fewer than `running` with batches.
    pub runs: usize,
}

/// A task, as people ask for it.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its name.
    pub id: TaskId,
    /// Its scheduler; `None` when that has left the configuration and the task still runs.
    pub scheduler: Option<SchedulerId>,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// Which run of it goes on or comes next, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: TaskState,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for this point.
    Waiting {
        /// When the wait is over.
        due: Instant,
    },
    /// Its time has come, but its subject's run has not ended.
    Held,
    /// It waits for a slot, or for the answer whether it may start.
    Ready,
    /// It runs.
    Running {
        /// In which run.
        run: RunId,
        /// Since when.
        since: Instant,
    },
}

/// Decides when each task runs.
///
/// Methods named `handle_*` take in what happened, with the time at which it did; a time before
/// the last one counts as the last one. After any of them, take what follows from it with
/// [`Schedule::poll_command`] and [`Schedule::poll_report`] until both give `None`, and call
/// [`Schedule::handle_timeout`] when the point that [`Schedule::poll_timeout`] names has come.
#[derive(Debug)]
pub struct Schedule {
    /// By [`LaneId`]; `None` is free for a new scheduler.
    lanes: Vec<Option<Lane>>,
    /// The lane of each scheduler of the plan, by [`SchedulerId`].
    by_id: Vec<LaneId>,
    /// What has not started.
    tasks: Table<Task>,
    /// What runs, and what a breaker remembers.
    subjects: Table<Subject>,
    runs: Slab<Running>,
    by_run: BTreeMap<RunId, u32>,
    last_run: u64,
    probes: Probes,
    timers: Timers<Timer>,
    /// The subjects that a breaker may forget.
    memories: Timers<u32>,
    /// The lanes that could start a run, and perhaps some that no longer can.
    turn: VecDeque<LaneId>,
    /// The same, of lanes that share no slots and wait for nobody.
    own_turn: VecDeque<LaneId>,
    slots: usize,
    /// How many runs take none of them.
    slotless: usize,
    phase: Phase,
    now: Instant,
    ids: TaskIds,
    /// The subject of a scheduler that has one for all.
    nothing: Arc<[u8]>,
    commands: VecDeque<Command>,
    reports: VecDeque<Report>,
    journal: Journal,
    /// Whether schedulers that come are paused.
    pauses_new: bool,
    history: History,
}

/// So late a breaker forgets a subject when there is nothing else to wake up for.
const FORGETS_LATE: Duration = Duration::from_secs(1);

/// Whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// A task is due.
    Task(u32),
    /// A run takes too long.
    Run(u32),
}

/// How far the daemon is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Orders are taken.
    Open,
    /// Tasks run out; none is added.
    Stopping,
    /// What runs is being ended.
    GivenUp,
}

impl Schedule {
    /// A schedule of the plan's schedulers, without a task. Task ids follow from the seed, so it
    /// has to be another one at each start; it has to be secret from whoever can create files in a
    /// watched directory, too.
    ///
    /// # Panics
    ///
    /// If the plan has more than 65,535 schedulers.
    #[must_use]
    pub fn new(plan: &Plan, seed: u128) -> Self {
        let mut ids = TaskIds::new(seed);
        let hash_key = HashKey(ids.high.next(), ids.low.next());
        let mut schedule = Self {
            lanes: Vec::new(),
            by_id: Vec::new(),
            tasks: Table::new(hash_key),
            subjects: Table::new(hash_key),
            runs: Slab::default(),
            by_run: BTreeMap::new(),
            last_run: 0,
            probes: Probes::default(),
            timers: Timers::default(),
            memories: Timers::default(),
            turn: VecDeque::new(),
            own_turn: VecDeque::new(),
            slots: 0,
            slotless: 0,
            phase: Phase::Open,
            now: Instant::ZERO,
            ids,
            nothing: Arc::default(),
            commands: VecDeque::new(),
            reports: VecDeque::new(),
            journal: Journal::default(),
            pauses_new: false,
            history: History::default(),
        };
        schedule.handle_plan(Instant::ZERO, plan);
        schedule
    }

    /// Takes in an order.
    ///
    /// # Panics
    ///
    /// If it is for a scheduler that is not in the plan.
    pub fn handle_order(&mut self, now: Instant, order: Order) {
        let now = self.advance(now);
        let lane = self.by_id[usize::from(order.scheduler.0)];
        match order.kind {
            OrderKind::Schedule if self.phase == Phase::Open => {
                self.schedule(now, lane, order.event);
                self.start_ready(now);
            }
            OrderKind::Schedule => (),
            // Also while the daemon stops: it is one task less to wait for.
            OrderKind::Cancel => self.cancel(lane, &order.event),
        }
    }

    /// Takes in that the time is `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Task(key) => self.handle_due(key),
                Timer::Run(key) => self.handle_overtime(now, key),
            }
        }
        while let Some(subject) = self.memories.pop(now) {
            self.handle_forget(now, subject);
        }
        self.start_ready(now);
    }

    /// Takes in that somebody wants a task given up. False: there is no such task, or it runs.
    /// Looks at every task: it is for people, not for programs.
    pub fn handle_cancel(&mut self, id: TaskId) -> bool {
        let Some(key) = self.find_by_id(id) else { return false };
        self.cancel_task(key, CancelReason::Command);
        true
    }

    /// Takes in that somebody wants a task to wait no longer for its time. False: there is no such
    /// task, or it runs. Looks at every task.
    pub fn handle_run_now(&mut self, now: Instant, id: TaskId) -> bool {
        let now = self.advance(now);
        let Some(key) = self.find_by_id(id) else { return false };
        self.set_due(now, key, Due::Now);
        self.start_ready(now);
        true
    }

    /// Takes in that somebody wants a run ended before its time. All tasks of its batch end with
    /// it, and are not tried again.
    pub fn handle_end_run(&mut self, now: Instant, run: RunId) {
        let now = self.advance(now);
        if let Some(key) = self.by_run.get(&run) {
            self.stop(now, *key, Why::Command);
        }
    }

    /// Takes in that nothing of a scheduler is to start for now, or of none: of those that come
    /// with a reload, too. Events are taken as always, delays go by, and what runs goes on.
    ///
    /// # Panics
    ///
    /// If the scheduler is not in the plan.
    pub fn handle_pause(&mut self, scheduler: Option<SchedulerId>) {
        self.set_paused(scheduler, true);
    }

    /// Takes in that what was paused goes on.
    ///
    /// # Panics
    ///
    /// If the scheduler is not in the plan.
    pub fn handle_resume(&mut self, now: Instant, scheduler: Option<SchedulerId>) {
        let now = self.advance(now);
        self.set_paused(scheduler, false);
        for id in self.by_id.clone() {
            self.offer(id);
        }
        self.start_ready(now);
    }

    fn set_paused(&mut self, scheduler: Option<SchedulerId>, paused: bool) {
        let say = if paused { Say::Paused } else { Say::Resumed };
        if let Some(id) = scheduler {
            let lane = self.lane_mut(self.by_id[usize::from(id.0)]);
            lane.paused = paused;
            let logname = Arc::clone(&lane.logname);
            self.reports.push_back(Report { logname, task: None, say });
        } else {
            self.pauses_new = paused;
            for lane in self.lanes.iter_mut().flatten() {
                lane.paused = paused;
            }
        }
    }

    /// Takes in that the daemon stops. From now on no order makes or changes a task, and nothing
    /// is tried again; what waits for its delay keeps its clock. What is noted waits for the next
    /// process.
    pub fn handle_stop(&mut self, now: Instant) {
        self.advance(now);
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Stopping;
        self.journal.held = self.journal.keeps;
        for key in self.tasks.keys() {
            let Task { lane, attempt, .. } = self.tasks[key];
            let would_not_start = attempt > 1 || self.lane(lane).paused;
            if if self.journal.keeps { !self.notes(lane) } else { would_not_start } {
                self.cancel_task(key, CancelReason::Shutdown);
            }
        }
    }

    /// Takes in that the daemon waits no longer: what has not started is given up, what runs is
    /// ended.
    pub fn handle_give_up(&mut self, now: Instant) {
        let now = self.advance(now);
        self.phase = Phase::GivenUp;
        self.journal.held = self.journal.keeps;
        for key in self.tasks.keys() {
            if !self.notes(self.tasks[key].lane) {
                self.cancel_task(key, CancelReason::Shutdown);
            }
        }
        let runs: Vec<u32> = self.by_run.values().copied().collect();
        for run in runs {
            self.stop(now, run, Why::GivenUp);
        }
    }

    /// When [`Schedule::handle_timeout`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // What is remembered too long does no harm, and to be woken for each run costs as much as it.
        let forget = self.memories.first().map(|it| it + FORGETS_LATE);
        self.timers.first().into_iter().chain(forget).min()
    }

    /// The next thing for the caller to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next thing for the log.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// How many tasks there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let lanes = self.lanes.iter().flatten();
        lanes.map(|it| it.counts).fold(Counts::default(), Counts::with)
    }

    /// How many tasks a scheduler of the plan has.
    #[must_use]
    pub fn counts_of(&self, scheduler: SchedulerId) -> Counts {
        self.lane(self.by_id[usize::from(scheduler.0)]).counts
    }

    /// What has become of a scheduler's tasks so far.
    #[must_use]
    pub fn totals_of(&self, scheduler: SchedulerId) -> &Totals {
        &self.lane(self.by_id[usize::from(scheduler.0)]).totals
    }

    /// Whether nothing of a scheduler starts for now.
    #[must_use]
    pub fn is_paused(&self, scheduler: SchedulerId) -> bool {
        self.lane(self.by_id[usize::from(scheduler.0)]).paused
    }

    /// The tasks that have ended.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How many tests go on whether tasks may start.
    #[must_use]
    pub fn probes(&self) -> usize {
        self.probes.len()
    }

    /// Whether nothing waits or runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.runs.is_empty()
    }

    /// How many tasks have not started.
    #[must_use]
    pub fn unstarted(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing is left of all that has been: no task, no run, no timer, no memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_idle()
            && self.subjects.is_empty()
            && self.timers.len() == 0
            && self.memories.len() == 0
            && self.probes.len() == 0
    }

    /// The tasks, those that run first.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView> {
        let running = self.by_run.values().flat_map(|key| {
            let run = &self.runs[*key];
            run.tasks.iter().map(|it| TaskView {
                id: it.task.id,
                scheduler: self.lane(run.lane).id,
                event: Arc::clone(&it.task.event),
                attempt: it.task.attempt,
                state: TaskState::Running { run: run.id, since: run.since },
            })
        });
        running.chain(self.tasks.iter().map(|(_, task)| TaskView {
            id: task.id,
            scheduler: self.lane(task.lane).id,
            event: Arc::clone(&task.event),
            attempt: task.attempt,
            state: match task.state {
                State::Waiting(timer) => TaskState::Waiting { due: self.timers.due(timer) },
                State::Held => TaskState::Held,
                State::Ready(_) | State::Tested(_) => TaskState::Ready,
            },
        }))
    }

    fn schedule(&mut self, now: Instant, lane: LaneId, event: Arc<Event>) {
        let settings = self.lane(lane).settings;
        let subject = self.find_subject(lane, &event);
        let (mut runs_now, mut trigger, mut rests_until) = (false, Trigger::Outside, Instant::ZERO);
        if let Some(subject) = subject {
            let subject = self.subjects.get_mut(subject);
            subject.cancelled = false;
            runs_now = !subject.runs.is_empty();
            if runs_now && settings.busy == Busy::Skip {
                let (task, path) = (subject.task, Arc::clone(&event.pathname));
                return self.say(lane, task, Say::SkippedBusy { path });
            }
            if let Some(breaker) = settings.breaker {
                let trips;
                (trigger, trips) = subject.streak.handle_order(now, runs_now, breaker);
                rests_until = subject.streak.rests_until;
                if trips {
                    let (task, path) = (subject.task, Arc::clone(&event.pathname));
                    let (runs, rest) = (subject.streak.runs(), breaker.rest);
                    self.say(lane, task, Say::BreakerTripped { path, runs, rest });
                }
            }
        }

        let mut waits = self.find_task(lane, &event);
        if let Some(key) = waits
            && self.tasks[key].trigger == Trigger::Before
        {
            self.cancel_task(key, CancelReason::Superseded);
            waits = None;
        }
        let (path, mask) = (Arc::clone(&event.pathname), event.mask);
        if let Some(key) = waits {
            let first = self.tasks[key].first;
            let tested_until = self.probes.handle_order(key);
            let due = due(now, settings, first, rests_until.max(tested_until));
            self.tasks.get_mut(key).trigger = trigger;
            if self.tasks[key].event.pathname == event.pathname {
                self.tasks.get_mut(key).event = event;
            } else {
                self.ask_anew(key);
                self.tasks.rename(key, settings.follow, |it| it.event = event);
            }
            self.set_due(now, key, due);
            let delay = due.instant(now).since(now);
            if !delay.is_zero() {
                let id = self.tasks[key].id;
                self.say(lane, id, Say::Rescheduled { path, mask, delay });
            }
        } else {
            let id = self.ids.next();
            self.lane_mut(lane).totals.scheduled += 1;
            let task = Task {
                id,
                event,
                first: now,
                spot: Spot::NONE,
                state: State::Held,
                attempt: 1,
                lane,
                trigger,
                single: settings.singlejob,
            };
            let due = due(now, settings, now, rests_until);
            let delay = due.instant(now).since(now);
            if runs_now && settings.busy != Busy::Parallel {
                self.say(lane, id, Say::RunsAgain { path });
            } else if !delay.is_zero() {
                self.say(lane, id, Say::Scheduled { path, mask, delay });
            }
            let held = runs_now && settings.busy != Busy::Parallel;
            match self.lane(lane).id {
                Some(scheduler) if due == Due::Now && !held && self.could_start_at_once(lane) => {
                    self.begin_run(now, lane, scheduler, vec![task]);
                }
                Some(_) | None => drop(self.insert_task(now, task, due)),
            }
        }

        if let (true, Busy::Restart, Some(subject)) = (runs_now, settings.busy, subject) {
            let subject = self.subjects.get_mut(subject);
            subject.restarted = true;
            for run in subject.runs.clone() {
                self.stop(now, run, Why::Restart);
            }
        }
    }

    fn cancel(&mut self, lane: LaneId, event: &Event) {
        let waits = self.find_task(lane, event);
        if let Some(subject) = self.find_subject(lane, event) {
            let subject = self.subjects.get_mut(subject);
            subject.cancelled = true;
            if !subject.runs.is_empty() && waits.is_none() {
                let (task, path) = (subject.task, Arc::clone(&event.pathname));
                self.say(lane, task, Say::CancelTooLate { path });
            }
        }
        if let Some(key) = waits {
            self.cancel_task(key, CancelReason::Event(event.mask));
        }
    }

    /// The clock never goes back: queues of timers are in the order of their due times.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn lane(&self, id: LaneId) -> &Lane {
        self.lanes[usize::from(id.0)].as_ref().expect("a lane outlives its tasks and runs")
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        self.lanes[usize::from(id.0)].as_mut().expect("a lane outlives its tasks and runs")
    }

    fn find_subject(&self, lane: LaneId, event: &Event) -> Option<u32> {
        self.subjects.find(lane, self.lane(lane).settings.subject(event))
    }

    fn find_by_id(&self, id: TaskId) -> Option<u32> {
        self.tasks.iter().find_map(|(key, task)| (task.id == id).then_some(key))
    }

    fn say(&mut self, lane: LaneId, task: TaskId, say: Say) {
        let logname = Arc::clone(&self.lane(lane).logname);
        self.reports.push_back(Report { logname, task: Some(task), say });
    }
}

impl Counts {
    fn with(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            ready: self.ready + other.ready,
            running: self.running + other.running,
            runs: self.runs + other.runs,
        }
    }
}

/// When a task's wait is over that an order starts anew.
fn due(now: Instant, settings: Settings, first: Instant, rests_until: Instant) -> Due {
    let cut = settings.max_wait.map_or(Instant::FAR, |it| first + it);
    let delayed = now + settings.delay;
    if delayed.min(cut) < rests_until {
        Due::At(rests_until)
    } else if delayed.min(cut) <= now {
        Due::Now
    } else if cut < delayed {
        Due::At(cut)
    } else {
        Due::After(settings.delay)
    }
}

/// Task ids: two sequences of pseudo-random numbers, neither of which repeats within 2⁶⁴.
#[derive(Debug)]
struct TaskIds {
    high: SplitMix,
    low: SplitMix,
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Debug)]
struct SplitMix(u64);

impl TaskIds {
    fn new(seed: u128) -> Self {
        let [high, low] = [seed >> 64, seed & u128::from(u64::MAX)];
        let word = |it: u128| SplitMix(u64::try_from(it).expect("64 bits"));
        Self { high: word(high), low: word(low) }
    }

    /// With the bits of a version 4 UUID, so that an id that is read back from its text is equal.
    fn next(&mut self) -> TaskId {
        let bits = u128::from(self.high.next()) << 64 | u128::from(self.low.next());
        TaskId(bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    }
}

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}
