//! What outlives the process: the journal of tasks, and the index of what was seen.
//!
//! The store writes down what it is told and gives it back when it is opened again; what a
//! difference means is the daemon's to say. One directory holds it, and one thread writes to it,
//! so that whoever has something to say never waits for a disk. Everything that was said before a
//! [`Say::Sync`] is on the disk when its [`Reply::Committed`] comes, and stays there through
//! `kill -9` and power loss.
//!
//! # Theory of operation
//!
//! What is said is one queue, and its order is load-bearing. The thread takes all of it at once,
//! writes it in one transaction, and only then replies: the busier it is, the more there is in one
//! commit. If nobody waits, it lingers for a moment, so that a burst is one commit as well.
//!
//! The *journal* is the table `task`. With each task the state of its file is kept (its stamp), as
//! it was before the run; when the run is over the row stays as a memo that this scheduler acted on
//! that state, until the index says the same. With a task that runs the process is kept that its
//! command began as, from the commit on that follows its start.
//!
//! The *history* is the table `history`: what people are told of tasks that have ended, as many as are
//! remembered, in the commit with their end.
//!
//! The *index* is the tables `dir` and `entry`, and has one invariant: **a row holds a state only
//! if every event that the kernel had queued when that state was read has been handled, and what
//! came of it is in the journal.** So a state that differs from its row at the next start may have
//! been told already, but one that is equal has been. A stale row breaks nothing.
//!
//! Rows get there in *rounds*. Names that something happened to are collected; after a pause the
//! state of each is read, and the daemon is asked to put a fence into the kernel's queue
//! ([`Reply::WantFence`]). When it has handled everything up to the fence it says
//! [`Say::Passed`], and what it said before of those events is ahead of that in this queue. Then
//! the states are written, but for the names that something happened to meanwhile: they wait for
//! the next round. A whole directory that is written as it was listed (the *baseline*) is read
//! before its events are handled, too, and its rows count from the next fence on. When events were
//! lost there are no rounds, until everything has been compared with the index ([`Say::Lost`]).
//!
//! When the disk is full, nothing is given up: what is not written is kept in order and tried
//! again, and a reserve of space (the *ballast*) is set free for it. When the disk fails otherwise,
//! nothing is tried again, because after a failed `fsync(2)` nobody knows what is on it.

mod apply;
mod batch;
mod eyes;
mod fault;
mod history;
mod index;
mod journal;
mod keeper;
mod open;
mod room;
mod rows;
mod schema;
mod thread;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pyinotifyd_core::{
    event::Event,
    stamp::{Identity, IndexId, Stamp},
    task::{Leader, Outcome, TaskId},
    tree::Seen,
};

use self::keeper::{Keeper, Start};
pub use self::{open::OpenError, thread::Writer};

/// Something for the store to write down, or to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// This task is so now. The stamp of its row is not looked at: the store reads the state of
    /// the event's path before it commits, which has to be before the run starts.
    Task(TaskRow),
    /// These tasks run as this process, until something else is said of them.
    Spawned(Vec<TaskId>, Leader),
    /// A task has ended, for the history.
    Finished(EndedRow),
    /// The task's run is over: its row becomes a memo.
    Ended(TaskId),
    /// The task was given up before it ran: its row goes.
    Drop(TaskId),
    /// Something happened to that name: its row in the index is to be brought up to date.
    Touch {
        /// Its directory.
        dir: IndexId,
        /// The name.
        name: Box<[u8]>,
        /// Where that is now.
        path: Vec<u8>,
        /// Whether it may be open for writing: then its state counts only once it is closed.
        probe: bool,
    },
    /// A name has left a directory: its row does not count any more, from this commit on.
    Left {
        /// The directory.
        dir: IndexId,
        /// The name.
        name: Box<[u8]>,
    },
    /// What was said to be below one path is below another now: paths of [`Say::Touch`] lead there.
    Renamed {
        /// The old path.
        from: Arc<[u8]>,
        /// The new one.
        to: Arc<[u8]>,
    },
    /// A directory was entered and listed. Answered by [`Reply::Joined`].
    Join {
        /// To be given back with the answer.
        ticket: u64,
        /// Which directory it is.
        identity: Identity,
        /// What is in it.
        listed: Vec<Seen>,
        /// Whether what is listed counts as seen, as opposed to being news: whatever the store
        /// knows of the directory.
        baseline: bool,
    },
    /// That directory does not exist any more.
    Gone(IndexId),
    /// Everything that was in the kernel's queue at that [`Reply::WantFence`] is handled.
    Passed(u64),
    /// The kernel's queue has overflowed. An open round is void, since its fence says nothing any
    /// more, and none begins until [`Say::Reconciled`]: a state whose event was lost must not get
    /// into the index before it was compared with it.
    Lost,
    /// Answered by [`Reply::Committed`] when everything that was said before is on the disk.
    Sync(u64),
    /// What the Watches cover, in whatever words; given back by [`Kept::coverage`].
    Covers(Vec<u8>),
    /// All directories that are watched have been joined since the store was opened: others are
    /// forgotten. Said again after [`Say::Lost`], when all have been joined again.
    Reconciled,
    /// Nothing more will be said.
    Stop,
}

/// What the store has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Say::Sync`].
    Committed(u64),
    /// To [`Say::Join`].
    Joined {
        /// Of the question.
        ticket: u64,
        /// What to call that directory from now on; [`IndexId::NONE`] if there is no number left.
        index: IndexId,
        /// What was seen in it before; `None`: it was not known.
        known: Option<Vec<Seen>>,
    },
    /// Put a fence behind everything that is in the kernel's queue, and say [`Say::Passed`] with
    /// this number when all before it has been handled.
    WantFence(u64),
    /// The disk makes trouble, or has stopped to.
    Trouble(Trouble),
}

/// How the disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room that could be held back. What is said is written as long as there is some.
    Tight {
        /// Why.
        error: String,
    },
    /// It is full, or somebody else holds the store. What is said is kept, and tried again.
    Degraded {
        /// Why it cannot be written.
        error: String,
    },
    /// It works again, and everything has been written.
    Recovered,
    /// Nothing is written any more, and no reply will come. The process has to end.
    Failed {
        /// What is wrong with it.
        error: String,
    },
}

/// A task, in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its name.
    pub id: TaskId,
    /// Its scheduler's name.
    pub scheduler: Arc<str>,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// Which run of it goes on or comes next, from 1.
    pub attempt: u32,
    /// When its first event came, in nanoseconds since 1970.
    pub first: i64,
    /// When its delay is over, in nanoseconds since 1970.
    pub due: i64,
    /// The directory that the event's path is in.
    pub dir: IndexId,
    /// Where it stands.
    pub state: RowState,
    /// The state of the file when the row was written last; `None` if there was none, or none that
    /// says anything.
    pub stamp: Option<Stamp>,
    /// The process that its command began as, as far as that is known and may still go on. Those of
    /// another boot are forgotten when the store is opened.
    pub leader: Option<Leader>,
}

/// A task that has ended, in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRow {
    /// Its name.
    pub id: TaskId,
    /// Its scheduler's name.
    pub scheduler: Arc<str>,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// Which attempt was the last, from 1.
    pub attempt: u32,
    /// How that ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// When it ended, in nanoseconds since 1970.
    pub at: i64,
}

/// Where a task in the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowState {
    /// It waits.
    Pending,
    /// It runs, or is about to.
    Running,
    /// Its run is over: a memo that its scheduler acted on the state in its stamp.
    Done,
}

/// What was in the store when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All tasks, memos included, by id.
    pub tasks: Vec<TaskRow>,
    /// The tasks that have ended last, and those that failed last, oldest first.
    pub history: Vec<EndedRow>,
    /// What [`Say::Covers`] said last.
    pub coverage: Option<Vec<u8>>,
    /// Whether the last one who had it open said [`Say::Stop`]; `true` for a new store.
    pub clean: bool,
    /// Whether the machine was started anew since then: ids of processes and watches of before mean
    /// nothing.
    pub rebooted: bool,
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub store: Store,
    /// What was in it.
    pub kept: Kept,
    /// Where a file went that was there but was no store, or a broken one. The store is new then.
    pub set_aside: Option<SetAside>,
}

/// A file that was no store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it went.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: String,
}

/// How the store takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long names are collected before a round begins.
    pub round_pause: Duration,
    /// How long the thread waits for more when nobody waits for it.
    pub linger: Duration,
    /// A file whose change is younger than this may change again without its stamp telling. No
    /// time at all: none is.
    pub racy: Duration,
    /// Whether file systems are believed that are known to give each change a time of its own.
    pub fine: bool,
    /// After a full disk: how long until the first new try, and at most.
    pub retry: (Duration, Duration),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            round_pause: Duration::from_millis(100),
            linger: Duration::from_millis(5),
            racy: Duration::from_millis(20),
            fine: true,
            retry: (Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

/// How it goes, for whoever asks.
#[derive(Debug, Default)]
pub struct Stats {
    commits: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    dirty: AtomicU64,
    tasks: AtomicU64,
    forgotten: AtomicU64,
}

impl Stats {
    /// Transactions so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Rows written or deleted so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Size of the database and its log, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Names whose rows are behind.
    pub fn dirty(&self) -> u64 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Tasks in the journal, memos included.
    pub fn tasks(&self) -> u64 {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Touches that found no room in memory: those names may be told again after a restart.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

/// A directory's store, open and locked, that nothing is written to yet.
pub struct Store {
    start: Start,
    lock: File,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.start.file).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. What cannot be used as a store is no error: it is set aside.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        let found = open::open(dir)?;
        let store = Self { start: found.start, lock: found.lock };
        Ok(Opened { store, kept: found.kept, set_aside: found.set_aside })
    }

    /// Starts the thread. Replies are given on that thread, in order.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(self, reply: Box<dyn Fn(Reply) + Send>) -> io::Result<Writer> {
        self.start_with(Settings::default(), reply)
    }

    /// As [`Store::start`], with times of one's own.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start_with(
        self,
        settings: Settings,
        reply: Box<dyn Fn(Reply) + Send>,
    ) -> io::Result<Writer> {
        let stats = Arc::new(Stats::default());
        let keeper = Keeper::new(self.start, settings, Arc::clone(&stats));
        Writer::spawn(keeper, self.lock, settings.linger, stats, reply)
    }
}
