//! What outlives the process: the words of the engine in those of the store, and what of the loop
//! waits for it.
//!
//! A run starts only when everything that was said of it before is on the disk, and a directory
//! that was entered is handed to the engine only with what the store knows of it. Nobody else
//! waits: what is said goes into a queue.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    time::{self, Duration},
};

use pyinotifyd_core::{
    engine::{self, Keep, Start},
    report::Say as Report,
    stamp::IndexId,
    stats::Finished,
    task::{KeptState, KeptTask, RunId},
    time::{Human, Instant},
    tree::{Enter, Found, Join, Joined, Seen, Ticket},
};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{
    errors::{Fatal, words},
    store::{
        EndedRow, Kept, Opened, Reply, RowState, Say, SetAside, Store, TaskRow, Trouble, Writer,
    },
};

/// The store, and what waits for it.
pub(super) struct Keeping {
    writer: Writer,
    replies: UnboundedReceiver<Reply>,
    clock: Clock,
    /// Runs that start when what was said before that number is on the disk, oldest first.
    held: VecDeque<(u64, Start)>,
    /// The last number that was said.
    said: u64,
    /// What is to be said when all that came of an input is known.
    unsaid: Vec<Say>,
    /// Whether a run is held for which no number has been said.
    owes: bool,
    /// What is asked about directories that are being entered.
    asked: HashMap<Ticket, Join>,
    /// Directories that were entered, until the store has answered.
    entered: HashMap<u64, (Join, Found)>,
    /// How often the store has said that it is on the disk what was said.
    commits: u64,
    /// Why nothing can be written to it, while that is so.
    error: Option<String>,
    silence: Silence,
}

/// For how long the store has not answered, while something waits for it. A disk that hangs in the
/// kernel gives no error.
#[derive(Default)]
struct Silence {
    since: Option<time::Instant>,
    told: bool,
}

impl Silence {
    fn poll_timeout(&self) -> Option<time::Instant> {
        self.since.filter(|_| !self.told).map(|it| it + SILENCE)
    }

    /// For how long, if that is worth a word.
    fn lasting(&self, now: impl FnOnce() -> time::Instant) -> Option<Duration> {
        let lasts = self.since.map(|it| now().saturating_duration_since(it));
        lasts.filter(|it| *it >= SILENCE)
    }

    fn poll_report(&mut self, now: impl FnOnce() -> time::Instant) -> Option<Report> {
        let told = self.told;
        let lasting = self.lasting(now);
        self.told = lasting.is_some();
        match (told, lasting) {
            (false, Some(since)) => Some(Report::StoreSilent { since }),
            (true, None) => Some(Report::StoreWorks),
            (false, None) | (true, Some(_)) => None,
        }
    }
}

/// What the store's reply means for the loop.
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// These runs may start.
    Start(Vec<Start>),
    /// A directory has been entered.
    Entered(Ticket, Found),
    /// A fence is wanted.
    Fence(u64),
    /// Something to tell.
    Tell(Report),
    /// The daemon has to end, for this reason.
    End(Report),
}

/// The loop's clock, and the one on the wall by which tasks are found again.
#[derive(Clone, Copy)]
struct Clock {
    /// What the wall's showed when the loop's began, in nanoseconds since 1970.
    wall: i64,
}

impl Clock {
    fn wall(self, at: Instant) -> i64 {
        self.wall.saturating_add(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX))
    }

    /// What is over is at the loop's beginning.
    fn instant(self, wall: i64) -> Instant {
        Instant::from_nanos(u64::try_from(wall.saturating_sub(self.wall)).unwrap_or(0))
    }
}

impl Keeping {
    /// Opens the store in a directory. Gives back what an earlier process has left, and what there
    /// is to tell. `wall` is when the loop's clock began: to open a large store takes its time.
    pub(super) fn open(
        dir: &Path,
        wall: i64,
    ) -> Result<(Self, engine::Kept, Option<Report>), Fatal> {
        let Opened { store, kept, set_aside } =
            Store::open(dir).map_err(|error| refused(&error))?;
        let (reply, replies) = mpsc::unbounded_channel();
        let writer = store
            .start(Box::new(move |it| {
                // Nobody listens when the loop has ended.
                let _ = reply.send(it);
            }))
            .map_err(|error| {
                Fatal::text(format!("cannot start the thread of the store: {}", words(&error)))
            })?;
        let clock = Clock { wall };
        let keeping = Self {
            writer,
            replies,
            clock,
            held: VecDeque::new(),
            said: 0,
            unsaid: Vec::new(),
            owes: false,
            asked: HashMap::new(),
            entered: HashMap::new(),
            commits: 0,
            error: None,
            silence: Silence::default(),
        };
        let told = set_aside.map(|SetAside { path, error }| Report::StoreSetAside {
            path: std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).into(),
            error,
        });
        Ok((keeping, restored(clock, kept), told))
    }

    /// Writes down what the engine says.
    pub(super) fn keep(&mut self, keep: Keep) {
        let say = match keep {
            Keep::Task(task) => Say::Task(self.row(task)),
            Keep::Finished(finished) => Say::Finished(self.ended(finished)),
            Keep::Spawned(ids, leader) => Say::Spawned(ids, leader),
            Keep::Ended(id) => Say::Ended(id),
            Keep::Dropped(id) => Say::Drop(id),
            Keep::Touched(touch) => Say::Touch {
                dir: touch.index,
                name: touch.name,
                path: touch.path,
                probe: touch.probe,
            },
            Keep::Left { index, name } => Say::Left { dir: index, name },
            Keep::Renamed { from, to } => Say::Renamed { from, to },
            Keep::Gone(index) => Say::Gone(index),
            Keep::Covers(covers) => Say::Covers(covers),
            Keep::Lost => Say::Lost,
            Keep::InStep => Say::Reconciled,
        };
        self.unsaid.push(say);
    }

    /// Holds a run until what was said so far is on the disk.
    pub(super) fn hold(&mut self, start: Start) {
        self.held.push_back((self.said + 1, start));
        self.owes = true;
    }

    /// Hands over what came of one input, in one go: a task that is given up and what the index has
    /// of its file change together. Asks to hear when it is on the disk, if anything waits for that.
    pub(super) fn sync(&mut self) {
        if std::mem::take(&mut self.owes) {
            self.said += 1;
            self.unsaid.push(Say::Sync(self.said));
            if self.error.is_none() {
                self.silence.since.get_or_insert_with(time::Instant::now);
            }
        }
        if !self.unsaid.is_empty() {
            self.writer.say_all(self.unsaid.drain(..));
        }
    }

    /// Takes a held run back; `false`: it has started.
    pub(super) fn take_back(&mut self, run: RunId) -> bool {
        let at = self.held.iter().position(|(_, it)| it.run.id == run);
        at.and_then(|at| self.held.remove(at)).is_some()
    }

    /// Notes what is to be asked about a directory when it has been entered.
    pub(super) fn asks(&mut self, enter: &Enter) {
        if enter.join != Join::No {
            self.asked.insert(enter.ticket, enter.join);
        }
    }

    /// Asks about a directory that has been entered. Gives it back if there is nothing to ask.
    pub(super) fn join(&mut self, ticket: Ticket, found: Option<Found>) -> Option<Found> {
        let Some(join) = self.asked.remove(&ticket) else { return found };
        let found = found?;
        let baseline = join == Join::Baseline;
        let listed = if baseline { found.seen() } else { vec![] };
        let identity = found.identity;
        self.entered.insert(ticket.0, (join, found));
        self.writer.say(Say::Join { ticket: ticket.0, identity, listed, baseline });
        None
    }

    /// What was in the queue at the fence of that number has been handled.
    pub(super) fn passed(&mut self, number: u64) {
        self.unsaid.push(Say::Passed(number));
    }

    /// The store's next reply.
    pub(super) async fn next(&mut self) -> Reply {
        match self.replies.recv().await {
            Some(reply) => reply,
            None => std::future::pending().await,
        }
    }

    /// What has been replied by now.
    pub(super) fn try_next(&mut self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// Takes in what the store replies.
    pub(super) fn hear(&mut self, reply: Reply) -> Heard {
        match reply {
            Reply::Committed(number) => {
                self.commits += 1;
                self.silence.since = (number < self.said).then(time::Instant::now);
                let ready = self.held.partition_point(|(it, _)| *it <= number);
                Heard::Start(self.held.drain(..ready).map(|(_, it)| it).collect())
            }
            Reply::Joined { ticket, index, known } => match self.entered.remove(&ticket) {
                Some((join, mut found)) => {
                    found.joined = joined(join, index, known);
                    Heard::Entered(Ticket(ticket), found)
                }
                None => Heard::Nothing,
            },
            Reply::WantFence(number) => Heard::Fence(number),
            Reply::Trouble(Trouble::Tight { error }) => Heard::Tell(Report::StoreTight { error }),
            Reply::Trouble(Trouble::Degraded { error }) => {
                self.error = Some(error.clone());
                // Why it does not answer is told by this.
                self.silence = Silence::default();
                Heard::Tell(Report::StoreFull { error })
            }
            Reply::Trouble(Trouble::Recovered) => {
                self.error = None;
                Heard::Tell(Report::StoreWorks)
            }
            Reply::Trouble(Trouble::Failed { error }) => Heard::End(Report::StoreFailed { error }),
        }
    }

    /// When [`Keeping::poll_report`] next has something to say, should the store go on to be silent.
    pub(super) fn poll_timeout(&self) -> Option<time::Instant> {
        self.silence.poll_timeout()
    }

    /// Whether the store has fallen silent, or answers again.
    pub(super) fn poll_report(&mut self) -> Option<Report> {
        self.silence.poll_report(time::Instant::now)
    }

    /// How often the store has put on the disk what a run waited for.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// Why nothing can be written to the store, while that is so.
    pub(super) fn error(&self) -> Option<String> {
        let lasting = || self.silence.lasting(time::Instant::now);
        let silent = || lasting().map(|it| format!("it has not answered for {}", Human(it)));
        self.error.clone().or_else(silent)
    }

    fn ended(&self, finished: Finished) -> EndedRow {
        let Finished { id, scheduler, event, attempt, outcome, took, at, before: _ } = finished;
        EndedRow { id, scheduler, event, attempt, outcome, took, at: self.clock.wall(at) }
    }

    fn row(&self, task: KeptTask) -> TaskRow {
        let KeptTask { id, scheduler, event, attempt, first, dir, state, leader } = task;
        let (state, due) = match state {
            KeptState::Pending { due } => (RowState::Pending, due),
            KeptState::Running => (RowState::Running, first),
        };
        let (first, due) = (self.clock.wall(first), self.clock.wall(due));
        TaskRow { id, scheduler, event, attempt, first, due, dir, state, stamp: None, leader }
    }
}

fn joined(join: Join, index: IndexId, known: Option<Vec<Seen>>) -> Joined {
    match (join, known) {
        _ if index == IndexId::NONE => Joined::No,
        (Join::Seen, Some(seen)) => Joined::Seen(index, seen),
        (Join::Seen, None) => Joined::New(index),
        (Join::Number | Join::Baseline | Join::No, _) => Joined::Number(index),
    }
}

fn restored(clock: Clock, kept: Kept) -> engine::Kept {
    let tasks = kept.tasks.into_iter().map(|row| {
        let TaskRow { id, scheduler, event, attempt, first, due, dir, state, stamp, leader } = row;
        let (first, due) = (clock.instant(first), clock.instant(due));
        let ended = state == RowState::Done;
        let state = match state {
            RowState::Pending => KeptState::Pending { due },
            RowState::Running | RowState::Done => KeptState::Running,
        };
        let task = KeptTask { id, scheduler, event, attempt, first, dir, state, leader };
        engine::KeptBefore { task, ended, stamp }
    });
    let history = kept.history.into_iter().map(|row| {
        let EndedRow { id, scheduler, event, attempt, outcome, took, at } = row;
        let before = Duration::from_nanos(clock.wall.saturating_sub(at).try_into().unwrap_or(0));
        Finished { id, scheduler, event, attempt, outcome, took, at: Instant::ZERO, before }
    });
    engine::Kept {
        tasks: tasks.collect(),
        covered: kept.coverage,
        rebooted: kept.rebooted,
        history: history.collect(),
    }
}

fn refused(error: &crate::store::OpenError) -> Fatal {
    let fatal = Fatal::text(error.to_string());
    match error.hint() {
        Some(hint) => fatal.hint(hint),
        None => fatal,
    }
}

/// A store that has not answered for so long is told of. A disk that sleeps needs some seconds to
/// spin up.
const SILENCE: Duration = Duration::from_secs(15);

/// So long it is waited for the file systems of what tasks are about.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpenError;

    #[test]
    fn a_store_that_cannot_be_used_is_told_with_what_helps() {
        let path = || Path::new("/var/lib/pyinotifyd").to_owned();
        let file = || path().join("state.sqlite");
        let errors = [
            OpenError::File { what: "open", path: file(), source: from_errno(13) },
            OpenError::Kind { path: path(), wanted: "directory" },
            OpenError::Kind { path: file(), wanted: "regular file" },
            OpenError::Writable { path: path(), mode: 0o777 },
            OpenError::Owner { path: path(), uid: 1000 },
            OpenError::Locked { path: path(), pid: Some(4711) },
            OpenError::Locked { path: path(), pid: None },
            OpenError::Newer { path: file(), found: 2, known: 1 },
            OpenError::NoRoom { path: file() },
            OpenError::Shared { path: file() },
            OpenError::Database { path: file(), error: "disk I/O error".into() },
        ];
        let told = errors.map(|it| refused(&it).to_string());
        insta::assert_snapshot!("refused", told.join("\n\n"));
    }

    #[test]
    fn a_silent_store_is_told_of_once_and_so_is_its_first_answer() {
        let start = time::Instant::now();
        let at = |seconds: u64| move || start + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        assert_eq!((silence.poll_timeout(), silence.poll_report(at(1000))), (None, None));
        silence.since = Some(start);
        assert_eq!(silence.poll_timeout(), Some(start + SILENCE));
        assert_eq!(silence.poll_report(at(14)), None);
        let since = Duration::from_secs(16);
        assert_eq!(silence.poll_report(at(16)), Some(Report::StoreSilent { since }));
        assert_eq!((silence.poll_timeout(), silence.poll_report(at(17))), (None, None));
        silence.since = Some(at(18)());
        assert_eq!(silence.poll_report(at(18)), Some(Report::StoreWorks));
        assert_eq!(silence.poll_report(at(19)), None);
        silence.since = None;
        assert_eq!(silence.poll_report(at(1000)), None);
    }

    fn from_errno(errno: i32) -> std::io::Error {
        std::io::Error::from_raw_os_error(errno)
    }
}
