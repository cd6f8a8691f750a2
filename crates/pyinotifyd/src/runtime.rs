//! The loop: wait for the next input, let the engine decide, carry out what it says.
//!
//! Nobody else decides. The reader thread and the walker threads only fill queues and wake the
//! loop; commands run as tasks of the same single-threaded runtime; file actions on threads of
//! their own. So everything that decides happens here, one input after the other.

mod asked;
mod hosts;
mod keeping;
mod kernel;
mod measured;
mod progress;
mod slack;
mod strays;
mod translate;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use pyinotifyd_core::{
    engine::{Effect, Engine, Input, StrayEnd},
    event::{Event, Mask},
    plan::Plan,
    record::{Record, Wd},
    report::{Report, Say},
    task::{Leader, Outcome, ProbeId, Readiness, RunId, TaskId},
    time::Instant,
    tree::{EnterError, Found, Ticket},
};
use pyinotifyd_sys::{inotify::decode, memory, process::adopted, time};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, mpsc},
};

use self::{
    asked::Asking,
    hosts::{Loaded, Loading},
    keeping::{Heard as Stored, Keeping},
    kernel::Kernel,
    measured::Measuring,
    progress::Progress,
    slack::Slack,
    strays::Strays,
};
use crate::{
    action::{Actions, Environment},
    cli::events::Ended,
    config::settings::Loopback,
    control::server::Asked,
    errors::{Exit, Fatal, words},
    host::{
        live::{Heard, HostId},
        start::Connected,
    },
    json::Value,
    log::{self, LogSettings},
    metrics::server::Asked as Measured,
    service::Service,
    store::Reply,
};

/// So many records at most are handled before anything else gets its turn.
const TURN: usize = 1024;

/// What to run.
pub(crate) struct Setup {
    /// What to watch and to do.
    pub(crate) plan: Arc<Plan>,
    /// Whether runs are only told of.
    pub(crate) dry_run: bool,
    /// Who listens to the events that Watches tell.
    pub(crate) listener: Option<Box<dyn Listener>>,
    /// Where a config.py lives.
    pub(crate) host: Option<Connected>,
    /// Where the configuration comes from, if it can come again.
    pub(crate) source: Option<Arc<dyn Source>>,
    /// Where what outlives the process is kept; `None`: nothing does.
    pub(crate) state_dir: Option<PathBuf>,
    /// Who wants to hear how it goes.
    pub(crate) service: Service,
    /// Where it can be asked.
    pub(crate) control: Option<PathBuf>,
    /// Where its configuration is, for people.
    pub(crate) config: Option<PathBuf>,
    /// Where its metrics are served.
    pub(crate) metrics: Option<Loopback>,
}

/// Where the configuration comes from. Both ways may take their time, and are gone on a thread.
pub(crate) trait Source: Send + Sync {
    /// Reads the configuration anew. `None`: it is not good, which has been told.
    fn load(&self) -> Option<Fresh>;
    /// What a config.py means whose host describes it anew. `None`: as above.
    fn describe(&self, description: &Value) -> Option<Arc<Plan>>;
}

/// A configuration to put in force.
pub(crate) struct Fresh {
    /// What to watch and to do.
    pub(crate) plan: Arc<Plan>,
    /// How to log.
    pub(crate) log: LogSettings,
    /// Where metrics are served.
    pub(crate) metrics: Option<Loopback>,
    /// Where a config.py lives.
    pub(crate) host: Option<Connected>,
    /// The keys that have changed and that only a start puts in force.
    pub(crate) needs_restart: Vec<&'static str>,
}

/// That some keys have changed which only a start puts in force, as a sentence.
pub(crate) fn needs_restart(keys: &[&str]) -> String {
    format!("{} changed: only a restart puts that in force", keys.join(" and "))
}

/// Somebody who wants to see events.
pub(crate) trait Listener {
    /// Something happened. If the listener has ended, so does the program.
    fn tell(&mut self, event: &Event) -> Result<(), Ended>;
    /// There is nothing more for the moment.
    fn pause(&mut self) -> Result<(), Ended>;
}

/// Runs until it is told to stop.
pub(crate) fn run(setup: Setup) -> Result<Exit, Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| Fatal::text(format!("cannot start: {}", words(&error))))?;
    let done = runtime.block_on(async { Box::pin(Loop::new(setup)?.run()).await });
    // A file action that hangs in its file system must not keep the process.
    runtime.shutdown_background();
    done
}

struct Loop {
    engine: Engine,
    kernel: Kernel,
    actions: Actions,
    ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    /// As which processes runs have begun, if that is kept.
    spawned: mpsc::UnboundedReceiver<(RunId, Leader)>,
    listener: Option<Box<dyn Listener>>,
    loading: Loading,
    /// What a config.py built that is in force, in its host's words.
    description: Option<Value>,
    service: Service,
    /// What outlives the process, if anything does.
    keeping: Option<Keeping>,
    /// Where that is.
    state_dir: Option<PathBuf>,
    /// Who asks how it is.
    asking: Asking,
    /// What takes long.
    progress: Progress,
    slack: Slack,
    /// Who measures it.
    measuring: Measuring,
    /// Since when Python does not answer.
    silent_since: Option<Clock>,
    looked: mpsc::UnboundedReceiver<(u64, Vec<TaskId>)>,
    looks: mpsc::UnboundedSender<(u64, Vec<TaskId>)>,
    strays: Strays,
    signals: Signals,
    start: Clock,
    /// Records that were read but not handed over yet, and how many bytes of them were.
    records: Vec<u8>,
    handed: usize,
    /// When the first of them was read.
    records_since: Option<Clock>,
    over: bool,
    exit: Exit,
    listener_ended: Option<Ended>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What the loop woke up for.
enum Woken {
    /// There are records or answers, or the time has come.
    Work,
    Spawned(RunId, Leader),
    Ended(RunId, Outcome),
    Probed(ProbeId, Vec<Readiness>),
    Heard(HostId, Heard),
    Loaded(Box<Loaded>),
    Stored(Reply),
    Asked(Box<Asked>),
    Measured(Measured),
    Looked(u64, Vec<TaskId>),
    StraysEnded(Vec<StrayEnd>),
    Stop,
    Reload,
    Mounts,
}

impl Loop {
    fn new(setup: Setup) -> Result<Self, Fatal> {
        let (done, ended) = mpsc::unbounded_channel();
        let wake = Arc::new(Notify::new());
        let kernel = Kernel::new(wake)?;
        // A dry run must not take what waits for the real one.
        let state_dir = setup.state_dir.filter(|_| !setup.dry_run);
        let (starts, spawned) = mpsc::unbounded_channel();
        let starts = state_dir.is_some().then_some(starts);
        let environment = Environment::new(std::env::vars_os());
        let mut actions =
            Actions::new(environment, setup.dry_run, done, starts).map_err(|error| {
                Fatal::text(format!("cannot get ready for commands: {}", words(&error)))
            })?;
        let description = setup.host.as_ref().map(|it| it.description.clone());
        if let Some(host) = setup.host {
            let failed =
                |error| Fatal::text(format!("cannot speak with Python: {}", words(&error)));
            actions.hosted.attach(host).map_err(failed)?;
        }
        let signals = Signals::new()
            .map_err(|error| Fatal::text(format!("cannot listen to signals: {}", words(&error))))?;
        let (start, wall) = (Clock::now(), time::now());
        let (plan, seed) = (setup.plan, seed()?);
        let (engine, keeping) = match &state_dir {
            Some(dir) => {
                let (keeping, kept, told) = Keeping::open(dir, wall)?;
                if let Some(say) = told {
                    log::say(&Report { logname: Arc::clone(&plan.logname), task: None, say });
                }
                let now = Instant::from_nanos(0);
                (Engine::keeping(now, plan, seed, kept), Some(keeping))
            }
            None => (Engine::new(plan, seed), None),
        };
        let (looks, looked) = mpsc::unbounded_channel();
        Ok(Self {
            engine,
            kernel,
            actions,
            ended,
            spawned,
            listener: setup.listener,
            loading: Loading::new(setup.source),
            description,
            service: setup.service,
            keeping,
            state_dir,
            asking: Asking::new(setup.control.as_deref(), setup.config),
            progress: Progress::default(),
            slack: Slack::default(),
            measuring: Measuring::new(setup.metrics),
            silent_since: None,
            looked,
            looks,
            strays: Strays::new(),
            signals,
            start,
            records: Vec::new(),
            handed: 0,
            records_since: None,
            over: false,
            exit: Exit::Success,
            listener_ended: None,
        })
    }

    async fn run(mut self) -> Result<Exit, Fatal> {
        self.carry_out();
        loop {
            let more = self.work();
            // Before anything is waited for: who waits for this is not to be waited with.
            self.answer_syncs();
            self.handle_progress();
            if let Some(say) = self.keeping.as_mut().and_then(Keeping::poll_report) {
                self.tell(say);
            }
            if self.slack.is_due(self.engine.schedule().unstarted(), Clock::now) {
                memory::trim();
            }
            if self.over {
                return self.end().await;
            }
            if let (false, Some(listener)) = (more, &mut self.listener)
                && let Err(error) = listener.pause()
            {
                self.listener_ended = Some(error);
                return self.end().await;
            }
            self.service.handle_round();
            match self.wait(more).await {
                Woken::Work if self.kernel.has_due_unmounts() => self.look_at_mounts(),
                Woken::Work => (),
                Woken::Spawned(run, leader) => self.handle(Input::Spawned(run, leader)),
                Woken::Ended(run, outcome) => self.ended(run, outcome),
                Woken::Probed(probe, answers) => self.handle(Input::Probed(probe, answers)),
                Woken::Heard(host, heard) => self.heard(host, heard),
                Woken::Loaded(loaded) => self.loaded(*loaded),
                Woken::Stored(reply) => self.stored(reply),
                Woken::Looked(number, missing) => self.handle(Input::Missing(number, missing)),
                Woken::Asked(asked) => self.asked(*asked),
                // Who has asked may have gone.
                Woken::Measured(asked) => drop(asked.send(self.measure())),
                Woken::StraysEnded(ends) => self.handle(Input::StraysEnded(ends)),
                Woken::Stop => self.handle(Input::Stop),
                Woken::Reload => self.reload(),
                Woken::Mounts => self.look_at_mounts(),
            }
            if self.engine.poll_timeout().is_some_and(|it| it <= self.now()) {
                self.handle(Input::Time);
            }
        }
    }

    /// Waits for something to happen; with `more` to do, only gives everybody else a turn.
    async fn wait(&mut self, more: bool) -> Woken {
        let due = self.engine.poll_timeout();
        let due = due.map(|it| self.start + Duration::from_nanos(it.as_nanos()));
        let others = [
            self.kernel.poll_timeout(),
            self.progress.poll_timeout(),
            self.slack.poll_timeout(),
            self.service.poll_timeout(),
            self.keeping.as_ref().and_then(Keeping::poll_timeout),
        ];
        let due = others.into_iter().chain([due]).flatten().min();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        // Signals first: a storm of events does not hold them off.
        tokio::select! {
            biased;
            Some(()) = self.signals.terminate.recv() => Woken::Stop,
            Some(()) = self.signals.interrupt.recv() => Woken::Stop,
            Some(()) = self.signals.hangup.recv() => Woken::Reload,
            asked = self.asking.next() => Woken::Asked(Box::new(asked)),
            asked = self.measuring.next() => Woken::Measured(asked),
            Some((run, leader)) = self.spawned.recv() => Woken::Spawned(run, leader),
            Some((run, outcome)) = self.ended.recv() => Woken::Ended(run, outcome),
            (probe, answers) = self.actions.tests.next() => Woken::Probed(probe, answers),
            loaded = self.loading.next() => Woken::Loaded(loaded),
            reply = stored(&mut self.keeping) => Woken::Stored(reply),
            Some((number, missing)) = self.looked.recv() => Woken::Looked(number, missing),
            ends = self.strays.next() => Woken::StraysEnded(ends),
            (host, heard) = self.actions.hosted.hear() => Woken::Heard(host, heard),
            () = self.kernel.mounts_changed() => Woken::Mounts,
            () = self.kernel.woken() => Woken::Work,
            () = timer => Woken::Work,
            () = tokio::task::yield_now(), if more => Woken::Work,
        }
    }

    /// Hands over answers and records. Gives back whether there may be more of them.
    fn work(&mut self) -> bool {
        let answers = self.kernel.answers();
        let answered = !answers.is_empty();
        for (ticket, answer) in answers {
            self.entered(ticket, answer);
        }
        if !self.engine.wants_records() || self.over {
            return answered;
        }
        if answered {
            self.kernel.rest();
        }
        if self.handed == self.records.len() && !self.take_records() {
            return false;
        }
        self.hand_over();
        // Once more, as nearly always nothing has come: that needs no turn of its own.
        self.handed < self.records.len()
            || !self.engine.wants_records()
            || self.over
            || self.take_records()
    }

    /// Swaps in the records that have been read, if there are any.
    fn take_records(&mut self) -> bool {
        self.handed = 0;
        let taken = self.kernel.take_records(&mut self.records);
        self.records_since = taken.since;
        if let Some(since) = taken.lost_since {
            self.handle(Input::Lost(since));
        }
        taken.bytes > 0
    }

    fn hand_over(&mut self) {
        let records = std::mem::take(&mut self.records);
        let mut decoded = decode(&records[self.handed..]);
        for _ in 0..TURN {
            let record = match decoded.next() {
                None => break,
                Some(Ok(record)) => record,
                Some(Err(error)) => {
                    ::log::error!("the kernel's records cannot be understood: {error}");
                    self.handed = records.len();
                    break;
                }
            };
            let input = Record {
                wd: Wd(record.wd),
                mask: Mask(record.mask),
                cookie: record.cookie,
                name: record.name,
            };
            let now = self.now();
            self.engine.handle(now, Input::Record(input));
            self.carry_out();
            if !self.engine.wants_records() || self.over {
                break;
            }
        }
        if self.handed < records.len() {
            self.handed += decoded.consumed();
        }
        self.records = records;
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.now();
        self.engine.handle(now, input);
        self.carry_out();
    }

    /// Hands over this end of a run and all others that are known by now: a slot that is free again
    /// does not wait for the next turn, and one barrier tells for all of them when the records of
    /// what they did have been read.
    fn ended(&mut self, run: RunId, outcome: Outcome) {
        self.one_ended(run, outcome);
        for _ in 0..self.ended.len() {
            let Ok((run, outcome)) = self.ended.try_recv() else { break };
            self.one_ended(run, outcome);
        }
        self.carry_out();
    }

    fn one_ended(&mut self, run: RunId, outcome: Outcome) {
        if !self.actions.hosted.answer(run, &outcome) {
            let now = self.now();
            self.engine.handle(now, Input::Ended(run, outcome));
        }
    }

    /// Hands over that a directory has been entered, once the store has said what it knows of it.
    fn entered(&mut self, ticket: Ticket, answer: Result<Found, EnterError>) {
        let Some(keeping) = &mut self.keeping else {
            return self.handle(Input::Entered(ticket, answer));
        };
        match answer {
            Ok(found) => {
                if let Some(found) = keeping.join(ticket, Some(found)) {
                    self.handle(Input::Entered(ticket, Ok(found)));
                }
            }
            Err(error) => {
                keeping.join(ticket, None);
                self.handle(Input::Entered(ticket, Err(error)));
            }
        }
    }

    /// Takes in what the store replies, and what else it has replied by now.
    fn stored(&mut self, reply: Reply) {
        let mut next = Some(reply);
        while let (Some(reply), Some(keeping)) = (next, &mut self.keeping) {
            match keeping.hear(reply) {
                Stored::Nothing => (),
                Stored::Start(runs) => {
                    for start in runs {
                        let run = start.run.id;
                        self.actions.start(start.run, &start.plan, start.files);
                        self.handle(Input::Begun(run));
                    }
                }
                Stored::Entered(ticket, found) => self.handle(Input::Entered(ticket, Ok(found))),
                Stored::Fence(number) => self.handle(Input::Fence(number)),
                Stored::Tell(say) => self.tell(say),
                Stored::End(say) => {
                    self.tell(say);
                    self.exit = Exit::Failure;
                    self.over = true;
                }
            }
            next = self.keeping.as_mut().and_then(Keeping::try_next);
        }
    }

    fn tell(&mut self, say: Say) {
        let report = Report { logname: Arc::clone(&self.engine.plan().logname), task: None, say };
        self.say(&report);
    }

    /// Says something to all who want to hear it.
    fn say(&mut self, report: &Report) {
        log::say(report);
        self.service.handle_say(&report.say);
        self.asking.handle_report(report);
    }

    /// Looks whether what tasks are about is there, on a thread: a file system may not answer. What
    /// is not known in time is taken to be there.
    fn look_for(&self, number: u64, tasks: Vec<(TaskId, Arc<[u8]>)>) {
        let looks = self.looks.clone();
        let look = tokio::task::spawn_blocking(move || {
            let gone = |path: &[u8]| {
                let looked = pyinotifyd_sys::stamp::look(path);
                looked.is_err_and(|it| it.kind() == io::ErrorKind::NotFound)
            };
            let missing = tasks.into_iter().filter(|(_, path)| gone(path));
            missing.map(|(id, _)| id).collect::<Vec<_>>()
        });
        tokio::spawn(async move {
            let missing = match tokio::time::timeout(keeping::PATIENCE, look).await {
                Ok(Ok(missing)) => missing,
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            // Nobody listens when the loop has ended.
            let _ = looks.send((number, missing));
        });
    }

    fn carry_out(&mut self) {
        self.carry_out_effects();
        if let Some(keeping) = &mut self.keeping {
            keeping.sync();
        }
    }

    fn carry_out_effects(&mut self) {
        while let Some(effect) = self.engine.poll() {
            match effect {
                Effect::Enter(enter) => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.asks(&enter);
                    }
                    self.kernel.enter(enter);
                }
                Effect::Leave(wd) => self.kernel.leave(wd),
                Effect::Barrier => {
                    let barrier = self.kernel.barrier();
                    let now = self.now();
                    self.engine.handle(now, Input::Barrier(barrier));
                }
                Effect::ListWatches => {
                    let (watches, now) = (self.kernel.watches(), self.now());
                    self.engine.handle(now, Input::Watches(watches));
                }
                Effect::Start(start) => match &mut self.keeping {
                    Some(keeping) => keeping.hold(start),
                    None => self.actions.start(start.run, &start.plan, start.files),
                },
                Effect::Stop(run, how) => {
                    if self.keeping.as_mut().is_some_and(|it| it.take_back(run)) {
                        let now = self.now();
                        self.engine.handle(now, Input::Ended(run, Outcome::Stopped));
                    } else {
                        self.actions.stop(run, how);
                    }
                }
                Effect::Keep(keep) => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.keep(keep);
                    }
                }
                Effect::Passed(number) if Asking::is_fence(number) => {
                    self.handle_fence_of_sync(number);
                }
                Effect::Passed(number) => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.passed(number);
                    }
                }
                Effect::LookFor(number, tasks) => self.look_for(number, tasks),
                Effect::EndStrays(strays) => self.strays.end(strays),
                Effect::Probe(probe, plan) => self.actions.tests.start(probe, &plan),
                Effect::Ask(question) => self.actions.hosted.ask(question),
                Effect::Say(report) => {
                    self.say(&report);
                    if matches!(report.say, Say::Reloaded { .. }) {
                        self.asking.handle_in_force();
                    }
                }
                Effect::Tell(event) => {
                    if let Some(listener) = &mut self.listener
                        && let Err(error) = listener.tell(&event)
                    {
                        self.listener_ended = Some(error);
                        self.over = true;
                    }
                }
                Effect::Exit => self.over = true,
            }
        }
    }

    fn look_at_mounts(&mut self) {
        for (at, change) in self.kernel.changed_mounts() {
            self.handle(Input::Mount(&at, change));
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    async fn end(self) -> Result<Exit, Fatal> {
        self.actions.hosted.end().await;
        // Waits for what was said last to be written.
        drop(self.keeping);
        self.listener_ended.map_or(Ok(self.exit), Ended::exit)
    }
}

/// The store's next reply.
async fn stored(keeping: &mut Option<Keeping>) -> Reply {
    match keeping {
        Some(keeping) => keeping.next().await,
        None => std::future::pending().await,
    }
}

impl Signals {
    fn new() -> io::Result<Self> {
        if adopted::is_first() {
            let mut child = signal(SignalKind::child())?;
            tokio::spawn(async move {
                while child.recv().await.is_some() {
                    adopted::sweep();
                }
            });
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// What makes task ids and hashes unlike those of another process.
fn seed() -> Result<u128, Fatal> {
    let mut bytes = [0; 16];
    pyinotifyd_sys::random::fill(&mut bytes).map_err(|error| {
        Fatal::text(format!("cannot get random bytes: getrandom: {}", words(&error)))
    })?;
    Ok(u128::from_ne_bytes(bytes))
}
