//! Random histories, judged after each operation.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};
use pyinotifyd_core::{
    plan::{Batch, BatchInput, Busy, Plan, Ready, SchedulerId},
    schedule::{Schedule, TaskState, TaskView},
    task::{Look, OrderKind, Outcome, Readiness, RunId},
    time::Instant,
};

use crate::{
    ledger::Ledger,
    oracle::Oracle,
    setup::{at, breaker, count, event, ms, order, plan, retry, scheduler},
};

const PATHS: [&str; 9] =
    ["/a/f", "/a/g", "/a/s/f", "/a!/f", "/ab/f", "/b/f", "/b/g", "/b/s/f", "/b/s/deep/f"];
const DIRS: [&str; 5] = ["/a", "/a/s", "/b", "/b/s", "/c"];

#[derive(Clone, Debug)]
enum Op {
    Schedule {
        scheduler: Index,
        path: usize,
    },
    Cancel {
        scheduler: Index,
        path: usize,
    },
    Advance {
        millis: u64,
        pump: bool,
    },
    End {
        run: Index,
        outcome: Outcome,
    },
    EndUnknown,
    /// For each task whether it is ready, and the wait if that is known.
    Answer {
        probe: Index,
        answers: Vec<(bool, Option<u64>)>,
    },
    MoveFile {
        from: usize,
        to: usize,
        says: u16,
    },
    MoveDir {
        from: usize,
        to: usize,
        says: u16,
    },
    RunNow {
        task: Index,
    },
    CancelTask {
        task: Index,
    },
    EndRun {
        run: Index,
    },
    /// One scheduler or all; whether it begins or ends.
    Pause {
        scheduler: Option<Index>,
        paused: bool,
    },
    Reload {
        plan: usize,
    },
    Stop,
    GiveUp,
}

fn op() -> impl Strategy<Value = Op> {
    let path = 0..PATHS.len();
    let dir = 0..DIRS.len();
    let outcome = prop_oneof![
        Just(Outcome::Done(None)),
        Just(Outcome::Failed("x".into())),
        Just(Outcome::Exited(1, String::new())),
        Just(Outcome::Signalled(9, String::new())),
        Just(Outcome::Refused("x".into())),
        Just(Outcome::Stopped),
    ];
    let answer_wait = prop_oneof![3 => (0_u64..9).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        16 => (any::<Index>(), path.clone())
            .prop_map(|(scheduler, path)| Op::Schedule { scheduler, path }),
        4 => (any::<Index>(), path.clone())
            .prop_map(|(scheduler, path)| Op::Cancel { scheduler, path }),
        10 => (0_u64..25, any::<bool>()).prop_map(|(millis, pump)| Op::Advance { millis, pump }),
        8 => (any::<Index>(), outcome).prop_map(|(run, outcome)| Op::End { run, outcome }),
        8 => (any::<Index>(), prop::collection::vec((any::<bool>(), answer_wait), 3))
            .prop_map(|(probe, answers)| Op::Answer { probe, answers }),
        1 => Just(Op::EndUnknown),
        2 => (path.clone(), path, 0_u16..9).prop_map(|(from, to, says)| Op::MoveFile { from, to, says }),
        2 => (dir.clone(), dir, 0_u16..9).prop_map(|(from, to, says)| Op::MoveDir { from, to, says }),
        1 => any::<Index>().prop_map(|task| Op::RunNow { task }),
        1 => any::<Index>().prop_map(|task| Op::CancelTask { task }),
        1 => any::<Index>().prop_map(|run| Op::EndRun { run }),
        2 => (any::<Option<Index>>(), any::<bool>())
            .prop_map(|(scheduler, paused)| Op::Pause { scheduler, paused }),
        1 => (0_usize..3).prop_map(|plan| Op::Reload { plan }),
        1 => prop_oneof![5 => Just(Op::Stop), 1 => Just(Op::GiveUp)],
    ]
}

fn plans() -> [Plan; 3] {
    let mut slow = scheduler("slow");
    (slow.delay, slow.max_wait, slow.slots) = (ms(10), Some(ms(25)), count(2));
    (slow.timeout, slow.retry) = (Some(ms(30)), retry(3, 8));
    let mut skip = scheduler("skip");
    (skip.busy, skip.slots, skip.retry) = (Busy::Skip, count(1), retry(2, 5));
    let mut parallel = scheduler("parallel");
    (parallel.busy, parallel.delay, parallel.follow) = (Busy::Parallel, ms(10), false);
    parallel.retry = retry(2, 12);
    let mut restart = scheduler("restart");
    (restart.busy, restart.slots, restart.kill_after) = (Busy::Restart, count(1), ms(7));
    restart.batch = Some(Batch { max_items: count(3), input: BatchInput::Args });
    restart.retry = retry(2, 6);
    restart.ready = vec![Ready::Closed];
    let mut single = scheduler("single");
    (single.singlejob, single.delay, single.retry) = (true, ms(5), retry(2, 3));
    let mut loops = scheduler("loops");
    (loops.breaker, loops.delay) = (Some(breaker(2, 6, 40)), ms(3));

    let first = [&slow, &skip, &parallel, &restart, &loops].map(Clone::clone).to_vec();
    let second = [&restart, &single, &slow, &parallel].map(Clone::clone).to_vec();
    (slow.delay, slow.slots, slow.follow, slow.max_wait) = (ms(0), count(1), false, None);
    (parallel.follow, parallel.slots) = (true, count(2));
    loops.breaker = None;
    parallel.ready = vec![Ready::Closed];
    single.ready = vec![Ready::Closed];
    skip.ready = vec![Ready::Closed];
    let third = [loops, slow, skip, parallel, single].to_vec();
    [plan(4, first), plan(3, second), plan(5, third)]
}

struct World {
    schedule: Schedule,
    oracle: Oracle,
    /// `None`: nothing is noted, so that a stop waits for what is due and gives up the rest.
    ledger: Option<Ledger>,
    begun: BTreeSet<RunId>,
    plans: [Plan; 3],
    schedulers: usize,
    now: Instant,
    millis: u64,
    cookie: u32,
}

impl World {
    fn new(first: usize, keeps: bool) -> Self {
        let plans = plans();
        let mut schedule = Schedule::new(&plans[first], 7);
        if keeps {
            schedule.keep();
        }
        Self {
            schedule,
            oracle: Oracle::new(plans[first].clone(), keeps),
            ledger: keeps.then(Ledger::default),
            begun: BTreeSet::new(),
            schedulers: plans[first].schedulers.len(),
            plans,
            now: Instant::ZERO,
            millis: 0,
            cookie: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        let Self { schedule, oracle, now, .. } = self;
        match op {
            Op::Schedule { scheduler, path } => {
                self.cookie += 1;
                let (id, path) = (scheduler.index(self.schedulers), PATHS[*path]);
                let event = event(path, self.cookie);
                let to = u16::try_from(id).unwrap();
                schedule.handle_order(*now, order(OrderKind::Schedule, to, event));
                oracle.schedule(id, path, self.cookie);
            }
            Op::Cancel { scheduler, path } => {
                let (id, path) = (scheduler.index(self.schedulers), PATHS[*path]);
                let to = u16::try_from(id).unwrap();
                schedule.handle_order(*now, order(OrderKind::Cancel, to, event(path, 0)));
                oracle.cancel(id, path);
            }
            Op::Advance { millis, pump } => {
                self.millis += millis;
                *now = at(self.millis);
                oracle.time(*now);
                if *pump {
                    schedule.handle_timeout(*now);
                    oracle.pump();
                    assert!(schedule.poll_timeout().is_none_or(|it| *now < it), "not pumped");
                }
            }
            Op::End { run, outcome } => {
                let runs: Vec<_> = oracle.running.keys().copied().collect();
                if !runs.is_empty() {
                    let run = *run.get(&runs);
                    schedule.handle_ended(*now, run, outcome.clone());
                    oracle.ended(run, outcome);
                }
            }
            Op::Answer { probe, answers } => {
                let probes: Vec<_> = oracle.probes.keys().copied().collect();
                if !probes.is_empty() {
                    let probe = *probe.get(&probes);
                    oracle.probed(probe, answers);
                    let answers = answers.iter().map(|(ready, wait)| match ready {
                        true => Readiness::Ready,
                        false => Readiness::NotYet {
                            reason: Some("x".into()),
                            again: wait.map(ms),
                            look: Look::default(),
                        },
                    });
                    schedule.handle_probed(*now, probe, answers.collect());
                }
            }
            Op::EndUnknown => {
                let run = RunId(u64::MAX);
                schedule.handle_ended(*now, run, Outcome::Stopped);
            }
            Op::MoveFile { from, to, says } => {
                self.rename(PATHS[*from], PATHS[*to], false, *says);
            }
            Op::MoveDir { from, to, says } => self.rename(DIRS[*from], DIRS[*to], true, *says),
            Op::RunNow { .. } | Op::CancelTask { .. } | Op::EndRun { .. } | Op::Pause { .. } => {
                self.apply_by_hand(op);
            }
            Op::Reload { plan } => {
                schedule.handle_plan(*now, &self.plans[*plan]);
                oracle.reload(self.plans[*plan].clone());
                self.schedulers = self.plans[*plan].schedulers.len();
            }
            Op::Stop => {
                schedule.handle_stop(*now);
                oracle.stop();
            }
            Op::GiveUp => {
                schedule.handle_give_up(*now);
                oracle.give_up();
            }
        }
        self.judge();
    }

    fn judge(&mut self) {
        self.schedule.verify_invariants();
        self.oracle.judge(&mut self.schedule);
        if let Some(ledger) = &mut self.ledger {
            ledger.take(&mut self.schedule);
            // All of it is on the disk now, so that what was held for that runs.
            for run in self.oracle.running.keys() {
                if self.begun.insert(*run) {
                    self.schedule.handle_begun(self.now, *run);
                }
            }
            ledger.judge(&self.schedule, self.now, &self.oracle);
        }
        assert_eq!(self.schedule.poll_note(), None, "nobody asked for it");
    }

    /// What people do.
    fn apply_by_hand(&mut self, op: &Op) {
        let Self { schedule, oracle, now, .. } = self;
        match op {
            Op::RunNow { task } => {
                let waiting = waiting(schedule);
                if !waiting.is_empty() {
                    let task = task.get(&waiting);
                    assert!(schedule.handle_run_now(*now, task.id));
                    oracle.run_now(task);
                }
            }
            Op::CancelTask { task } => {
                let waiting = waiting(schedule);
                if !waiting.is_empty() {
                    let task = task.get(&waiting);
                    assert!(schedule.handle_cancel(task.id));
                    oracle.cancel_task(task);
                    assert!(!schedule.handle_cancel(task.id));
                }
            }
            Op::EndRun { run } => {
                let runs: Vec<_> = oracle.running.keys().copied().collect();
                if !runs.is_empty() {
                    let run = *run.get(&runs);
                    schedule.handle_end_run(*now, run);
                    oracle.end_run(run);
                }
            }
            Op::Pause { scheduler, paused } => {
                let id = scheduler.map(|it| it.index(self.schedulers));
                let id = id.map(|it| SchedulerId(u16::try_from(it).unwrap()));
                oracle.pause(id, *paused);
                if *paused {
                    schedule.handle_pause(id);
                } else {
                    schedule.handle_resume(*now, id);
                }
            }
            _ => unreachable!("it comes by itself"),
        }
    }

    fn rename(&mut self, from: &str, to: &str, is_dir: bool, says: u16) {
        let inside = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
        if inside(from, to) || inside(to, from) {
            return;
        }
        let says = SchedulerId(says);
        let (from_bytes, to_bytes) = (from.as_bytes(), to.as_bytes());
        self.schedule.handle_moved(from_bytes, to_bytes, is_dir, &|it| it == says);
        self.oracle.moved(from, to, is_dir, says);
    }

    /// Lets everything end; then nothing may be left, but what is another process's.
    fn drain(&mut self) {
        self.apply(&Op::Pause { scheduler: None, paused: false });
        for _ in 0..200 {
            if self.oracle.leaves_the_rest() && self.oracle.running.is_empty() {
                assert!(self.schedule.is_kept());
                return;
            }
            for run in self.oracle.running.keys().copied().collect::<Vec<_>>() {
                let done = Outcome::Done(None);
                self.schedule.handle_ended(self.now, run, done.clone());
                self.oracle.ended(run, &done);
                self.judge();
            }
            for probe in self.oracle.probes.keys().copied().collect::<Vec<_>>() {
                self.oracle.probed(probe, &[(true, None); 3]);
                self.schedule.handle_probed(self.now, probe, vec![Readiness::Ready; 3]);
                self.judge();
            }
            let Some(next) = self.schedule.poll_timeout() else { continue };
            let millis = next.since(Instant::ZERO).as_millis() + 1;
            self.millis = self.millis.max(u64::try_from(millis).unwrap());
            self.apply(&Op::Advance { millis: 0, pump: true });
        }
        assert!(self.oracle.pending.is_empty(), "never ran: {:?}", self.oracle.pending);
        assert!(self.schedule.is_idle());
        assert_eq!(self.schedule.poll_timeout(), None);
        assert!(self.schedule.is_empty(), "something is left in a table");
    }
}

fn waiting(schedule: &Schedule) -> Vec<TaskView> {
    let waits = |it: &TaskView| !matches!(it.state, TaskState::Running { .. });
    schedule.tasks().filter(waits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_what_the_oracle_says(
        first in 0_usize..3,
        keeps in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(first, keeps);
        for op in &ops {
            world.apply(op);
        }
        world.drain();
    }
}
