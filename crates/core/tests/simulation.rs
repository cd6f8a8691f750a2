//! Random histories of an engine that keeps what it has to know again: crashes, ends and starts,
//! what happens meanwhile, losses, a disk that is full, other configurations.
//!
//! Of each history is asked, by the clock of what happens:
//!
//! 1. Nothing is lost: each file that is there and closed has had a run since it was written last.
//! 2. No run starts before it is committed that it does (see [`support::world`]).
//! 3. What waits goes on to wait over a start, and neither runs early nor vanishes.
//! 4. Nothing is done twice: what was acted on, and known to be, does not run again.
//! 5. A start after which nothing differs runs nothing.
//! 6. What is kept does not grow: tasks are forgotten when the index has what they were about, and
//!    the index has nothing of what is gone.
//! 7. No task runs beside what a run of it that was cut off has left, if that was written down, and no
//!    process of others is ended.
//! 8. The tables agree after each input, and nothing is left in any of them at rest.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support {
    pub(crate) mod change;
    pub(crate) mod choice;
    pub(crate) mod kernel;
    pub(crate) mod notation;
    pub(crate) mod process;
    pub(crate) mod store;
    pub(crate) mod world;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use pyinotifyd_core::{
    engine::{Effect, Input, Keep},
    event::EventType,
    path,
    record::Wd,
    report::{CancelReason, Say},
    stamp::{Identity, IndexId, Stamp},
    task::{KeptState, Outcome, RunId, TaskId},
    time::Instant,
};

use self::support::{
    change::{Change, daily_change, exchange, name},
    choice::{PlanChoice, SURE, WAYS, any_choice, cases, plan, trace},
    kernel::{Ino, Kernel},
    store::Row,
    world::World,
};

#[derive(Clone, Debug)]
enum Op {
    Change(Change),
    Walk(usize),
    Read,
    /// Reads all that is wanted.
    Drain,
    /// The store writes down what it was told.
    Commit,
    /// The store begins to bring the index up to date.
    Round,
    Look,
    /// The reader comes upon an overflow.
    Foresee,
    /// The commands of runs that were cut off are ended.
    EndStrays,
    /// It is told as which process a run has begun.
    Spawned,
    /// Some process starts another, or ends.
    Fork(usize),
    Die(usize),
    /// Somebody else starts one.
    Appear,
    /// The machine is gone, and comes again.
    PowerCut,
    /// Everything that there is to do now, but runs and rounds.
    Catch,
    /// And rounds.
    CatchAll,
    End(usize, u8),
    Step(u16),
    Reload(PlanChoice),
    /// Whether the disk is full.
    Full(bool),
    Crash,
    Stop,
    /// If it does not run; perhaps with another configuration.
    Start(Option<PlanChoice>),
}

/// Whether there is a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Up,
    Stopping,
    Down,
}

/// What is to be known of files and tasks when something starts.
#[derive(Debug, Default)]
struct Ledger {
    /// The paths that each file has had since it was written last.
    paths: BTreeMap<Ino, BTreeSet<Vec<u8>>>,
    /// Those that a run of [`SURE`] was for since then.
    done: BTreeSet<Ino>,
    /// When tasks are due that wait.
    due: BTreeMap<TaskId, Instant>,
    /// Tasks that there have been, and those that there were before the configuration changed, by
    /// which they may be due earlier.
    tasks: BTreeSet<TaskId>,
    older: BTreeSet<TaskId>,
    /// The states of files that were known to have been acted on when the last process ended.
    settled: BTreeSet<Stamp>,
    /// How many runs have started.
    starts: usize,
}

impl Ledger {
    fn note_paths(&mut self, kernel: &Kernel) {
        for (at, ino, is_dir) in kernel.all() {
            if !is_dir {
                self.paths.entry(ino).or_default().insert(at.into_bytes());
            }
        }
    }

    fn note_written(&mut self, ino: Ino) {
        self.paths.remove(&ino);
        self.done.remove(&ino);
    }

    fn note_plan(&mut self) {
        self.older.clone_from(&self.tasks);
        self.due.clear();
    }

    fn note_run(&mut self, path: &[u8]) {
        let about = self.paths.iter().filter(|(_, paths)| paths.contains(path));
        self.done.extend(about.map(|it| *it.0));
    }
}

struct Story {
    world: World,
    ledger: Ledger,
    choice: PlanChoice,
    life: Life,
    /// How many processes there have been.
    lives: u128,
    /// Whether any two have changed places.
    exchanged: bool,
}

impl Story {
    fn new(limit: usize, choice: &PlanChoice) -> Self {
        let world = World::new(Kernel::new(limit), plan(choice), 7);
        let (ledger, choice) = (Ledger::default(), choice.clone());
        let mut story =
            Self { world, ledger, choice, life: Life::Down, lives: 0, exchanged: false };
        story.start();
        // What is there when a Watch begins is no news.
        story.catch_up(false);
        story
    }

    fn start(&mut self) {
        self.lives += 1;
        self.life = Life::Up;
        self.world.start(plan(&self.choice), self.lives);
        while self.poll() {}
    }

    /// The process is gone.
    fn gone(&mut self) {
        self.life = Life::Down;
        self.ledger.settled = self.settled();
        self.world.crash();
        let rows = self.world.keeping.as_ref().unwrap().store.disk.rows.iter();
        let due = rows.filter_map(|(id, it)| match it.task.state {
            KeptState::Pending { due } if !self.ledger.older.contains(id) => Some((*id, due)),
            KeptState::Pending { .. } | KeptState::Running => None,
        });
        self.ledger.due = due.collect();
        trace!("gone; {:#?}", self.world.keeping.as_ref().unwrap().store.disk);
    }

    /// What a next process can know to have been acted on.
    fn settled(&self) -> BTreeSet<Stamp> {
        let World { kernel, keeping, .. } = &self.world;
        let store = &keeping.as_ref().unwrap().store;
        let rows = || store.disk.rows.values();
        let mut settled = BTreeSet::new();
        if self.exchanged {
            return settled;
        }
        for (dir, _, ino) in files(kernel) {
            let (at, name) = &dir;
            let stamp = kernel.stamp(ino);
            let parent = kernel.identity(kernel.parent_of(ino));
            let is_known = store.known(parent, name).is_some_and(|it| it.1 == stamp);
            let of_it = |it: &&Row| {
                let event = &it.task.event;
                *event.pathname == **at && event.name_len > 0 && &*it.task.scheduler == SURE
            };
            let is_done = rows().filter(of_it).any(|it| it.ended && it.stamp == Some(stamp));
            // Whatever is left to do about it, here or where it was, may be told of once more.
            let is_left = |it: &Row| {
                let is_it = it.stamp.is_some_and(|it| it.ino == stamp.ino);
                let index = store.disk.dirs.get(&parent).copied();
                let is_here = Some(it.task.dir) == index && *it.task.event.name() == **name;
                !it.ended && (is_it || is_here || *it.task.event.pathname == **at)
            };
            if !rows().any(is_left) && (is_known || is_done) && !kernel.writing.contains(&ino) {
                settled.insert(stamp);
            }
        }
        settled
    }

    fn is_full(&self) -> bool {
        self.world.keeping.as_ref().unwrap().store.full
    }

    /// A Watch of this scheduler follows renames by itself.
    fn follows(&self) -> bool {
        !matches!(WAYS[self.choice.sure.1], "no-follow" | "dirs")
    }

    fn poll(&mut self) -> bool {
        if self.life == Life::Down {
            return false;
        }
        let Some(effect) = self.world.poll() else { return false };
        trace!("  {:?} {effect:?}", self.world.now);
        match &effect {
            Effect::Keep(Keep::Task(task)) => match task.state {
                KeptState::Pending { due } => {
                    self.ledger.tasks.insert(task.id);
                    if !self.ledger.older.contains(&task.id) {
                        self.ledger.due.insert(task.id, due);
                    }
                }
                KeptState::Running => (),
            },
            Effect::Start(start) => {
                for task in &start.run.tasks {
                    let due = self.ledger.due.remove(&task.id);
                    let now = self.world.now;
                    assert!(due.is_none_or(|it| it <= now), "{task:?} is early: {due:?}");
                }
            }
            // Without following renames it would have run on a path that is not there.
            Effect::Say(report) if !self.follows() && &*report.logname == SURE => {
                if let Say::Cancelled { path, why: CancelReason::Missing } = &report.say {
                    self.ledger.note_run(path);
                }
            }
            Effect::Exit => {
                assert_eq!(self.life, Life::Stopping);
                // The end waits for what was said to be written.
                self.world.commit();
                self.gone();
            }
            _ => (),
        }
        true
    }

    fn commit(&mut self) -> bool {
        if self.life == Life::Down {
            return false;
        }
        let any = self.world.commit();
        for run in mem::take(&mut self.world.keeping.as_mut().unwrap().started) {
            let start = &self.world.runs[&run];
            let is_root = start.run.tasks.iter().any(|it| it.event.name_len == 0);
            self.ledger.starts += usize::from(!is_root);
            trace!("  started {:?}", start.run);
            if &*start.plan.scheduler(start.run.scheduler).name != SURE {
                continue;
            }
            for task in &start.run.tasks {
                let path = &*task.event.pathname;
                let state = self.world.kernel.resolve(path).map(|it| self.world.kernel.stamp(it.0));
                let is_settled = state.is_some_and(|it| self.ledger.settled.contains(&it));
                // What is the path of a Watch by itself is known by its own row, which goes when it
                // is elsewhere: it may be told once more.
                let is_root = task.event.name_len == 0;
                assert!(is_root || !is_settled, "again: {task:?}");
                self.ledger.note_run(path);
            }
        }
        any
    }

    fn read(&mut self) -> bool {
        if self.world.kernel.queue.front().is_some_and(|it| it.wd == Wd::NONE) {
            self.ledger.settled.clear();
        }
        self.world.read()
    }

    /// All that the daemon does by itself; with `rounds` the store as well.
    fn catch_up(&mut self, rounds: bool) {
        for _ in 0..100_000 {
            let now = self.world.now;
            let any = self.life != Life::Down
                && (self.poll()
                    || self.commit()
                    || self.world.tick(now)
                    || self.world.walk(0)
                    || self.read()
                    || self.world.look()
                    || self.world.tell_spawned()
                    || self.world.end_strays()
                    || (rounds && self.world.round()));
            if !any {
                return;
            }
        }
        panic!("there is no end of it");
    }

    fn end(&mut self, run: RunId, how: u8) {
        let outcome = match how % 8 {
            0 => Outcome::Exited(1, String::new()),
            1 => Outcome::Signalled(9, String::new()),
            2 => Outcome::Failed("it did not work".into()),
            3 => Outcome::Refused("it cannot work".into()),
            4 => Outcome::Stopped,
            _ => Outcome::Done(None),
        };
        self.world.end(run, outcome);
    }

    fn op(&mut self, op: &Op) {
        let kernel = &self.world.kernel;
        trace!("op {op:?} {:?} {:?} {:?}", self.life, self.world.now, kernel.all());
        if !self.happens(op) && self.life == Life::Down {
            if let Op::Start(choice) = op {
                if let Some(choice) = choice {
                    self.choice = choice.clone();
                    self.ledger.note_plan();
                }
                self.start();
            }
        } else if self.life != Life::Down {
            self.does(op);
        }
        self.ledger.note_paths(&self.world.kernel);
        while self.poll() {}
    }

    /// What happens whether there is a process or not.
    fn happens(&mut self, op: &Op) -> bool {
        match op {
            Op::Change(change) => self.change(change),
            // Only so many, and those at the numbers that have just become free.
            Op::Fork(_) | Op::Appear if self.world.processes.len() > 20 => (),
            Op::Fork(n) => self.world.processes.fork(*n),
            Op::Die(n) => self.world.processes.die(*n),
            Op::Appear => self.world.processes.appear(),
            _ => return false,
        }
        true
    }

    /// Somebody does something to the files.
    fn change(&mut self, change: &Change) {
        match *change {
            Change::Write(d, n) => self.write(d, name(n)),
            Change::Close(d, n) => self.close(d, name(n)),
            Change::Save(d, n) => {
                self.write(d, name(n));
                self.close(d, name(n));
            }
            // Of two that change places, the one that came is told of before the one that left: who
            // cancels by the latter has asked for it.
            Change::Exchange(..) if self.choice.maps & 8 == 8 => (),
            Change::Exchange(..) => {
                self.ledger.settled.clear();
                self.exchanged = true;
                change.apply(&mut self.world.kernel);
            }
            Change::Mkdir(..) | Change::Remove(..) | Change::Rename(..) => {
                change.apply(&mut self.world.kernel);
            }
        }
    }

    fn does(&mut self, op: &Op) {
        match op.clone() {
            Op::Walk(n) => {
                self.world.walk(n);
            }
            Op::Read => {
                self.read();
            }
            Op::Drain => {
                while self.read() {
                    while self.poll() {}
                }
            }
            Op::Commit => {
                self.commit();
            }
            Op::Round => {
                self.world.round();
            }
            Op::Look => {
                self.world.look();
            }
            Op::Foresee => {
                self.world.foresee();
            }
            Op::EndStrays => {
                self.world.end_strays();
            }
            Op::Spawned => {
                self.world.tell_spawned();
            }
            Op::Catch => self.catch_up(false),
            Op::CatchAll => self.catch_up(true),
            Op::End(n, how) => {
                let runs: Vec<RunId> = self.world.runs.keys().copied().collect();
                if !runs.is_empty() {
                    self.end(runs[n % runs.len()], how);
                }
            }
            Op::Step(millis) => {
                let until = self.world.now + Duration::from_millis(millis.into());
                while self.life != Life::Down && self.world.tick(until) {
                    while self.poll() {}
                }
                self.world.now = until;
            }
            // A directory of which the listing after a reload is the first news counts as one that
            // was there, whose files are not told of: nothing is on its way then.
            Op::Reload(choice) if self.life == Life::Up && !self.is_full() => {
                self.catch_up(false);
                self.choice = choice;
                self.ledger.settled.clear();
                self.ledger.note_plan();
                self.world.handle(Input::Plan(Arc::new(plan(&self.choice))));
                self.catch_up(false);
            }
            Op::Full(full) => self.world.keeping.as_mut().unwrap().store.full = full,
            Op::Crash => self.gone(),
            Op::PowerCut => {
                self.gone();
                self.world.power_cut();
            }
            Op::Stop => {
                self.life = Life::Stopping;
                self.world.handle(Input::Stop);
            }
            _ => (),
        }
    }

    fn write(&mut self, d: usize, name: &str) {
        let kernel = &mut self.world.kernel;
        let dir = kernel.nth_dir(d);
        kernel.open_to_write(dir, name);
        if let Some((ino, false)) = kernel.dirs[&dir].get(name) {
            self.ledger.note_written(*ino);
        }
    }

    fn close(&mut self, d: usize, name: &str) {
        let kernel = &mut self.world.kernel;
        let dir = kernel.nth_dir(d);
        self.ledger.settled.clear();
        kernel.close_written(dir, name);
    }

    /// All runs end, and all time that anything waits for goes by.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.life == Life::Down {
                self.start();
            }
            self.catch_up(true);
            if self.life == Life::Down {
                continue;
            }
            if let Some(run) = self.world.runs.keys().next().copied() {
                self.world.end(run, Outcome::Done(None));
            } else if let Some(due) = self.world.engine.poll_timeout() {
                self.world.now = self.world.now.max(due);
                self.world.handle(Input::Time);
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// All that is asked of a history at its end.
    fn ends_well(mut self) {
        self.world.keeping.as_mut().unwrap().store.full = false;
        self.settle();
        for ((at, _), _, ino) in files(&self.world.kernel) {
            let at = path::shown(&at);
            let is_open = self.world.kernel.writing.contains(&ino);
            assert!(is_open || self.ledger.done.contains(&ino), "{at} (inode {ino}) was lost");
        }
        self.nothing_is_left();
        // What is open is told again by each process, as long as it is.
        for (_, name, ino) in files(&self.world.kernel) {
            let dir = self.world.kernel.parent_of(ino);
            self.world.kernel.close_written(dir, &name);
        }
        self.settle();
        self.nothing_is_left();
        self.index_is_true(|it| !self.exchanged && self.world.kernel.watches.contains_key(&it));
        trace!("once more");
        self.gone();
        let starts = self.ledger.starts;
        self.settle();
        // What was touched in directories that changed places meanwhile may be told once more.
        let again = self.ledger.starts - starts;
        assert!(self.exchanged || again == 0, "nothing has changed");
        self.nothing_is_left();
        self.index_is_true(|_| true);
    }

    /// The index of these directories has nothing of what is gone.
    fn index_is_true(&self, of: impl Fn(Ino) -> bool) {
        let World { kernel, keeping, .. } = &self.world;
        let disk = &keeping.as_ref().unwrap().store.disk;
        let ino = |id: &Identity| usize::try_from(id.ino).unwrap();
        let dirs: BTreeMap<IndexId, Ino> =
            disk.dirs.iter().map(|(id, index)| (*index, ino(id))).collect();
        for (dir, name) in disk.entries.keys().filter(|it| of(dirs[&it.0])) {
            let name = str::from_utf8(name).unwrap();
            let entries = kernel.dirs.get(&dirs[dir]);
            // What is watched as a file is its own only entry.
            let itself = || kernel.all().iter().any(|it| it.1 == dirs[dir] && !it.2);
            let is_there = entries.map_or_else(itself, |it| it.contains_key(name));
            assert!(is_there, "{name} in {} is gone", dirs[dir]);
        }
    }

    fn nothing_is_left(&self) {
        let World { engine, keeping, .. } = &self.world;
        let counts = engine.counts();
        assert_eq!((counts.waiting, counts.ready, counts.running, counts.runs), (0, 0, 0, 0));
        assert!(engine.is_at_rest(), "something is left: {engine:#?}");
        let store = &keeping.as_ref().unwrap().store;
        assert!(store.is_clean(), "something is not written: {store:#?}");
        assert!(store.disk.rows.is_empty(), "these are kept for ever: {:#?}", store.disk.rows);
    }
}

/// A path, and its last name.
type Place = (Vec<u8>, Box<[u8]>);

/// The files in `/r`: where they are and by what name, that name, and which they are.
fn files(kernel: &Kernel) -> Vec<(Place, String, Ino)> {
    let found = kernel.all().into_iter().filter(|it| !it.2 && it.0.starts_with("/r/"));
    let split = |(at, ino, _): (String, Ino, bool)| {
        let name = at.rsplit('/').next().unwrap().to_owned();
        ((at.into_bytes(), name.clone().into_bytes().into()), name, ino)
    };
    found.map(split).collect()
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        23 => daily_change().prop_map(Op::Change),
        1 => exchange().prop_map(Op::Change),
        5 => (0..3usize).prop_map(Op::Walk),
        4 => Just(Op::Read),
        3 => Just(Op::Drain),
        4 => Just(Op::Commit),
        3 => Just(Op::Round),
        1 => Just(Op::Look),
        2 => Just(Op::Foresee),
        1 => Just(Op::EndStrays),
        2 => Just(Op::Spawned),
        2 => (0..20usize).prop_map(Op::Fork),
        2 => (0..20usize).prop_map(Op::Die),
        1 => Just(Op::Appear),
        1 => Just(Op::PowerCut),
        4 => Just(Op::Catch),
        2 => Just(Op::CatchAll),
        4 => (0..4usize, 0..8u8).prop_map(|(n, how)| Op::End(n, how)),
        4 => (0..3_000u16).prop_map(Op::Step),
        1 => any_choice(4).prop_map(Op::Reload),
        1 => any::<bool>().prop_map(Op::Full),
        3 => Just(Op::Crash),
        1 => Just(Op::Stop),
        3 => Just(Op::Start(None)),
        1 => any_choice(4).prop_map(|it| Op::Start(Some(it))),
    ]
}

/// A random history found this one.
#[test]
fn what_takes_the_place_of_what_has_moved_away_is_not_taken_for_it() {
    let choice = PlanChoice { sure: (1, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(2, &choice);
    let ops = [
        Op::Change(Change::Mkdir(1, 0)),
        Op::Change(Change::Save(2, 0)),
        Op::Catch,
        Op::Change(Change::Mkdir(7, 1)),
        Op::Change(Change::Mkdir(1, 0)),
        Op::Change(Change::Rename(1, 0, 1, 1)),
        Op::Change(Change::Mkdir(1, 0)),
        Op::Crash,
        Op::Change(Change::Save(2, 0)),
    ];
    for op in &ops {
        story.op(op);
    }
    story.ends_well();
}

/// A start after a crash has come so far that the file of a waiting task is looked for.
fn looking() -> Story {
    let choice = PlanChoice { sure: (1, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(10_000, &choice);
    for op in [
        Op::Change(Change::Mkdir(1, 0)),
        Op::Catch,
        Op::Change(Change::Save(2, 0)),
        Op::CatchAll,
        Op::Crash,
    ] {
        story.op(&op);
    }
    story.op(&Op::Start(None));
    while !story.world.is_looking() {
        for op in [Op::Walk(0), Op::Commit, Op::Read] {
            story.op(&op);
        }
    }
    story
}

/// A run of the kill loop found this one: what is looked for may be elsewhere by then, and the record
/// that says so still to come.
#[test]
fn what_has_moved_while_it_was_looked_for_is_not_taken_to_be_gone() {
    let mut story = looking();
    for op in [Op::Change(Change::Rename(1, 0, 1, 1)), Op::Look] {
        story.op(&op);
    }
    story.ends_well();
}

/// A random history found this one.
#[test]
fn a_file_that_is_written_to_again_is_not_known_before_it_is_closed() {
    let choice = PlanChoice { sure: (0, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(10_000, &choice);
    for op in [
        Op::Change(Change::Save(1, 3)),
        Op::Catch,
        Op::Change(Change::Write(1, 3)),
        Op::CatchAll,
        Op::Change(Change::Close(1, 3)),
    ] {
        story.op(&op);
    }
    story.op(&Op::Crash);
    story.ends_well();
}

/// A random history found this one: the task was given up, and the index said that there is none
/// to do.
#[test]
fn what_has_left_and_come_back_is_not_known() {
    let choice = PlanChoice { sure: (1, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 8 };
    let mut story = Story::new(10_000, &choice);
    for op in [
        Op::Change(Change::Save(1, 2)),
        Op::Change(Change::Mkdir(1, 0)),
        Op::CatchAll,
        Op::Change(Change::Rename(1, 2, 0, 2)),
        Op::Catch,
    ] {
        story.op(&op);
    }
    for op in [Op::Change(Change::Rename(3, 2, 7, 2)), Op::Crash] {
        story.op(&op);
    }
    assert!(story.world.kernel.resolve(b"/r/c").is_some(), "it has come back");
    story.ends_well();
}

/// A run goes on, of the two files `/r/a` and `/r/b` if it is a batch; whether it is written down as
/// which process depends on what is done then.
fn running(way: &str) -> Story {
    let way = WAYS.iter().position(|it| *it == way).unwrap();
    let choice = PlanChoice { sure: (1, way, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(10_000, &choice);
    for op in [Op::Change(Change::Save(1, 1)), Op::Change(Change::Save(1, 2)), Op::CatchAll] {
        story.op(&op);
    }
    // Of another scheduler, which does not wait.
    while !story.world.runs.is_empty() {
        for op in [Op::End(0, 7), Op::CatchAll] {
            story.op(&op);
        }
    }
    story.op(&Op::Step(1_000));
    while story.world.runs.is_empty() {
        story.op(&Op::Commit);
    }
    story
}

#[test]
fn a_run_that_was_cut_off_before_its_process_was_written_down_is_ended_by_its_program() {
    let mut story = running("");
    for op in [Op::Crash, Op::Start(None), Op::CatchAll] {
        assert!(!story.world.is_known_to_have_spawned());
        story.op(&op);
    }
    assert_eq!(story.world.processes.cut_off(), 0);
    story.ends_well();
}

#[test]
fn what_a_leader_has_left_that_ended_after_the_kill_is_ended() {
    let mut story = running("");
    for op in [Op::CatchAll, Op::Fork(0), Op::Crash, Op::Die(0), Op::Start(None), Op::CatchAll] {
        story.op(&op);
    }
    assert_eq!(story.world.processes.cut_off(), 0);
    story.ends_well();
}

#[test]
fn a_stranger_who_has_the_number_of_what_was_cut_off_goes_on() {
    let mut story = running("slots=1 tries=3 backoff=2s");
    for op in [Op::CatchAll, Op::Crash, Op::Die(0), Op::Appear, Op::Start(None), Op::CatchAll] {
        story.op(&op);
    }
    assert_eq!((story.world.processes.strangers(), story.world.processes.cut_off()), (1, 0));
    story.ends_well();
}

#[test]
fn after_a_power_cut_nobody_is_taken_for_what_was_cut_off() {
    let mut story = running("slots=1 tries=3 backoff=2s");
    // The machine starts the same things again, and the daemon is killed once more before it is ready.
    for op in [Op::CatchAll, Op::PowerCut, Op::Appear, Op::Start(None), Op::Crash] {
        story.op(&op);
    }
    for op in [Op::Start(None), Op::CatchAll] {
        story.op(&op);
    }
    assert_eq!((story.world.processes.strangers(), story.world.processes.cut_off()), (1, 0));
    story.ends_well();
}

#[test]
fn a_batch_is_ended_for_the_sake_of_any_of_its_tasks() {
    let mut story = running("batch=2 slots=1");
    assert_eq!(story.world.runs.values().next().unwrap().run.tasks.len(), 2);
    for op in
        [Op::CatchAll, Op::Crash, Op::Change(Change::Remove(1, 1)), Op::Start(None), Op::CatchAll]
    {
        story.op(&op);
    }
    assert_eq!(story.world.processes.cut_off(), 0);
    story.ends_well();
}

#[test]
fn what_was_cut_off_is_looked_for_also_after_another_kill() {
    let mut story = running("slots=1 tries=3 backoff=2s");
    for op in [Op::CatchAll, Op::Fork(0), Op::Crash, Op::Die(0), Op::Start(None)] {
        story.op(&op);
    }
    while !story.world.is_looking() {
        for op in [Op::Walk(0), Op::Commit, Op::Read] {
            story.op(&op);
        }
    }
    // Its task waits anew, and that is written down, before it was looked for.
    for op in [Op::Change(Change::Save(1, 2)), Op::Drain, Op::Commit] {
        story.op(&op);
    }
    assert!(story.world.is_known_to_have_spawned());
    for op in [Op::Crash, Op::Start(None), Op::CatchAll] {
        story.op(&op);
    }
    assert_eq!(story.world.processes.cut_off(), 0);
    story.ends_well();
}

/// The reader comes upon an overflow long before its record is handed over.
#[test]
fn an_answer_that_comes_before_the_record_of_an_overflow_ends_no_search() {
    let mut story = looking();
    let limit = mem::replace(&mut story.world.kernel.limit, 1);
    story.op(&Op::Change(Change::Mkdir(1, 1)));
    story.op(&Op::Change(Change::Save(2, 1)));
    story.world.kernel.limit = limit;
    assert!(story.world.kernel.queue.iter().any(|it| it.wd == Wd::NONE));
    for op in [Op::Foresee, Op::Look] {
        story.op(&op);
    }
    story.ends_well();
}

/// What a round has looked at may be what was lost.
#[test]
fn what_is_looked_at_when_records_are_lost_is_not_known() {
    let choice = PlanChoice { sure: (0, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(10_000, &choice);
    for op in
        [Op::Change(Change::Mkdir(1, 0)), Op::CatchAll, Op::Change(Change::Save(2, 1)), Op::Catch]
    {
        story.op(&op);
    }
    while !story.world.runs.is_empty() {
        story.op(&Op::End(0, 7));
    }
    story.op(&Op::Catch);
    let limit = mem::replace(&mut story.world.kernel.limit, 1);
    story.op(&Op::Change(Change::Save(1, 3)));
    story.op(&Op::Change(Change::Save(2, 1)));
    story.world.kernel.limit = limit;
    for op in [Op::Round, Op::Drain, Op::Commit, Op::Crash] {
        story.op(&op);
    }
    story.ends_well();
}

#[test]
fn a_watch_that_no_directory_has_is_left_after_an_overflow() {
    let choice = PlanChoice { sure: (1, 0, 0), others: [(0, 0, 0); 2], second: 0, maps: 0 };
    let mut story = Story::new(10_000, &choice);
    let watched = story.world.kernel.watches.clone();
    let (elsewhere, _) = story.world.kernel.resolve(b"/o").unwrap();
    story.world.kernel.watch(elsewhere, EventType::MoveSelf.mask(), true);
    story.catch_up(true);
    assert_ne!(story.world.kernel.watches, watched, "nobody has looked");
    story.world.kernel.overflow();
    story.catch_up(true);
    assert_eq!(story.world.kernel.watches, watched);
    story.ends_well();
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn nothing_is_lost_or_done_twice_whenever_the_process_ends(
        choice in any_choice(4),
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let mut story = Story::new(10_000, &choice);
        for op in &ops {
            story.op(op);
        }
        story.ends_well();
    }

    #[test]
    fn nor_when_records_are_lost_as_well(
        limit in 2..30usize,
        choice in any_choice(4),
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let mut story = Story::new(limit, &choice);
        for op in &ops {
            match op {
                // A file that was there before, is written to, and of whose close alone nobody
                // tells, cannot be found out.
                Op::Change(Change::Write(d, n)) => story.op(&Op::Change(Change::Save(*d, *n))),
                Op::Reload(_) => (),
                op => story.op(op),
            }
        }
        story.ends_well();
    }
}
