//! What follows from everything that can happen.
//!
//! The engine joins the machines, which do not know each other: the tree turns records into
//! sightings, the event maps turn those into orders, the schedule turns orders into runs. It adds
//! what concerns them all: starting, stopping, reloading, and knowing the file manager's own
//! changes again.
//!
//! After each [`Engine::handle`], take the effects with [`Engine::poll`] until there are none, and
//! call `handle` with [`Input::Time`] when the point that [`Engine::poll_timeout`] names has come.
//! Hand over a record only while [`Engine::wants_records`].

mod own;
mod recovery;

use std::{collections::VecDeque, mem, sync::Arc};

use crate::{
    event::{Event, EventType, Mask, Origin},
    filerule::{self, Answers, FilePlan, PlanError},
    filter::Filter,
    path,
    pattern::PatternFault,
    plan::{Action, Plan, Scheduler, SchedulerId, Watch, WatchId},
    record::{Record, Wd},
    report::{Report, Say},
    rules,
    schedule::{self, Command, Counts, Schedule, TaskState},
    scope::{Coverage, Scope},
    stamp::IndexId,
    stats::{EventCounts, Finished},
    task::{
        KeptTask, Leader, Order, Outcome, Probe, ProbeId, Readiness, Run, RunId, RunTask, StopHow,
        TaskId,
    },
    time::Instant,
    tree::{Ask, Enter, EnterError, Found, MountChange, Notice, Sighting, Ticket, Touch, Tree},
};

pub use self::recovery::{Kept, KeptBefore, Memo, Stray, StrayEnd, StrayMark};
use self::{own::OwnChanges, recovery::Recovery};

/// Everything that can happen.
#[derive(Debug)]
pub enum Input<'a> {
    /// The kernel told of something.
    Record(Record<'a>),
    /// [`Effect::Enter`] has been carried out.
    Entered(Ticket, Result<Found, EnterError>),
    /// [`Effect::Barrier`] has been carried out.
    Barrier(Option<Wd>),
    /// Something was mounted at, or unmounted from, this path.
    Mount(&'a [u8], MountChange),
    /// [`Effect::Ask`] has been carried out: what Python says about each task of the run, in the
    /// order of the tasks.
    Answered(Question, Vec<Answers>),
    /// A run has begun that was held until it was kept that it does. Of others nobody says so.
    Begun(RunId),
    /// A command of a run was started.
    Spawned(RunId, Leader),
    /// A run ended.
    Ended(RunId, Outcome),
    /// [`Effect::Probe`] has been carried out: whether its tasks may start, in their order.
    Probed(ProbeId, Vec<Readiness>),
    /// Somebody else than an event map asks for something: the code of a config.py.
    Order(Order),
    /// Somebody wants a task given up, or ended if it runs. Of a task that is not there nothing
    /// comes.
    Cancel(TaskId),
    /// Somebody wants a task to wait no longer for its time.
    RunNow(TaskId),
    /// Somebody wants nothing of this scheduler to start for now, or of none.
    Pause(Option<SchedulerId>),
    /// Somebody wants what was paused to go on.
    Resume(Option<SchedulerId>),
    /// A new configuration is to be in force.
    Plan(Arc<Plan>),
    /// The daemon is to stop. Further ones change nothing.
    Stop,
    /// Records were lost, but of nothing that happened before this point, in nanoseconds of
    /// `CLOCK_REALTIME`; the record that says so is still to come. Until the trees are known again
    /// no run starts.
    Lost(i64),
    /// [`Effect::LookFor`] of this number has been carried out: these are not there.
    Missing(u64, Vec<TaskId>),
    /// [`Effect::EndStrays`] has been carried out: what was there, and what became of it.
    StraysEnded(Vec<StrayEnd>),
    /// [`Effect::ListWatches`] has been carried out.
    Watches(Vec<Wd>),
    /// Tell with [`Effect::Passed`] of this number when everything that is in the queue by now has
    /// been handled.
    Fence(u64),
    /// The time has come that [`Engine::poll_timeout`] named.
    Time,
}

/// Everything that the daemon can do.
#[derive(Debug)]
pub enum Effect {
    /// Open, watch and list what is at a path; answer with [`Input::Entered`].
    Enter(Enter),
    /// Remove this watch.
    Leave(Wd),
    /// Put a record behind everything that is in the queue; answer with [`Input::Barrier`].
    Barrier,
    /// Start a run; say with [`Input::Ended`] how it ended.
    Start(Start),
    /// Find out whether tasks may start, by the [`ready`](Scheduler::ready) of this plan; answer
    /// with [`Input::Probed`].
    Probe(Probe, Arc<Plan>),
    /// Ask Python what the rules of a run need to know; answer with [`Input::Answered`], or with
    /// [`Input::Ended`] if it does not tell.
    Ask(Question),
    /// Ask a run to end.
    Stop(RunId, StopHow),
    /// Write this down, before anything that comes after it is carried out.
    Keep(Keep),
    /// Look whether what these tasks are about is there; answer with [`Input::Missing`].
    LookFor(u64, Vec<(TaskId, Arc<[u8]>)>),
    /// End what these runs of an earlier process have started, if it is still there; answer with
    /// [`Input::StraysEnded`].
    EndStrays(Vec<Stray>),
    /// List the watches that the kernel has, but for those that are not the tree's; answer at once
    /// with [`Input::Watches`].
    ListWatches,
    /// What was in the queue when [`Input::Fence`] of this number came has been handled.
    Passed(u64),
    /// Write a line to the log.
    Say(Report),
    /// Hand an event to whoever listens, see [`Watch::listen`].
    Tell(Arc<Event>),
    /// End the process.
    Exit,
}

/// What is to be known again when the process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A task is this now.
    Task(KeptTask),
    /// A task has run, and does not run again.
    Ended(TaskId),
    /// A task is given up.
    Dropped(TaskId),
    /// These tasks run as this process, until something else is kept of them.
    Spawned(Vec<TaskId>, Leader),
    /// A task has ended, to be given back as [`Kept::history`] as far as the last are concerned.
    Finished(Finished),
    /// Something happened to a name: what is known of it is to be looked up anew, and counts once
    /// everything has been handled that happened before.
    Touched(Touch),
    /// A name has left a directory: what is known of it does not count any more.
    Left {
        /// The directory.
        index: IndexId,
        /// The name in it.
        name: Box<[u8]>,
    },
    /// All that was said to be below one path is below another now.
    Renamed {
        /// The old path.
        from: Arc<[u8]>,
        /// The new one.
        to: Arc<[u8]>,
    },
    /// A directory is gone for good.
    Gone(IndexId),
    /// What the Watches cover, to be given back as [`Kept::covered`].
    Covers(Vec<u8>),
    /// Records were lost: what is read of files from now on counts only once it has been compared
    /// with what is known, and what was read and not written down yet does not either.
    Lost,
    /// All that is watched has been entered, and compared with what is known: what is known of
    /// other directories is of no use.
    InStep,
}

/// A run, and what is needed to carry it out.
#[derive(Debug)]
pub struct Start {
    /// The run.
    pub run: Run,
    /// The plan of its time.
    pub plan: Arc<Plan>,
    /// For [`Action::Rules`]: what is to be done for each of its tasks.
    pub files: Vec<Result<Option<FilePlan>, PlanError>>,
}

/// A run that cannot start before Python has answered [`filerule::questions`].
#[derive(Debug)]
pub struct Question {
    /// The run.
    pub run: Run,
    /// The plan of its time.
    pub plan: Arc<Plan>,
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The Watches are being set.
    Starting,
    /// It does its work.
    Running,
    /// It waits for tasks until this point.
    Stopping {
        /// Then it waits no longer.
        deadline: Instant,
    },
    /// The wait was too long: tasks are being ended.
    GivingUp,
    /// Nothing is left to do.
    Over,
}

/// Decides everything.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    tree: Tree,
    desk: Desk,
    life: Life,
    /// When the last input came.
    now: Instant,
    /// The first of the directories for which there was no watch left, until that is told.
    limited: Option<Arc<[u8]>>,
    /// Whether a plan is in force that is not told of yet: its Watches are being set.
    reloading: bool,
    recovery: Recovery,
    overflows: u64,
}

/// Where sightings arrive: everything but the tree that gives them.
#[derive(Debug)]
struct Desk {
    schedule: Schedule,
    own: OwnChanges,
    known: recovery::Known,
    /// How many events each Watch has let through.
    seen: Vec<EventCounts>,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine that starts with this plan. `seed` makes task ids and hashes: it is to be fresh
    /// and secret.
    #[must_use]
    pub fn new(plan: Arc<Plan>, seed: u128) -> Self {
        Self {
            tree: Tree::new(scope(&plan)),
            desk: Desk {
                schedule: Schedule::new(&plan, seed),
                own: OwnChanges::default(),
                known: recovery::Known::default(),
                seen: vec![EventCounts::default(); plan.watches.len()],
                effects: VecDeque::new(),
            },
            plan,
            life: Life::Starting,
            now: Instant::ZERO,
            limited: None,
            reloading: false,
            recovery: Recovery::default(),
            overflows: 0,
        }
    }

    /// As [`Engine::new`], with all that has to be known again handed to [`Effect::Keep`], and what
    /// an earlier process has handed over taken in: tasks go on, and what has changed since is
    /// found and told.
    #[must_use]
    pub fn keeping(now: Instant, plan: Arc<Plan>, seed: u128, kept: Kept) -> Self {
        let mut engine = Self::new(plan, seed);
        engine.restore(now, kept);
        engine
    }

    /// Takes in what happened at this time.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        if self.life == Life::Over {
            // What is still on its way when the end has been said changes nothing.
            return;
        }
        match input {
            Input::Record(record) => self.handle_record(now, &record),
            Input::Entered(ticket, answer) => {
                let (plan, desk) = (&self.plan, &mut self.desk);
                let out = &mut |tree: &Tree, it: Sighting<'_>| desk.see(plan, tree, now, &it);
                self.tree.handle_entered(ticket, answer, out);
            }
            Input::Barrier(barrier) => {
                let (plan, desk) = (&self.plan, &mut self.desk);
                self.tree.handle_barrier(barrier, &mut |tree, it| desk.see(plan, tree, now, &it));
            }
            Input::Mount(at, change) => self.tree.handle_mount(at, change),
            Input::Answered(question, answers) => {
                // By the numbers of another plan, nothing would be known again.
                let is_current = Arc::ptr_eq(&question.plan, &self.plan);
                self.desk.handle_answered(question, &answers, is_current);
            }
            Input::Begun(run) => self.desk.schedule.handle_begun(now, run),
            Input::Spawned(run, leader) => self.desk.schedule.handle_spawned(run, leader),
            Input::Ended(run, outcome) => {
                self.desk.own.handle_ended(run, &mut self.tree);
                self.desk.schedule.handle_ended(now, run, outcome);
            }
            Input::Probed(probe, answers) => {
                self.desk.own.handle_probed(probe, &mut self.tree);
                self.desk.schedule.handle_probed(now, probe, answers);
            }
            Input::Order(order) => self.desk.schedule.handle_order(now, order),
            Input::Cancel(task) => self.handle_cancel(now, task),
            Input::RunNow(task) => {
                self.desk.schedule.handle_run_now(now, task);
            }
            Input::Pause(scheduler) => {
                self.desk.schedule.handle_pause(scheduler);
                if scheduler.is_none() {
                    self.say(Say::Paused);
                }
            }
            Input::Resume(scheduler) => {
                self.desk.schedule.handle_resume(now, scheduler);
                if scheduler.is_none() {
                    self.say(Say::Resumed);
                }
            }
            Input::Plan(plan) => self.handle_plan(now, plan),
            Input::Stop => self.handle_stop(now),
            Input::Lost(since) => self.handle_lost(since),
            Input::Missing(number, missing) => self.handle_missing(now, number, &missing),
            Input::StraysEnded(ends) => self.handle_strays_ended(now, ends),
            Input::Watches(watches) => self.handle_watches(&watches),
            Input::Fence(number) => self.recovery.fence(&mut self.tree, number),
            Input::Time => self.handle_time(now),
        }
        self.follow_up(now);
        // Only now is it known what starts over, and so is told once more.
        self.desk.own.handle_passed(&mut self.tree);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        if let Some(effect) = self.poll_desk() {
            return Some(effect);
        }
        if self.life == Life::Over {
            return None;
        }
        let Some(ask) = self.tree.poll_ask() else {
            // The last watch to be left was all that was missing: nobody answers to that.
            self.follow_up(self.now);
            return self.poll_desk();
        };
        Some(match ask {
            Ask::Enter(enter) => Effect::Enter(enter),
            Ask::Leave(wd) => Effect::Leave(wd),
            Ask::Barrier => Effect::Barrier,
        })
    }

    fn poll_desk(&mut self) -> Option<Effect> {
        let mut effect = self.desk.effects.pop_front()?;
        if let Effect::Keep(Keep::Task(task)) = &mut effect {
            task.dir = self.recovery.dir_of(&self.tree, task);
            task.leader = self.recovery.leader_of(task);
        }
        Some(effect)
    }

    /// When [`Input::Time`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = match self.life {
            Life::Stopping { deadline } => Some(deadline),
            Life::Starting | Life::Running | Life::GivingUp => None,
            Life::Over => return None,
        };
        [self.desk.schedule.poll_timeout(), deadline].into_iter().flatten().min()
    }

    /// Whether the next record may be handed over.
    #[must_use]
    pub fn wants_records(&self) -> bool {
        self.tree.wants_records()
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The tree, to ask it things.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The tasks, to ask it things.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.desk.schedule
    }

    /// How many tasks there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.desk.schedule.counts()
    }

    /// Where the daemon is in its life.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }

    /// Whether the trees are being read as a whole: at the start, after a reload, and after records
    /// were lost.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.life == Life::Starting || self.reloading || self.recovery.is_reading()
    }

    /// Whether they are being read because records were lost.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.life == Life::Running && !self.reloading && self.recovery.is_reading()
    }

    /// How many events a Watch has let through so far to its event map.
    #[must_use]
    pub fn seen_by(&self, watch: WatchId) -> &EventCounts {
        &self.desk.seen[usize::from(watch.0)]
    }

    /// How often the kernel has dropped events.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Whether nothing is left of all that has been: no task, no run, no timer, no memory, and
    /// nothing on its way to or from the kernel.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let schedule = &self.desk.schedule;
        self.desk.effects.is_empty()
            && match self.life {
                Life::Starting | Life::Running => {
                    schedule.is_empty() && self.tree.is_settled() && self.desk.own.runs() == 0
                }
                Life::Stopping { .. } | Life::GivingUp => schedule.is_empty() || schedule.is_kept(),
                Life::Over => self.is_idle(),
            }
    }

    /// Panics unless the tables of all machines agree with each other.
    ///
    /// # Panics
    ///
    /// See above.
    pub fn verify_invariants(&self) {
        self.tree.verify_invariants();
        self.desk.schedule.verify_invariants();
        let counts = self.desk.schedule.counts();
        let live = counts.runs + self.desk.schedule.probes() + self.desk.own.ended();
        assert!(self.desk.own.runs() <= live, "of live runs");
    }

    fn handle_record(&mut self, now: Instant, record: &Record<'_>) {
        match self.life {
            Life::Starting | Life::Running => {
                let (plan, desk) = (&self.plan, &mut self.desk);
                self.tree.handle_record(record, &mut |tree, it| desk.see(plan, tree, now, &it));
            }
            // The intake is closed; paths of what still runs are not looked at again.
            Life::Stopping { .. } | Life::GivingUp | Life::Over => return,
        }
        if record.mask.event_type() == Some(EventType::QOverflow) {
            self.overflows += 1;
            self.handle_overflow();
        }
    }

    fn handle_plan(&mut self, now: Instant, plan: Arc<Plan>) {
        // A reload that comes too late changes nothing.
        if !matches!(self.life, Life::Starting | Life::Running) {
            return;
        }
        self.desk.drain_schedule(&self.plan, now);
        self.desk.schedule.handle_plan(now, &plan);
        self.desk.own.handle_plan();
        self.desk.match_seen(&self.plan, &plan);
        self.tree.handle_scope(scope(&plan));
        self.plan = plan;
        self.keep_coverage();
        // Told once its Watches are set: who waits for that may make a file at once.
        self.reloading = true;
    }

    fn handle_cancel(&mut self, now: Instant, task: TaskId) {
        let schedule = &mut self.desk.schedule;
        if schedule.handle_cancel(task) {
            return;
        }
        let run = schedule.tasks().find(|it| it.id == task).and_then(|it| match it.state {
            TaskState::Running { run, .. } => Some(run),
            TaskState::Waiting { .. } | TaskState::Held | TaskState::Ready => None,
        });
        if let Some(run) = run {
            schedule.handle_end_run(now, run);
        }
    }

    fn handle_stop(&mut self, now: Instant) {
        if !matches!(self.life, Life::Starting | Life::Running) {
            return;
        }
        self.desk.schedule.handle_stop(now);
        let timeout = self.plan.shutdown_timeout;
        let (running, waiting) = self.awaited();
        if running + waiting > 0 {
            self.say(Say::Stopping { running, waiting, timeout });
        }
        self.life = Life::Stopping { deadline: now + timeout };
    }

    fn handle_time(&mut self, now: Instant) {
        if let Life::Stopping { deadline } = self.life
            && deadline <= now
        {
            let (running, waiting) = self.awaited();
            self.say(Say::ShutdownTimeout { running, waiting });
            self.life = Life::GivingUp;
            self.desk.schedule.handle_give_up(now);
        }
        self.desk.schedule.handle_timeout(now);
    }

    /// The tasks for which a stop waits: those that run, and those that wait unless they are kept.
    fn awaited(&self) -> (usize, usize) {
        let Counts { waiting, ready, running, .. } = self.desk.schedule.counts();
        (running, if self.recovery.keeps() { 0 } else { waiting + ready })
    }

    /// What follows from any input.
    fn follow_up(&mut self, now: Instant) {
        self.desk.drain_schedule(&self.plan, now);
        self.keep_what_was_touched();
        while let Some(notice) = self.tree.poll_notice() {
            self.notice(notice);
        }
        // Not only when nothing at all is on its way: in a tree in which directories are made all
        // the time, that may not come.
        if self.reloading && self.tree.wants_records() {
            self.reloading = false;
            self.say(Say::Reloaded {
                watches: self.plan.watches.len(),
                schedulers: self.plan.schedulers.len(),
            });
        }
        if self.tree.is_settled()
            && let Some(path) = self.limited.take()
        {
            self.say(Say::WatchLimit { path, unwatched: self.tree.unwatched() });
        }
        match self.life {
            Life::Starting | Life::Running if self.tree.is_settled() => self.go_on(now),
            Life::Stopping { .. } | Life::GivingUp if self.is_idle() => {
                self.life = Life::Over;
                let Counts { waiting, ready, .. } = self.desk.schedule.counts();
                if waiting + ready > 0 {
                    self.say(Say::Kept { tasks: waiting + ready });
                }
                self.say(Say::Stopped);
                self.desk.effects.push_back(Effect::Exit);
            }
            Life::Starting
            | Life::Running
            | Life::Stopping { .. }
            | Life::GivingUp
            | Life::Over => {}
        }
    }

    /// Whether nothing is left that the daemon waits for at its end.
    fn is_idle(&self) -> bool {
        self.desk.schedule.is_idle() || self.desk.schedule.is_kept()
    }

    fn notice(&mut self, notice: Notice) {
        let say = match notice {
            Notice::Waits(path) => Say::Waits { path },
            // The one line that says that all are ready is enough.
            Notice::Watches(_) if self.life == Life::Starting => return,
            Notice::Watches(path) => Say::Watches { path, directories: self.tree.watched_len() },
            Notice::Gone(path) => Say::Vanished { path },
            Notice::Unwatched(path, error) => Say::Unwatched { path, error },
            Notice::Limit(path) => {
                // Told once all that can be watched is: how many are not is what counts.
                self.limited.get_or_insert(path);
                return;
            }
            Notice::Unprobed(path) => {
                Say::Unprobed { path, error: "no lease could be had on it".into() }
            }
            Notice::StartsOver(path) => {
                self.desk.own.handle_starts_over(&mut self.tree);
                Say::StartsOver { path }
            }
        };
        self.say(say);
    }

    fn say(&mut self, say: Say) {
        let logname = Arc::clone(&self.plan.logname);
        self.desk.effects.push_back(Effect::Say(Report { logname, task: None, say }));
    }
}

impl Desk {
    /// An event map's answer to what happened.
    fn see(&mut self, plan: &Arc<Plan>, tree: &Tree, now: Instant, sighting: &Sighting<'_>) {
        let mut event = None;
        if sighting.event_type == EventType::QOverflow {
            for (id, _) in plan.watches() {
                self.offer(plan, tree, now, sighting, id, &mut event);
            }
            return;
        }
        for id in &tree.scope().interest(sighting.spots).members {
            let is_new_to = sighting.origin != Origin::Recovered || self.known.is_familiar(*id);
            if is_new_to && !sighting.seen_by.contains(id) {
                self.offer(plan, tree, now, sighting, *id, &mut event);
            }
        }
        if let (EventType::MovedTo, Some(src)) = (sighting.event_type, &sighting.src) {
            let to = event.get_or_insert_with(|| make_event(tree, sighting)).pathname.clone();
            let says = |scheduler| says_moved(plan, tree, sighting, scheduler);
            self.schedule.handle_moved(src, &to, sighting.is_dir, &says);
        }
    }

    /// Offers what happened to one Watch.
    fn offer(
        &mut self,
        plan: &Arc<Plan>,
        tree: &Tree,
        now: Instant,
        sighting: &Sighting<'_>,
        id: WatchId,
        event: &mut Option<Arc<Event>>,
    ) {
        let watch = plan.watch(id);
        let bindings = watch.map.get(sighting.event_type);
        let mut listens = watch.listen.contains(sighting.event_type.mask());
        let wants = |it: SchedulerId| rules::takes_kind(plan.scheduler(it), sighting.is_dir);
        if !listens && !bindings.iter().any(|it| wants(it.scheduler)) {
            return;
        }
        // The name alone often says that a path is filtered out: no path is built for those.
        if watch.filter.lets_through_name(sighting.name) == Some(false) && !sighting.name.is_empty()
        {
            return;
        }
        let event = event.get_or_insert_with(|| make_event(tree, sighting));
        let logname = &plan.logname;
        if !self.passes(&watch.filter, event, logname) {
            return;
        }
        self.seen[usize::from(id.0)].add(sighting.event_type);
        let recovered = sighting.origin == Origin::Recovered;
        if recovered {
            self.known.begin(event);
            listens &= !recovery::is_told_by_another_type(watch, sighting.event_type);
        }
        if listens {
            self.effects.push_back(Effect::Tell(Arc::clone(event)));
        }
        for binding in bindings {
            let scheduler = plan.scheduler(binding.scheduler);
            if !wants(binding.scheduler)
                || !self.passes(&scheduler.filter, event, &scheduler.logname)
                || self.own.is_own(binding.scheduler, scheduler.rules(), event, sighting.grown)
                || recovered && !self.known.is_news(*binding, tree, sighting, event)
            {
                continue;
            }
            let (kind, scheduler) = (binding.kind, binding.scheduler);
            self.schedule.handle_order(now, Order { kind, scheduler, event: Arc::clone(event) });
            if is_line(plan.scheduler(scheduler)) {
                // Before the next event could take this one's place: each has its line.
                self.drain_schedule(plan, now);
            }
        }
    }

    /// What a Watch has seen stays known over a reload that keeps its paths.
    fn match_seen(&mut self, old: &Plan, new: &Plan) {
        let mut seen: Vec<_> = old.watches.iter().zip(mem::take(&mut self.seen)).collect();
        let taken = |watch: &Watch| {
            let is_it = |it: &Watch| {
                it.paths.iter().map(|it| &it.source).eq(watch.paths.iter().map(|it| &it.source))
            };
            let at = seen.iter().position(|(it, _)| is_it(it));
            at.map(|at| seen.remove(at).1).unwrap_or_default()
        };
        self.seen = new.watches.iter().map(taken).collect();
    }

    /// Carries out what the schedule says.
    fn drain_schedule(&mut self, plan: &Arc<Plan>, now: Instant) {
        loop {
            // A run's own line comes before the run itself.
            while let Some(report) = self.schedule.poll_report() {
                self.effects.push_back(Effect::Say(report));
            }
            // So does what has to be known again of it.
            while let Some(note) = self.schedule.poll_note() {
                self.effects.push_back(Effect::Keep(note.into()));
            }
            match self.schedule.poll_command() {
                None => return,
                Some(Command::Stop { run, how }) => {
                    self.effects.push_back(Effect::Stop(run, how));
                }
                Some(Command::Start(run)) => self.start(plan, now, run),
                Some(Command::Probe(probe)) => {
                    if is_told_of_tests(plan, probe.scheduler) {
                        self.own.handle_probe(&probe);
                    }
                    self.effects.push_back(Effect::Probe(probe, Arc::clone(plan)));
                }
            }
        }
    }

    fn start(&mut self, plan: &Arc<Plan>, now: Instant, run: Run) {
        let scheduler = plan.scheduler(run.scheduler);
        let files: Vec<_> = match &scheduler.action {
            Action::Rules(rules) => {
                if filerule::questions(rules).next().is_some() {
                    let question = Question { run, plan: Arc::clone(plan) };
                    return self.effects.push_back(Effect::Ask(question));
                }
                let plan = |it: &RunTask| filerule::plan(rules, &it.event.pathname, &[]);
                run.tasks.iter().map(plan).collect()
            }
            Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => Vec::new(),
        };
        let id = run.id;
        let is_line = is_line(scheduler);
        self.own.handle_started(&run, files.iter().flatten().flatten());
        self.effects.push_back(Effect::Start(Start { run, plan: Arc::clone(plan), files }));
        if is_line {
            self.schedule.handle_ended(now, id, Outcome::Done(None));
        }
    }

    /// Starts a run, now that it is known what Python says.
    fn handle_answered(&mut self, question: Question, answers: &[Answers], is_current: bool) {
        let Question { run, plan } = question;
        let files: Vec<_> = match &plan.scheduler(run.scheduler).action {
            Action::Rules(rules) => {
                let tasks = run.tasks.iter().zip(answers);
                tasks.map(|(it, said)| filerule::plan(rules, &it.event.pathname, said)).collect()
            }
            Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => Vec::new(),
        };
        if is_current {
            self.own.handle_started(&run, files.iter().flatten().flatten());
        }
        self.effects.push_back(Effect::Start(Start { run, plan, files }));
    }

    fn passes(&mut self, filter: &Filter, event: &Event, logname: &Arc<str>) -> bool {
        // An overflow is about no path.
        if event.pathname.is_empty() {
            return true;
        }
        match rules::passes(filter, &event.pathname, event.root_len as usize) {
            Ok(passes) => passes,
            Err(fault) => {
                self.fault(event, &fault, logname);
                // What cannot be decided is not hidden.
                true
            }
        }
    }

    fn fault(&mut self, event: &Event, fault: &PatternFault, logname: &Arc<str>) {
        let say = Say::PatternFault { path: Arc::clone(&event.pathname), error: fault.to_string() };
        let report = Report { logname: Arc::clone(logname), task: None, say };
        self.effects.push_back(Effect::Say(report));
    }
}

/// Whether a scheduler's runs are lines of the log: those take no time, and have ended when they
/// have started. That their caller says so as well changes nothing.
fn is_line(scheduler: &Scheduler) -> bool {
    match scheduler.action {
        Action::Log(_) => true,
        Action::Exec(_) | Action::Shell(_) | Action::Rules(_) | Action::Hosted(_) => false,
    }
}

/// Whether an event map asks something of a scheduler when a file is opened, as tests do.
fn is_told_of_tests(plan: &Plan, scheduler: SchedulerId) -> bool {
    let types = [EventType::Open, EventType::Access, EventType::CloseNowrite];
    let mut bindings = plan.watches.iter().flat_map(|it| types.map(|of| it.map.get(of)));
    bindings.any(|it| it.iter().any(|it| it.scheduler == scheduler))
}

/// Whether an event map itself says what a move means for a scheduler.
fn says_moved(plan: &Plan, tree: &Tree, sighting: &Sighting<'_>, scheduler: SchedulerId) -> bool {
    let members = &tree.scope().interest(sighting.spots).members;
    rules::takes_kind(plan.scheduler(scheduler), sighting.is_dir)
        && members.iter().any(|it| {
            let map = &plan.watch(*it).map;
            let bindings = [EventType::MovedFrom, EventType::MovedTo].map(|it| map.get(it));
            bindings.into_iter().flatten().any(|it| it.scheduler == scheduler)
        })
}

fn make_event(tree: &Tree, sighting: &Sighting<'_>) -> Arc<Event> {
    let mut pathname = Vec::with_capacity(128);
    let mut root_len = 0;
    if sighting.event_type != EventType::QOverflow {
        root_len = tree.push_path(sighting.node, &mut pathname);
        if !sighting.name.is_empty() {
            path::push(&mut pathname, sighting.name);
        }
    }
    Arc::new(Event {
        event_type: sighting.event_type,
        mask: sighting.mask,
        is_dir: sighting.is_dir,
        pathname: pathname.into(),
        src_pathname: sighting.src.clone(),
        name_len: u16::try_from(sighting.name.len()).expect("a name is at most 255 bytes"),
        root_len: u32::try_from(root_len).unwrap_or(u32::MAX),
        wd: sighting.wd,
        cookie: sighting.cookie,
        origin: sighting.origin,
        subject: None,
    })
}

/// What the Watches of a plan cover.
fn scope(plan: &Plan) -> Scope {
    Scope::new(plan.watches.iter().map(|it| coverage(plan, it)).collect())
}

/// What a Watch covers.
fn coverage(plan: &Plan, watch: &Watch) -> Coverage {
    let moves = EventType::MovedFrom.mask().with(EventType::MovedTo.mask());
    let bindings = watch.map.bindings.iter().flatten();
    // Tasks can only follow renames that are told, and rules know theirs by both halves.
    let asks = |it: &Scheduler| it.follow || matches!(it.action, Action::Rules(_));
    let asks = bindings.map(|it| plan.scheduler(it.scheduler)).any(asks);
    let moves = if asks { moves } else { Mask::NONE };
    Coverage {
        paths: watch.paths.clone(),
        rec: watch.rec,
        auto_add: watch.auto_add,
        mask: watch.wanted().with(moves),
        filter: watch.filter.clone(),
    }
}
