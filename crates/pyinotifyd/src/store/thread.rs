//! The queue, and the thread at its end.

use std::{
    convert::Infallible,
    fs::File,
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pyinotifyd_core::time::Human;

use super::{Reply, Say, Stats, Trouble, keeper::Keeper};

/// So long the end waits for what was said last to be written. A disk that takes longer may never
/// answer, and a daemon that cannot be stopped keeps the next one from starting.
const PATIENCE: Duration = Duration::from_secs(30);

/// With so many things said, the thread waits for no more.
const ENOUGH: usize = 256;

/// Whom to say everything. Dropping it is [`Writer::join`].
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    thread: Option<JoinHandle<()>>,
    /// Is closed when the thread has ended.
    running: Receiver<Infallible>,
    patience: Duration,
}

impl Writer {
    pub(super) fn spawn(
        keeper: Keeper,
        lock: File,
        linger: Duration,
        stats: Arc<Stats>,
        reply: Box<dyn Fn(Reply) + Send>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let (runs, running) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            // The directory is free when nothing is written to it any more.
            let _held = (runs, lock);
            let run = AssertUnwindSafe(|| run(keeper, &theirs, linger, &*reply));
            if catch_unwind(run).is_err() {
                theirs.close();
                // Somebody waits for replies that will not come.
                let error = "the store's thread has ended by a fault of its own".into();
                reply(Reply::Trouble(Trouble::Failed { error }));
            }
        })?;
        Ok(Self { queue, stats, thread: Some(thread), running, patience: PATIENCE })
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        // What has a `drop` of its own cannot be taken apart.
        let mut writer = self;
        writer.patience = patience;
        writer
    }

    /// Queues something. Never waits.
    pub fn say(&self, say: Say) {
        self.say_all([say]);
    }

    /// Queues several things, of which either all are in a commit or none. Never waits.
    pub fn say_all(&self, all: impl IntoIterator<Item = Say>) {
        self.queue.push(all);
    }

    /// How it goes.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Says [`Say::Stop`], and waits until everything is written and the thread has ended, but not for
    /// ever: what is not written by then is as if the process had been killed, which is told.
    pub fn join(self) {}
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.say(Say::Stop);
        let Some(thread) = self.thread.take() else { return };
        match self.running.recv_timeout(self.patience) {
            Err(RecvTimeoutError::Disconnected) => {
                // What it died of, it has told.
                let _ = thread.join();
            }
            Err(RecvTimeoutError::Timeout) => log::error!(
                "what was kept last is not saved: the disk of the state, or a file system of what tasks \
                 are about, has not answered for {}; the next start goes on from what was saved \
                 before, as after a kill: what ended since then may run again",
                Human(self.patience)
            ),
            Ok(never) => match never {},
        }
    }
}

fn run(mut keeper: Keeper, queue: &Queue, linger: Duration, reply: &dyn Fn(Reply)) {
    let mut replies = Vec::new();
    keeper.begin(Instant::now(), &mut replies);
    loop {
        replies.drain(..).for_each(reply);
        let mut said = queue.take(keeper.poll_timeout(), linger);
        // Nothing comes after the end.
        if let Some(at) = said.iter().position(|it| *it == Say::Stop) {
            said.truncate(at + 1);
        }
        keeper.hear(said);
        keeper.work(Instant::now(), &mut replies);
        if keeper.is_stopping() {
            queue.close();
            keeper.end();
            return replies.drain(..).for_each(reply);
        }
    }
}

/// What was said and not heard yet.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    said: Vec<Say>,
    /// Whether somebody waits for what comes of it.
    urgent: bool,
    sleep: Sleep,
    /// Nobody hears any more.
    closed: bool,
}

/// What the thread sleeps for. It saves a system call for each word when it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    /// It is busy.
    #[default]
    No,
    /// Anything.
    Any,
    /// Something urgent, or enough.
    Urgent,
}

impl Queue {
    fn push(&self, all: impl IntoIterator<Item = Say>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let before = state.said.len();
        state.said.extend(all);
        if state.said.len() == before {
            return;
        }
        let is_urgent = state.said[before..].iter().any(is_urgent);
        state.urgent |= is_urgent;
        let wake = match state.sleep {
            Sleep::No => false,
            Sleep::Any => true,
            Sleep::Urgent => state.is_enough(),
        };
        if wake {
            state.sleep = Sleep::No;
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Everything that was said, in order; nothing, once that point in time has come.
    fn take(&self, until: Option<Instant>, linger: Duration) -> Vec<Say> {
        let mut state = self.lock();
        while state.said.is_empty() {
            match self.sleep(state, Sleep::Any, until) {
                (woken, true) => state = woken,
                (woken, false) => {
                    state = woken;
                    break;
                }
            }
        }
        let until = Instant::now() + linger;
        while !state.said.is_empty() && !state.is_enough() {
            match self.sleep(state, Sleep::Urgent, Some(until)) {
                (woken, true) => state = woken,
                (woken, false) => {
                    state = woken;
                    break;
                }
            }
        }
        state.sleep = Sleep::No;
        state.urgent = false;
        mem::take(&mut state.said)
    }

    /// Sleeps; `false` if that point in time has come.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        sleep: Sleep,
        until: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        state.sleep = sleep;
        let Some(until) = until else {
            let state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            return (state, true);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, false);
        }
        let woken = self.filled.wait_timeout(state, left);
        (woken.unwrap_or_else(PoisonError::into_inner).0, true)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.said = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock, so it is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody waits for what comes of it.
fn is_urgent(say: &Say) -> bool {
    match say {
        // What has ended and is not known to have runs once more.
        Say::Sync(_) | Say::Join { .. } | Say::Ended(_) | Say::Stop => true,
        Say::Task(_)
        | Say::Spawned(..)
        | Say::Finished(_)
        | Say::Drop(_)
        | Say::Touch { .. }
        | Say::Left { .. }
        | Say::Renamed { .. }
        | Say::Gone(_)
        | Say::Passed(_)
        | Say::Lost
        | Say::Covers(_)
        | Say::Reconciled => false,
    }
}

impl State {
    fn is_enough(&self) -> bool {
        self.urgent || self.said.len() >= ENOUGH
    }
}
