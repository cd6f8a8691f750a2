//! Whether tasks may start: the conditions of `ready`.
//!
//! They are tested when nothing else keeps a task from starting, on threads: a file system may take
//! its time. What a test sees, the next one of the same task gets to know.
//!
//! * A directory is ready, and so is what is gone: the action tells.
//! * Where the kernel cannot tell whether a file is closed, it has to be unchanged for a while.
//! * A reason is told once, until another one holds.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyinotifyd_core::{
    path::shown,
    plan::{Plan, Ready, Scheduler},
    task::{Look, Probe, ProbeId, ProbeTask, Readiness},
    template::Values,
    time::Human,
};
use pyinotifyd_sys::{
    files::{self, Fault, FileError, Place, Seen, State},
    lease::{self, Closed, Doubt},
    time::monotonic,
};
use tokio::sync::mpsc;

use super::{
    command::errors,
    files::pool::{IDLE, Pool},
};

/// How long a file has to be unchanged of which nobody can tell whether it is closed.
const DOUBT: Duration = Duration::from_secs(10);
/// How long the search for who writes to a file may take: it is only for the log.
const SEARCH: Duration = Duration::from_millis(50);

type Answer = (ProbeId, Vec<Readiness>);

/// The tests that go on.
pub(crate) struct Tests {
    pool: Pool,
    done: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Tests {
    pub(super) fn new() -> Self {
        let (done, answers) = mpsc::unbounded_channel();
        Self { pool: Pool::new(IDLE), done, answers }
    }

    /// Starts a test. Whatever comes of it, it is answered once.
    pub(crate) fn start(&self, probe: Probe, plan: &Arc<Plan>) {
        let ticket = Ticket { probe: Some(probe), done: self.done.clone() };
        let plan = Arc::clone(plan);
        let job = move || ticket.work(&plan);
        // Dropped, the ticket answers.
        drop(self.pool.run(job));
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            // There is always one sender, here.
            None => std::future::pending().await,
        }
    }
}

/// The promise that a test is answered, whatever happens to the thread that works on it.
struct Ticket {
    probe: Option<Probe>,
    done: mpsc::UnboundedSender<Answer>,
}

impl Ticket {
    fn work(mut self, plan: &Plan) {
        let Some(probe) = &self.probe else { return };
        let scheduler = plan.scheduler(probe.scheduler);
        let answers = probe.tasks.iter().map(|it| test(it, scheduler)).collect();
        let id = probe.id;
        self.probe = None;
        // Nobody listens when the daemon has stopped.
        let _ = self.done.send((id, answers));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        let answer = |it: &ProbeTask| {
            let (mut look, told) = (it.look.unwrap_or_default(), u8::MAX);
            let new = look.told != told;
            look.told = told;
            let reason = new.then(|| "there is no thread to look at it".to_owned());
            Readiness::NotYet { reason, again: None, look }
        };
        let _ = self.done.send((probe.id, probe.tasks.iter().map(answer).collect()));
    }
}

/// Why a task may not start.
struct Reason {
    /// In words. Not asked for what was told before.
    words: Box<dyn Fn() -> String>,
    again: Option<Duration>,
    /// Tells reasons of one condition apart.
    kind: u8,
}

impl Reason {
    fn new(kind: u8, words: impl Fn() -> String + 'static) -> Self {
        Self { words: Box::new(words), again: None, kind }
    }
}

fn test(task: &ProbeTask, scheduler: &Scheduler) -> Readiness {
    let event = &task.task.event;
    if event.is_dir || event.pathname.is_empty() {
        return Readiness::Ready;
    }
    let root_len = usize::try_from(event.root_len).unwrap_or(usize::MAX);
    let place = Place { path: &event.pathname, root_len };
    let mut look = task.look.unwrap_or_default();
    let values = Values { event, task: task.task.id, scheduler: &scheduler.name };
    let reason = files::look(place).and_then(|seen| {
        let state = match seen {
            Seen::Gone | Seen::Directory => return Ok(None),
            Seen::Other => None,
            Seen::File(state) => Some(state),
        };
        if let Some(state) = &state {
            remember(&mut look, state, task.look.is_some());
        }
        for (at, condition) in (0_u8..).zip(&scheduler.ready) {
            if let Some(reason) = holds(condition, place, state.as_ref(), &look, &values)? {
                return Ok(Some(Reason { kind: at.wrapping_mul(4) + reason.kind, ..reason }));
            }
        }
        Ok(None)
    });
    let reason = match reason {
        Ok(None) => return Readiness::Ready,
        Ok(Some(reason)) => reason,
        // No waiting makes another path of it: the action tells.
        Err(FileError { kind: Fault::LinkInTheWay | Fault::BadPath, .. }) => {
            return Readiness::Ready;
        }
        Err(error) => Reason::new(254, move || format!("cannot look at it: {error}")),
    };
    let new = look.told != reason.kind;
    look.told = reason.kind;
    Readiness::NotYet { reason: new.then(|| (reason.words)()), again: reason.again, look }
}

/// Takes in what a file is like now.
fn remember(look: &mut Look, state: &State, again: bool) {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    let (stamp, now) = (hasher.finish(), monotonic());
    if !again || look.stamp != stamp {
        // It has changed since the last look: if its times say otherwise, they say nothing.
        look.distrust = again && age(state).is_some_and(|age| age > now.saturating_sub(look.at));
        (look.stamp, look.since) = (stamp, now);
    }
    look.at = now;
}

/// How long ago the file was changed, as its times say; `None`: they are in the future.
fn age(state: &State) -> Option<Duration> {
    let (seconds, nanos) = state.mtime.max(state.ctime);
    let since = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).ok()?);
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH.checked_add(since)?).ok()
}

/// How long a file still has to stay as it is; `None`: no longer.
fn unrest(state: &State, look: &Look, quiet: Duration) -> Option<Duration> {
    let seen = look.at.saturating_sub(look.since);
    let told = age(state).filter(|_| !look.distrust).unwrap_or_default();
    quiet.checked_sub(seen.max(told)).filter(|it| !it.is_zero())
}

fn holds(
    condition: &Ready,
    place: Place<'_>,
    state: Option<&State>,
    look: &Look,
    values: &Values<'_>,
) -> Result<Option<Reason>, FileError> {
    match (condition, state) {
        (Ready::Closed, Some(state)) => closed(place, state, look),
        (Ready::Quiet(quiet), Some(state)) => {
            let quiet = *quiet;
            let words = move || format!("changed less than {} ago", Human(quiet));
            let left = unrest(state, look, quiet);
            Ok(left.map(|left| Reason { again: Some(left), ..Reason::new(1, words) }))
        }
        // Links, FIFOs, sockets and devices: nothing in them is written bit by bit.
        (Ready::Closed | Ready::Quiet(_), None) => Ok(None),
        (Ready::DoneFile(template), _) => Ok(done_file(template.render(values))),
    }
}

fn closed(place: Place<'_>, state: &State, look: &Look) -> Result<Option<Reason>, FileError> {
    let file = state.file;
    Ok(match files::is_closed(place)? {
        Closed::Yes | Closed::NotAsked => None,
        Closed::No => Some(Reason::new(1, move || {
            lease::writer_of(file, SEARCH).map_or_else(
                || "open for writing".to_owned(),
                |it| format!("open for writing by pid {} ({})", it.pid, shown(&it.name)),
            )
        })),
        Closed::Unknown(doubt) => unrest(state, look, DOUBT)
            .map(|left| Reason { again: Some(left), ..Reason::new(2, move || in_doubt(doubt)) }),
    })
}

fn in_doubt(doubt: Doubt) -> String {
    format!(
        "nobody can tell whether it is open for writing ({doubt}), and it was changed less than {} \
         ago",
        Human(DOUBT)
    )
}

fn done_file(path: Vec<u8>) -> Option<Reason> {
    let is_missing = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    match std::fs::symlink_metadata(Path::new(std::ffi::OsStr::from_bytes(&path))) {
        Ok(_) => None,
        Err(error) if is_missing(&error) => {
            Some(Reason::new(1, move || format!("there is no {}", shown(&path))))
        }
        Err(error) => Some(Reason::new(2, move || {
            format!("cannot look for {}: {}", shown(&path), errors::words(&error))
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use pyinotifyd_core::{plan::SchedulerId, template::Template};

    use super::*;
    use crate::action::command::tests::{run_of, scheduler};

    fn task(path: &Path) -> ProbeTask {
        let mut run = run_of(1, &[path.as_os_str().as_bytes()]);
        ProbeTask { task: run.tasks.remove(0), look: None }
    }

    fn reason(readiness: Readiness) -> String {
        match readiness {
            Readiness::NotYet { reason: Some(reason), .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_reason_to_wait_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let [path, closed] = ["f\n", "closed"].map(|it| dir.path().join(it));
        let writing = File::create(&path).unwrap();
        fs::write(&closed, "").unwrap();
        let long = "x".repeat(300);
        let file = |name: &str| Ready::DoneFile(Template::parse(&format!("{{pathname}}{name}")));
        let told = [
            (Ready::Closed, &path),
            (Ready::Quiet(Duration::from_secs(3600)), &path),
            (file(".ok"), &path),
            (file("/of/a/file"), &path),
            (file(&long), &path),
            (file(".ok"), &dir.path().join(&long)),
        ]
        .map(|(condition, path)| {
            let scheduler = Scheduler { ready: vec![condition], ..scheduler(None) };
            reason(test(&task(path), &scheduler))
        });
        drop(writing);
        let pid = format!("pid {}", std::process::id());
        let mut told = told.join("\n").replace(&pid, "pid PID").replace(&long, "x…");
        // The name of the test program's thread.
        if let Some((before, rest)) = told.split_once("PID (") {
            told = format!("{before}PID (NAME){}", rest.split_once(')').unwrap().1);
        }
        told += "\n";
        told += &in_doubt(Doubt { call: "fcntl(F_SETLEASE)", errno: 1, opened: true });
        insta::assert_snapshot!("reasons", told.replace(dir.path().to_str().unwrap(), "@"));
    }

    #[test]
    fn a_test_that_nobody_does_is_answered() {
        let (done, mut answers) = mpsc::unbounded_channel();
        let tasks = vec![task(Path::new("/w/a"))];
        let probe = Probe { id: ProbeId(1), scheduler: SchedulerId(0), tasks };
        drop(Ticket { probe: Some(probe), done });
        let (_, mut answer) = answers.try_recv().unwrap();
        assert_eq!(reason(answer.remove(0)), "there is no thread to look at it");
    }
}
