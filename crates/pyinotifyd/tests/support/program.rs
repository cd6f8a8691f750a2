//! The program under test, and what it says.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::starts;

/// How long a line may take. Nothing that works comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, running. Killed when it is dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// Everything it has said.
    pub(crate) log: Vec<String>,
    /// How much of `log` has been looked at by [`Program::wait_for`].
    pub(crate) looked: usize,
}

impl Program {
    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start(mut command: Command, ready: &str) -> Self {
        // What a service manager says to the tests is not said to it.
        for name in [
            "JOURNAL_STREAM",
            "NOTIFY_SOCKET",
            "STATE_DIRECTORY",
            "LISTEN_FDS",
            "PYINOTIFYD_PYTHON",
        ] {
            command.env_remove(name);
        }
        let _start = starts::one();
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = channel();
        thread::spawn(move || {
            // A test that has ended does not listen any more.
            stderr.lines().try_for_each(|line| said.send(line.expect("the log is text")).ok())
        });
        let mut program = Self { child, lines, log: Vec::new(), looked: 0 };
        program.wait(ready);
        program
    }

    /// Waits for a line with this in it, behind the one that was waited for last.
    pub(crate) fn wait(&mut self, part: &str) -> String {
        self.wait_for(part, |line| line.contains(part))
    }

    /// Waits for a line that `is` so, behind the one that was waited for last.
    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while self.looked < self.log.len() {
                self.looked += 1;
                if is(&self.log[self.looked - 1]) {
                    return self.log[self.looked - 1].clone();
                }
            }
            assert!(self.hears(deadline), "ended without {what:?}: {self}");
        }
    }

    /// Takes in what it says next; false: it says nothing more.
    pub(crate) fn hears(&mut self, deadline: Instant) -> bool {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.log.push(line);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("nothing within {DEADLINE:?}: {self}"),
        }
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let skipped = self.log.len().saturating_sub(40);
        write!(f, "the log, without its first {skipped} lines:")?;
        self.log[skipped..].iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be stopped or have ended: both are well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
