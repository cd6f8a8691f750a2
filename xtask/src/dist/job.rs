//! The main job of a daemon: a file is dropped, and what its task says is in the log.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use crate::Outcome;

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that is started, has something to do, and is ended.
pub(super) struct Job<'a> {
    /// Starts it in the foreground.
    pub command: Command,
    /// What it watches, as we see it.
    pub folder: &'a Path,
    /// What has to come in its log, in this order, once `dropped` is in the folder.
    pub lines: &'a [&'a str],
}

/// Ended when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Job<'_> {
    pub(super) fn run(mut self) -> Outcome {
        let command = self.command.stderr(Stdio::piped()).stdin(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot start the daemon: {error}"))?;
        let mut daemon = Daemon(child);
        let stderr = daemon.0.stderr.take().expect("it is piped");
        let (to, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                println!("  {line}");
                let _ = to.send(line);
            }
        });
        wait(&lines, " - ready, 1 Watch, ")?;
        let file = self.folder.join("dropped");
        fs::write(&file, "")
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        self.lines.iter().try_for_each(|it| wait(&lines, it))
    }
}

fn wait(lines: &Receiver<String>, what: &str) -> Outcome {
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(what) => return Ok(()),
            Ok(_) => (),
            Err(_) => return Err(format!("the daemon did not say \"{what}\"")),
        }
    }
}
