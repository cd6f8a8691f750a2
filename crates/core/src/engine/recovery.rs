//! Finding out what has happened that nobody told: after records were lost, and after a start with
//! what an earlier process has left.
//!
//! The tree says what differs. Here it is decided for whom that is news, and nothing starts until
//! it is known: a task whose file is gone would run for nothing, and one that is ordered twice
//! would run twice.
//!
//! What was acted on is remembered in two ways. The index has the state of a file once everything
//! that happened before has been handled; it lags behind by a moment. For that moment there are
//! *memos*: the tasks that waited, ran or ended last, with the state in which their file was then. A
//! difference that leads to the same state is no news for the same scheduler.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{Effect, Engine, Keep, Life, schedule, scope};
use crate::{
    event::{Event, EventType},
    path,
    plan::{Action, Binding, Plan, Scheduler, SchedulerId, Watch, WatchId},
    record::Wd,
    report::{CancelReason, Report, Say},
    schedule::Note,
    scope::Coverage,
    stamp::{IndexId, Stamp},
    stats::Finished,
    task::{KeptState, KeptTask, Leader, TaskId},
    template::Template,
    time::Instant,
    tree::{Outdated, Sighting, Tree, Unfinished},
};

/// What an earlier process has left.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What its Watches covered, as [`Keep::Covers`] said; `None`: it left nothing.
    pub covered: Option<Vec<u8>>,
    /// Its tasks.
    pub tasks: Vec<KeptBefore>,
    /// Whether the machine was started since: then nothing of it can go on.
    pub rebooted: bool,
    /// The tasks that have ended last, oldest first.
    pub history: Vec<Finished>,
}

/// A task of an earlier process.
#[derive(Clone, Debug)]
pub struct KeptBefore {
    /// The task, as it was kept last.
    pub task: KeptTask,
    /// Whether it has ended, and only says what it was for.
    pub ended: bool,
    /// In which state its file was when it was kept last; `None`: it was not there.
    pub stamp: Option<Stamp>,
}

/// A run that was cut off, and whose command may still go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// A task that it was for, and that runs again.
    pub task: TaskId,
    /// By what the command is known.
    pub mark: StrayMark,
    /// How long it has to end when it is asked to, before it is killed.
    pub kill_after: Duration,
}

/// By what a command is known that an earlier process has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrayMark {
    /// By the process that it began as. Several tasks may have run as one.
    Leader(Leader),
    /// By the program that it began as, with the task's id in its environment: which process that is
    /// may not have been written down in time.
    Program {
        /// The user that it runs as, if that is another than the daemon's.
        user: Option<u32>,
        /// Its name or path.
        name: Arc<[u8]>,
    },
}

/// What became of a command that still went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrayEnd {
    /// The task that it was for.
    pub task: TaskId,
    /// Its process.
    pub process: u32,
    /// `None`: it has ended. Otherwise what was tried, and why it failed.
    pub error: Option<String>,
}

/// Whose memo it is: a scheduler's, and of which name in which directory. Without an index of
/// directories, the name is the path.
type MemoKey = (SchedulerId, IndexId, Box<[u8]>);

/// What a scheduler has acted on, or is going to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memo {
    stamp: Option<Stamp>,
    of_a_leaving: bool,
}

/// How far it is known what there is to do.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    keeps: bool,
    stage: Stage,
    /// How many tasks of an earlier process wait for it to be known.
    restored: usize,
    /// Tasks whose runs were cut off. They run again, unless something else has come of them by then.
    cut_off: Vec<CutOff>,
    /// The same, while nothing starts because their commands may still go on.
    strays: Option<Vec<CutOff>>,
    /// Whether it is known that records were lost, and the record that says so is still to come.
    lost: bool,
    /// Whether the kernel's watches are to be held against the tree's once that is known.
    audits: bool,
    /// What those are about, until it is known where that is now.
    places: BTreeMap<TaskId, (IndexId, Arc<Event>)>,
    /// How often it was looked up whether files are there.
    looks: u64,
    /// What is to be told once everything queued before has been handled, and where in the tree's
    /// count that is.
    fences: VecDeque<(u32, u64)>,
}

/// A task whose run was cut off.
#[derive(Debug)]
struct CutOff {
    task: TaskId,
    /// Its scheduler's name.
    scheduler: Arc<str>,
    event: Arc<Event>,
    /// Whether its scheduler has one subject for all.
    single: bool,
    leader: Option<Leader>,
}

/// See [`Recovery`].
#[derive(Debug, Default)]
enum Stage {
    /// It is known.
    #[default]
    InStep,
    /// The trees are being read.
    Reading,
    /// The trees are known; whether there is what these tasks are about is being looked up, by the
    /// look of this number.
    Looking { number: u64, tasks: BTreeMap<TaskId, Arc<Event>>, turn: Turn },
    /// These are about something that was not there. When what was queued by then has been handled,
    /// it is known of which it has only moved.
    Missing { fence: u32, tasks: BTreeMap<TaskId, Arc<Event>>, turn: Turn },
}

/// A path may lead nowhere before the record of the move is queued: the kernel tells of it a moment
/// later. So what is missing is looked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Last,
}

/// For whom a difference is news.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// While the trees are read for the first time: the Watches that were there before.
    familiar: Option<Vec<WatchId>>,
    memos: BTreeMap<MemoKey, Vec<Memo>>,
    /// The path that was told of last, and the orders that it has led to.
    last: Option<Arc<[u8]>>,
    orders: Vec<Binding>,
    /// How many paths were news for anybody.
    told: usize,
}

impl Recovery {
    /// Whether the trees are being read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// The directory that a task is about. Of one that was restored the path may be of yesterday,
    /// also when a rename of today has changed it, and lead to another directory or none.
    pub(super) fn dir_of(&self, tree: &Tree, task: &KeptTask) -> IndexId {
        let is_same = |then: &Event| {
            let now = &task.event;
            (now.wd, now.cookie, now.mask, now.name())
                == (then.wd, then.cookie, then.mask, then.name())
        };
        match self.places.get(&task.id) {
            Some((dir, event)) if is_same(event) => *dir,
            Some(_) | None => dir_of(tree, &task.event),
        }
    }

    /// What may still go on of a task that waits: the run that was cut off, of itself or of one in
    /// whose place it has come. Should this process be killed before that has ended, the next one looks
    /// for it.
    pub(super) fn leader_of(&self, task: &KeptTask) -> Option<Leader> {
        match task.state {
            KeptState::Pending { .. } => {
                let is_of = |it: &&CutOff| {
                    let is_same = || it.single || it.event.subject() == task.event.subject();
                    it.task == task.id || it.scheduler == task.scheduler && is_same()
                };
                let mut all = self.cut_off.iter().chain(self.strays.iter().flatten());
                all.find(is_of).and_then(|it| it.leader)
            }
            // What it begins as is still to come.
            KeptState::Running => None,
        }
    }

    pub(super) fn fence(&mut self, tree: &mut Tree, number: u64) {
        self.fences.push_back((tree.fence(), number));
    }
}

impl Engine {
    pub(super) fn restore(&mut self, now: Instant, kept: Kept) {
        let watches = self.plan.watches();
        let covered = kept.covered.unwrap_or_default();
        let before: Vec<&[u8]> = covered.split(|it| *it == 0).collect();
        let is_familiar = |watch: &Watch| before.contains(&&*words_of(&self.plan, watch));
        let familiar: Vec<WatchId> =
            watches.filter(|(_, it)| is_familiar(it)).map(|(id, _)| id).collect();
        let mut unfinished = Unfinished::default();
        for KeptBefore { task, stamp, .. } in kept.tasks.iter().filter(|it| !it.ended) {
            if let Some(Stamp { ino, btime, .. }) = *stamp {
                let paths = unfinished.entry((ino, btime)).or_default();
                paths.push(Arc::clone(&task.event.pathname));
            }
        }
        self.tree = Tree::keeping(scope(&self.plan), familiar.clone(), unfinished);
        self.recovery.keeps = true;
        self.recovery.stage = Stage::Reading;
        self.desk.known.familiar = Some(familiar);
        self.desk.schedule.keep();
        self.desk.schedule.handle_history(kept.history);
        self.desk.schedule.hold();
        for KeptBefore { task, ended, stamp } in kept.tasks {
            let scheduler = self.plan.schedulers().find(|(_, it)| it.name == task.scheduler);
            if let Some((scheduler, _)) = scheduler {
                let of_a_leaving = !task.event.event_type.leaves_something();
                let key = (scheduler, task.dir, name_in(task.dir, &task.event));
                let memos = self.desk.known.memos.entry(key).or_default();
                memos.push(Memo { stamp, of_a_leaving });
            }
            if ended {
                continue;
            }
            let (id, path) = (task.id, Arc::clone(&task.event.pathname));
            self.recovery.restored += 1;
            let is_cut_off = task.state == KeptState::Running || task.leader.is_some();
            if is_cut_off && !kept.rebooted {
                self.recovery.cut_off.push(CutOff {
                    task: id,
                    scheduler: Arc::clone(&task.scheduler),
                    event: Arc::clone(&task.event),
                    single: scheduler.is_some_and(|(_, it)| it.singlejob),
                    leader: task.leader,
                });
            }
            if task.dir != IndexId::NONE && task.event.subject.is_none() {
                self.recovery.places.insert(id, (task.dir, Arc::clone(&task.event)));
            }
            if !self.desk.schedule.handle_restored(now, task) {
                let say = Say::Cancelled { path, why: CancelReason::SchedulerGone };
                let logname = Arc::clone(&self.plan.logname);
                let report = Report { logname, task: Some(id), say };
                self.desk.effects.push_back(Effect::Say(report));
            }
        }
        let Engine { desk, plan, .. } = self;
        desk.drain_schedule(plan, now);
    }

    /// Records were lost: what was ordered just now may be found again.
    pub(super) fn handle_lost(&mut self, since: i64) {
        if matches!(self.life, Life::Starting | Life::Running) {
            self.tree.handle_lost_since(since);
            self.desk.schedule.hold();
            self.keep(Keep::Lost);
            self.recovery.lost = true;
        }
    }

    pub(super) fn handle_overflow(&mut self) {
        self.recovery.lost = false;
        self.recovery.audits = true;
        self.desk.schedule.hold();
        self.keep(Keep::Lost);
        self.recovery.stage = Stage::Reading;
        self.say(Say::Overflow);
    }

    /// The trees are known.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.recovery.lost {
            // All is read anew when the record comes that says so.
            return;
        }
        match &mut self.recovery.stage {
            Stage::Reading => {
                self.follow_restored(now);
                let tasks = self.desk.schedule.tasks_of_files();
                self.look_for(now, tasks.into_iter().collect(), Turn::First);
            }
            Stage::Missing { fence, tasks, turn } if self.tree.has_passed(*fence) => {
                let tasks = mem::take(tasks);
                match turn {
                    Turn::First => self.look_for(now, tasks, Turn::Last),
                    Turn::Last => self.be_in_step(now, &tasks),
                }
            }
            Stage::InStep => {
                if mem::take(&mut self.recovery.audits) {
                    self.desk.effects.push_back(Effect::ListWatches);
                }
                if self.life == Life::Starting {
                    self.be_ready();
                }
            }
            Stage::Looking { .. } | Stage::Missing { .. } => (),
        }
    }

    /// What left the tree while records were lost may still be watched.
    pub(super) fn handle_watches(&mut self, watches: &[Wd]) {
        let watches = self.tree.handle_watches(watches);
        if watches > 0 {
            self.say(Say::WatchesLeft { watches });
        }
    }

    fn look_for(&mut self, now: Instant, tasks: BTreeMap<TaskId, Arc<Event>>, turn: Turn) {
        if tasks.is_empty() {
            return self.be_in_step(now, &tasks);
        }
        let paths = tasks.iter().map(|(id, it)| (*id, Arc::clone(&it.pathname)));
        self.recovery.looks += 1;
        let number = self.recovery.looks;
        self.desk.effects.push_back(Effect::LookFor(number, paths.collect()));
        self.recovery.stage = Stage::Looking { number, tasks, turn };
    }

    /// Directories may have been renamed while nobody watched: what is about something in them goes
    /// on under the new path.
    fn follow_restored(&mut self, now: Instant) {
        let places = mem::take(&mut self.recovery.places);
        if places.is_empty() {
            return;
        }
        let dirs: BTreeMap<IndexId, Vec<u8>> = self.tree.indexed().collect();
        let moved = places.into_iter().filter_map(|(id, (dir, event))| {
            let name = event.name();
            let mut path = dirs.get(&dir)?.clone();
            if !name.is_empty() {
                path::push(&mut path, name);
            }
            Some((id, (path.into(), event)))
        });
        self.desk.schedule.handle_relocated(now, &moved.collect());
    }

    /// Takes in what was not found.
    pub(super) fn handle_missing(&mut self, now: Instant, number: u64, missing: &[TaskId]) {
        // Should records have been lost meanwhile, all is looked up once more.
        let (asked, turn) = match &mut self.recovery.stage {
            Stage::Looking { number: asked, tasks, turn }
                if *asked == number && !self.recovery.lost =>
            {
                (mem::take(tasks), *turn)
            }
            Stage::InStep | Stage::Reading | Stage::Looking { .. } | Stage::Missing { .. } => {
                return;
            }
        };
        let missing = missing.iter().filter_map(|id| Some((*id, Arc::clone(asked.get(id)?))));
        let tasks: BTreeMap<TaskId, Arc<Event>> = missing.collect();
        if tasks.is_empty() {
            return self.be_in_step(now, &tasks);
        }
        self.recovery.stage = Stage::Missing { fence: self.tree.fence(), tasks, turn };
    }

    /// It is known what there is to do: these tasks are about nothing any more, unless something has
    /// come of them meanwhile.
    fn be_in_step(&mut self, now: Instant, missing: &BTreeMap<TaskId, Arc<Event>>) {
        self.recovery.stage = Stage::InStep;
        self.desk.schedule.handle_missing(missing);
        self.tree.handle_in_step();
        let known = mem::take(&mut self.desk.known);
        match self.life {
            Life::Starting => {
                self.be_ready();
                let tasks = mem::take(&mut self.recovery.restored);
                if tasks > 0 {
                    self.say(Say::Restored { tasks });
                }
                if known.familiar.is_some_and(|it| !it.is_empty()) {
                    self.say(Say::CaughtUp { recovered: known.told });
                }
                self.keep_coverage();
                self.keep(Keep::InStep);
            }
            Life::Running => {
                let directories = self.tree.watched_len();
                self.say(Say::Resynced { recovered: known.told, directories });
                self.keep(Keep::InStep);
            }
            Life::Stopping { .. } | Life::GivingUp | Life::Over => (),
        }
        self.seek_strays();
        self.release(now);
    }

    /// Has commands ended that may still go on although something is about to run in their place.
    /// What is not run again is left alone: that its file is gone may be what it has done.
    fn seek_strays(&mut self) {
        let Engine { plan, desk, recovery, .. } = self;
        let mut strays: Vec<Stray> = Vec::new();
        let mut seek = |stray: Stray| {
            // Several tasks may have run as one process.
            if !strays.iter().any(|it| it.mark == stray.mark && it.is_led()) {
                strays.push(stray);
            }
        };
        let cut_off = mem::take(&mut recovery.cut_off);
        for CutOff { task, scheduler: name, event, leader, .. } in &cut_off {
            let found = plan.schedulers().find(|(_, it)| it.name == *name);
            let Some((_, scheduler)) = found else { continue };
            if desk.schedule.has_task(name, *task, event) {
                let (task, kill_after) = (*task, scheduler.kill_after);
                let marks = leader.map(StrayMark::Leader).into_iter().chain(program_of(scheduler));
                marks.for_each(|mark| seek(Stray { task, mark, kill_after }));
            }
        }
        if !strays.is_empty() {
            recovery.strays = Some(cut_off);
            desk.effects.push_back(Effect::EndStrays(strays));
        }
    }

    pub(super) fn handle_strays_ended(&mut self, now: Instant, ends: Vec<StrayEnd>) {
        let Some(sought) = self.recovery.strays.take() else { return };
        for StrayEnd { task, process, error } in ends {
            let Some(cut_off) = sought.iter().find(|it| it.task == task) else { continue };
            let path = Arc::clone(&cut_off.event.pathname);
            let scheduler = self.plan.schedulers().find(|(_, it)| it.name == cut_off.scheduler);
            let logname = scheduler.map_or(&self.plan.logname, |(_, it)| &it.logname);
            let logname = Arc::clone(logname);
            let say = match error {
                None => Say::StrayEnded { path, process },
                Some(error) => Say::StrayStays { path, process, error },
            };
            self.desk.effects.push_back(Effect::Say(Report { logname, task: Some(task), say }));
        }
        self.release(now);
    }

    /// What is known to have to run may start, unless something else is in its way.
    fn release(&mut self, now: Instant) {
        let is_known = matches!(self.recovery.stage, Stage::InStep) && !self.recovery.lost;
        if is_known && self.recovery.strays.is_none() {
            self.desk.schedule.handle_release(now);
            self.desk.drain_schedule(&self.plan, now);
        }
    }

    fn be_ready(&mut self) {
        self.life = Life::Running;
        self.say(Say::Ready {
            directories: self.tree.watched_len(),
            watches: self.plan.watches.len(),
        });
    }

    /// Hands over what the index is to look at, then what has been waited for: it comes behind all
    /// that was handled before.
    pub(super) fn keep_what_was_touched(&mut self) {
        let effects = &mut self.desk.effects;
        while let Some(outdated) = self.tree.poll_outdated() {
            effects.push_back(Effect::Keep(match outdated {
                Outdated::Left { index, name } => Keep::Left { index, name },
                Outdated::Name(touch) => Keep::Touched(touch),
                Outdated::Paths { from, to } => Keep::Renamed { from, to },
            }));
        }
        while let Some(index) = self.tree.poll_gone() {
            effects.push_back(Effect::Keep(Keep::Gone(index)));
        }
        while let Some((fence, number)) = self.recovery.fences.front()
            && self.tree.has_passed(*fence)
        {
            effects.push_back(Effect::Passed(*number));
            self.recovery.fences.pop_front();
        }
    }

    pub(super) fn keep_coverage(&mut self) {
        if self.recovery.keeps {
            let words = self.plan.watches.iter().map(|it| words_of(&self.plan, it));
            let covers = words.collect::<Vec<_>>().join(&0);
            self.keep(Keep::Covers(covers));
        }
    }

    fn keep(&mut self, keep: Keep) {
        if self.recovery.keeps {
            self.desk.effects.push_back(Effect::Keep(keep));
        }
    }
}

impl Known {
    /// Whether what differs is told to a Watch.
    pub(super) fn is_familiar(&self, watch: WatchId) -> bool {
        self.familiar.as_ref().is_none_or(|it| it.contains(&watch))
    }

    /// Something is found to differ; it may be told by several event types.
    pub(super) fn begin(&mut self, event: &Event) {
        if self.last.as_ref() != Some(&event.pathname) {
            self.last = Some(Arc::clone(&event.pathname));
            self.orders.clear();
        }
    }

    /// Whether it is news for a scheduler; the next time it is none.
    pub(super) fn is_news(
        &mut self,
        binding: Binding,
        tree: &Tree,
        sighting: &Sighting<'_>,
        event: &Event,
    ) -> bool {
        let stamp = sighting.stamp;
        let dir = tree.index(sighting.node);
        let key = (binding.scheduler, dir, name_in(dir, event));
        // Which of several is the latest nobody knows. A state tells itself apart from all before
        // it; that nothing is there does not, so whatever was there meanwhile makes it news.
        let acted_on = self.memos.get(&key).is_some_and(|memos| match stamp {
            Some(_) => memos.iter().any(|it| it.stamp == stamp && !it.of_a_leaving),
            None => memos.iter().all(|it| it.stamp.is_none() && it.of_a_leaving),
        });
        if acted_on || self.orders.contains(&binding) {
            return false;
        }
        self.told += usize::from(self.orders.is_empty());
        self.orders.push(binding);
        true
    }
}

impl Stray {
    fn is_led(&self) -> bool {
        matches!(self.mark, StrayMark::Leader(_))
    }
}

/// What the commands of a scheduler are known by.
fn program_of(scheduler: &Scheduler) -> Option<StrayMark> {
    let (process, name) = match &scheduler.action {
        // One whose very name comes from the event would be known by too little.
        Action::Exec(exec) => (&exec.process, exec.argv.first().and_then(Template::as_literal)?),
        Action::Shell(shell) => (&shell.process, "/bin/sh"),
        // Those end with the daemon, or with its host.
        Action::Rules(_) | Action::Log(_) | Action::Hosted(_) => return None,
    };
    let user = process.user.as_ref().map(|it| it.uid);
    Some(StrayMark::Program { user, name: name.as_bytes().into() })
}

impl From<schedule::Note> for Keep {
    fn from(note: Note) -> Self {
        match note {
            Note::Task(task) => Self::Task(task),
            Note::Ended(id) => Self::Ended(id),
            Note::Dropped(id) => Self::Dropped(id),
            Note::Spawned(tasks, leader) => Self::Spawned(tasks, leader),
            Note::Finished(finished) => Self::Finished(finished),
        }
    }
}

/// The directory that an event's path is in.
fn dir_of(tree: &Tree, event: &Event) -> IndexId {
    match path::split(&event.pathname) {
        // What is about a watched directory itself is about nothing in it.
        Some((dir, _)) if event.name_len > 0 => tree.index_at(dir),
        _ => tree.index_at(&event.pathname),
    }
}

/// What an event is about, in that directory.
fn name_in(dir: IndexId, event: &Event) -> Box<[u8]> {
    if dir == IndexId::NONE { (*event.pathname).into() } else { event.name().into() }
}

/// Who hears of everything hears of a difference by its first types: that it may have been a move
/// is only said to who asks for nothing else.
pub(super) fn is_told_by_another_type(watch: &Watch, event_type: EventType) -> bool {
    let first = match event_type {
        EventType::MovedTo => EventType::Create,
        EventType::MovedFrom => EventType::Delete,
        _ => return false,
    };
    watch.listen.contains(first.mask())
}

/// What decides which directories a Watch covers, without NUL: by this it is known again.
fn words_of(plan: &Plan, watch: &Watch) -> Vec<u8> {
    let Coverage { paths, rec, auto_add, filter, .. } = super::coverage(plan, watch);
    let mut words = format!("{rec} {auto_add} {filter:?}");
    for pattern in paths {
        words.push(' ');
        words.push_str(&path::shown(&pattern.source).to_string());
    }
    words.into_bytes()
}
