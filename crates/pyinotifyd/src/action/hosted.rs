//! Runs of tasks in Python.
//!
//! A run is told to the host, which says when it has ended. There is one host for what comes; one
//! that a reload has replaced stays until its runs have ended.
//!
//! A run of file rules of which only Python can match some is with the host, too, until that has
//! said what they match; then it begins.
//!
//! * While there is no host (it has failed and is started again), runs wait for it.
//! * With a host go its runs: each has failed then, which is an outcome like any other.
//! * A run that does not end when it is cancelled is left to itself in the end. If its host does
//!   not answer either, then that is ended: its loop is blocked, and so are all its tasks.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use pyinotifyd_core::{
    engine::Question,
    filerule::Answers,
    path::shown,
    plan::{Job, Level},
    task::{Outcome, Run, RunId, RunTask, StopHow, TaskId},
    time::Human,
};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    host::{
        live::{Heard, HostId, Inbox, Live},
        start::Connected,
        wire::{How, ToHost},
    },
    log,
};

/// So many things that hosts have said wait for the loop; then the hosts wait.
const INBOX: usize = 64;

/// So long a host has to say what rules match. Not even a thousand of them take as long: it does
/// something else, and the run is better told of, and tried again.
const MATCHING: Duration = Duration::from_secs(30);

/// Runs from here on are none of the schedule's: code of config.py has asked for them itself.
const CALLS: u64 = 1 << 63;

/// Whether code of a config.py has asked for this run itself.
pub(crate) fn is_call(run: RunId) -> bool {
    run.0 & CALLS != 0
}

/// The hosts, and the runs that are with them.
pub(crate) struct Hosted {
    done: UnboundedSender<(RunId, Outcome)>,
    inbox: Inbox,
    heard: mpsc::Receiver<(HostId, Heard)>,
    current: Option<Live>,
    /// Replaced, with runs that have not ended.
    leaving: Vec<Live>,
    last_heard: BTreeMap<HostId, Instant>,
    runs: BTreeMap<RunId, With>,
    /// For the next host, in their order.
    waiting: VecDeque<Work>,
    calls: BTreeMap<RunId, Call>,
    hosts: u64,
    next_call: u64,
    /// [`MATCHING`], but in a test.
    matching: Duration,
}

/// What a host is to do.
enum Work {
    /// Run a job for a task.
    Job(RunId, u64, RunTask),
    /// Say what rules match.
    Match(Question),
}

impl Work {
    fn run(&self) -> RunId {
        match self {
            Self::Job(run, ..) => *run,
            Self::Match(question) => question.run.id,
        }
    }
}

/// A run that is with a host.
struct With {
    host: HostId,
    task: RunTask,
    /// For one that cannot begin before it is known what its rules match.
    question: Option<(Question, Deadline)>,
    /// Since when it has been asked to end.
    asked: Option<Instant>,
}

/// When it is late. Dropped, nobody is told.
struct Deadline(AbortHandle);

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Something that code of config.py waits for.
struct Call {
    host: HostId,
    number: u64,
    logname: Arc<str>,
    task: RunTask,
}

/// A host that has gone.
pub(crate) struct Gone {
    /// Whether it was the one for what comes.
    pub(crate) was_current: bool,
    /// How it ended.
    pub(crate) how: String,
    /// How long it lived.
    pub(crate) lived: Duration,
}

impl Hosted {
    /// Outcomes go to `done`.
    pub(crate) fn new(done: UnboundedSender<(RunId, Outcome)>) -> Self {
        let (inbox, heard) = mpsc::channel(INBOX);
        Self {
            done,
            inbox,
            heard,
            current: None,
            leaving: Vec::new(),
            last_heard: BTreeMap::new(),
            runs: BTreeMap::new(),
            waiting: VecDeque::new(),
            calls: BTreeMap::new(),
            hosts: 0,
            next_call: 0,
            matching: MATCHING,
        }
    }

    /// What comes is for this host. The one before ends when its runs have.
    ///
    /// # Errors
    ///
    /// Its link cannot be watched.
    pub(crate) fn attach(&mut self, host: Connected) -> io::Result<()> {
        let id = HostId(self.hosts);
        let live = Live::new(id, host, self.inbox.clone())?;
        self.hosts += 1;
        self.last_heard.insert(id, Instant::now());
        let outbox = Arc::clone(&live.outbox);
        log::set_forward(Some(Arc::new(move |level, record| {
            let task = record.task.as_ref().map(|it| it as _);
            outbox.log((level, record.logname), record.message, record.at, task)
        })));
        if let Some(before) = self.current.replace(live) {
            before.outbox.say(&ToHost::End);
            self.leaving.push(before);
        }
        for work in std::mem::take(&mut self.waiting) {
            self.give(work);
        }
        Ok(())
    }

    /// The host for what comes, in its own words.
    pub(crate) fn current(&self) -> Option<&Live> {
        self.current.as_ref()
    }

    /// How many runs are with Python.
    pub(crate) fn running(&self) -> usize {
        self.runs.len()
    }

    /// What is heard next.
    pub(crate) async fn hear(&mut self) -> (HostId, Heard) {
        match self.heard.recv().await {
            Some((host, heard)) => {
                match heard {
                    Heard::Said(_) | Heard::Gone(_) => {
                        self.last_heard.insert(host, Instant::now());
                    }
                    // That is about what was not heard.
                    Heard::Silent(_) | Heard::Overdue(_) => (),
                }
                (host, heard)
            }
            // There is always one sender, here.
            None => std::future::pending().await,
        }
    }

    pub(super) fn start(&mut self, run: Run, job: &Job) {
        let Some(task) = run.tasks.into_iter().next() else { return };
        self.give(Work::Job(run.id, job.id, task));
    }

    /// Has the host say what the rules of a run match.
    pub(crate) fn ask(&mut self, question: Question) {
        self.give(Work::Match(question));
    }

    fn give(&mut self, work: Work) {
        let Some(host) = &self.current else { return self.waiting.push_back(work) };
        let run = work.run();
        let (task, question) = match work {
            Work::Job(run, job, task) => {
                host.outbox.run(run, job, &task);
                (task, None)
            }
            Work::Match(question) => {
                host.outbox.ask(&question);
                let (id, inbox, matching) = (host.id, self.inbox.clone(), self.matching);
                let deadline = tokio::spawn(async move {
                    tokio::time::sleep(matching).await;
                    // If the loop has ended, nobody needs it.
                    let _ = inbox.send((id, Heard::Overdue(run))).await;
                });
                let task = question.run.tasks[0].clone();
                (task, Some((question, Deadline(deadline.abort_handle()))))
            }
        };
        self.runs.insert(run, With { host: host.id, task, question, asked: None });
    }

    /// A host says what the rules of a run match. That can begin now, if it is given back.
    pub(crate) fn matched(
        &mut self,
        host: HostId,
        run: RunId,
        answers: Result<Vec<Answers>, String>,
    ) -> Option<(Question, Vec<Answers>)> {
        let With { question, asked, .. } = self.take(host, run)?;
        match (question, answers) {
            (Some((question, _)), Ok(answers)) if asked.is_none() => {
                return Some((question, answers));
            }
            (_, Ok(_)) => self.tell(run, Outcome::Stopped),
            (_, Err(text)) => self.tell(run, Outcome::Failed(format!("Python: {text}"))),
        }
        None
    }

    /// A host has not said in time what the rules of a run match, unless it has.
    pub(crate) fn overdue(&mut self, host: HostId, run: RunId) {
        if self.runs.get(&run).is_some_and(|it| it.question.is_some())
            && self.take(host, run).is_some()
        {
            let text =
                format!("Python has not said within {} what its rules match", Human(self.matching));
            self.tell(run, Outcome::Failed(text));
        }
    }

    /// Takes a run back from a host. `None`: it is not there, or was left to itself before.
    fn take(&mut self, host: HostId, run: RunId) -> Option<With> {
        self.runs.get(&run).filter(|it| it.host == host)?;
        if let Some(live) = self.current.iter().chain(&self.leaving).find(|it| it.id == host) {
            live.outbox.ended();
        }
        self.runs.remove(&run)
    }

    pub(super) fn stop(&mut self, run: RunId, how: StopHow) {
        if let Some(at) = self.waiting.iter().position(|it| it.run() == run) {
            self.waiting.remove(at);
            return self.tell(run, Outcome::Stopped);
        }
        let Some(with) = self.runs.get_mut(&run) else { return };
        let id = with.host;
        let mut hosts = self.current.iter_mut().chain(&mut self.leaving);
        let Some(host) = hosts.find(|it| it.id == id) else { return };
        match how {
            StopHow::Term => {
                with.asked.get_or_insert_with(Instant::now);
                host.outbox.say(&ToHost::Stop(run));
                // An answer to this says that the loop is alive.
                host.outbox.say(&ToHost::Ping(0));
            }
            StopHow::Kill => {
                let heard = self.last_heard.get(&id).copied();
                if with.asked.is_some_and(|asked| heard.is_none_or(|heard| heard < asked)) {
                    if host.kill() {
                        let path = shown(&with.task.event.pathname).to_string();
                        ::log::error!(
                            "Python does not answer, and the task for {path} is to end: Python is \
                             killed"
                        );
                    }
                    // Its end is that of all its runs, of this too.
                    return;
                }
                host.outbox.ended();
                self.runs.remove(&run);
                self.tell(run, Outcome::Stopped);
            }
        }
    }

    /// A host says that a run has ended: its outcome, to be handed over at once.
    pub(crate) fn ended(&mut self, host: HostId, run: RunId, how: How) -> Option<Outcome> {
        let with = self.take(host, run)?;
        Some(match how {
            How::Done(text) => Outcome::Done(text),
            How::Failed(text) => Outcome::Failed(text),
            How::Cancelled if with.asked.is_some() => Outcome::Stopped,
            How::Cancelled => Outcome::Failed("it was cancelled".to_owned()),
        })
    }

    /// The path that a run is about, for messages.
    pub(crate) fn path_of(&self, run: RunId) -> Option<&[u8]> {
        self.runs.get(&run).map(|it| &*it.task.event.pathname)
    }

    /// Takes in that a host has gone, and its runs with it. `None`: that was known.
    pub(crate) fn gone(&mut self, id: HostId) -> Option<Gone> {
        let was_current = self.current.as_ref().is_some_and(|it| it.id == id);
        let host = if was_current {
            log::set_forward(None);
            self.current.take()
        } else {
            let at = self.leaving.iter().position(|it| it.id == id);
            at.map(|at| self.leaving.swap_remove(at))
        }?;
        self.last_heard.remove(&id);
        let lived = host.since.elapsed();
        let how = host.post_mortem();
        let (lost, kept) =
            std::mem::take(&mut self.runs).into_iter().partition(|(_, it)| it.host == id);
        self.runs = kept;
        let lost: Vec<_> = BTreeMap::into_iter(lost).collect();
        for (run, with) in lost {
            let outcome = match with.asked {
                Some(_) => Outcome::Stopped,
                None => Outcome::Failed(format!("Python has ended ({how})")),
            };
            self.tell(run, outcome);
        }
        self.calls.retain(|_, it| it.host != id);
        Some(Gone { was_current, how, lived })
    }

    /// Takes in a call of a host's code; the run that answers it has this name.
    pub(super) fn call(
        &mut self,
        host: HostId,
        number: u64,
        logname: &Arc<str>,
        task: RunTask,
    ) -> RunId {
        let run = RunId(CALLS | self.next_call);
        self.next_call += 1;
        self.calls.insert(run, Call { host, number, logname: Arc::clone(logname), task });
        run
    }

    /// Answers a call with the outcome of its run. `false`: it is no such run.
    pub(crate) fn answer(&mut self, run: RunId, outcome: &Outcome) -> bool {
        if !is_call(run) {
            return false;
        }
        if let Some(Call { host, number, logname, task }) = self.calls.remove(&run) {
            let level = if outcome.is_done() { Level::Info } else { Level::Error };
            log::message(level, &logname, task.id, &task.event.pathname, outcome);
            self.reply(host, number, outcome.is_done(), &outcome.to_string());
        }
        true
    }

    /// Answers a call.
    pub(crate) fn reply(&self, host: HostId, number: u64, ok: bool, text: &str) {
        if let Some(live) = self.current.iter().chain(&self.leaving).find(|it| it.id == host) {
            live.outbox.say(&ToHost::Done(number, ok, text));
        }
    }

    /// Ends all hosts.
    pub(crate) async fn end(self) {
        log::set_forward(None);
        for host in self.current.into_iter().chain(self.leaving) {
            host.end().await;
        }
    }

    fn tell(&self, run: RunId, outcome: Outcome) {
        // Nobody listens when the daemon has stopped.
        let _ = self.done.send((run, outcome));
    }
}

/// A task id as it is shown; what is none is that of no task.
pub(crate) fn task_id(text: Option<&str>) -> TaskId {
    let digits: String = text.unwrap_or_default().chars().filter(|it| *it != '-').collect();
    TaskId(u128::from_str_radix(&digits, 16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use pyinotifyd_core::{
        filerule::{FileAction, FileRule, Matching},
        plan::{Action, Plan, Scheduler},
    };
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::{
        action::command::tests::{run_of, scheduler},
        log::heard,
    };

    /// Hosts, with one that never answers.
    fn mute() -> (Hosted, UnboundedReceiver<(RunId, Outcome)>) {
        let (done, ended) = mpsc::unbounded_channel();
        let mut hosted = Hosted::new(done);
        hosted.attach(Connected::mute()).unwrap();
        (hosted, ended)
    }

    fn question(run: u64) -> Question {
        let rule = FileRule {
            action: FileAction::Delete,
            matching: Matching::Python { src_re: "(?i)^/ä".into(), dst_re: None },
            auto_create: false,
            overwrite: false,
            rec: false,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
        };
        let scheduler = Scheduler { action: Action::Rules(vec![rule]), ..scheduler(None) };
        let plan = Plan {
            watches: Vec::new(),
            schedulers: vec![scheduler],
            shutdown_timeout: Duration::ZERO,
            slots: NonZeroUsize::MIN,
            logname: "daemon".into(),
        };
        Question { run: run_of(run, &[b"/\xc3\xa4"]), plan: plan.into() }
    }

    async fn overdue(hosted: &mut Hosted) -> RunId {
        loop {
            if let (host, Heard::Overdue(run)) = hosted.hear().await {
                hosted.overdue(host, run);
                return run;
            }
        }
    }

    #[tokio::test]
    async fn a_run_fails_if_python_does_not_say_in_time_what_its_rules_match() {
        let (mut hosted, mut ended) = mute();
        hosted.matching = Duration::ZERO;
        hosted.ask(question(1));
        assert_eq!(overdue(&mut hosted).await, RunId(1));
        let (run, outcome) = ended.try_recv().unwrap();
        let Outcome::Failed(text) = outcome else { panic!("{outcome:?}") };
        assert_eq!((run, &*text), (RunId(1), "Python has not said within 0s what its rules match"));
        // What is said too late is about nothing any more.
        let host = hosted.current().unwrap().id;
        assert!(hosted.matched(host, RunId(1), Ok(vec![vec![None]])).is_none());
        assert!(ended.try_recv().is_err() && hosted.runs.is_empty());
    }

    #[tokio::test]
    async fn what_becomes_of_a_run_is_told() {
        let (mut hosted, mut ended) = mute();
        let job = Job { id: 1, name: "task".into() };
        for run in 1..=5 {
            hosted.start(run_of(run, &[b"/w/\n"]), &job);
        }
        let host = hosted.current().unwrap().id;
        let mut told = vec![
            format!("{:?}", hosted.ended(host, RunId(1), How::Cancelled)),
            format!("{:?}", hosted.ended(host, RunId(2), How::Failed("ValueError: x".into()))),
        ];
        assert!(hosted.matched(host, RunId(3), Err("re.error: bad escape".into())).is_none());
        // It is asked to end after it was heard last.
        hosted.last_heard.remove(&host);
        hosted.stop(RunId(4), StopHow::Term);
        told.extend(heard(|| hosted.stop(RunId(4), StopHow::Kill)));
        assert!(heard(|| hosted.stop(RunId(4), StopHow::Kill)).is_empty(), "it is told once");
        let gone = hosted.gone(host).unwrap();
        told.push(gone.how);
        while let Ok(end) = ended.try_recv() {
            told.push(format!("{end:?}"));
        }
        insta::assert_snapshot!("told", told.join("\n"));
    }

    #[tokio::test]
    async fn a_limit_ends_with_what_it_is_for() {
        let (mut hosted, mut ended) = mute();
        assert_eq!(hosted.matching, Duration::from_secs(30));
        hosted.matching = Duration::ZERO;
        // Answered before it is looked at, which is no end.
        hosted.ask(question(1));
        let host = hosted.current().unwrap().id;
        assert!(hosted.matched(host, RunId(1), Ok(vec![vec![None]])).is_some());
        hosted.overdue(host, RunId(1));
        assert!(ended.try_recv().is_err());
        // The deadline of the one is not that of the other.
        hosted.ask(question(2));
        assert_eq!(overdue(&mut hosted).await, RunId(2));
        assert_eq!(ended.try_recv().unwrap().0, RunId(2));
    }
}
