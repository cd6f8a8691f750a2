//! A host that runs: what it is told, and what it says.
//!
//! A task of the loop's runtime reads and writes the link. What is to be said is put into an
//! [`Outbox`], which never waits; what was said goes through a bounded channel to the loop, so
//! that a host that chatters is held up by its own socket.

use std::{
    fmt,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyinotifyd_core::{
    engine::Question,
    filerule,
    plan::Action,
    task::{RunId, RunTask},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::Instant,
};

use super::{
    start::{Connected, Process},
    wire::{Decoder, Frames, FromHost, ToHost},
};
use crate::{errors::words, json::Value};

/// With more waiting for it than this, a host gets no records of the log.
const LOG_BACKLOG: usize = 8 << 20;

/// So long after a frame with runs comes the next one with them, at the soonest, while the host has
/// some. What comes when it has none goes at once, so that who waits for the end of each has it
/// soon; of a stream, each would cost both processes a wake-up that costs more than the run.
const PACE: Duration = Duration::from_millis(1);

/// A host that has tasks and has said nothing for so long is asked whether it is alive, and given
/// as long for the answer.
const QUIET: Duration = Duration::from_secs(5);

/// Names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) u64);

/// What is heard of a host.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It said something.
    Said(Vec<FromHost>),
    /// It has tasks, and does not answer.
    Silent(Duration),
    /// It has not said in time what the rules of this run match.
    Overdue(RunId),
    /// It has gone, or said what cannot be understood; `Some` has the words for that.
    Gone(Option<String>),
}

/// Where all hosts are heard.
pub(crate) type Inbox = mpsc::Sender<(HostId, Heard)>;

/// A host that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its name.
    pub(crate) id: HostId,
    /// What is to be said to it.
    pub(crate) outbox: Arc<Outbox>,
    /// Its own words for what config.py built.
    pub(crate) description: Value,
    /// Since when it runs.
    pub(crate) since: Instant,
    process: Process,
    killed: bool,
    serve: JoinHandle<()>,
}

impl Live {
    /// Takes over a host, on the tokio runtime that this is called from.
    ///
    /// # Errors
    ///
    /// The link cannot be watched.
    pub(crate) fn new(id: HostId, host: Connected, inbox: Inbox) -> io::Result<Self> {
        let Connected { process, link, decoder, said, description, .. } = host;
        link.set_nonblocking(true)?;
        let link = watched(link, Interest::READABLE)?;
        let outbox = Arc::new(Outbox::default());
        let writing = Writing::default();
        let server = Server { id, link, writing, decoder, outbox: Arc::clone(&outbox), inbox };
        let serve = tokio::spawn(server.serve(said));
        Ok(Self { id, outbox, description, since: Instant::now(), process, killed: false, serve })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends what hangs. `false`: that was done before.
    pub(crate) fn kill(&mut self) -> bool {
        // It is ours and not reaped: there is nothing that could fail.
        let _ = self.process.0.kill_group();
        !std::mem::replace(&mut self.killed, true)
    }

    /// Closes its link, waits a moment until it has ended, then ends it.
    pub(crate) async fn end(self) {
        self.serve.abort();
        // Only then is the link closed.
        let _ = self.serve.await;
        self.process.end();
    }

    /// How it ended.
    pub(crate) fn post_mortem(self) -> String {
        self.serve.abort();
        self.process.post_mortem()
    }
}

/// What is to be said to a host.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Frames,
    /// Whether something is among it that does not wait for its pace: a question, or a run for a
    /// host that has none.
    hurries: bool,
    /// How many runs are with the host, or on their way.
    active: usize,
    /// How many of them are still among `frames`.
    unsent: usize,
}

impl Queue {
    /// Whether the host has nothing to do, and what there is for it waits here.
    fn starves(&self) -> bool {
        self.unsent > 0 && self.active <= self.unsent
    }

    /// Takes in that what is here may have to go at once; `true` if that is so only from now on.
    fn hurry(&mut self, asked: bool) -> bool {
        let begins = !self.hurries && (asked || self.starves());
        self.hurries |= begins;
        begins
    }
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something.
    pub(crate) fn say(&self, message: &ToHost<'_>) {
        self.add(self.queue(), true, |it| it.frames.push(message));
    }

    /// Adds something, which goes at once if it `hurries` or the host has nothing else to do, else
    /// at its pace.
    fn add(&self, mut queue: MutexGuard<'_, Queue>, hurries: bool, push: impl FnOnce(&mut Queue)) {
        // What is there already has woken whom it concerns.
        let wakes = queue.frames.is_empty();
        push(&mut queue);
        let hurries = queue.hurry(hurries);
        drop(queue);
        if wakes || hurries {
            self.wake.notify_one();
        }
    }

    /// Has a job run.
    pub(crate) fn run(&self, run: RunId, job: u64, task: &RunTask) {
        self.add(self.queue(), false, |it| {
            it.active += 1;
            it.unsent += 1;
            it.frames.push_run(run, job, task);
        });
    }

    /// Asks what the rules of a run match.
    pub(crate) fn ask(&self, question: &Question) {
        let Question { run, plan } = question;
        let rules = match &plan.scheduler(run.scheduler).action {
            Action::Rules(rules) => filerule::questions(rules).collect(),
            Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => Vec::new(),
        };
        self.queue().active += 1;
        self.say(&ToHost::Match(run.id, &rules, &run.tasks));
    }

    /// Takes in that a run is not with the host any more.
    pub(crate) fn ended(&self) {
        let mut queue = self.queue();
        queue.active -= 1;
        if queue.hurry(false) {
            self.wake.notify_one();
        }
    }

    /// Hands over a record of the log, if the host is not too far behind.
    pub(crate) fn log(
        &self,
        (level, logname): (u32, &str),
        message: &dyn fmt::Display,
        at: Duration,
        task: Option<&dyn fmt::Display>,
    ) -> bool {
        let queue = self.queue();
        if queue.frames.len() > LOG_BACKLOG {
            return false;
        }
        let message = ToHost::Log(level, logname, message, at.as_secs_f64(), task);
        self.add(queue, false, |it| it.frames.push(&message));
        true
    }

    fn take(&self) -> Vec<u8> {
        let mut queue = self.queue();
        queue.hurries = false;
        queue.unsent = 0;
        queue.frames.take()
    }

    fn hurries(&self) -> bool {
        self.queue().hurries
    }

    fn is_idle(&self) -> bool {
        self.queue().active == 0
    }
}

struct Server {
    id: HostId,
    /// Watched for what there is to read. That it can be written to is said of a socket each time
    /// the other side has read, so that is only asked when it could not be.
    link: AsyncFd<UnixStream>,
    writing: Writing,
    decoder: Decoder,
    outbox: Arc<Outbox>,
    inbox: Inbox,
}

/// What is being written.
#[derive(Default)]
struct Writing {
    bytes: Vec<u8>,
    /// How many of them have been taken.
    at: usize,
    /// Watched for room, while there is none.
    full: Option<AsyncFd<UnixStream>>,
}

impl Writing {
    fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Writes what the link takes.
    ///
    /// # Errors
    ///
    /// It is full, and cannot be watched.
    fn go_on(&mut self, link: &UnixStream) -> io::Result<()> {
        let mut writer = link;
        while !self.is_done() {
            match writer.write(&self.bytes[self.at..]) {
                Ok(wrote) => self.at += wrote,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full = Some(watched(link.try_clone()?, Interest::WRITABLE)?);
                    return Ok(());
                }
                // What it still had to say is read, then its end is met.
                Err(_) => self.at = self.bytes.len(),
            }
        }
        self.full = None;
        Ok(())
    }

    /// Returns when there is room again.
    async fn room(&self) {
        match &self.full {
            // An error shows when it is written to.
            Some(full) => drop(full.writable().await),
            None => std::future::pending().await,
        }
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; the descriptor is the socket's own, and open as long as it"
)]
fn watched(link: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(link, interest)
}

/// What a [`Server`] knows of how lively its host is.
enum Pulse {
    /// It has nothing to do.
    Idle,
    /// It has tasks, and was last heard, or given the first of them, at this time.
    Busy(Instant),
    /// It was asked at this time.
    Asked(Instant),
    /// It has not answered since this time, and that was told.
    Silent,
}

impl Server {
    async fn serve(mut self, said: Vec<FromHost>) {
        if !said.is_empty() && self.tell(Heard::Said(said)).await.is_err() {
            return;
        }
        let why = match self.converse().await {
            // The loop has ended.
            Err(None) => return,
            Err(Some(why)) => Some(why),
            Ok(()) => None,
        };
        let _ = self.tell(Heard::Gone(why)).await;
    }

    async fn tell(&self, heard: Heard) -> Result<(), ()> {
        self.inbox.send((self.id, heard)).await.map_err(|_| ())
    }

    /// Until the host closes its end. The error is what it did wrong; `None`: nobody listens.
    async fn converse(&mut self) -> Result<(), Option<String>> {
        // When the last frame went, and until when the next one is held back.
        let (mut sent, mut held) = (None::<Instant>, None::<Instant>);
        let mut buffer = vec![0; 64 << 10];
        let (mut pulse, mut asked) = (Pulse::Idle, 0);
        // What came with the document.
        self.decode().await?;
        loop {
            let due = match pulse {
                Pulse::Idle | Pulse::Silent => None,
                Pulse::Busy(since) | Pulse::Asked(since) => Some(since + QUIET),
            };
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let pace = async {
                match held {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let has_written = self.writing.is_done();
            tokio::select! {
                ready = self.link.readable() => {
                    let Ok(mut ready) = ready else { return Ok(()) };
                    match ready.get_inner().read(&mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(read) => {
                            // That was all, and more makes it ready again.
                            if read < buffer.len() {
                                ready.clear_ready();
                            }
                            self.decoder.push(&buffer[..read]);
                            self.decode().await?;
                            pulse = self.beat();
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            ready.clear_ready();
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                        Err(_) => return Ok(()),
                    }
                }
                () = self.outbox.wake.notified(), if has_written => {
                    let soonest = sent.map(|it| it + PACE).filter(|it| *it > Instant::now());
                    if soonest.is_some() && !self.outbox.hurries() {
                        held = soonest;
                        continue;
                    }
                    (sent, held) = (Some(self.write(&mut pulse)?), None);
                }
                () = pace, if has_written => {
                    (sent, held) = (Some(self.write(&mut pulse)?), None);
                }
                () = self.writing.room(), if !has_written => self.go_on_writing()?,
                () = timer => pulse = match pulse {
                    Pulse::Busy(_) if matches!(self.beat(), Pulse::Idle) => Pulse::Idle,
                    Pulse::Busy(_) => {
                        asked += 1;
                        self.outbox.say(&ToHost::Ping(asked));
                        Pulse::Asked(Instant::now())
                    }
                    _ => {
                        self.tell(Heard::Silent(2 * QUIET)).await.map_err(|()| None)?;
                        Pulse::Silent
                    }
                },
            }
        }
    }

    /// Writes what is to be said, which may give an idle host something to do. Gives back when that
    /// was.
    fn write(&mut self, pulse: &mut Pulse) -> Result<Instant, Option<String>> {
        (self.writing.bytes, self.writing.at) = (self.outbox.take(), 0);
        self.go_on_writing()?;
        if matches!(pulse, Pulse::Idle) {
            *pulse = self.beat();
        }
        Ok(Instant::now())
    }

    fn go_on_writing(&mut self) -> Result<(), Option<String>> {
        self.writing
            .go_on(self.link.get_ref())
            .map_err(|error| Some(format!("write: {}", words(&error))))
    }

    fn beat(&self) -> Pulse {
        if self.outbox.is_idle() { Pulse::Idle } else { Pulse::Busy(Instant::now()) }
    }

    async fn decode(&mut self) -> Result<(), Option<String>> {
        loop {
            match self.decoder.frame() {
                Ok(None) => return Ok(()),
                Ok(Some(messages)) => {
                    self.tell(Heard::Said(messages)).await.map_err(|()| None)?;
                }
                Err(error) => return Err(Some(error.to_string())),
            }
        }
    }
}
