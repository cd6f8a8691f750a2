//! The disk that has the state fails, is full, or hangs: system calls on the store's files are made to
//! do so by `strace`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/known.rs"]
mod known;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a line may take. Nothing that works comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The files of the store that are written to.
const FILES: [&str; 2] = ["state/state.sqlite", "state/state.sqlite-wal"];

const CONFIG: &str = r#"
state_dir = "@/state"
control_socket = "@/socket"
[scheduler.job]
exec = ["/bin/sh", "-c", 'printf "%s\n" "$1" >> "$2"', "sh", "{basename}", "@/ledger"]
[[watch]]
path = "@/w"
event_map = { IN_MOVED_TO = "job" }
"#;

struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// With a store that knows the empty folder. `None`, said aloud, if nothing can be traced here.
    fn new(what: &str) -> Option<Self> {
        let traces = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "true"])
            .stderr(Stdio::null())
            .status();
        if !traces.is_ok_and(|it| it.success()) {
            eprintln!("skipped: {what}, because there is no strace that may trace");
            return None;
        }
        let world = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(world.path("w")).unwrap();
        let config = CONFIG.replace('@', world.dir.path().to_str().unwrap());
        fs::write(world.path("config.toml"), config).unwrap();
        world.start().stop();
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes beside it, and brings it in by one event.
    fn bring(&self, name: &str) {
        fs::write(self.path(name), name).unwrap();
        fs::rename(self.path(name), self.path("w").join(name)).unwrap();
    }

    fn ledger(&self) -> Vec<String> {
        let ledger = fs::read_to_string(self.path("ledger")).unwrap_or_default();
        let mut lines: Vec<String> = ledger.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn start(&self) -> Daemon {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
            .args(["run", "-c"])
            .arg(self.path("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (said, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A test that has ended does not listen any more.
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Daemon { child, lines, log: Vec::new() };
        daemon.wait_for(" - ready, ");
        daemon
    }
}

/// The program, running. Killed when it is dropped.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Daemon {
    /// Waits for a next line with this in it.
    fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(error) => panic!("no {part:?}, {error}: {:#?}", self.log),
            };
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits until so many lines with each of these have come, in whatever order.
    fn wait_for_all(&mut self, parts: &[(&str, usize)]) {
        while let Some((part, _)) = parts.iter().find(|(part, count)| self.count(part) < *count) {
            self.wait_for(part);
        }
    }

    /// Waits until it has ended, and reads all that it says.
    fn wait_end(&mut self) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
            }
        }
    }

    fn stop(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.wait_end();
        assert!(status.success(), "{status}: {:#?}", self.log);
        std::mem::take(&mut self.log)
    }

    fn count(&self, part: &str) -> usize {
        self.log.iter().filter(|it| it.contains(part)).count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What makes calls fail for as long as it is there.
struct Fault(Child);

impl Fault {
    /// From now on this is done to these calls on the store's files, as `strace(1)` says it.
    fn inject(world: &World, daemon: &Daemon, call: &str, what: &str) -> Self {
        let trace = world.path("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(&trace);
        command.args(["-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:{what}")]);
        for file in FILES {
            command.arg("-P").arg(world.path(file));
        }
        let mut child = command
            .args(["-p", &daemon.child.id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so when it has all threads: `strace: Process … attached with … threads`.
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "{said}");
        Self(child)
    }

    /// The calls work again when this returns.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // It ends with what it traces.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The disk fails at this call: one report, the end, nothing started; the next daemon finds all.
fn fails_at(call: &str) {
    let Some(world) = World::new(&format!("a disk that fails at {call}")) else { return };
    let mut daemon = world.start();
    world.bring("before");
    daemon.wait_for("done for ");
    // Or the next start were the first once more.
    while !known::is_known(&world.path("state/state.sqlite")) {
        std::thread::yield_now();
    }
    let fault = Fault::inject(&world, &daemon, call, "error=EIO");
    let names = ["one", "two", "three"];
    for name in names {
        world.bring(name);
    }
    let status = daemon.wait_end();
    drop(fault);
    assert_eq!(status.code(), Some(1), "{call}: {:#?}", daemon.log);
    assert_eq!(daemon.count("the store cannot be trusted any more"), 1, "{:#?}", daemon.log);
    assert_eq!(world.ledger(), ["before"], "{call}: it started what was not written down");

    let mut daemon = world.start();
    for _ in names {
        daemon.wait_for("done for ");
    }
    daemon.stop();
    let ledger = world.ledger();
    // Whether the end of the first run was written down is not known: it may run again.
    let known: Vec<&str> = ledger.iter().map(String::as_str).filter(|it| *it != "before").collect();
    assert_eq!(known, ["one", "three", "two"], "{call}");
}

#[test]
fn a_disk_that_fails_to_sync_ends_the_daemon_and_nothing_is_lost() {
    fails_at("fsync,fdatasync");
}

#[test]
fn a_disk_that_fails_to_write_ends_the_daemon_and_nothing_is_lost() {
    fails_at("pwrite64");
}

#[test]
fn nothing_starts_on_a_full_disk_and_all_goes_on_when_there_is_room() {
    let Some(world) = World::new("a full disk") else { return };
    let mut daemon = world.start();
    let fault = Fault::inject(&world, &daemon, "pwrite64", "error=ENOSPC");
    for name in ["one", "two", "three"] {
        world.bring(name);
    }
    let line = daemon.wait_for("cannot write to the store, no task starts until that works");
    assert!(line.contains("full"), "{line}");
    fault.end();
    assert!(world.ledger().is_empty(), "a task has started: {:#?}", daemon.log);
    daemon.wait_for_all(&[("the store is written to again", 1), ("done for ", 3)]);
    let log = daemon.stop();
    assert_eq!(world.ledger(), ["one", "three", "two"]);
    assert_eq!(log.iter().filter(|it| it.contains("cannot write to the store")).count(), 1);
}

#[test]
fn a_disk_that_hangs_is_told_of_and_all_goes_on_when_it_answers() {
    let Some(world) = World::new("a disk that hangs") else { return };
    let mut daemon = world.start();
    // Until the tracer lets go.
    let hangs = "delay_enter=600s";
    let fault = Fault::inject(&world, &daemon, "pwrite64,fdatasync,fsync", hangs);
    for name in ["one", "two", "three"] {
        world.bring(name);
    }
    daemon.wait_for("the store has not answered for 15");
    let asked = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
        .args(["status", "--json", "--socket"])
        .arg(world.path("socket"))
        .output()
        .unwrap();
    let status = String::from_utf8(asked.stdout).unwrap();
    assert!(status.contains("it has not answered for 1"), "{status}");
    assert!(world.ledger().is_empty(), "a task has started: {:#?}", daemon.log);
    fault.end();
    daemon.wait_for_all(&[("the store is written to again", 1), ("done for ", 3)]);
    let log = daemon.stop();
    assert_eq!(world.ledger(), ["one", "three", "two"]);
    assert_eq!(log.iter().filter(|it| it.contains("has not answered")).count(), 1, "{log:#?}");
}
