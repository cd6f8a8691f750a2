//! What a schedule should do, said in the most naive way: one map of what waits, one of what runs,
//! no timers, no queues. It says what must be there after each operation, and judges each start
//! and each stop. When exactly a breaker lets go is not its business: it only says "not before".

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pyinotifyd_core::{
    plan::{Busy, Plan, Scheduler, SchedulerId},
    schedule::{Command, Schedule, TaskState, TaskView},
    task::{Outcome, Probe, ProbeId, Run, RunId, StopHow},
    time::Instant,
};

type Key = (String, String);

pub(crate) struct Oracle {
    plan: Plan,
    pub(crate) pending: BTreeMap<Key, Pending>,
    pub(crate) running: BTreeMap<RunId, Running>,
    /// What is being tested: the scheduler, and the subjects in their order.
    pub(crate) probes: BTreeMap<ProbeId, (String, Vec<Key>)>,
    /// What may start, since a test has said so just now.
    passed: BTreeSet<Key>,
    /// Of a subject that runs: whether it was cancelled, whether it was asked to start anew.
    flags: BTreeMap<Key, (bool, bool)>,
    stops: Vec<(RunId, StopHow)>,
    phase: u8,
    /// Whether what has not started is noted, and so another process's after a stop.
    keeps: bool,
    now: Instant,
    /// The schedulers of which nothing is to start, also of those that are not in the plan.
    paused: BTreeSet<String>,
    pauses_new: bool,
    /// The schedulers of the plan, and those of which something still goes on.
    known: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    cookie: u32,
    path: String,
    first: Instant,
    due: Instant,
    attempt: u32,
    /// Not the work of an order: it has run before.
    again: bool,
    /// Its time has come: it was seen to be ready, or held.
    over: bool,
    /// The test that it is in.
    asked: Option<ProbeId>,
    /// Put off so often in a row, and not to be tested before.
    put_off: (u32, Instant),
}

#[derive(Debug)]
pub(crate) struct Running {
    scheduler: String,
    tasks: Vec<(u32, String, String, u32, Instant)>,
    since: Instant,
    timeout: Option<Duration>,
    kill_after: Duration,
    asked: Option<(Why, Instant)>,
    killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    TimedOut,
    Restart,
    GivenUp,
    Command,
}

impl Oracle {
    pub(crate) fn new(plan: Plan, keeps: bool) -> Self {
        let known = names(&plan);
        Self {
            plan,
            pending: BTreeMap::new(),
            running: BTreeMap::new(),
            probes: BTreeMap::new(),
            passed: BTreeSet::new(),
            flags: BTreeMap::new(),
            stops: Vec::new(),
            phase: 0,
            keeps,
            now: Instant::ZERO,
            paused: BTreeSet::new(),
            pauses_new: false,
            known,
        }
    }

    pub(crate) fn time(&mut self, now: Instant) {
        self.now = now;
    }

    fn named(&self, name: &str) -> Option<&Scheduler> {
        self.plan.schedulers.iter().find(|it| *it.name == *name)
    }

    fn runs(&self, key: &Key) -> Vec<RunId> {
        let is_it = |run: &Running| {
            run.scheduler == key.0 && run.tasks.iter().any(|(_, _, subject, ..)| *subject == key.1)
        };
        self.running.iter().filter(|(_, run)| is_it(run)).map(|(id, _)| *id).collect()
    }

    fn key(scheduler: &Scheduler, path: &str) -> Key {
        let subject = if scheduler.singlejob { String::new() } else { path.to_owned() };
        (scheduler.name.to_string(), subject)
    }

    pub(crate) fn schedule(&mut self, id: usize, path: &str, cookie: u32) {
        if self.phase > 0 {
            return;
        }
        let scheduler = self.plan.schedulers[id].clone();
        let key = Self::key(&scheduler, path);
        let runs = self.runs(&key);
        if !runs.is_empty() {
            self.flags.entry(key.clone()).or_default().0 = false;
            if scheduler.busy == Busy::Skip {
                return;
            }
        }
        let (first, mut asked, earliest) = match self.pending.get(&key) {
            Some(old) if !old.again => {
                (old.first, old.asked.filter(|_| old.path == path), old.put_off.1)
            }
            _ => (self.now, None, Instant::ZERO),
        };
        let cut = scheduler.max_wait.map_or(Instant::FAR, |it| first + it);
        let due = (self.now + scheduler.delay).min(cut).max(earliest);
        if self.now < due {
            asked = None;
        }
        let put_off = (0, earliest);
        let path = path.to_owned();
        self.pending.insert(
            key.clone(),
            Pending {
                cookie,
                path,
                first,
                due,
                attempt: 1,
                again: false,
                over: false,
                asked,
                put_off,
            },
        );
        if scheduler.busy == Busy::Restart && !runs.is_empty() {
            self.flags.entry(key).or_default().1 = true;
            for run in runs {
                self.ask(run, Why::Restart);
            }
        }
    }

    pub(crate) fn cancel(&mut self, id: usize, path: &str) {
        let key = Self::key(&self.plan.schedulers[id], path);
        self.pending.remove(&key);
        if !self.runs(&key).is_empty() {
            self.flags.entry(key).or_default().0 = true;
        }
    }

    pub(crate) fn pump(&mut self) {
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            let run = self.running.get_mut(&id).unwrap();
            match run.asked {
                None if run.timeout.is_some_and(|it| run.since + it <= self.now) => {
                    self.ask(id, Why::TimedOut);
                }
                Some((_, since)) if !run.killed && since + run.kill_after <= self.now => {
                    run.killed = true;
                    self.stops.push((id, StopHow::Kill));
                }
                None | Some(_) => (),
            }
        }
    }

    fn ask(&mut self, id: RunId, why: Why) {
        let run = self.running.get_mut(&id).unwrap();
        if run.asked.is_none() {
            run.asked = Some((why, self.now));
            self.stops.push((id, StopHow::Term));
        }
    }

    pub(crate) fn ended(&mut self, id: RunId, outcome: &Outcome) {
        let run = self.running.remove(&id).unwrap();
        let scheduler = self.named(&run.scheduler).cloned();
        for (cookie, path, subject, attempt, first) in run.tasks {
            let path = if subject.is_empty() { path } else { subject.clone() };
            let key = (run.scheduler.clone(), subject);
            let (cancelled, restarted) = self.flags.get(&key).copied().unwrap_or_default();
            let Some(scheduler) = &scheduler else { continue };
            if cancelled || restarted || self.pending.contains_key(&key) {
                continue;
            }
            let timed_out = matches!(run.asked, Some((Why::TimedOut, _)));
            let failed = match outcome {
                Outcome::Failed(_) | Outcome::Exited(..) | Outcome::Signalled(..) => true,
                Outcome::Refused(_) => false,
                Outcome::Done(_) | Outcome::Stopped => timed_out,
            };
            let asked = run.asked.map(|(why, _)| why);
            let next = match asked {
                Some(Why::Restart) if self.phase < 2 && !outcome.is_done() => {
                    Some((attempt, Duration::ZERO))
                }
                Some(Why::Restart | Why::GivenUp | Why::Command) => None,
                Some(Why::TimedOut) | None => {
                    let retry = scheduler.retry;
                    let wait = retry.backoff * 2_u32.pow(attempt - 1);
                    let open = self.phase == 0 || self.keeps;
                    let retries = failed && open && attempt < retry.tries;
                    retries.then_some((attempt + 1, wait.min(retry.max_backoff)))
                }
            };
            if let Some((attempt, wait)) = next {
                let due = self.now + wait;
                let task = Pending {
                    cookie,
                    path,
                    first,
                    due,
                    attempt,
                    again: true,
                    over: false,
                    asked: None,
                    put_off: (0, Instant::ZERO),
                };
                self.pending.insert(key, task);
            }
        }
        let running = std::mem::take(&mut self.flags);
        self.flags = running.into_iter().filter(|(key, _)| !self.runs(key).is_empty()).collect();
    }

    pub(crate) fn moved(&mut self, from: &str, to: &str, is_dir: bool, says: SchedulerId) {
        let moved = |path: &str| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || is_dir && rest.starts_with('/')).then(|| format!("{to}{rest}"))
        };
        for (id, scheduler) in self.plan.clone().schedulers() {
            if id == says || !scheduler.follow {
                continue;
            }
            let name = scheduler.name.to_string();
            let mut flags = BTreeMap::new();
            for run in self.running.values_mut().filter(|it| it.scheduler == name) {
                for (_, _, subject, ..) in &mut run.tasks {
                    let old = self.flags.get(&(name.clone(), subject.clone()));
                    let (cancelled, restarted) = old.copied().unwrap_or_default();
                    if let Some(to) = moved(subject) {
                        *subject = to;
                    }
                    let new: &mut (bool, bool) =
                        flags.entry((name.clone(), subject.clone())).or_insert((true, false));
                    new.0 &= cancelled;
                    new.1 |= restarted;
                }
            }
            self.flags.retain(|(of, _), _| *of != name);
            self.flags.extend(flags);
            for key in self.pending.keys().cloned().collect::<Vec<_>>() {
                let Some(to) = moved(&self.pending[&key].path).filter(|_| key.0 == name) else {
                    continue;
                };
                let mut task = self.pending.remove(&key).unwrap();
                task.path.clone_from(&to);
                task.asked = None;
                let key = if scheduler.singlejob { key } else { (name.clone(), to) };
                self.put(key, task);
            }
        }
    }

    /// What is held by a run is no longer being tested.
    fn hold(&mut self) {
        for key in self.pending.keys().cloned().collect::<Vec<_>>() {
            let held = self.named(&key.0).is_some_and(|it| it.busy != Busy::Parallel);
            if held && !self.runs(&key).is_empty() {
                self.pending.get_mut(&key).unwrap().asked = None;
            }
        }
    }

    /// A test is answered.
    pub(crate) fn probed(&mut self, probe: ProbeId, answers: &[(bool, Option<u64>)]) {
        let (_, keys) = self.probes.remove(&probe).unwrap();
        for (key, (ready, wait)) in keys.into_iter().zip(answers) {
            let Some(task) = self.pending.get_mut(&key).filter(|it| it.asked == Some(probe)) else {
                continue;
            };
            task.asked = None;
            if *ready {
                self.passed.insert(key);
                continue;
            }
            let (tests, _) = task.put_off;
            let backoff = Duration::from_millis((500 << tests.min(9)).min(10_000));
            let wait = wait.map_or(backoff, |it| Duration::from_millis(it.max(1)));
            task.due = self.now + wait;
            task.over = false;
            task.put_off = (tests + 1, self.now + Duration::from_millis(500));
        }
    }

    /// Of two tasks that become one, the one that is due later stays.
    fn put(&mut self, key: Key, task: Pending) {
        let weight = |it: &Pending| (!it.again, if it.over { Instant::ZERO } else { it.due });
        match self.pending.get(&key) {
            Some(old) if weight(old) >= weight(&task) => (),
            _ => {
                self.pending.insert(key, task);
            }
        }
    }

    pub(crate) fn reload(&mut self, plan: Plan) {
        // Of one that has left, what was said of it is forgotten once nothing of it goes on.
        let old = names(&std::mem::replace(&mut self.plan, plan));
        let goes_on = |name: &String| {
            old.contains(name)
                || self.running.values().any(|it| it.scheduler == *name)
                || self.probes.values().any(|it| it.0 == *name)
        };
        self.known.retain(goes_on);
        self.paused.retain(|it| self.known.contains(it));
        let new = names(&self.plan);
        self.pending.retain(|(name, _), _| new.contains(name));
        for name in new {
            if self.known.insert(name.clone()) && self.pauses_new {
                self.paused.insert(name);
            }
        }
    }

    pub(crate) fn pause(&mut self, id: Option<SchedulerId>, paused: bool) {
        let names: Vec<String> = if let Some(id) = id {
            vec![self.plan.scheduler(id).name.to_string()]
        } else {
            self.pauses_new = paused;
            self.known.iter().cloned().collect()
        };
        for name in names {
            if paused {
                self.paused.insert(name)
            } else {
                self.paused.remove(&name)
            };
        }
    }

    pub(crate) fn end_run(&mut self, run: RunId) {
        self.ask(run, Why::Command);
    }

    pub(crate) fn run_now(&mut self, task: &TaskView) {
        let now = self.now;
        let pending = self.find_mut(task);
        pending.due = pending.due.min(now);
    }

    pub(crate) fn cancel_task(&mut self, task: &TaskView) {
        let cookie = self.find_mut(task).cookie;
        let attempt = task.attempt;
        self.pending.retain(|_, it| (it.cookie, it.attempt) != (cookie, attempt));
    }

    /// Whether it was found not to be ready, so that it waits although its delay is over.
    pub(crate) fn was_put_off(&self, task: &TaskView) -> bool {
        self.pending[&self.key_of(task)].put_off.1 > Instant::ZERO
    }

    fn find_mut(&mut self, task: &TaskView) -> &mut Pending {
        let key = self.key_of(task);
        self.pending.get_mut(&key).unwrap_or_else(|| panic!("{key:?} is not owed a run"))
    }

    fn key_of(&self, task: &TaskView) -> Key {
        let scheduler = self.plan.scheduler(task.scheduler.expect("a task that waits has one"));
        Self::key(scheduler, str::from_utf8(&task.event.pathname).unwrap())
    }

    pub(crate) fn stop(&mut self) {
        if self.phase == 0 {
            self.phase = 1;
            if self.keeps {
                return;
            }
            let paused = &self.paused;
            self.pending.retain(|(name, _), it| it.attempt == 1 && !paused.contains(name));
        }
    }

    pub(crate) fn give_up(&mut self) {
        self.phase = 2;
        if !self.keeps {
            self.pending.clear();
        }
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.ask(id, Why::GivenUp);
        }
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.phase == 2
    }

    /// Whether nothing starts any more, and what has not is for another process.
    pub(crate) fn leaves_the_rest(&self) -> bool {
        self.keeps && self.phase > 0
    }

    /// Judges what the schedule does after an operation, and what it is left with.
    pub(crate) fn judge(&mut self, schedule: &mut Schedule) {
        let mut stops = Vec::new();
        while let Some(command) = schedule.poll_command() {
            match command {
                Command::Start(run) => self.judge_start(&run),
                Command::Stop { run, how } => stops.push((run, how)),
                Command::Probe(probe) => self.judge_probe(&probe),
            }
        }
        self.passed.clear();
        self.hold();
        let mut expected = std::mem::take(&mut self.stops);
        stops.sort_unstable();
        expected.sort_unstable();
        assert_eq!(stops, expected, "what is asked to end");

        let mut pending = self.pending.clone();
        for view in schedule.tasks() {
            if let TaskState::Running { run, since } = view.state {
                assert_eq!(self.running[&run].since, since);
                continue;
            }
            let scheduler = self.plan.scheduler(view.scheduler.unwrap());
            let path = str::from_utf8(&view.event.pathname).unwrap();
            let key = Self::key(scheduler, path);
            let Some(task) = pending.remove(&key) else {
                panic!("{key:?} has a task too many: {view:?}")
            };
            assert_eq!((task.cookie, task.path.as_str()), (view.event.cookie, path));
            assert_eq!(task.attempt, view.attempt);
            match view.state {
                TaskState::Waiting { due } if key.0 != "loops" => {
                    assert_eq!(due, task.due, "{key:?}");
                }
                // A breaker may have its own idea of when, but not an earlier one.
                TaskState::Waiting { due } => {
                    assert!(task.due <= due, "{key:?}");
                    self.pending.get_mut(&key).unwrap().due = due;
                }
                TaskState::Held | TaskState::Ready => {
                    assert!(task.due <= self.now, "{key:?}");
                    self.pending.get_mut(&key).unwrap().over = true;
                }
                TaskState::Running { .. } => unreachable!("see above"),
            }
        }
        assert!(pending.is_empty(), "lost: {pending:?}");
        let counts = schedule.counts();
        assert_eq!(counts.waiting + counts.ready, self.pending.len());
        assert_eq!(counts.runs, self.running.len());
    }

    fn judge_probe(&mut self, probe: &Probe) {
        let scheduler = self.plan.scheduler(probe.scheduler).clone();
        assert!(!scheduler.ready.is_empty(), "{} has nothing to test", scheduler.name);
        assert!(!self.paused.contains(&*scheduler.name), "{} is paused", scheduler.name);
        let of = |it: &str| it == &*scheduler.name;
        let beside = self.running.values().filter(|it| of(&it.scheduler)).count()
            + self.probes.values().filter(|it| of(&it.0)).count();
        assert!(beside < scheduler.slots.get(), "a test takes a slot of {}", scheduler.name);
        let all = self.running.len() + self.probes.len();
        assert!(all < self.plan.slots.get(), "a test takes a slot");
        let most = scheduler.batch.map_or(1, |it| it.max_items.get());
        assert!((1..=most).contains(&probe.tasks.len()));
        let mut keys = Vec::new();
        for task in &probe.tasks {
            let path = str::from_utf8(&task.task.event.pathname).unwrap();
            let key = Self::key(&scheduler, path);
            let alone = scheduler.busy == Busy::Parallel || self.runs(&key).is_empty();
            assert!(alone, "{key:?} is tested while it runs");
            let Some(owed) = self.pending.get_mut(&key) else { panic!("{key:?} is owed no run") };
            assert!(owed.due <= self.now && owed.asked.is_none(), "{key:?} is tested early");
            assert_eq!(owed.attempt, task.task.attempt);
            assert_eq!(owed.put_off.0 > 0 || owed.put_off.1 > Instant::ZERO, task.look.is_some());
            owed.asked = Some(probe.id);
            keys.push(key);
        }
        self.probes.insert(probe.id, (scheduler.name.to_string(), keys));
    }

    fn judge_start(&mut self, run: &Run) {
        let scheduler = self.plan.scheduler(run.scheduler).clone();
        assert!(!self.paused.contains(&*scheduler.name), "{} is paused", scheduler.name);
        assert!(!self.leaves_the_rest(), "it is another process's");
        let beside = self.running.values().filter(|it| it.scheduler == *scheduler.name).count();
        let asked = self.probes.values().filter(|it| it.0 == *scheduler.name).count();
        let most = scheduler.slots.get();
        assert!(beside + asked < most, "more runs than {} has slots", scheduler.name);
        let all = self.running.len() + self.probes.len();
        assert!(all < self.plan.slots.get(), "more runs than slots");
        let most = scheduler.batch.map_or(1, |it| it.max_items.get());
        assert!((1..=most).contains(&run.tasks.len()), "{} tasks in a run", run.tasks.len());
        let mut tasks = Vec::new();
        for task in &run.tasks {
            let path = str::from_utf8(&task.event.pathname).unwrap();
            let key = Self::key(&scheduler, path);
            let runs = self.runs(&key);
            let alone = scheduler.busy == Busy::Parallel || runs.is_empty();
            assert!(alone, "{key:?} runs already");
            let Some(owed) = self.pending.remove(&key) else { panic!("{key:?} is owed no run") };
            assert!(owed.due <= self.now, "{key:?} starts before {:?}", owed.due);
            let tested = scheduler.ready.is_empty() || self.passed.contains(&key);
            assert!(tested, "{key:?} starts untested");
            assert_eq!((owed.cookie, owed.attempt), (task.event.cookie, task.attempt));
            assert_eq!(owed.path, path);
            self.flags.remove(&key);
            tasks.push((owed.cookie, owed.path, key.1, owed.attempt, owed.first));
        }
        let Scheduler { timeout, kill_after, .. } = scheduler;
        let running = Running {
            scheduler: scheduler.name.to_string(),
            tasks,
            since: self.now,
            timeout,
            kill_after,
            asked: None,
            killed: false,
        };
        assert!(self.running.insert(run.id, running).is_none(), "two runs of one name");
    }
}

fn names(plan: &Plan) -> BTreeSet<String> {
    plan.schedulers.iter().map(|it| it.name.to_string()).collect()
}
