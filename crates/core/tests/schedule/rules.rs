//! The rules of the schedule, one sentence a test.

use std::{collections::BTreeSet, sync::Arc};

use pyinotifyd_core::{
    event::Event,
    plan::{Batch, BatchInput, Busy, Plan, Scheduler, SchedulerId},
    report::{CancelReason, Say},
    schedule::{Command, Counts, Schedule, TaskState},
    stamp::IndexId,
    task::{KeptState, KeptTask, OrderKind, Outcome, RunId, StopHow, TaskId},
};

use crate::setup::{at, breaker, count, event, ms, order, plan, retry, scheduler};

/// A schedule, the time, and what it said last.
struct Desk {
    schedule: Schedule,
    now: u64,
    cookie: u32,
    said: Vec<(Option<TaskId>, Say)>,
    starts: Vec<Start>,
    stops: Vec<(RunId, StopHow)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    run: RunId,
    scheduler: u16,
    /// Id, path, cookie, attempt.
    tasks: Vec<(TaskId, String, u32, u32)>,
}

impl Desk {
    fn new(slots: usize, schedulers: Vec<Scheduler>) -> Self {
        let schedule = Schedule::new(&plan(slots, schedulers), 1);
        let (said, starts, stops) = (Vec::new(), Vec::new(), Vec::new());
        Self { schedule, now: 0, cookie: 0, said, starts, stops }
    }

    fn one(change: impl FnOnce(&mut Scheduler)) -> Self {
        let mut only = scheduler("only");
        change(&mut only);
        Self::new(100, vec![only])
    }

    /// Takes what the schedule gives out; `starts`, `stops` and `said` are of this step alone.
    fn step(&mut self) {
        self.schedule.verify_invariants();
        (self.starts, self.stops, self.said) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(command) = self.schedule.poll_command() {
            match command {
                Command::Start(run) => self.starts.push(Start {
                    run: run.id,
                    scheduler: run.scheduler.0,
                    tasks: run
                        .tasks
                        .iter()
                        .map(|it| {
                            let path = String::from_utf8(it.event.pathname.to_vec()).unwrap();
                            (it.id, path, it.event.cookie, it.attempt)
                        })
                        .collect(),
                }),
                Command::Stop { run, how } => self.stops.push((run, how)),
                Command::Probe(probe) => panic!("no scheduler here is told to test: {probe:?}"),
            }
        }
        while let Some(report) = self.schedule.poll_report() {
            self.said.push((report.task, report.say));
        }
    }

    fn order(&mut self, scheduler: u16, path: &str) -> u32 {
        self.cookie += 1;
        let event = event(path, self.cookie);
        self.schedule.handle_order(at(self.now), order(OrderKind::Schedule, scheduler, event));
        self.step();
        self.cookie
    }

    fn cancel(&mut self, path: &str) {
        let order = order(OrderKind::Cancel, 0, event(path, 0));
        self.schedule.handle_order(at(self.now), order);
        self.step();
    }

    fn time(&mut self, now: u64) {
        self.now = now;
        self.schedule.handle_timeout(at(now));
        self.step();
    }

    fn end(&mut self, run: RunId, outcome: Outcome) {
        self.schedule.handle_ended(at(self.now), run, outcome);
        self.step();
    }

    fn done(&mut self, run: RunId) {
        self.end(run, Outcome::Done(None));
    }

    fn moved(&mut self, from: &str, to: &str, is_dir: bool) {
        self.schedule.handle_moved(from.as_bytes(), to.as_bytes(), is_dir, &|_| false);
        self.step();
    }

    fn reload(&mut self, plan: &Plan) {
        self.schedule.handle_plan(at(self.now), plan);
        self.step();
    }

    /// The only run of the last step.
    fn started(&self) -> RunId {
        assert_eq!(self.starts.len(), 1, "{:?}", self.starts);
        self.starts[0].run
    }

    fn started_paths(&self) -> Vec<&str> {
        self.starts.iter().flat_map(|it| &it.tasks).map(|it| it.1.as_str()).collect()
    }

    fn says(&self) -> Vec<&Say> {
        self.said.iter().map(|(_, say)| say).collect()
    }

    fn counts(&self) -> [usize; 3] {
        let Counts { waiting, ready, running, .. } = self.schedule.counts();
        [waiting, ready, running]
    }

    fn due(&self) -> Option<u64> {
        self.schedule.poll_timeout().map(|it| it.as_nanos() / 1_000_000)
    }
}

fn failed() -> Outcome {
    Outcome::Failed("no".into())
}

#[test]
fn without_a_delay_an_order_starts_at_once_and_nothing_says_that_it_waits() {
    let mut desk = Desk::one(|_| ());
    desk.order(0, "/f");
    let run = desk.started();
    assert!(matches!(desk.says()[..], [Say::Started { attempt: 1, batch: 1, .. }]));
    desk.done(run);
    assert!(matches!(desk.says()[..], [Say::Ended { outcome: Outcome::Done(None), .. }]));
    assert!(desk.schedule.is_empty());
}

#[test]
fn an_event_during_the_delay_puts_the_task_off_and_keeps_its_id() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.order(0, "/f");
    let id = desk.said[0].0.unwrap();
    assert!(matches!(desk.says()[..], [Say::Scheduled { delay, .. }] if *delay == ms(10)));
    desk.time(7);
    let last = desk.order(0, "/f");
    assert!(matches!(desk.says()[..], [Say::Rescheduled { delay, .. }] if *delay == ms(10)));
    desk.time(16);
    assert!(desk.starts.is_empty());
    desk.time(17);
    assert_eq!(desk.starts[0].tasks, [(id, "/f".into(), last, 1)]);
}

#[test]
fn events_with_the_same_subject_of_their_own_are_about_one_task() {
    let mut desk = Desk::one(|it| (it.delay, it.follow) = (ms(10), false));
    let about = |path: &str, subject: &str| {
        Arc::new(Event {
            subject: Some(subject.as_bytes().into()),
            ..Event::clone(&event(path, 7))
        })
    };
    let mut ask = |kind, event| {
        desk.schedule.handle_order(at(0), order(kind, 0, event));
        desk.step();
        desk.counts()
    };
    assert_eq!(ask(OrderKind::Schedule, about("/f", "one")), [1, 0, 0]);
    assert_eq!(ask(OrderKind::Schedule, about("/g", "one")), [1, 0, 0]);
    assert_eq!(ask(OrderKind::Schedule, about("/g", "two")), [2, 0, 0]);
    assert_eq!(ask(OrderKind::Schedule, event("/g", 7)), [3, 0, 0], "by its path, as ever");
    assert_eq!(ask(OrderKind::Cancel, about("/elsewhere", "two")), [2, 0, 0]);
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/g", "/g"], "the last event of each");
    for run in [1, 2].map(RunId) {
        desk.done(run);
    }
    assert!(desk.schedule.is_empty());
}

#[test]
fn max_wait_bounds_how_long_events_can_put_a_task_off() {
    let mut desk = Desk::one(|it| (it.delay, it.max_wait) = (ms(10), Some(ms(25))));
    for now in [0, 8, 16, 24] {
        desk.time(now);
        desk.order(0, "/f");
        assert!(desk.starts.is_empty());
    }
    assert_eq!(desk.due(), Some(25));
    desk.time(25);
    assert_eq!(desk.starts[0].tasks[0].2, 4, "the last event");
    desk.time(30);
    desk.order(0, "/g");
    assert_eq!(desk.due(), Some(40), "the next task's bound counts from its own first event");
}

#[test]
fn a_cancel_ends_a_task_that_has_not_started() {
    let mut desk = Desk::one(|it| (it.delay, it.slots) = (ms(10), count(1)));
    desk.order(0, "/waiting");
    desk.cancel("/waiting");
    let [Say::Cancelled { why: CancelReason::Event(_), .. }] = desk.says()[..] else { panic!() };
    assert!(desk.schedule.is_empty());

    desk.order(0, "/runs");
    desk.order(0, "/ready");
    desk.time(10);
    desk.order(0, "/runs");
    desk.time(20);
    assert_eq!(desk.counts(), [1, 1, 1], "one is held, one is ready, one runs");
    desk.cancel("/ready");
    desk.cancel("/runs");
    assert!(matches!(desk.says()[..], [Say::Cancelled { .. }]));
    assert_eq!(desk.counts(), [0, 0, 1]);
    desk.cancel("/nothing");
    assert!(desk.said.is_empty());
}

#[test]
fn a_cancel_does_not_touch_a_run_but_it_is_not_tried_again() {
    let mut desk = Desk::one(|it| it.retry = retry(5, 1));
    desk.order(0, "/f");
    let run = desk.started();
    desk.cancel("/f");
    assert!(matches!(desk.says()[..], [Say::CancelTooLate { .. }]));
    assert!(desk.stops.is_empty());
    desk.end(run, failed());
    assert!(matches!(desk.says()[..], [Say::Ended { .. }]));
    assert!(desk.schedule.is_empty());
}

#[test]
fn busy_again_runs_once_more_however_many_events_came() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.order(0, "/f");
    desk.time(10);
    let run = desk.started();
    desk.order(0, "/f");
    assert!(matches!(desk.says()[..], [Say::RunsAgain { .. }]));
    let last = desk.order(0, "/f");
    desk.time(50);
    assert!(desk.starts.is_empty(), "not beside the run");
    desk.done(run);
    assert_eq!(desk.starts[0].tasks[0].2, last, "its delay was over before the run was");
    let run = desk.started();
    desk.time(55);
    desk.order(0, "/f");
    desk.done(run);
    assert!(desk.starts.is_empty(), "the run is over before the delay is");
    desk.time(65);
    let run = desk.started();
    desk.done(run);
    assert!(desk.schedule.is_empty());
}

#[test]
fn busy_skip_drops_the_event_with_a_warning() {
    let mut desk = Desk::one(|it| it.busy = Busy::Skip);
    desk.order(0, "/f");
    let (run, id) = (desk.started(), desk.starts[0].tasks[0].0);
    desk.order(0, "/f");
    assert!(matches!(&desk.said[..], [(Some(task), Say::SkippedBusy { .. })] if *task == id));
    desk.done(run);
    assert!(desk.schedule.is_empty());
    desk.order(0, "/f");
    desk.started();
}

#[test]
fn busy_parallel_starts_another_run_beside() {
    let mut desk = Desk::one(|it| (it.busy, it.slots) = (Busy::Parallel, count(2)));
    desk.order(0, "/f");
    let first = desk.started();
    desk.order(0, "/f");
    let second = desk.started();
    desk.order(0, "/f");
    let last = desk.order(0, "/f");
    assert_eq!(desk.counts(), [0, 1, 2], "without a slot, one waits");
    desk.done(first);
    assert_eq!(desk.starts[0].tasks[0].2, last);
    let third = desk.started();
    desk.done(second);
    desk.done(third);
    assert!(desk.schedule.is_empty());
}

#[test]
fn without_a_limit_each_order_has_its_run_and_takes_no_slot() {
    let mut each = scheduler("each");
    (each.busy, each.slots) = (Busy::Parallel, Scheduler::UNLIMITED);
    let mut desk = Desk::new(1, vec![each, scheduler("other")]);
    let mut runs = Vec::new();
    for _ in 0..200 {
        let cookie = desk.order(0, "/f");
        assert_eq!(desk.starts[0].tasks[0].2, cookie, "at once, and none is merged");
        runs.push(desk.started());
    }
    desk.order(1, "/f");
    runs.push(desk.started());
    desk.order(1, "/g");
    assert!(desk.starts.is_empty(), "the only slot is taken now");
    desk.order(0, "/f");
    runs.push(desk.started());
    let last = runs.pop().unwrap();
    for run in runs {
        desk.done(run);
    }
    desk.done(last);
    desk.done(RunId(203));
    assert!(desk.schedule.is_empty());
}

#[test]
fn busy_restart_stops_the_run_once_and_starts_anew_after_its_end_and_the_delay() {
    let mut desk =
        Desk::one(|it| (it.busy, it.delay, it.retry) = (Busy::Restart, ms(10), retry(9, 1)));
    desk.order(0, "/f");
    desk.time(10);
    let run = desk.started();
    desk.order(0, "/f");
    assert_eq!(desk.stops, [(run, StopHow::Term)]);
    desk.time(15);
    let last = desk.order(0, "/f");
    assert!(desk.stops.is_empty());
    desk.end(run, Outcome::Signalled(15, String::new()));
    assert!(desk.starts.is_empty(), "the delay is not over");
    desk.time(24);
    assert!(desk.starts.is_empty());
    desk.time(25);
    assert_eq!(desk.starts[0].tasks[0].2, last);
    assert_eq!(desk.starts[0].tasks[0].3, 1);
}

#[test]
fn a_cancel_after_a_restart_leaves_nothing_to_do() {
    let mut desk = Desk::one(|it| (it.busy, it.retry) = (Busy::Restart, retry(9, 1)));
    desk.order(0, "/f");
    let run = desk.started();
    desk.order(0, "/f");
    desk.cancel("/f");
    desk.end(run, Outcome::Stopped);
    assert!(desk.starts.is_empty());
    assert!(desk.schedule.is_empty());
}

#[test]
fn a_restart_in_a_batch_puts_the_others_back() {
    let mut desk = Desk::one(|it| {
        (it.busy, it.delay) = (Busy::Restart, ms(10));
        it.batch = Some(Batch { max_items: count(9), input: BatchInput::Args });
    });
    desk.order(0, "/f");
    desk.order(0, "/g");
    desk.time(10);
    let (run, g) = (desk.started(), desk.starts[0].tasks[1].clone());
    desk.order(0, "/f");
    assert_eq!(desk.stops, [(run, StopHow::Term)]);
    desk.end(run, Outcome::Stopped);
    assert_eq!(desk.starts[0].tasks, [g], "at once, as the same task and attempt");
    desk.time(20);
    assert_eq!(desk.started_paths(), ["/f"]);
}

#[test]
fn what_gets_no_slot_starts_in_the_order_of_becoming_ready() {
    let mut desk = Desk::one(|it| it.slots = count(1));
    for path in ["/1", "/2", "/3", "/4"] {
        desk.order(0, path);
    }
    desk.cancel("/3");
    desk.order(0, "/2");
    let mut run = RunId(1);
    for path in ["/2", "/4"] {
        desk.done(run);
        assert_eq!(desk.started_paths(), [path], "an event for a ready task keeps its place");
        run = desk.started();
    }
}

#[test]
fn an_event_for_a_ready_task_starts_its_delay_anew() {
    let mut desk = Desk::one(|it| (it.slots, it.delay) = (count(1), ms(10)));
    desk.order(0, "/1");
    desk.order(0, "/2");
    desk.time(10);
    let run = desk.started();
    desk.order(0, "/2");
    desk.done(run);
    assert!(desk.starts.is_empty(), "/2 is still being written");
    desk.time(20);
    assert_eq!(desk.started_paths(), ["/2"]);
}

#[test]
fn a_scheduler_with_free_slots_does_not_wait_for_one_that_is_full() {
    let mut full = scheduler("full");
    full.slots = count(1);
    let mut desk = Desk::new(3, vec![full, scheduler("free")]);
    for path in ["/1", "/2", "/3"] {
        desk.order(0, path);
    }
    desk.order(1, "/x");
    assert_eq!(desk.started_paths(), ["/x"]);
}

#[test]
fn schedulers_take_turns_when_all_slots_are_taken() {
    let mut desk = Desk::new(1, vec![scheduler("flood"), scheduler("other")]);
    for path in ["/1", "/2", "/3", "/4"] {
        desk.order(0, path);
    }
    desk.order(1, "/x");
    let mut started = Vec::new();
    for run in 1..=4 {
        desk.done(RunId(run));
        started.push(desk.started_paths()[0].to_owned());
    }
    assert_eq!(started, ["/2", "/x", "/3", "/4"]);
}

#[test]
fn a_run_that_times_out_is_stopped_then_killed_then_tried_again() {
    let mut desk = Desk::one(|it| {
        (it.timeout, it.kill_after, it.retry) = (Some(ms(20)), ms(5), retry(2, 30));
    });
    desk.order(0, "/f");
    let (run, id) = (desk.started(), desk.starts[0].tasks[0].0);
    desk.time(19);
    assert!(desk.said.is_empty());
    desk.time(20);
    assert_eq!(desk.stops, [(run, StopHow::Term)]);
    assert!(matches!(desk.says()[..], [Say::TimedOut { timeout, .. }] if *timeout == ms(20)));
    desk.time(25);
    assert_eq!(desk.stops, [(run, StopHow::Kill)]);
    assert!(matches!(desk.says()[..], [Say::Kills { kill_after, .. }] if *kill_after == ms(5)));
    assert_eq!(desk.due(), None);
    desk.end(run, Outcome::Stopped);
    let [Say::Retries { outcome, attempt: 1, tries: 2, delay, .. }] = desk.says()[..] else {
        panic!("{:?}", desk.said)
    };
    assert_eq!((outcome.to_string().as_str(), *delay), ("timed out after 20ms", ms(30)));
    desk.time(55);
    let task = &desk.starts[0].tasks[0];
    assert_eq!((task.0, task.3), (id, 2));
    let run = desk.started();
    desk.end(run, Outcome::Exited(1, String::new()));
    assert!(matches!(desk.says()[..], [Say::Ended { .. }]), "two tries are two tries");
    assert!(desk.schedule.is_empty());
}

#[test]
fn retries_back_off_and_what_is_refused_is_not_tried_again() {
    let mut desk = Desk::one(|it| it.retry = retry(9, 10));
    desk.order(0, "/f");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let run = desk.started();
        desk.end(run, failed());
        let due = desk.due().unwrap();
        waits.push(due - desk.now);
        desk.time(due);
    }
    assert_eq!(waits, [10, 20, 30, 30]);
    let run = desk.started();
    desk.end(run, Outcome::Refused("never".into()));
    assert!(desk.schedule.is_empty());
}

#[test]
fn an_event_while_a_retry_waits_makes_a_fresh_task() {
    let mut desk = Desk::one(|it| (it.retry, it.delay) = (retry(3, 50), ms(10)));
    desk.order(0, "/f");
    desk.time(10);
    let (run, id) = (desk.started(), desk.starts[0].tasks[0].0);
    desk.end(run, failed());
    desk.time(15);
    let last = desk.order(0, "/f");
    let [Say::Cancelled { why: CancelReason::Superseded, .. }, Say::Scheduled { .. }] =
        desk.says()[..]
    else {
        panic!("{:?}", desk.said)
    };
    desk.time(25);
    let task = &desk.starts[0].tasks[0];
    assert_ne!(task.0, id);
    assert_eq!((task.2, task.3), (last, 1));
}

#[test]
fn a_cancel_ends_a_retry() {
    let mut desk = Desk::one(|it| it.retry = retry(3, 50));
    desk.order(0, "/f");
    let run = desk.started();
    desk.end(run, failed());
    desk.cancel("/f");
    assert!(desk.schedule.is_empty());
}

#[test]
fn a_task_that_triggers_itself_rests_then_runs_once() {
    let mut desk = Desk::one(|it| it.breaker = Some(breaker(3, 5, 100)));
    desk.order(0, "/f");
    for _ in 0..2 {
        let run = desk.started();
        desk.order(0, "/f");
        assert!(desk.starts.is_empty());
        desk.done(run);
    }
    let run = desk.started();
    desk.done(run);
    desk.time(5);
    desk.order(0, "/f");
    let Say::BreakerTripped { runs: 3, rest, .. } = desk.says()[0] else { panic!() };
    assert_eq!(*rest, ms(100));
    desk.order(0, "/f");
    assert!(!desk.says().iter().any(|it| matches!(it, Say::BreakerTripped { .. })), "said once");
    desk.time(104);
    assert!(desk.starts.is_empty());
    desk.time(105);
    let run = desk.started();
    desk.order(0, "/f");
    assert!(matches!(desk.says()[0], Say::BreakerTripped { .. }), "and it does so again");
    desk.done(run);
    desk.time(205);
    let run = desk.started();
    desk.done(run);
    desk.time(211);
    assert!(desk.schedule.is_empty(), "the breaker has forgotten");
}

#[test]
fn an_order_from_outside_ends_a_streak() {
    let mut desk = Desk::one(|it| it.breaker = Some(breaker(2, 5, 100)));
    for round in 0..5 {
        desk.time(round * 6);
        desk.order(0, "/f");
        let run = desk.started();
        desk.done(run);
    }
    desk.order(0, "/f");
    let run = desk.started();
    desk.done(run);
    desk.order(0, "/f");
    assert!(matches!(desk.says()[0], Say::BreakerTripped { runs: 2, .. }));
}

#[test]
fn what_is_ready_together_runs_together() {
    let mut desk = Desk::one(|it| {
        (it.delay, it.slots) = (ms(10), count(1));
        it.batch = Some(Batch { max_items: count(2), input: BatchInput::Stdin });
        it.retry = retry(2, 5);
    });
    for path in ["/1", "/2", "/3"] {
        desk.order(0, path);
    }
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/1", "/2"]);
    assert!(matches!(desk.says()[..], [Say::Started { batch: 2, .. }]));
    assert_eq!(desk.schedule.counts_of(SchedulerId(0)).running, 2);
    let run = desk.started();
    desk.end(run, failed());
    assert_eq!(desk.says().iter().filter(|it| matches!(it, Say::Retries { .. })).count(), 2);
    assert_eq!(desk.started_paths(), ["/3"]);
}

#[test]
fn a_scheduler_of_one_job_has_one_task_with_the_last_event() {
    let mut desk = Desk::one(|it| (it.singlejob, it.delay) = (true, ms(10)));
    desk.order(0, "/a/1");
    desk.order(0, "/b/2");
    desk.moved("/b", "/c", true);
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/c/2"]);
    let run = desk.started();
    desk.order(0, "/d");
    desk.done(run);
    assert_eq!(desk.counts(), [1, 0, 0]);
}

#[test]
fn a_waiting_task_follows_its_file_and_its_directory() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    let cookie = desk.order(0, "/a/b/f");
    let id = desk.said[0].0;
    desk.order(0, "/a!/f");
    desk.order(0, "/ab/f");
    desk.moved("/a/b/f", "/a/b/longer", false);
    desk.moved("/a", "/z", true);
    let (from, to) = (b"/a/b/longer"[..].into(), b"/z/b/longer"[..].into());
    assert_eq!(desk.said, [(id, Say::Followed { from, to })]);
    desk.moved("/z", "/y", false);
    assert!(desk.said.is_empty(), "a file that is renamed has nothing below it");
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/z/b/longer", "/a!/f", "/ab/f"]);
    assert_eq!(Some(desk.starts[0].tasks[0].0), id);
    assert_eq!(desk.starts[0].tasks[0].2, cookie);
}

#[test]
fn a_followed_event_keeps_its_name_and_its_root_right() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.order(0, "/a/f");
    desk.moved("/a/f", "/a/much-longer", false);
    let event = desk.schedule.tasks().next().unwrap().event;
    assert_eq!((event.name(), event.path()), (&b"much-longer"[..], &b"/a"[..]));
    assert_eq!(event.root_len, 1);
}

#[test]
fn a_rename_that_the_event_map_speaks_of_is_left_to_it() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.order(0, "/f");
    desk.schedule.handle_moved(b"/f", b"/g", false, &|it| it == SchedulerId(0));
    desk.step();
    assert!(desk.said.is_empty());
    let mut stays = Desk::one(|it| (it.delay, it.follow) = (ms(10), false));
    stays.order(0, "/f");
    stays.moved("/f", "/g", false);
    stays.time(10);
    assert_eq!(stays.started_paths(), ["/f"]);
}

#[test]
fn two_tasks_that_become_one_leave_the_later() {
    for (first, second) in [("/f", "/g"), ("/g", "/f")] {
        let mut desk = Desk::one(|it| it.delay = ms(10));
        desk.order(0, first);
        desk.time(5);
        let last = desk.order(0, second);
        desk.moved("/f", "/g", false);
        assert_eq!(desk.counts(), [1, 0, 0]);
        desk.time(10);
        assert!(desk.starts.is_empty());
        desk.time(15);
        assert_eq!((desk.started_paths(), desk.starts[0].tasks[0].2), (vec!["/g"], last));
    }
}

#[test]
fn a_run_is_about_its_file_under_the_new_name_too() {
    let mut desk = Desk::one(|it| it.retry = retry(2, 10));
    desk.order(0, "/d/f");
    let run = desk.started();
    desk.order(0, "/d/f");
    desk.moved("/d", "/e", true);
    desk.order(0, "/e/f");
    assert!(desk.starts.is_empty(), "the file's run goes on");
    desk.order(0, "/d/f");
    let other = desk.started();
    desk.end(other, failed());
    desk.cancel("/e/f");
    desk.end(run, Outcome::Done(None));
    assert!(desk.starts.is_empty());
    desk.moved("/d/f", "/x", false);
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/x"], "a retry follows");
}

#[test]
fn a_retry_gets_the_path_that_its_file_got_while_it_ran() {
    let mut desk = Desk::one(|it| it.retry = retry(2, 10));
    desk.order(0, "/d/f");
    let run = desk.started();
    desk.moved("/d", "/e", true);
    desk.end(run, failed());
    desk.time(10);
    assert_eq!(desk.started_paths(), ["/e/f"]);
}

#[test]
fn a_reload_keeps_what_it_can_and_says_what_it_gives_up() {
    let mut kept = scheduler("kept");
    (kept.delay, kept.kill_after) = (ms(10), ms(5));
    let mut gone = scheduler("gone");
    (gone.timeout, gone.kill_after, gone.retry) = (Some(ms(20)), ms(5), retry(5, 1));
    let mut desk = Desk::new(100, vec![gone, kept.clone()]);
    desk.order(1, "/f");
    let id = desk.said[0].0;
    desk.order(0, "/g");
    let run = desk.started();
    desk.order(0, "/g");

    kept.delay = ms(1000);
    desk.reload(&plan(100, vec![kept]));
    let [Say::Cancelled { why: CancelReason::SchedulerGone, .. }] = desk.says()[..] else {
        panic!("{:?}", desk.said)
    };
    desk.time(10);
    assert_eq!(Some(desk.starts[0].tasks[0].0), id, "due as before");
    assert_eq!(desk.starts[0].scheduler, 0, "under its new number");
    desk.time(20);
    assert_eq!(desk.stops, [(run, StopHow::Term)], "what was promised to a run is kept");
    desk.time(25);
    assert_eq!(desk.stops, [(run, StopHow::Kill)]);
    desk.end(run, Outcome::Stopped);
    assert!(matches!(desk.says()[..], [Say::Ended { .. }]), "not tried again");
    desk.order(0, "/h");
    assert_eq!(desk.due(), Some(1025), "the new delay is for later orders");
}

#[test]
fn more_slots_after_a_reload_are_used_at_once() {
    let mut only = scheduler("only");
    only.slots = count(1);
    let mut desk = Desk::new(100, vec![only.clone()]);
    for path in ["/1", "/2", "/3"] {
        desk.order(0, path);
    }
    only.slots = count(2);
    desk.reload(&plan(100, vec![only]));
    assert_eq!(desk.started_paths(), ["/2"]);
}

#[test]
fn a_scheduler_that_becomes_one_of_one_job_merges_its_tasks() {
    let mut only = scheduler("only");
    only.delay = ms(10);
    let mut desk = Desk::new(100, vec![only.clone()]);
    for (now, path) in [(0, "/1"), (1, "/3"), (2, "/2")] {
        desk.time(now);
        desk.order(0, path);
    }
    only.singlejob = true;
    desk.reload(&plan(100, vec![only.clone()]));
    assert_eq!(desk.counts(), [1, 0, 0]);
    only.singlejob = false;
    desk.reload(&plan(100, vec![only]));
    desk.time(12);
    assert_eq!(desk.started_paths(), ["/2"]);
}

#[test]
fn a_stop_takes_no_more_orders_and_lets_tasks_run_out() {
    let mut desk = Desk::one(|it| (it.delay, it.retry) = (ms(10), retry(5, 1000)));
    desk.order(0, "/fails");
    desk.time(10);
    let run = desk.started();
    desk.end(run, failed());
    desk.order(0, "/waits");
    desk.schedule.handle_stop(at(15));
    desk.step();
    let [Say::Cancelled { why: CancelReason::Shutdown, .. }] = desk.says()[..] else {
        panic!("a retry is not waited for: {:?}", desk.said)
    };
    desk.order(0, "/late");
    desk.order(0, "/waits");
    assert!(desk.said.is_empty());
    assert!(!desk.schedule.is_idle());
    desk.time(20);
    assert_eq!(desk.started_paths(), ["/waits"]);
    let run = desk.started();
    desk.end(run, failed());
    assert!(desk.schedule.is_idle(), "no more retries");
}

#[test]
fn when_the_wait_is_over_tasks_are_given_up_and_runs_are_ended() {
    let mut desk = Desk::one(|it| (it.slots, it.kill_after) = (count(1), ms(5)));
    desk.order(0, "/runs");
    let run = desk.started();
    desk.order(0, "/ready");
    desk.schedule.handle_stop(at(0));
    desk.schedule.handle_give_up(at(10));
    desk.step();
    assert!(matches!(desk.says()[..], [Say::Cancelled { why: CancelReason::Shutdown, .. }]));
    assert_eq!(desk.stops, [(run, StopHow::Term)]);
    desk.time(15);
    assert_eq!(desk.stops, [(run, StopHow::Kill)]);
    desk.end(run, Outcome::Signalled(9, String::new()));
    assert!(desk.schedule.is_empty());
}

#[test]
fn people_can_start_a_task_early_or_give_it_up() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.order(0, "/f");
    desk.order(0, "/g");
    let ids: Vec<TaskId> = desk.schedule.tasks().map(|it| it.id).collect();
    assert!(desk.schedule.handle_run_now(at(1), ids[0]));
    desk.step();
    assert_eq!(desk.started_paths(), ["/f"]);
    assert!(desk.schedule.handle_cancel(ids[1]));
    desk.step();
    assert!(matches!(desk.says()[..], [Say::Cancelled { why: CancelReason::Command, .. }]));
    assert!(!desk.schedule.handle_cancel(ids[0]), "it runs");
    let view = desk.schedule.tasks().next().unwrap();
    assert!(matches!(view.state, TaskState::Running { since, .. } if since == at(1)));
}

#[test]
fn task_ids_differ_and_follow_from_the_seed() {
    let ids = |seed| {
        let mut only = scheduler("only");
        only.delay = ms(10);
        let mut schedule = Schedule::new(&plan(1, vec![only]), seed);
        for task in 0..1000 {
            let order = order(OrderKind::Schedule, 0, event(&format!("/{task}"), 0));
            schedule.handle_order(at(0), order);
        }
        schedule.tasks().map(|it| it.id).collect::<BTreeSet<TaskId>>()
    };
    assert_eq!(ids(1).len(), 1000);
    assert_eq!(ids(1), ids(1));
    assert!(ids(1).is_disjoint(&ids(2)));
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.time(100);
    desk.order(0, "/f");
    desk.time(50);
    desk.order(0, "/g");
    desk.time(110);
    assert_eq!(desk.started_paths(), ["/f", "/g"]);
}

#[test]
fn what_was_kept_waits_no_longer_than_its_delay_whatever_the_clock_says_now() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    desk.time(100);
    let years = 1 << 40;
    for (id, path, due) in [(1, "/past", 0), (2, "/soon", 105), (3, "/far", years)] {
        let kept = KeptTask {
            id: TaskId(id),
            scheduler: "only".into(),
            event: event(path, 0),
            attempt: 1,
            first: at(0),
            dir: IndexId::NONE,
            state: KeptState::Pending { due: at(due) },
            leader: None,
        };
        assert!(desk.schedule.handle_restored(at(100), kept));
    }
    desk.schedule.handle_release(at(100));
    desk.step();
    assert_eq!((desk.started_paths(), desk.due()), (vec!["/past"], Some(105)));
    desk.time(105);
    assert_eq!((desk.started_paths(), desk.due()), (vec!["/soon"], Some(110)));
    desk.time(110);
    assert_eq!((desk.started_paths(), desk.due()), (vec!["/far"], None));
}

#[test]
fn a_thousand_renames_of_a_full_directory_keep_every_task() {
    let mut desk = Desk::one(|it| it.delay = ms(10));
    for file in 0..300 {
        desk.order(0, &format!("/a/{}/{file}", file % 7));
    }
    for (from, to) in [("/a", "/b"), ("/b", "/a")].into_iter().cycle().take(100) {
        desk.moved(from, to, true);
        assert_eq!(desk.said.len(), 300);
    }
    desk.time(10);
    let paths: BTreeSet<&str> = desk.started_paths().into_iter().collect();
    assert_eq!((paths.len(), desk.counts()), (100, [0, 200, 100]));
}
