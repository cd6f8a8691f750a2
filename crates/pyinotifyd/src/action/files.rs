//! Runs of file rules.
//!
//! Which rule applies and where a file goes was decided before, by the path alone: that is a
//! [`FilePlan`]. Here it is carried out by
//! [`pyinotifyd_sys::files`], on a thread of its own for each run, since a file system may take
//! its time; and what came of it is put into words.
//!
//! ```text
//!  start ── no rule matches, or it cannot apply ───────────────────────┐
//!    └───── thread: one task after the other ── moved, copied, … ──────┼── Outcome
//!                     └── stop: ends at the next safe point ───────────┘
//! ```
//!
//! * A source that is gone is no failure: somebody else was faster, or an earlier attempt was.
//! * A failure that may pass by itself is [`Outcome::Failed`], and tried again if the scheduler
//!   says so. All others are [`Outcome::Refused`].
//! * What was done in spite of a stop is [`Outcome::Done`]: a rename cannot be half a one.

pub(super) mod pool;
#[cfg(test)]
mod tests;
pub(super) mod words;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pyinotifyd_core::{
    filerule::{Destination, FileAction, FilePlan},
    path,
    plan::Level,
    task::{Outcome, Run, RunId, RunTask},
};
use pyinotifyd_sys::files::{self as sys, Done, Fault, FileError, How, Options, Place};
use tokio::sync::mpsc::UnboundedSender;

use self::pool::{IDLE, Pool};
use super::{
    Planned,
    command::errors,
    hosted::is_call,
    message::{Line, Say},
};

/// What there was no descriptor or memory for is tried again after this.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// And so often, for a minute: a file system can say so too, whatever it means by it.
const ROOM_TRIES: usize = 600;

/// The runs of file rules that go on. Dropped, they are asked to end.
pub(crate) struct Files {
    pool: Pool,
    shared: Arc<Shared>,
}

struct Shared {
    say: Say,
    done: UnboundedSender<(RunId, Outcome)>,
    running: Mutex<BTreeMap<RunId, Arc<Flow>>>,
}

/// What is known of a run from outside, and said to it.
struct Flow {
    /// The subject; that of the first task of a batch.
    path: Arc<[u8]>,
    since: Instant,
    /// Whether it is about one file, so that what it begins with is all that there is.
    is_one_file: bool,
    /// Asks it to end.
    cancel: AtomicBool,
    /// How far it is.
    progress: sys::Progress,
}

/// A run that copies.
#[derive(Clone, Debug)]
pub(crate) struct Copying {
    /// Which it is.
    pub(crate) run: RunId,
    /// The subject; that of the first task of a batch.
    pub(crate) path: Arc<[u8]>,
    /// When it began.
    pub(crate) since: Instant,
    /// How many bytes it has copied.
    pub(crate) bytes: u64,
    /// How many there are in all, if that is known.
    pub(crate) of: Option<u64>,
}

impl Flow {
    fn of(tasks: &[RunTask]) -> Self {
        let subject = tasks.first().map(|it| &it.event);
        Self {
            path: subject.map(|it| Arc::clone(&it.pathname)).unwrap_or_default(),
            since: Instant::now(),
            is_one_file: tasks.len() == 1 && subject.is_some_and(|it| !it.is_dir),
            cancel: AtomicBool::new(false),
            progress: sys::Progress::default(),
        }
    }

    /// What it copies, if it has copied anything.
    fn copying(&self, run: RunId) -> Option<Copying> {
        let read = |it: &AtomicU64| Some(it.load(Ordering::Relaxed)).filter(|it| *it > 0);
        let bytes = read(&self.progress.copied)?;
        let of = read(&self.progress.begun).filter(|_| self.is_one_file);
        Some(Copying { run, path: Arc::clone(&self.path), since: self.since, bytes, of })
    }
}

impl Files {
    /// Outcomes go to `done`, what is said of the single tasks of a batch to `say`.
    pub(crate) fn new(say: Say, done: UnboundedSender<(RunId, Outcome)>) -> Self {
        let shared = Shared { say, done, running: Mutex::default() };
        Self { pool: Pool::new(IDLE), shared: Arc::new(shared) }
    }

    /// Starts a run; `plans` are those of its tasks, in their order.
    pub(crate) fn start(&self, run: Run, logname: &Arc<str>, plans: Vec<Planned>) {
        let id = run.id;
        let flow = Arc::new(Flow::of(&run.tasks));
        self.shared.running().insert(id, Arc::clone(&flow));
        if run.tasks.len() != plans.len() {
            let text = "the file rules were not asked about each of its paths";
            return self.shared.finish(id, Outcome::Refused(text.into()));
        }
        let ticket = Ticket { run: id, shared: Arc::clone(&self.shared) };
        let work = Work { run, plans, logname: Arc::clone(logname), flow };
        if work.plans.iter().all(|plan| !matches!(plan, Ok(Some(_)))) {
            return ticket.finish(work.carry_out(&self.shared.say));
        }
        let job = move || {
            let outcome = work.carry_out(&ticket.shared.say);
            ticket.finish(outcome);
        };
        if let Err(refused) = self.pool.run(job) {
            let why = errors::words(&refused.error);
            let text = format!("cannot start a thread for its file action: {why}");
            self.shared.finish(id, Outcome::Failed(text));
        }
    }

    /// Asks a run to end. One that has ended, or was never started, is none of this.
    pub(crate) fn stop(&self, run: RunId) {
        if let Some(flow) = self.shared.running().get(&run) {
            flow.cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Whether no run goes on.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.running().is_empty()
    }

    /// How far those are that copy.
    pub(crate) fn copies(&self) -> Vec<Copying> {
        self.shared.running().iter().filter_map(|(run, flow)| flow.copying(*run)).collect()
    }

    /// How many runs have not ended.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.shared.running().len()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for flow in self.shared.running().values() {
            flow.cancel.store(true, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<Flow>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a run's outcome, unless it was told before.
    fn finish(&self, run: RunId, outcome: Outcome) {
        if self.running().remove(&run).is_some() {
            // Nobody listens when the daemon has stopped.
            let _ = self.done.send((run, outcome));
        }
    }
}

/// The promise that a run's outcome is told, whatever happens to the thread that works on it.
struct Ticket {
    run: RunId,
    shared: Arc<Shared>,
}

impl Ticket {
    fn finish(&self, outcome: Outcome) {
        self.shared.finish(self.run, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let text = "the thread of its file action has ended before its time";
        self.finish(Outcome::Failed(text.into()));
    }
}

/// All that a run needs.
struct Work {
    run: Run,
    plans: Vec<Planned>,
    logname: Arc<str>,
    flow: Arc<Flow>,
}

impl Work {
    fn carry_out(&self, say: &Say) -> Outcome {
        if let ([task], [plan]) = (&self.run.tasks[..], &self.plans[..]) {
            return apply(plan, task, is_call(self.run.id), &self.flow);
        }
        self.carry_out_batch(say)
    }

    /// One failure does not keep the others from being done, since they are about other paths.
    /// Each is said by itself, because the outcome is one for all.
    fn carry_out_batch(&self, say: &Say) -> Outcome {
        let (mut failed, mut worst) = (0, Outcome::Done(None));
        for (task, plan) in self.run.tasks.iter().zip(&self.plans) {
            let outcome = apply(plan, task, is_call(self.run.id), &self.flow);
            let level = match &outcome {
                Outcome::Done(_) => Level::Info,
                Outcome::Stopped => return outcome,
                Outcome::Failed(_)
                | Outcome::Refused(_)
                | Outcome::Exited(..)
                | Outcome::Signalled(..) => Level::Error,
            };
            say(&Line { level, logname: &self.logname, task, message: &outcome });
            if outcome.is_done() {
                continue;
            }
            failed += 1;
            // What may pass is worth another attempt, even if the rest is not.
            let may_pass = matches!(outcome, Outcome::Failed(_));
            if worst.is_done() || may_pass && !matches!(worst, Outcome::Failed(_)) {
                worst = outcome;
            }
        }
        let count = |text: String| format!("{failed} of {} failed: {text}", self.plans.len());
        match worst {
            Outcome::Failed(text) => Outcome::Failed(count(text)),
            Outcome::Refused(text) => Outcome::Refused(count(text)),
            outcome @ (Outcome::Done(_)
            | Outcome::Stopped
            | Outcome::Exited(..)
            | Outcome::Signalled(..)) => outcome,
        }
    }
}

/// Does what the rules say about one task.
fn apply(plan: &Planned, task: &RunTask, is_call: bool, flow: &Flow) -> Outcome {
    match plan {
        Ok(None) => Outcome::Done(Some(words::NO_RULE.into())),
        Err(error) => Outcome::Refused(error.to_string()),
        Ok(Some(_)) if flow.cancel.load(Ordering::Relaxed) => Outcome::Stopped,
        Ok(Some(plan)) => outcome(plan, task.event.is_dir, try_plan(plan, task, is_call, flow)),
    }
}

/// A task is not lost because the process is full.
fn try_plan(
    plan: &FilePlan,
    task: &RunTask,
    is_call: bool,
    flow: &Flow,
) -> Result<Done, FileError> {
    let mut result = apply_plan(plan, task, is_call, task.attempt > 1, flow);
    for tried in 0..ROOM_TRIES {
        let Err(error) = &result else { break };
        if !error.is_want_of_room() || flow.cancel.load(Ordering::Relaxed) {
            break;
        }
        if tried == 0 {
            let why = words::failed(plan, error, task.event.is_dir);
            ::log::warn!("a file action waits until it can be done: {why}");
        }
        thread::sleep(ROOM_PAUSE);
        result = apply_plan(plan, task, is_call, true, flow);
    }
    result
}

fn outcome(plan: &FilePlan, is_dir: bool, result: Result<Done, FileError>) -> Outcome {
    match result {
        Ok(done) => Outcome::Done(Some(match done.how {
            How::Gone => words::gone(plan),
            How::Renamed | How::Copied | How::Removed => words::done(plan, &done),
            How::Finished => words::finished(plan, &done),
        })),
        Err(error) if error.kind == Fault::SourceGone => Outcome::Done(Some(words::gone(plan))),
        Err(error) if error.kind == Fault::Cancelled => Outcome::Stopped,
        Err(error) if error.is_temporary() => Outcome::Failed(words::failed(plan, &error, is_dir)),
        Err(error) => Outcome::Refused(words::failed(plan, &error, is_dir)),
    }
}

fn apply_plan(
    plan: &FilePlan,
    task: &RunTask,
    is_call: bool,
    again: bool,
    flow: &Flow,
) -> Result<Done, FileError> {
    let &FilePlan { auto_create, overwrite, rec, filemode, dirmode, user, group, .. } = plan;
    let options = Options {
        auto_create,
        overwrite,
        rec,
        filemode,
        dirmode,
        user,
        group,
        // Code of a config.py may ask for several things at once for one task.
        owner: (!is_call).then(|| owner(task)),
        again: !is_call && again,
        progress: Some(&flow.progress),
        ..Options::new(&flow.cancel)
    };
    let root_len = usize::try_from(task.event.root_len).unwrap_or(usize::MAX);
    let source = Place { path: &plan.src, root_len };
    match (plan.action, &plan.dst) {
        (FileAction::Delete, _) => sys::delete_entry(source, &options),
        (FileAction::Move, Some(dst)) => sys::move_entry(source, place(dst), &options),
        (FileAction::Copy, Some(dst)) => {
            let copied = sys::copy_entry(source, place(dst), &options);
            match &copied {
                // As `cp` does; a directory is never replaced by a file.
                Err(error) if overwrite && !task.event.is_dir && error.kind == Fault::Exists => {
                    let into = within(dst, &plan.src);
                    sys::copy_entry(source, place(&into), &options)
                }
                Ok(_) | Err(_) => copied,
            }
        }
        (FileAction::Move | FileAction::Copy, None) => {
            unreachable!("a plan that moves or copies has a destination")
        }
    }
}

/// What a task's temporary names are made of.
fn owner(task: &RunTask) -> u64 {
    u64::try_from(task.id.0 & u128::from(u64::MAX)).expect("64 bits")
}

/// The place of a file in the directory that a destination turns out to be.
fn within(dst: &Destination, src: &[u8]) -> Destination {
    let name = path::split(src).map_or(&b""[..], |it| it.1);
    Destination { path: path::join(&dst.path, name), root_len: dst.root_len }
}

fn place(dst: &Destination) -> Place<'_> {
    Place { path: &dst.path, root_len: dst.root_len }
}
