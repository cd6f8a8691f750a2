//! What is to be written, and the thread that writes it.
//!
//! Whoever logs only appends to a buffer: standard error may be a pipe that nobody reads, and the
//! daemon must not wait for it. The thread takes the whole buffer, writes it, and sleeps until
//! there is more; it is never woken for nothing. When the buffer has reached its bound, lines are
//! dropped and counted, and as soon as there is room again a line says how many.
//!
//! The bar on a terminal is drawn by that thread, too: a terminal that is stopped stops nobody else,
//! and no line comes in between. Of several states of what it shows, the last counts.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    mem,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pyinotifyd_core::{count::Count, plan::Level};

use super::{
    DAEMON, Facility, Record, Syslog,
    bar::{Bar, Work},
    journald, now, stderr,
    syslog::{self, Way},
};
use crate::errors::words;

/// How long the thread waits for standard error when that is a pipe in non-blocking mode, which is
/// full, each time, and how often.
const PATIENCE: (Duration, u32) = (Duration::from_millis(20), 50);

/// How long the thread rests once it has written. Lines come in bursts, and waking a thread costs
/// who logs more than the line does: what comes meanwhile wakes nobody.
const REST: Duration = Duration::from_millis(1);

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// To standard error.
    Stderr,
    /// To the journal.
    Journal,
    /// To syslog.
    Syslog,
}

/// How wide the terminal is that standard error is; `None` if nothing can be drawn there now.
pub(crate) type Columns = Box<dyn Fn() -> Option<u16> + Send>;

/// A bounded queue of lines, and the thread at its end.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
    /// The most bytes that wait.
    bound: usize,
    /// Lines that were dropped since the start, here or because standard error did not take them.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// Lines that found no room.
    dropped: u64,
    /// What the bar is to show from now on.
    bar: Option<Show>,
    /// Whether the thread waits for `filled`. It saves a system call for each line when not.
    asleep: bool,
    /// Where syslog is; `None`: nowhere.
    syslog: Option<Syslog>,
    /// How many wait until all is written.
    flushing: u32,
    /// No more will come: the thread ends.
    closed: bool,
}

/// What the bar shows.
#[derive(Debug)]
pub(crate) enum Show {
    /// How far it is what takes long.
    Work(Work),
    /// Nothing: it is cleared.
    Nothing,
}

/// Lines back to back, and where each ends. Neighbours of one lane on a stream are one entry.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<(Lane, usize)>,
}

impl Batch {
    fn push(&mut self, to: Lane, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        match self.ends.last_mut() {
            // Datagrams are single; a stream is not.
            Some((Lane::Stderr, end)) if to == Lane::Stderr => *end = self.bytes.len(),
            _ => self.ends.push((to, self.bytes.len())),
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // A burst's megabytes are not kept for ever.
        self.bytes.shrink_to(64 << 10);
        self.ends.shrink_to(1 << 10);
    }
}

impl Queue {
    /// Starts the thread. At most `bound` bytes wait.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub(crate) fn start(
        bound: usize,
        stderr: File,
        columns: Columns,
        journal: PathBuf,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bound,
            dropped: AtomicU64::new(0),
        });
        let writer = Writer {
            stderr,
            columns,
            bar: Bar::new(),
            journal_address: journal,
            journal: None,
            syslog: None,
            torn: false,
            lost: 0,
            unsent: 0,
            unreached: false,
        };
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("log".into()).spawn(move || theirs.run(writer))?;
        Ok(Self { shared })
    }

    /// Queues a line, or counts it as dropped. Never waits for the writing.
    pub(crate) fn push(&self, to: Lane, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.batch.bytes.len() + line.len() > self.shared.bound {
            state.dropped += 1;
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.batch.push(to, line);
        self.shared.wake(state);
    }

    /// From now on, the bar shows this. Never waits for the drawing.
    pub(crate) fn show(&self, show: Show) {
        let mut state = self.shared.lock();
        state.bar = Some(show);
        self.shared.wake(state);
    }

    /// How many lines were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Lines for syslog go there from now on.
    pub(crate) fn set_syslog(&self, syslog: Option<Syslog>) {
        self.shared.lock().syslog = syslog;
    }

    /// Waits until all is written, at most so long; whether it is.
    pub(crate) fn flush(&self, at_most: Duration) -> bool {
        let end = Instant::now() + at_most;
        let mut state = self.shared.lock();
        state.flushing += 1;
        self.shared.filled.notify_one();
        loop {
            let written = state.asleep && state.batch.ends.is_empty();
            let left = end.saturating_duration_since(Instant::now());
            if written || left.is_zero() {
                state.flushing -= 1;
                return written;
            }
            state = self
                .shared
                .emptied
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock, so it is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread for what is there now, if it sleeps.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if mem::take(&mut state.asleep) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Waits a moment, unless somebody waits for the last line.
    fn rest(&self) {
        let state = self.lock();
        // What fills the queue does not notify: the thread does not count as asleep.
        let hurried = |it: &mut State| !it.closed && it.flushing == 0;
        let _ = self
            .filled
            .wait_timeout_while(state, REST, hurried)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn run(&self, mut writer: Writer) {
        let mut batch = Batch::default();
        loop {
            let mut state = self.lock();
            while state.batch.ends.is_empty() && state.dropped == 0 && state.bar.is_none() {
                if state.closed {
                    return;
                }
                state.asleep = true;
                self.emptied.notify_all();
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.asleep = false;
            mem::swap(&mut state.batch, &mut batch);
            let dropped = mem::take(&mut state.dropped);
            let show = state.bar.take();
            writer.route(state.syslog.as_ref());
            drop(state);
            let before = writer.lost;
            let has_lines = !batch.ends.is_empty() || dropped > 0;
            if has_lines {
                writer.give_way();
            }
            writer.write(&batch);
            self.dropped.fetch_add(writer.lost - before, Ordering::Relaxed);
            batch.clear();
            writer.tell(dropped);
            match show {
                Some(show) => writer.show(&show),
                None if has_lines => writer.draw_again(),
                None => (),
            }
            self.rest();
        }
    }
}

/// The three ways out.
struct Writer {
    stderr: File,
    columns: Columns,
    bar: Bar,
    journal_address: PathBuf,
    /// Reached at the first record.
    journal: Option<UnixDatagram>,
    syslog: Option<(Way, Facility)>,
    /// Whether the last line on standard error broke off.
    torn: bool,
    /// Lines that standard error did not take since it was last said.
    lost: u64,
    /// Lines that syslog did not take since it was last said.
    unsent: u64,
    /// Whether it was said that syslog cannot be reached.
    unreached: bool,
}

impl Writer {
    /// Keeps the way to syslog that there is, if it leads where it should.
    fn route(&mut self, syslog: Option<&Syslog>) {
        self.syslog = syslog.map(|syslog| match self.syslog.take() {
            Some((way, _)) if *way.address() == syslog.address => (way, syslog.facility),
            Some(_) | None => {
                self.unreached = false;
                (Way::new(syslog.address.clone()), syslog.facility)
            }
        });
    }

    /// How wide the terminal is, if the bar can be drawn there now.
    fn columns(&self) -> Option<u16> {
        (!self.torn).then(|| (self.columns)()).flatten()
    }

    /// Clears the bar where lines are to come.
    fn give_way(&mut self) {
        if self.bar.is_drawn() && self.columns().is_some() {
            draw(&self.stderr, self.bar.give_way());
        }
    }

    /// Draws the bar below the lines that have come.
    fn draw_again(&mut self) {
        if self.bar.is_drawn() && self.columns().is_some() {
            draw(&self.stderr, self.bar.draw_again());
        }
    }

    fn show(&mut self, show: &Show) {
        let columns = self.columns();
        let bytes = match show {
            Show::Work(work) => self.bar.draw(work, columns),
            Show::Nothing => self.bar.clear(),
        };
        if columns.is_some() {
            draw(&self.stderr, bytes);
        }
    }

    fn write(&mut self, batch: &Batch) {
        let mut start = 0;
        for (lane, end) in &batch.ends {
            let line = &batch.bytes[start..*end];
            start = *end;
            match lane {
                Lane::Stderr => self.send_stderr(line),
                Lane::Journal => self.send_journal(line),
                Lane::Syslog => self.send_syslog(line),
            }
        }
    }

    /// Says how many lines were lost on the way, once there is a way again.
    fn tell(&mut self, dropped: u64) {
        let lost = mem::take(&mut self.lost) + dropped;
        if lost > 0 {
            let mut line = Vec::new();
            stderr::write(&mut line, &record(&came_too_fast(lost)));
            self.send_stderr(&line);
            if self.lost > 0 {
                self.lost = lost;
            }
        }
    }

    /// A closed or broken standard error is nobody's to tell; what it does not take is counted, in
    /// case that it comes back.
    fn send_stderr(&mut self, mut bytes: &[u8]) {
        let mut tries = 0;
        if self.torn && self.stderr.write(b"\n").is_ok() {
            self.torn = false;
        }
        while !bytes.is_empty() {
            match self.stderr.write(bytes) {
                Ok(len @ 1..) => {
                    self.torn = bytes[len - 1] != b'\n';
                    (bytes, tries) = (&bytes[len..], 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < PATIENCE.1 => {
                    tries += 1;
                    thread::sleep(PATIENCE.0);
                }
                Ok(0) | Err(_) => {
                    self.lost += bytes.split(|it| *it == b'\n').skip(1).count() as u64;
                    return;
                }
            }
        }
    }

    fn send_journal(&mut self, datagram: &[u8]) {
        // Twice, since a journal that was started anew has another socket.
        for _ in 0..2 {
            let socket = match self.journal.take() {
                Some(socket) => socket,
                None => match UnixDatagram::unbound() {
                    Ok(socket) if socket.connect(&self.journal_address).is_ok() => socket,
                    _ => break,
                },
            };
            if socket.send(datagram).is_ok() {
                self.journal = Some(socket);
                return;
            }
        }
        self.send_stderr(&journald::as_line(datagram));
    }

    fn send_syslog(&mut self, line: &[u8]) {
        let Some((way, facility)) = &mut self.syslog else { return };
        if let Err(error) = way.send(line) {
            self.unsent += 1;
            // One that is only slow takes the next line.
            if !self.unreached && error.kind() != io::ErrorKind::WouldBlock {
                self.unreached = true;
                let message = unreached(&way.address(), &error);
                let mut line = Vec::new();
                stderr::write(&mut line, &record(&message));
                self.send_stderr(&line);
            }
            return;
        }
        self.unreached = false;
        if self.unsent > 0 {
            let mut line = Vec::new();
            let message = not_sent(self.unsent);
            syslog::write(&mut line, &record(&message), *facility, std::process::id());
            if way.send(&line).is_ok() {
                self.unsent = 0;
            }
        }
    }
}

/// What a terminal does not take of the bar is not missed.
fn draw(mut terminal: &File, bytes: &[u8]) {
    let _ = terminal.write_all(bytes);
}

fn came_too_fast(lost: u64) -> String {
    let lines =
        Count(lost, "line of the log was dropped: it", "lines of the log were dropped: they");
    format!("{lines} came too fast")
}

fn unreached(address: &impl fmt::Display, error: &io::Error) -> String {
    format!("cannot reach syslog at {address}: {}", words(error))
}

fn not_sent(lines: u64) -> String {
    format!("{} of the log did not reach syslog", Count(lines, "line", "lines"))
}

/// A warning of the log about itself.
fn record(message: &String) -> Record<'_> {
    let (task, path, name) = (None, None, None);
    Record { at: now(), level: Level::Warning, logname: DAEMON, task, path, name, message }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd};

    use super::*;
    use crate::log::bar::What;

    const LONG: Duration = Duration::from_secs(60);

    /// What is no terminal.
    #[test]
    fn what_is_lost_on_the_way_is_told() {
        let told = [1, 2].map(|lines| format!("{}\n{}", came_too_fast(lines), not_sent(lines)));
        insta::assert_snapshot!("lost", told.join("\n"));
    }

    fn none() -> Columns {
        Box::new(|| None)
    }

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn a_full_pipe_holds_up_nobody_and_what_was_dropped_is_told() {
        let (mut reader, mut stderr) = pipe();
        let room = rustix::pipe::fcntl_getpipe_size(&stderr).unwrap();
        stderr.write_all(&vec![b'\n'; room]).unwrap();
        let queue = Queue::start(1000, stderr, none(), PathBuf::new()).unwrap();
        for _ in 0..10_000 {
            queue.push(Lane::Stderr, b"0123456789 0123456789 0123456789\n");
        }
        assert!(!queue.flush(Duration::from_millis(1)), "it cannot be written yet");
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        assert!(queue.flush(LONG));
        let counted = queue.dropped();
        drop(queue);
        let text = reading.join().unwrap();
        let mut dropped = 0;
        let mut written = 0;
        for line in text.lines() {
            match line.split_once(" - WARNING - ") {
                Some((_, told)) => {
                    let (count, _) = told.split_once(" line").unwrap();
                    dropped += count.parse::<u64>().unwrap();
                }
                None => written += u64::from(line == "0123456789 0123456789 0123456789"),
            }
        }
        assert!(dropped > 9000, "{dropped}");
        assert_eq!(counted, dropped);
        assert_eq!(written + dropped, 10_000);
    }

    #[test]
    fn lines_stay_in_order_over_lanes() {
        let (mut reader, stderr) = pipe();
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::start(1 << 20, stderr, none(), dir.path().join("none")).unwrap();
        for number in 0..1000 {
            if number % 3 == 0 {
                let datagram = format!("MESSAGE={number}\nPRIORITY=6\n");
                queue.push(Lane::Journal, datagram.as_bytes());
            } else {
                queue.push(Lane::Stderr, format!("{number}\n").as_bytes());
            }
        }
        assert!(queue.flush(LONG));
        drop(queue);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let numbers: Vec<u32> =
            text.lines().map(|it| it.trim_start_matches("<6>").parse().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }

    fn copying(done: u64) -> Show {
        let what = What::Copying { path: Arc::from(&b"/in/big"[..]) };
        Show::Work(Work { what, done, of: Some(4 << 20), took: Duration::from_secs(1), others: 0 })
    }

    /// What is on a screen of wide lines after these bytes, of which only those are known that we
    /// write.
    fn screen(bytes: &[u8]) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut rest = str::from_utf8(bytes).unwrap();
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("\r\x1b[J") {
                lines.last_mut().unwrap().clear();
                rest = after;
                continue;
            }
            match first {
                '\n' => lines.push(String::new()),
                // Nothing is written over it before it is cleared.
                '\r' => (),
                it => lines.last_mut().unwrap().push(it),
            }
            rest = &rest[first.len_utf8()..];
        }
        lines.iter().map(|it| it.trim_end().to_owned()).collect()
    }

    #[test]
    fn lines_come_above_the_bar_and_it_leaves_no_trace() {
        let (mut reader, stderr) = pipe();
        let queue = Queue::start(1 << 20, stderr, Box::new(|| Some(80)), PathBuf::new()).unwrap();
        queue.push(Lane::Stderr, b"one\n");
        queue.show(copying(1 << 20));
        assert!(queue.flush(LONG));
        queue.push(Lane::Stderr, b"two\n");
        assert!(queue.flush(LONG));
        queue.show(copying(2 << 20));
        assert!(queue.flush(LONG));
        let mut bytes = vec![0; 1 << 12];
        let len = reader.read(&mut bytes).unwrap();
        bytes.truncate(len);
        let bar = "[==========>         ] copying: 2.00 MiB of 4.00 MiB, 2.00 MiB a second, 1s lef";
        assert_eq!(screen(&bytes), ["one", "two", bar]);
        queue.push(Lane::Stderr, b"three\n");
        queue.show(Show::Nothing);
        assert!(queue.flush(LONG));
        drop(queue);
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(screen(&bytes), ["one", "two", "three", ""]);
    }

    #[test]
    fn nothing_is_drawn_where_nothing_can_be() {
        let (mut reader, stderr) = pipe();
        let queue = Queue::start(1 << 20, stderr, none(), PathBuf::new()).unwrap();
        queue.show(copying(1));
        queue.push(Lane::Stderr, b"one\n");
        queue.show(Show::Nothing);
        assert!(queue.flush(LONG));
        drop(queue);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n");
    }

    #[test]
    fn a_terminal_that_is_stopped_stops_nobody_and_shows_the_latest_in_the_end() {
        let (mut reader, mut stderr) = pipe();
        let room = rustix::pipe::fcntl_getpipe_size(&stderr).unwrap();
        stderr.write_all(&vec![b'\n'; room]).unwrap();
        let queue = Queue::start(1 << 20, stderr, Box::new(|| Some(80)), PathBuf::new()).unwrap();
        for done in 0..1_000_000 {
            queue.show(copying(done));
        }
        assert!(!queue.flush(Duration::from_millis(1)), "it cannot be drawn yet");
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert!(queue.flush(LONG));
        drop(queue);
        let screen = screen(&reading.join().unwrap());
        let last = screen.last().unwrap();
        assert!(last.contains("976.56 KiB of 4.00 MiB"), "{last}");
    }

    #[test]
    fn a_closed_stderr_ends_nothing() {
        let (reader, stderr) = pipe();
        drop(reader);
        let queue = Queue::start(1 << 20, stderr, none(), PathBuf::new()).unwrap();
        queue.push(Lane::Stderr, b"nobody\n");
        assert!(queue.flush(LONG));
    }
}
