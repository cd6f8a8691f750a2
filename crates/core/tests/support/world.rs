//! A kernel, an engine, and a clock that moves when it is told to.

#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pyinotifyd_core::{
    engine::{Effect, Engine, Input, Start},
    plan::Plan,
    record::{Record, Wd},
    task::{Outcome, Probe, ProbeId, Readiness, RunId},
    time::Instant,
};

use super::kernel::{Kernel, Walk};

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
}

impl World {
    pub(crate) fn new(kernel: Kernel, plan: Plan, seed: u128) -> Self {
        let engine = Engine::new(Arc::new(plan), seed);
        let (runs, probes, walks) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { kernel, engine, now: Instant::ZERO, runs, probes, walks }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
        self.engine.verify_invariants();
    }

    /// Takes the next effect and begins what it wants of the kernel; gives back the effect.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        let effect = self.engine.poll()?;
        match &effect {
            Effect::Enter(enter) => self.walks.push_back(Walk::Asked(enter.clone())),
            Effect::Leave(wd) => self.kernel.leave(*wd),
            Effect::Barrier => {
                let wd = self.kernel.barrier();
                self.handle(Input::Barrier(Some(wd)));
            }
            Effect::Start(start) => {
                let Start { run, plan, files } = start;
                let start = Start { run: run.clone(), plan: plan.clone(), files: files.clone() };
                self.runs.insert(run.id, start);
            }
            Effect::Probe(probe, _) => drop(self.probes.insert(probe.id, probe.clone())),
            Effect::Ask(question) => panic!("nobody here is asked: {question:?}"),
            Effect::Stop(run, _) => assert!(self.runs.contains_key(run), "{run:?} has ended"),
            Effect::LookFor(number, tasks) => {
                let missing = tasks.iter().filter(|(_, path)| self.kernel.resolve(path).is_none());
                let missing = missing.map(|(id, _)| *id).collect();
                self.handle(Input::Missing(*number, missing));
            }
            Effect::Say(_)
            | Effect::Tell(_)
            | Effect::Exit
            | Effect::Keep(_)
            | Effect::Passed(_) => (),
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
        if let Walk::Done(ticket, found) = walk {
            self.handle(Input::Entered(ticket, found));
        } else {
            self.walks.insert(at, walk);
        }
        true
    }

    /// Hands over the next record, if the engine wants one.
    pub(crate) fn read(&mut self) -> bool {
        if !self.engine.wants_records() {
            return false;
        }
        if self.kernel.queue.front().is_some_and(|it| it.wd == Wd::NONE) {
            self.handle(Input::Lost(self.kernel.lost_since));
        }
        let Some(it) = self.kernel.queue.pop_front() else { return false };
        let (wd, mask, cookie) = (it.wd, it.mask, it.cookie);
        self.handle(Input::Record(Record { wd, mask, cookie, name: it.name.as_bytes() }));
        true
    }

    /// Ends a run.
    pub(crate) fn end(&mut self, run: RunId, outcome: Outcome) -> Start {
        let start = self.runs.remove(&run).expect("it goes on");
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
