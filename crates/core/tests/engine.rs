//! Random histories of the whole engine: a file tree, partial walks, runs that end in any way,
//! reloads, time, and at last the end.
//!
//! After each input the tables agree. After the dust has settled nothing is lost (each file that
//! was written and closed has had a run since), and nothing is left in any table.

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
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use pyinotifyd_core::{
    engine::{Effect, Input},
    path,
    report::{CancelReason, Say},
    task::{Outcome, RunId},
};

use self::support::{
    change::{Change, daily_change, exchange, name},
    choice::{PlanChoice, SURE, WAYS, any_choice, cases, plan, trace},
    kernel::{Ino, Kernel},
    world::World,
};

#[derive(Clone, Debug)]
enum Op {
    Change(Change),
    /// `/r` itself comes and goes.
    Root(u8),
    Walk(usize),
    Read,
    /// Everything that there is to do now, but runs.
    Catch,
    End(usize, u8),
    Step(u16),
    Reload(PlanChoice),
    Stop,
}

/// What has happened to each file that matters at the end.
#[derive(Debug, Default)]
struct Ledger {
    /// Counts what happens.
    clock: u64,
    /// When each file was closed last.
    closed: BTreeMap<Ino, u64>,
    /// The paths that it has had since then.
    paths: BTreeMap<Ino, BTreeSet<Vec<u8>>>,
    /// When a run of [`SURE`] was last started for a path.
    started: BTreeMap<Vec<u8>, u64>,
}

impl Ledger {
    fn note_paths(&mut self, kernel: &Kernel) {
        for (at, ino, is_dir) in kernel.all() {
            if !is_dir {
                self.paths.entry(ino).or_default().insert(at.into_bytes());
            }
        }
    }

    fn note_close(&mut self, ino: Ino, kernel: &Kernel) {
        self.clock += 1;
        self.closed.insert(ino, self.clock);
        self.paths.remove(&ino);
        self.note_paths(kernel);
    }

    fn has_run(&self, ino: Ino) -> bool {
        let Some(closed) = self.closed.get(&ino) else { return true };
        let since = |at: &Vec<u8>| self.started.get(at).is_some_and(|it| it > closed);
        self.paths[&ino].iter().any(since)
    }
}

/// Whether tasks go on under the new path of what is renamed. One that takes directories is told
/// itself that they were renamed.
fn follows(way: usize) -> bool {
    !matches!(WAYS[way], "no-follow" | "dirs")
}

struct Story {
    world: World,
    ledger: Ledger,
    /// Whether nothing is on its way when a reload comes, and nothing happens until it is over: a
    /// directory of which the listing after a reload is the first news counts as one that was
    /// there, whose files are not told of.
    catches_up: bool,
    /// The way of [`SURE`] at the beginning.
    way: usize,
    stopped: bool,
    exited: bool,
}

impl Story {
    fn new(limit: usize, choice: &PlanChoice) -> Self {
        let world = World::new(Kernel::new(limit), plan(choice), 7);
        let (way, ledger) = (choice.sure.1, Ledger::default());
        Self { world, ledger, catches_up: false, way, stopped: false, exited: false }
    }

    fn poll(&mut self) -> bool {
        let Some(effect) = self.world.poll() else { return false };
        assert!(!self.exited, "the end is the last: {effect:?}");
        trace!("  {effect:?}");
        match &effect {
            Effect::Start(start) if &*start.plan.scheduler(start.run.scheduler).name == SURE => {
                self.ledger.clock += 1;
                for task in &start.run.tasks {
                    self.ledger.started.insert(task.event.pathname.to_vec(), self.ledger.clock);
                }
            }
            // Without following renames it would have run on a path that is not there.
            Effect::Say(report) if !follows(self.way) && &*report.logname == SURE => {
                if let Say::Cancelled { path, why: CancelReason::Missing } = &report.say {
                    self.ledger.clock += 1;
                    self.ledger.started.insert(path.to_vec(), self.ledger.clock);
                }
            }
            Effect::Exit => self.exited = true,
            _ => (),
        }
        true
    }

    /// All that the daemon does by itself.
    fn catch_up(&mut self) {
        for _ in 0..100_000 {
            let now = self.world.now;
            if !(self.poll() || self.world.tick(now) || self.world.walk(0) || self.world.read()) {
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
            _ => {
                self.apply(run);
                Outcome::Done(None)
            }
        };
        self.world.end(run, outcome);
    }

    /// Does what a run's file rules say, where that is possible.
    fn apply(&mut self, run: RunId) {
        let kernel = &mut self.world.kernel;
        for plan in self.world.runs[&run].files.iter().flatten().flatten() {
            let place = |kernel: &Kernel, at: &[u8]| {
                let (dir, name) = path::split(at)?;
                let (dir, _) = kernel.resolve(dir).filter(|it| it.1)?;
                Some((dir, str::from_utf8(name).unwrap().to_owned()))
            };
            let Some((from, a)) = place(kernel, &plan.src) else { continue };
            match &plan.dst {
                None => kernel.remove(from, &a),
                Some(dst) => {
                    let (above, _) = path::split(&dst.path).unwrap();
                    if let Some((dir, name)) = place(kernel, above) {
                        kernel.create(dir, &name, true);
                    }
                    if let Some((to, b)) = place(kernel, &dst.path) {
                        kernel.rename(from, &a, to, &b);
                    }
                }
            }
        }
        self.ledger.note_paths(&self.world.kernel);
    }

    fn op(&mut self, op: &Op) {
        let kernel = &mut self.world.kernel;
        trace!("op {op:?} {:?}", kernel.all());
        match op.clone() {
            Op::Change(change) => self.change(&change),
            Op::Root(0) => {
                kernel.create(0, "r", true);
            }
            Op::Root(_) => kernel.remove(0, "r"),
            Op::Walk(n) => {
                self.world.walk(n);
            }
            Op::Read => {
                self.world.read();
            }
            Op::Catch => self.catch_up(),
            Op::End(n, how) => {
                let runs: Vec<RunId> = self.world.runs.keys().copied().collect();
                if !runs.is_empty() {
                    self.end(runs[n % runs.len()], how);
                }
            }
            Op::Step(millis) => {
                let until = self.world.now + Duration::from_millis(millis.into());
                while self.world.tick(until) {
                    while self.poll() {}
                }
                self.world.now = until;
            }
            Op::Reload(mut choice) => {
                if self.catches_up {
                    self.catch_up();
                    // A task that was not taken along by one rename must not be by the next: its
                    // path is somebody else's by then.
                    if follows(choice.sure.1) != follows(self.way) {
                        choice.sure.1 = self.way;
                    }
                }
                self.world.handle(Input::Plan(Arc::new(plan(&choice))));
                if self.catches_up {
                    self.catch_up();
                }
            }
            Op::Stop => {
                self.stopped = true;
                self.world.handle(Input::Stop);
            }
        }
        self.ledger.note_paths(&self.world.kernel);
        // Effects are to be taken after each input; what they ask of the kernel takes its time.
        while self.poll() {}
    }

    fn change(&mut self, change: &Change) {
        match *change {
            Change::Close(d, n) => self.close(d, name(n)),
            Change::Save(d, n) => {
                self.change(&Change::Write(d, n));
                self.close(d, name(n));
            }
            Change::Mkdir(..)
            | Change::Write(..)
            | Change::Remove(..)
            | Change::Rename(..)
            | Change::Exchange(..) => change.apply(&mut self.world.kernel),
        }
    }

    fn close(&mut self, d: usize, name: &str) {
        let kernel = &mut self.world.kernel;
        let dir = kernel.nth_dir(d);
        let ino = kernel.dirs[&dir].get(name).map(|it| it.0);
        if kernel.close_written(dir, name) {
            self.ledger.note_close(ino.expect("it was closed"), &self.world.kernel);
        }
    }

    /// All runs end, and all time that anything waits for goes by.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.catch_up();
            if let Some(run) = self.world.runs.keys().next().copied() {
                // Files stay where they are now.
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

    fn nothing_is_left(&self) {
        let engine = &self.world.engine;
        let counts = engine.counts();
        assert_eq!((counts.waiting, counts.ready, counts.running, counts.runs), (0, 0, 0, 0));
        assert!(engine.is_at_rest(), "something is left: {engine:#?}");
        assert_eq!(self.exited, self.stopped);
    }
}

fn daily_op(seconds: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        19 => daily_change().prop_map(Op::Change),
        6 => (0..3usize).prop_map(Op::Walk),
        4 => Just(Op::Read),
        3 => Just(Op::Catch),
        4 => (0..4usize, 0..8u8).prop_map(|(n, how)| Op::End(n, how)),
        4 => (0..3_000u16).prop_map(Op::Step),
        1 => any_choice(seconds).prop_map(Op::Reload),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => daily_op(6),
        2 => exchange().prop_map(Op::Change),
        1 => (0..3u8).prop_map(Op::Root),
        1 => Just(Op::Stop),
    ]
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn nothing_that_was_closed_goes_without_a_run(
        choice in any_choice(4),
        ops in prop::collection::vec(daily_op(4), 0..80),
    ) {
        let mut story = Story::new(10_000, &choice);
        story.catches_up = true;
        story.catch_up();
        for op in &ops {
            story.op(op);
        }
        story.settle();
        story.nothing_is_left();
        let kernel = &story.world.kernel;
        for (at, ino, is_dir) in kernel.all() {
            let covered = path::below(at.as_bytes(), b"/r").is_some_and(|it| !it.is_empty());
            if covered && !is_dir && !kernel.writing.contains(&ino) {
                prop_assert!(story.ledger.has_run(ino), "{} (inode {}) was lost", at, ino);
            }
        }
    }

    #[test]
    fn nothing_that_was_closed_goes_without_a_run_whatever_is_lost(
        limit in 2..30usize,
        choice in any_choice(4),
        ops in prop::collection::vec(daily_op(4), 0..80),
    ) {
        let mut story = Story::new(limit, &choice);
        story.catch_up();
        for op in &ops {
            match op {
                // A file that was there before, is written to, and of whose close alone nobody
                // tells, cannot be found out.
                Op::Change(Change::Write(d, n)) => story.op(&Op::Change(Change::Save(*d, *n))),
                Op::Reload(_) => (),
                op => story.op(op),
            }
        }
        story.settle();
        story.nothing_is_left();
        let kernel = &story.world.kernel;
        for (at, ino, is_dir) in kernel.all() {
            let covered = path::below(at.as_bytes(), b"/r").is_some_and(|it| !it.is_empty());
            if covered && !is_dir && !kernel.writing.contains(&ino) {
                prop_assert!(story.ledger.has_run(ino), "{} (inode {}) was lost", at, ino);
            }
        }
    }

    #[test]
    fn whatever_happens_nothing_is_left(
        limit in 3..100usize,
        choice in any_choice(6),
        ops in prop::collection::vec(any_op(), 0..80),
        stops: bool,
    ) {
        let mut story = Story::new(limit, &choice);
        for op in &ops {
            story.op(op);
        }
        if stops {
            story.op(&Op::Stop);
        }
        story.settle();
        story.nothing_is_left();
    }
}
