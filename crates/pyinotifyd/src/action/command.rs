//! Runs of `exec` and `shell`.
//!
//! A run is one process after the other, mostly one. Each has a session of its own, standard input
//! from `/dev/null` (or from the batch's paths), and is known by its pidfd. It has ended when its
//! leader has: what a grandchild still writes is not waited for, and a process that it left behind
//! on purpose goes on, unless the run was asked to stop.
//!
//! ```text
//!  start ── prepare ── launch ──┬── exits ──────────────── drain, reap ──┐
//!            (words,   (thread) ├── stop(Term) ── SIGTERM to the group   ├── Outcome
//!             PATH)             └── stop(Kill) ── SIGKILL to the group ──┘
//! ```
//!
//! Pitfalls:
//! * The group is signalled only before the leader is reaped; afterwards its number may be
//!   another's.
//! * Nothing here waits for a pipe alone: a command that neither reads nor ends must still be
//!   stoppable, and one that floods its output must not starve others.
//! * Tokio's pipes give only what the loop has been told of: the last bytes are read past it.

mod cost;
pub(crate) mod errors;
mod launcher;
pub(crate) mod output;
pub(crate) mod prepare;
#[cfg(test)]
pub(super) mod tests;
pub(crate) mod words;

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io::{self, PipeReader, PipeWriter, Read},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pyinotifyd_core::{
    plan::{Level, Output, Process, Scheduler},
    task::{Leader, Outcome, Run, RunId, StopHow, TaskId},
};
use pyinotifyd_sys::process::{self as sys, Child, Ended, Spawn};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe,
    sync::{mpsc, oneshot, watch},
};

use self::{
    errors::Failure,
    launcher::Launcher,
    output::Lines,
    prepare::{Command, Environment, Words},
};
use super::exec_helper;

/// Takes a line that a command printed, without its end, as bytes: escaping is its business. The
/// text is the logname of the command's scheduler.
pub(crate) type Printed = Arc<dyn Fn(Level, &str, TaskId, &[u8]) + Send + Sync>;

/// The commands that run.
pub(crate) struct Commands {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Environment,
    /// The program that becomes a command with settings.
    helper: CString,
    null: File,
    launcher: Launcher,
    printed: Printed,
    ended: mpsc::UnboundedSender<(RunId, Outcome)>,
    spawned: OnceLock<mpsc::UnboundedSender<(RunId, Leader)>>,
    running: Mutex<BTreeMap<RunId, watch::Sender<Option<StopHow>>>>,
    /// Whether it was told that commands wait for room.
    is_full: AtomicBool,
}

impl Commands {
    /// Outcomes go to `ended`, lines of commands whose output is logged to `printed`.
    pub(crate) fn new(
        environment: Environment,
        printed: Printed,
        ended: mpsc::UnboundedSender<(RunId, Outcome)>,
    ) -> io::Result<Self> {
        let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("open /dev/null: {}", crate::errors::words(&error)),
            )
        })?;
        let shared = Shared {
            environment,
            helper: exec_helper::PROGRAM.to_owned(),
            null,
            launcher: Launcher::new(),
            printed,
            ended,
            spawned: OnceLock::new(),
            running: Mutex::default(),
            is_full: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// From now on it is told as which process each command begins that lasts, before its run's outcome
    /// is.
    pub(crate) fn tell_spawned(&mut self, to: mpsc::UnboundedSender<(RunId, Leader)>) {
        // To whom it is told at first stays.
        let _ = self.shared.spawned.set(to);
    }

    /// Starts a run, on the tokio runtime that this is called from. Whatever comes of it, its
    /// outcome is told once.
    pub(crate) fn start(
        &mut self,
        run: &Run,
        scheduler: &Scheduler,
        process: &Process,
        words: &Words,
    ) {
        let shared = &self.shared;
        let prepared =
            prepare::prepare(run, scheduler, process, words, &shared.environment, &shared.helper);
        let commands = match prepared {
            Ok(commands) => commands,
            Err(failure) => return shared.tell(run.id, failure.into()),
        };
        let (stop, asked) = watch::channel(None);
        shared.running().insert(run.id, stop);
        let (id, output) = (run.id, process.output);
        let (logname, task) = (Arc::clone(&scheduler.logname), run.tasks[0].id);
        let printer = Printer { printed: Arc::clone(&shared.printed), logname, task };
        let stop = Stop(asked);
        let shared = Arc::clone(shared);
        let mut attempt = Attempt { shared, run: id, output, printer, stop };
        tokio::spawn(async move {
            let outcome = attempt.run_all(commands).await;
            attempt.shared.running().remove(&id);
            attempt.shared.tell(id, outcome);
        });
    }

    /// Asks a run to end. One that has ended, or was never started, is none of this.
    pub(crate) fn stop(&mut self, run: RunId, how: StopHow) {
        if let Some(stop) = self.shared.running().get(&run) {
            // What was asked for is not taken back: after Kill comes no Term.
            stop.send_modify(|asked| *asked = (*asked).max(Some(how)));
        }
    }

    /// How many runs have not ended.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.shared.running().len()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<RunId, watch::Sender<Option<StopHow>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells as which process a command of a run has begun. It must not have been reaped.
    fn tell_spawned(&self, run: RunId, task: TaskId, child: &Child) {
        if let Some(spawned) = self.spawned.get()
            && let Some(sys::strays::Leader { pid, since }) = child.leader()
        {
            // Nobody listens when the daemon has stopped.
            let _ = spawned.send((run, Leader { pid, since, task }));
        }
    }

    fn tell(&self, run: RunId, outcome: Outcome) {
        // Nobody listens when the daemon has stopped.
        let _ = self.ended.send((run, outcome));
    }
}

/// What was asked of a run, as it changes.
struct Stop(watch::Receiver<Option<StopHow>>);

impl Stop {
    fn now(&mut self) -> Option<StopHow> {
        *self.0.borrow_and_update()
    }

    /// The next time that something is asked.
    async fn next(&mut self) -> StopHow {
        loop {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(how) = self.now() {
                return how;
            }
        }
    }
}

/// One run.
struct Attempt {
    shared: Arc<Shared>,
    run: RunId,
    output: Output,
    printer: Printer,
    stop: Stop,
}

/// Whose output it is that is printed.
struct Printer {
    printed: Printed,
    logname: Arc<str>,
    task: TaskId,
}

impl Printer {
    fn print(&self, level: Level, line: &[u8]) {
        (self.printed)(level, &self.logname, self.task, line);
    }
}

impl Attempt {
    /// One after the other. A command that fails does not keep the others of its batch from
    /// running, since they are about other paths; one that cannot be started does.
    async fn run_all(&mut self, commands: Vec<Command>) -> Outcome {
        let mut worst = Outcome::Done(None);
        for command in commands {
            match self.run(Arc::new(command)).await {
                Outcome::Done(_) => (),
                failed @ (Outcome::Exited(..) | Outcome::Signalled(..)) => {
                    if worst.is_done() {
                        worst = failed;
                    }
                }
                ended @ (Outcome::Failed(_) | Outcome::Refused(_) | Outcome::Stopped) => {
                    return ended;
                }
            }
        }
        worst
    }

    async fn run(&mut self, command: Arc<Command>) -> Outcome {
        let (child, ours) = match self.begin(&command).await {
            Ok(begun) => begun,
            Err(outcome) => return outcome,
        };
        match self.attend(child, ours, command.task).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!(
                "lost sight of {}: {}",
                pyinotifyd_core::path::shown(&command.name),
                errors::words(&error)
            )),
        }
    }

    /// Starts it, as soon as there is room for it: a task is not lost because the machine is full.
    async fn begin(&mut self, command: &Arc<Command>) -> Result<(Child, Ours), Outcome> {
        let mut pause = SHORT_PAUSE;
        loop {
            if self.stop.now().is_some() {
                return Err(Outcome::Stopped);
            }
            let failure = match pipes(command, self.output) {
                Ok((ours, theirs)) => match self.launch(command, theirs).await {
                    Launched::Started(child) => {
                        self.shared.is_full.store(false, Ordering::Relaxed);
                        return Ok((child, ours));
                    }
                    Launched::Failed(failure) => failure,
                    Launched::Abandoned => return Err(Outcome::Stopped),
                },
                Err(error) => errors::explain(&error, &command.name, None, None),
            };
            let Failure::NoRoom(why) = failure else { return Err(failure.into()) };
            if !self.shared.is_full.swap(true, Ordering::Relaxed) {
                ::log::warn!("commands wait until they can be started: {why}");
            }
            tokio::select! {
                _ = self.stop.next() => (),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONG_PAUSE),
            }
        }
    }

    async fn launch(&mut self, command: &Arc<Command>, theirs: Theirs) -> Launched {
        let (reply, mut started) = oneshot::channel();
        let (shared, command) = (Arc::clone(&self.shared), Arc::clone(command));
        self.shared.launcher.launch(move || {
            // Nobody listens if it was stopped meanwhile: the child is dropped, and so killed.
            if let Err(Ok(mut child)) = reply.send(launch(&command, &shared, &theirs)) {
                let _ = child.kill_group();
                let _ = child.wait();
            }
        });
        loop {
            tokio::select! {
                biased;
                result = &mut started => return match result {
                    Ok(Ok(child)) => Launched::Started(child),
                    Ok(Err(failure)) => Launched::Failed(failure),
                    Err(_) => Launched::Failed(Failure::Temporary(
                        "cannot run: the thread that starts it has ended".into(),
                    )),
                },
                how = self.stop.next() => match how {
                    StopHow::Term => (),
                    StopHow::Kill => return Launched::Abandoned,
                },
                () = tokio::time::sleep(SLOW_LAUNCH) => self.shared.launcher.handle_delay(),
            }
        }
    }

    async fn attend(&mut self, child: Child, ours: Ours, task: TaskId) -> io::Result<Outcome> {
        let Ours { output, mut input, mut report } = ours;
        let mut output = output.map(|(pipe, level)| Logged::new(pipe, level)).transpose()?;
        let mut child = watched(child)?;
        let mut stopped = false;
        let mut untold = self.shared.spawned.get().is_some();
        let mut lasts = std::pin::pin!(tokio::time::sleep(SHORT));
        // What was asked while it was being launched.
        let mut asked = self.stop.now();
        loop {
            if let Some(how) = asked.take()
                && !child.get_ref().has_ended()?
            {
                stopped = true;
                match how {
                    StopHow::Term => child.get_ref().terminate_group()?,
                    StopHow::Kill => child.get_ref().kill_group()?,
                }
            }
            tokio::select! {
                biased;
                how = self.stop.next() => asked = Some(how),
                ended = child.readable() => {
                    ended?.clear_ready();
                    if child.get_ref().has_ended()? {
                        break;
                    }
                }
                () = &mut lasts, if untold => {
                    untold = false;
                    self.shared.tell_spawned(self.run, task, child.get_ref());
                }
                open = read_some(&mut output, &self.printer) => {
                    if !open {
                        output.as_mut().map(Logged::close);
                    }
                    // A command that floods its output is read on when all others had their turn.
                    tokio::task::yield_now().await;
                }
                open = write_some(&mut input) => if !open {
                    input = None;
                },
            }
        }
        if stopped {
            // Its own end is not that of all it started.
            child.get_ref().kill_group()?;
        }
        let ended = child.get_mut().reap()?.expect("has_ended saw it");
        let tail = output.map(|output| output.finish(&self.printer));
        if stopped {
            return Ok(Outcome::Stopped);
        }
        if let Some(failure) = report.as_mut().and_then(failure) {
            return Ok(failure.into());
        }
        let tail = tail.unwrap_or_default();
        Ok(match ended {
            Ended::Exited(0) => Outcome::Done(None),
            Ended::Exited(status) => Outcome::Exited(status, tail),
            Ended::Signalled(signal) => Outcome::Signalled(signal, tail),
        })
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; the pidfd is the child's own, and open as long as that lives"
)]
fn watched(child: Child) -> io::Result<AsyncFd<Child>> {
    AsyncFd::with_interest(child, Interest::READABLE)
}

/// As which process a command has begun is told when it lasts longer: for most commands it would cost
/// more than all else that the daemon does, and they have ended before it could be written down.
const SHORT: Duration = Duration::from_millis(5);

/// After this, a launch may be one that hangs, and others that wait behind it get a thread.
const SLOW_LAUNCH: Duration = Duration::from_millis(100);

/// What there was no room for is tried again after this, then after twice as long.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// And at least so often.
const LONG_PAUSE: Duration = Duration::from_secs(5);

enum Launched {
    Started(Child),
    Failed(Failure),
    /// It is still being started, and will be killed when it is.
    Abandoned,
}

/// The daemon's ends of a command's pipes.
#[derive(Default)]
struct Ours {
    output: Option<(PipeReader, Level)>,
    input: Option<(pipe::Sender, Vec<u8>, usize)>,
    report: Option<PipeReader>,
}

/// The command's ends, closed in the daemon as soon as it is started.
struct Theirs {
    output: Prints,
    input: Option<PipeReader>,
    report: Option<PipeWriter>,
}

enum Prints {
    Inherited,
    Discarded,
    Piped(PipeWriter),
}

fn pipes(command: &Command, output: Output) -> io::Result<(Ours, Theirs)> {
    let mut ours = Ours::default();
    let mut theirs = Theirs { output: Prints::Inherited, input: None, report: None };
    match output {
        Output::Inherit => (),
        Output::Discard => theirs.output = Prints::Discarded,
        Output::Log(level) => {
            let (reader, writer) = io::pipe()?;
            ours.output = Some((reader, level));
            theirs.output = Prints::Piped(writer);
        }
    }
    if let Some(input) = &command.input {
        let (reader, writer) = io::pipe()?;
        // Its own end alone: the command's must wait, as commands expect it.
        let writer = pipe::Sender::from_owned_fd(OwnedFd::from(writer))?;
        ours.input = Some((writer, input.clone(), 0));
        theirs.input = Some(reader);
    }
    if command.helper {
        let (reader, writer) = io::pipe()?;
        ours.report = Some(reader);
        theirs.report = Some(writer);
    }
    Ok((ours, theirs))
}

/// On a launcher's thread.
fn launch(command: &Command, shared: &Shared, theirs: &Theirs) -> Result<Child, Failure> {
    let env: Vec<&CStr> = command.env().collect();
    let argv: Vec<&CStr> = command.argv.iter().map(CString::as_c_str).collect();
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let null = shared.null.as_fd();
    let [out, err] = match &theirs.output {
        Prints::Inherited => [stdout.as_fd(), stderr.as_fd()],
        Prints::Discarded => [null; 2],
        Prints::Piped(writer) => [writer.as_fd(); 2],
    };
    let spawn = Spawn {
        program: &command.file,
        argv: &argv,
        env: &env,
        cwd: command.cwd.as_deref(),
        stdio: [theirs.input.as_ref().map_or(null, AsFd::as_fd), out, err],
        report: theirs.report.as_ref().map(AsFd::as_fd),
    };
    let error = match sys::spawn(&spawn) {
        Ok(child) => return Ok(child),
        Err(error) => io::Error::from(error.errno()),
    };
    if command.helper {
        return Err(errors::explain(&error, command.file.to_bytes(), None, None));
    }
    if !(command.script && errors::is_no_program(&error)) {
        return Err(errors::explain(&error, &command.name, command.cwd.as_deref(), None));
    }
    let argv = errors::as_script(&command.file, &argv);
    sys::spawn(&Spawn { program: errors::SH, argv: &argv, ..spawn })
        .map_err(|error| errors::explain(&error.errno().into(), errors::SH.to_bytes(), None, None))
}

/// What the helper told, if it did not become the command.
fn failure(report: &mut PipeReader) -> Option<Failure> {
    let mut text = vec![0; sys::pending(&*report).ok()?];
    report.read_exact(&mut text).ok()?;
    exec_helper::failure(&text)
}

/// A command's output on its way to the log.
struct Logged {
    pipe: Option<pipe::Receiver>,
    level: Level,
    lines: Lines,
    buffer: Vec<u8>,
}

impl Logged {
    /// Half of what a pipe holds: enough that reading is not what costs.
    const BUFFER: usize = 32 * 1024;

    fn new(pipe: PipeReader, level: Level) -> io::Result<Self> {
        let pipe = Some(pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))?);
        Ok(Self { pipe, level, lines: Lines::default(), buffer: Vec::new() })
    }

    fn close(&mut self) {
        self.pipe = None;
    }

    /// How much there was; 0 at the end.
    fn read(&mut self, to: &Printer) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        self.buffer.resize(Self::BUFFER, 0);
        let count = pipe.try_read(&mut self.buffer)?;
        let level = self.level;
        self.lines.handle_bytes(&self.buffer[..count], |line| to.print(level, line));
        Ok(count)
    }

    /// Takes what is in the pipe and no more: a grandchild may write for ever.
    fn finish(mut self, to: &Printer) -> String {
        // Past tokio, which reads only after the loop has waited for the pipe once more.
        let pipe = self.pipe.take().and_then(|pipe| pipe.into_nonblocking_fd().ok());
        if let Some(mut pipe) = pipe.map(PipeReader::from) {
            let mut left = sys::pending(&pipe).unwrap_or(0);
            self.buffer.resize(Self::BUFFER, 0);
            while left > 0 {
                let most = left.min(Self::BUFFER);
                match pipe.read(&mut self.buffer[..most]) {
                    Ok(count @ 1..) => {
                        left -= count;
                        let bytes = &self.buffer[..count];
                        self.lines.handle_bytes(bytes, |line| to.print(self.level, line));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                    Ok(0) | Err(_) => break,
                }
            }
        }
        self.lines.handle_end(|line| to.print(self.level, line));
        self.lines.tail()
    }
}

/// Whether there may be more. Without a pipe it never comes back; it can be dropped at any time.
async fn read_some(output: &mut Option<Logged>, to: &Printer) -> bool {
    let Some(output) = output else { return std::future::pending().await };
    let Some(pipe) = &output.pipe else { return std::future::pending().await };
    if pipe.readable().await.is_err() {
        return false;
    }
    match output.read(to) {
        Ok(count) => count > 0,
        Err(error) => may_go_on(&error),
    }
}

/// Whether there is more to write, to somebody who may read it. As [`read_some`] otherwise.
async fn write_some(input: &mut Option<(pipe::Sender, Vec<u8>, usize)>) -> bool {
    let Some((pipe, bytes, written)) = input else { return std::future::pending().await };
    if pipe.writable().await.is_err() {
        return false;
    }
    match pipe.try_write(&bytes[*written..]) {
        Ok(count) => {
            *written += count;
            *written < bytes.len()
        }
        // EPIPE: it does not want to know.
        Err(error) => may_go_on(&error),
    }
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
