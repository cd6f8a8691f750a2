//! What the README shows, done: its first command and its recipes, on real files.
//!
//! The text is taken out of the README as it stands. Only its paths are put into a folder of the
//! test's own, where a script stands for each program that need not be on this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

#[path = "support/starts.rs"]
mod starts;

const README: &str = include_str!("../../../README.md");
const BINARY: &str = env!("CARGO_BIN_EXE_pyinotifyd");

/// How long a line may take. Nothing that works comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn the_first_command_shows_what_the_readme_says() {
    let block = blocks(section("## Try it"), "sh").remove(0);
    let command = block.strip_prefix("mkdir -p /tmp/inbox && cargo run --release -- ").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inbox = dir.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let command = command.replace("/tmp/inbox", inbox.to_str().unwrap());
    let mut child = Command::new("/bin/sh");
    child.arg("-c").arg(format!("exec {BINARY} {command}")).stdout(Stdio::piped());
    let mut running = Running::start(child, "ready, 1 Watch, 1 directory");
    write(inbox.join("a file"), "x");
    running.wait(": done for ");
    let mut stdout = running.child.stdout.take().unwrap();
    running.stop();
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("got {}/a file\n", inbox.display()));
}

#[test]
fn a_recipe_runs_a_program_on_each_finished_upload() {
    let recipe = Recipe::new(0);
    recipe.program("/usr/local/bin/scan");
    let mut daemon = recipe.start();
    let names = ["a b", "$(id)", "-rf", "half.part"];
    for name in names {
        write(recipe.path("/srv/upload").join(name), "x");
    }
    // The last one is taken as soon as it has its final name, which is told behind all others.
    fs::rename(recipe.path("/srv/upload/half.part"), recipe.path("/srv/upload/whole")).unwrap();
    for _ in 0..4 {
        daemon.wait(": done for ");
    }
    daemon.stop();
    let mut ran = recipe.ran();
    ran.sort();
    let upload = recipe.path("/srv/upload");
    let expected = ["$(id)", "-rf", "a b", "whole"];
    assert_eq!(ran, expected.map(|it| format!("scan {}", upload.join(it).display())));
}

#[test]
fn a_recipe_reloads_a_service_once_however_many_files_changed() {
    let recipe = Recipe::new(1);
    recipe.program("/usr/bin/systemctl");
    write(recipe.path("/etc/nginx").join("old.conf"), "x");
    let mut daemon = recipe.start();
    for name in ["a.conf", "b.conf", "sites/c.conf", ".d.swp"] {
        let path = recipe.path("/etc/nginx").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(path, "x");
    }
    fs::remove_file(recipe.path("/etc/nginx/old.conf")).unwrap();
    daemon.wait(": done for ");
    // What waits is waited for.
    daemon.stop();
    assert_eq!(recipe.ran(), ["systemctl reload nginx"]);
}

#[test]
fn a_recipe_files_away_what_its_name_says() {
    let recipe = Recipe::new(2);
    let mut daemon = recipe.start();
    let scans = recipe.path("/srv/scans");
    write(scans.join("readme.txt"), "stays");
    write(scans.join("2026-03-invoice.pdf"), "new");
    daemon.wait(&format!(": moved {}/2026-03-invoice.pdf to ", scans.display()));
    daemon.stop();
    let moved = recipe.path("/srv/archive/2026/03-invoice.pdf");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "new");
    assert_eq!(fs::metadata(&moved).unwrap().permissions().mode() & 0o7777, 0o640);
    let left: Vec<_> = fs::read_dir(&scans).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["readme.txt"]);
}

/// Writes a file. When this returns it is closed.
fn write(path: impl AsRef<Path>, text: &str) {
    let _apart = starts::none();
    fs::write(path, text).unwrap();
}

/// A recipe of the README, with its paths in a folder of the test's own.
struct Recipe {
    dir: TempDir,
}

impl Recipe {
    /// The recipe with this number. The directories that it watches are made.
    fn new(number: usize) -> Self {
        let mut text = blocks(section("## Recipes"), "toml").remove(number);
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_str().unwrap();
        for root in ["/srv/", "/usr/", "/etc/"] {
            text = text.replace(root, &format!("{top}{root}"));
        }
        write(dir.path().join("config.toml"), &text);
        for line in text.lines().filter_map(|it| it.strip_prefix("path = \"")) {
            fs::create_dir_all(line.trim_end_matches('"')).unwrap();
        }
        Self { dir }
    }

    /// Where a path of the recipe is.
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Puts a script in the place of a program. It writes down its name and its arguments.
    fn program(&self, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let ran = self.dir.path().join("ran");
        let script = format!("#!/bin/sh\necho \"${{0##*/}} $*\" >> '{}'\n", ran.display());
        write(&path, &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the scripts have written down.
    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("ran")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The daemon with this recipe alone.
    fn start(&self) -> Running {
        let mut command = Command::new(BINARY);
        command.arg("run").arg("-c").arg(self.dir.path().join("config.toml"));
        command.stdout(Stdio::null());
        Running::start(command, "ready, 1 Watch")
    }
}

/// The program, running. Killed when it is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Running {
    /// Starts it, and waits until it says so.
    fn start(mut command: Command, ready: &str) -> Self {
        // What a service manager says to the tests is not said to it.
        for name in ["JOURNAL_STREAM", "NOTIFY_SOCKET", "STATE_DIRECTORY", "LISTEN_FDS"] {
            command.env_remove(name);
        }
        let _start = starts::one();
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = channel();
        thread::spawn(move || {
            // A test that has ended does not listen any more.
            stderr.lines().map(Result::unwrap).try_for_each(|line| said.send(line).ok())
        });
        let mut running = Self { child, lines, log: Vec::new() };
        running.wait(ready);
        running
    }

    /// Waits for a line with this in it, behind the one that was waited for last.
    fn wait(&mut self, part: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(part);
                    self.log.push(line);
                    if found {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {part:?}: {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => panic!("ended: {:#?}", self.log),
            }
        }
    }

    /// Ends it with SIGTERM, and waits until it has ended well.
    fn stop(&mut self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.wait("stopped");
        assert!(self.child.wait().unwrap().success(), "{:#?}", self.log);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended: that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands below a heading of the README, up to the next of its rank.
fn section(heading: &str) -> &'static str {
    let (_, below) = README.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    below.split("\n## ").next().unwrap()
}

/// The blocks of code in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let block = |it: &str| it.split("\n```").next().unwrap().to_owned();
    page.split(&begin).skip(1).map(block).collect()
}
