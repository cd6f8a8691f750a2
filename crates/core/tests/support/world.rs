//! A kernel, an engine, and a clock that moves when it is told to; perhaps a store.

#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pyinotifyd_core::{
    engine::{Effect, Engine, Input, Start, Stray, StrayEnd},
    plan::Plan,
    record::{Record, Wd},
    task::{Leader, Outcome, Probe, ProbeId, Readiness, RunId, TaskId},
    time::Instant,
    tree::{EnterError, Found, Join, Ticket},
};

use super::{
    kernel::{Kernel, Walk},
    process::Processes,
    store::{Disk, Reply, Store, joined},
};

/// What is said to the engine, and what it wants of the kernel, checked after each input.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    /// What goes on.
    pub(crate) runs: BTreeMap<RunId, Start>,
    /// What is being tested.
    pub(crate) probes: BTreeMap<ProbeId, Probe>,
    walks: VecDeque<Walk>,
    /// What runs have begun as, if they are kept.
    pub(crate) processes: Processes,
    /// Those of which the engine has not been told.
    spawned: VecDeque<(RunId, Leader)>,
    /// Whether it has been told that the overflow in the queue is to come.
    told_lost: bool,
    pub(crate) keeping: Option<Keeping>,
}

/// A task, and where what it is about is to be.
type Place = (TaskId, Arc<[u8]>);

/// The store, and what waits for it.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub(crate) store: Store,
    /// Runs that start when what was said before that number is committed.
    held: VecDeque<(u64, Start)>,
    said: u64,
    owes: bool,
    asked: BTreeMap<Ticket, Join>,
    entered: BTreeMap<Ticket, (Join, Found)>,
    /// Runs that were cut off, and whose commands are to be ended.
    strays: VecDeque<Vec<Stray>>,
    /// Tasks whose files are to be looked for.
    looks: VecDeque<(u64, Vec<Place>)>,
    /// Runs that have started since this was looked at last.
    pub(crate) started: Vec<RunId>,
}

impl World {
    pub(crate) fn new(kernel: Kernel, plan: Plan, seed: u128) -> Self {
        let engine = Engine::new(Arc::new(plan), seed);
        let (runs, probes, walks) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let (now, told_lost, keeping) = (Instant::ZERO, false, None);
        let (processes, spawned) = (Processes::default(), VecDeque::new());
        Self { kernel, engine, now, runs, probes, walks, processes, spawned, told_lost, keeping }
    }

    /// The process ends, however: what was not committed is gone, and so are its watches and runs.
    pub(crate) fn crash(&mut self) {
        self.kernel.let_go();
        self.walks.clear();
        self.told_lost = false;
        self.runs.clear();
        self.probes.clear();
        self.spawned.clear();
        if let Some(keeping) = &mut self.keeping {
            self.processes.handle_crash(&keeping.store.disk);
            let mut disk = std::mem::take(&mut keeping.store.disk);
            disk.rebooted = false;
            *keeping = Keeping::open(disk);
        }
    }

    /// So does the machine, and is started again.
    pub(crate) fn power_cut(&mut self) {
        self.crash();
        self.processes.handle_power_cut();
        if let Some(keeping) = &mut self.keeping {
            let mut disk = std::mem::take(&mut keeping.store.disk);
            disk.rebooted = true;
            *keeping = Keeping::open(disk);
        }
    }

    /// The engine is told of the next process that a run has begun as.
    pub(crate) fn tell_spawned(&mut self) -> bool {
        let Some((run, leader)) = self.spawned.pop_front() else { return false };
        self.handle(Input::Spawned(run, leader));
        true
    }

    /// Whether it was written down of any task as which process it runs.
    pub(crate) fn is_known_to_have_spawned(&self) -> bool {
        let keeping = self.keeping.as_ref();
        keeping.is_some_and(|it| it.store.disk.rows.values().any(|row| row.task.leader.is_some()))
    }

    /// A process begins with what an earlier one has left; with nothing, if there was none.
    pub(crate) fn start(&mut self, plan: Plan, seed: u128) {
        let keeping = self.keeping.get_or_insert_with(|| Keeping::open(Disk::default()));
        self.engine = Engine::keeping(self.now, Arc::new(plan), seed, keeping.store.kept());
        self.engine.verify_invariants();
    }

    /// What was said is written down, and what follows from that.
    pub(crate) fn commit(&mut self) -> bool {
        let Some(keeping) = &mut self.keeping else { return false };
        let replies = keeping.store.commit(&self.kernel);
        let any = !replies.is_empty();
        for reply in replies {
            let keeping = self.keeping.as_mut().expect("it replies");
            match reply {
                Reply::Committed(number) => {
                    let mut begun = Vec::new();
                    let ready = keeping.held.partition_point(|it| it.0 <= number);
                    for (_, start) in keeping.held.drain(..ready) {
                        for task in &start.run.tasks {
                            let is_kept = keeping.store.disk.runs(task.id, task.attempt);
                            assert!(is_kept, "{:?} starts before it was committed", start.run);
                        }
                        let apart = keeping.strays.is_empty();
                        assert!(apart, "{:?} starts beside what was cut off", start.run);
                        let tasks: Vec<TaskId> = start.run.tasks.iter().map(|it| it.id).collect();
                        self.processes.verify_apart(&tasks);
                        let leader = self.processes.spawn(start.run.id, tasks);
                        self.spawned.push_back((start.run.id, leader));
                        keeping.started.push(start.run.id);
                        begun.push(start.run.id);
                        self.runs.insert(start.run.id, start);
                    }
                    for run in begun {
                        self.handle(Input::Begun(run));
                    }
                }
                Reply::Joined(ticket, index, known) => {
                    let (join, mut found) = keeping.entered.remove(&ticket).expect("it was asked");
                    found.joined = joined(join, index, known);
                    self.handle(Input::Entered(ticket, Ok(found)));
                }
            }
        }
        any
    }

    /// The store begins a round, if there is anything to do in one.
    pub(crate) fn round(&mut self) -> bool {
        let Some(keeping) = &mut self.keeping else { return false };
        let Some(number) = keeping.store.round(&self.kernel) else { return false };
        self.handle(Input::Fence(number));
        true
    }

    /// Answers the oldest question whether files are there.
    pub(crate) fn look(&mut self) -> bool {
        let asked = self.keeping.as_mut().and_then(|it| it.looks.pop_front());
        let Some((number, tasks)) = asked else { return false };
        self.look_for(number, &tasks);
        true
    }

    /// Whether there is such a question.
    pub(crate) fn is_looking(&self) -> bool {
        self.keeping.as_ref().is_some_and(|it| !it.looks.is_empty())
    }

    /// Ends what was cut off.
    pub(crate) fn end_strays(&mut self) -> bool {
        let strays = self.keeping.as_mut().and_then(|it| it.strays.pop_front());
        let Some(strays) = strays else { return false };
        let mut ends = Vec::new();
        for stray in &strays {
            if let Some(process) = self.processes.end(stray) {
                ends.push(StrayEnd { task: stray.task, process, error: None });
            }
        }
        self.handle(Input::StraysEnded(ends));
        true
    }

    fn look_for(&mut self, number: u64, tasks: &[Place]) {
        let missing = tasks.iter().filter(|(_, path)| self.kernel.resolve(path).is_none());
        let missing = missing.map(|(id, _)| *id).collect();
        self.handle(Input::Missing(number, missing));
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
        self.engine.verify_invariants();
    }

    /// Takes the next effect and begins what it wants of the kernel; gives back the effect.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        let Some(effect) = self.engine.poll() else {
            self.keeping.as_mut().map(Keeping::sync);
            return None;
        };
        match &effect {
            Effect::Enter(enter) => {
                if let Some(keeping) = &mut self.keeping
                    && enter.join != Join::No
                {
                    keeping.asked.insert(enter.ticket, enter.join);
                }
                self.walks.push_back(Walk::Asked(enter.clone()));
            }
            Effect::Leave(wd) => self.kernel.leave(*wd),
            Effect::Barrier => {
                let wd = self.kernel.barrier();
                self.handle(Input::Barrier(Some(wd)));
            }
            Effect::ListWatches => {
                let watches = self.kernel.watches.values().map(|it| it.0).collect();
                self.handle(Input::Watches(watches));
            }
            Effect::Start(start) => {
                let Start { run, plan, files } = start;
                let start = Start { run: run.clone(), plan: plan.clone(), files: files.clone() };
                match &mut self.keeping {
                    Some(keeping) => keeping.hold(start),
                    None => {
                        self.runs.insert(run.id, start);
                    }
                }
            }
            Effect::Probe(probe, _) => drop(self.probes.insert(probe.id, probe.clone())),
            Effect::Ask(question) => panic!("nobody here is asked: {question:?}"),
            Effect::Stop(run, _) => {
                if self.keeping.as_mut().is_some_and(|it| it.take_back(*run)) {
                    self.handle(Input::Ended(*run, Outcome::Stopped));
                } else {
                    assert!(self.runs.contains_key(run), "{run:?} has ended");
                }
            }
            Effect::LookFor(number, tasks) => match &mut self.keeping {
                Some(keeping) => keeping.looks.push_back((*number, tasks.clone())),
                None => self.look_for(*number, tasks),
            },
            Effect::EndStrays(strays) => {
                let keeping = self.keeping.as_mut().expect("it has kept what was cut off");
                keeping.strays.push_back(strays.clone());
            }
            Effect::Keep(keep) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.store.keep(keep.clone());
                }
            }
            Effect::Passed(number) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.store.passed(*number);
                }
            }
            Effect::Say(_) | Effect::Tell(_) | Effect::Exit => (),
        }
        Some(effect)
    }

    /// Takes one of the Enters that are on their way a step further.
    pub(crate) fn walk(&mut self, n: usize) -> bool {
        if self.walks.is_empty() {
            return false;
        }
        let at = n % self.walks.len();
        let walk = self.walks.remove(at).expect("within its length").step(&mut self.kernel);
        if let Walk::Done(ticket, mut answer) = walk {
            if let Some(keeping) = &mut self.keeping {
                match keeping.join(ticket, answer) {
                    Some(it) => answer = it,
                    None => return true,
                }
            }
            self.handle(Input::Entered(ticket, answer));
        } else {
            self.walks.insert(at, walk);
        }
        true
    }

    /// The reader comes upon an overflow, while what is before it in the queue is still to be handed
    /// over.
    pub(crate) fn foresee(&mut self) -> bool {
        let is_new = !self.told_lost && self.kernel.queue.iter().any(|it| it.wd == Wd::NONE);
        if is_new {
            self.told_lost = true;
            self.handle(Input::Lost(self.kernel.lost_since));
        }
        is_new
    }

    /// Hands over the next record, if the engine wants one.
    pub(crate) fn read(&mut self) -> bool {
        if !self.engine.wants_records() {
            return false;
        }
        if self.kernel.queue.front().is_some_and(|it| it.wd == Wd::NONE) {
            self.foresee();
            self.told_lost = false;
        }
        let Some(it) = self.kernel.queue.pop_front() else { return false };
        let (wd, mask, cookie) = (it.wd, it.mask, it.cookie);
        self.handle(Input::Record(Record { wd, mask, cookie, name: it.name.as_bytes() }));
        true
    }

    /// Ends a run.
    pub(crate) fn end(&mut self, run: RunId, outcome: Outcome) -> Start {
        let start = self.runs.remove(&run).expect("it goes on");
        self.processes.handle_ended(run);
        self.handle(Input::Ended(run, outcome));
        start
    }

    /// Answers a test.
    pub(crate) fn probed(&mut self, probe: ProbeId, answers: Vec<Readiness>) {
        self.probes.remove(&probe).expect("it goes on");
        self.handle(Input::Probed(probe, answers));
    }

    /// Whether the engine has something to do by this time; if so, it is that time.
    pub(crate) fn tick(&mut self, until: Instant) -> bool {
        let Some(due) = self.engine.poll_timeout().filter(|it| *it <= until) else { return false };
        self.now = self.now.max(due);
        self.handle(Input::Time);
        true
    }
}

impl Keeping {
    fn open(disk: Disk) -> Self {
        Self {
            store: Store::open(disk),
            held: VecDeque::new(),
            said: 0,
            owes: false,
            asked: BTreeMap::new(),
            entered: BTreeMap::new(),
            looks: VecDeque::new(),
            strays: VecDeque::new(),
            started: Vec::new(),
        }
    }

    /// Holds a run until what was said so far is committed.
    fn hold(&mut self, start: Start) {
        self.held.push_back((self.said + 1, start));
        self.owes = true;
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.owes) {
            self.said += 1;
            self.store.sync(self.said);
        }
    }

    fn take_back(&mut self, run: RunId) -> bool {
        let at = self.held.iter().position(|(_, it)| it.run.id == run);
        at.and_then(|at| self.held.remove(at)).is_some()
    }

    /// Asks about what has been entered. Gives it back if there is nothing to ask.
    fn join(
        &mut self,
        ticket: Ticket,
        answer: Result<Found, EnterError>,
    ) -> Option<Result<Found, EnterError>> {
        let Some(join) = self.asked.remove(&ticket) else { return Some(answer) };
        let Ok(found) = answer else { return Some(answer) };
        let listed = (join == Join::Baseline).then(|| found.seen());
        self.store.join(ticket, found.identity, listed);
        self.entered.insert(ticket, (join, found));
        None
    }
}
