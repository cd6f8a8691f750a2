//! A daemon on a directory of its own, and how to wait for what it does: by its log, never by
//! the clock.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode},
    process::{Pid, Signal, kill_process},
};

use crate::starts;

/// How long anything may take. Only a test that fails waits that long.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a Watch's event map says in most tests.
pub(crate) const WATCH: &str = "
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = \"job\", IN_MOVED_TO = \"job\" }
";

/// A directory with `in` and `out`, for a daemon and what it works on.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("actions-").tempdir().unwrap();
        let world = Self { dir };
        fs::create_dir(world.path("in")).unwrap();
        fs::create_dir(world.path("out")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is written with `$DIR` for the directory.
    pub(crate) fn text(&self, text: &str) -> String {
        text.replace("$DIR", self.dir.path().to_str().unwrap())
    }

    /// Writes a file. When this returns it is closed.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let _apart = starts::none();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// A pipe at which commands wait: `read x <$DIR/gate` ends with each line that is written.
    pub(crate) fn gate(&self) -> Gate {
        let path = self.path("gate");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        // Open for reading as well: neither this nor a command has to wait for the other.
        Gate(File::options().read(true).write(true).open(path).unwrap())
    }

    fn config(&self, config: &str) -> PathBuf {
        self.write("config.toml", self.text(config))
    }

    /// The daemon, once it is ready.
    pub(crate) fn start(&self, config: &str) -> Daemon {
        self.start_by(Command::new(env!("CARGO_BIN_EXE_pyinotifyd")), &[], config)
    }

    /// The daemon, started by a command that ends with its program.
    pub(crate) fn start_by(&self, command: Command, flags: &[&str], config: &str) -> Daemon {
        let path = self.config(config);
        let mut command = command;
        let _start = starts::one();
        let child = command
            .args(["run", "-c"])
            .arg(path)
            .args(flags)
            .env("RUNTIME_DIRECTORY", self.path("run"))
            .stdin(Stdio::null())
            .stdout(File::create(self.path("stdout")).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let daemon = Daemon::new(child);
        daemon.wait_for("ready, ");
        daemon
    }
}

/// Where commands wait, see [`World::gate`].
pub(crate) struct Gate(File);

impl Gate {
    /// Lets as many commands pass.
    pub(crate) fn open(&mut self, count: usize) {
        self.0.write_all(&b"\n".repeat(count)).unwrap();
    }
}

/// The program at work. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Daemon {
    fn new(mut child: Child) -> Self {
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8(line).expect("the log is text");
                writer.lines.lock().unwrap().0.push(line);
                writer.changed.notify_all();
            }
            writer.lines.lock().unwrap().1 = true;
            writer.changed.notify_all();
        });
        Self { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// The lines with this text so far; `*` in it stands for anything.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        lines.0.iter().filter(|line| fits(line, text)).cloned().collect()
    }

    /// The first line with this text, once there is one.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_count(text, 1).swap_remove(0)
    }

    /// The first lines with this text, once there are as many.
    pub(crate) fn wait_for_count(&self, text: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let new = lines.0[seen..].iter().filter(|line| fits(line, text));
            found.extend(new.take(count - found.len()).cloned());
            seen = lines.0.len();
            if found.len() == count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.1 || left.is_zero() {
                let last = lines.0[seen.saturating_sub(60)..].join("\n");
                // Not while others need the lock.
                drop(lines);
                panic!("in the log {} of {count} times: {text}\n{last}", found.len());
            }
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// A path as the daemon sees it, whose mounts may be its own.
    pub(crate) fn sees(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid())).join(path.strip_prefix("/").unwrap())
    }

    /// The most memory that it has had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops it, and gives its whole log.
    pub(crate) fn stop(mut self) -> (ExitStatus, Vec<String>) {
        self.signal(Signal::TERM);
        let mut status = None;
        until("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some() && self.log.lines.lock().unwrap().1
        });
        (status.unwrap(), self.lines())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fits(line: &str, text: &str) -> bool {
    let mut rest = line;
    text.split('*').all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// Waits for something that only `/proc` or the file system shows.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        // Polls: who ends in a group of foreign processes tells nobody.
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().as_bytes().escape_ascii().to_string())
        .collect();
    names.sort();
    names
}

pub(crate) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
