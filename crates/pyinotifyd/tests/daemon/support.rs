//! A daemon under test, and the folder that it works in.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    ops::{Deref, DerefMut},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Instant,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags},
    process::{Pid, Signal},
};
use tempfile::TempDir;

pub(crate) use crate::program::DEADLINE;
use crate::{program::Program, starts};

/// What a configuration begins with here: lines of one task stand alone, so that a hundred
/// thousand of them are read in a second; and `sync` is what [`Daemon::sync`] waits for.
const HEAD: &str = r#"
[log]
levels = { sync = "warning", quiet = "warning", other = "warning" }
[scheduler.sync]
log = "SYNC {basename}"
log_level = "warning"
[[watch]]
path = "@/sync"
event_map = { IN_CREATE = "sync" }
"#;

/// The same in a config.py, and what tells of an event there. `@` stands for the folder.
const PYTHON_HEAD: &str = r#"
for name in ("sync", "quiet", "other"):
    setLoglevel(WARNING, name)

def _sync(event):
    logging.getLogger("sync").warning("SYNC " + event.name)

def seen(event):
    src = getattr(event, "src_pathname", "")
    logging.getLogger("quiet").warning(f"SEEN|{event.maskname}|{event.pathname}|{src}")

_sync_watch = Watch("@/sync", {"IN_CREATE": _sync})
"#;

/// A folder of the test's own.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    /// With an empty `w` to be watched.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir };
        fs::create_dir(world.path("sync")).unwrap();
        fs::create_dir(world.path("w")).unwrap();
        world
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Makes a directory and those above it.
    pub(crate) fn mkdir(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file. When this returns it is closed.
    pub(crate) fn write(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        let _apart = starts::none();
        fs::write(&path, relative).unwrap();
        path
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Writes `config.toml`; `@` stands for this folder.
    pub(crate) fn configure(&self, config: &str) {
        // Keys of the file's top come first.
        let (top, config) = config.split_once('[').unwrap();
        let text = format!("{top}{HEAD}[{config}").replace('@', self.dir.path().to_str().unwrap());
        fs::write(self.path("config.toml"), text).unwrap();
    }

    /// Writes `config.py`. What it watches is in `watches`, which may use `seen`, a plain function
    /// that tells of an event.
    pub(crate) fn configure_python(&self, config: &str) {
        let end = "pyinotifyd = Pyinotifyd([_sync_watch] + watches, shutdown_timeout=10)";
        let text = format!("{PYTHON_HEAD}\n{config}\n{end}\n");
        let text = text.replace("@/", &format!("{}/", self.dir.path().to_str().unwrap()));
        fs::write(self.path("config.py"), text).unwrap();
    }

    /// A script that is run as `@/name` with `/bin/sh`.
    pub(crate) fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        // Or it could not be run: "text file busy".
        let _apart = starts::none();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The daemon, running in its folder. Killed when it is dropped.
pub(crate) struct Daemon<'a> {
    world: &'a World,
    program: Program,
    syncs: u32,
}

impl Deref for Daemon<'_> {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Daemon<'_> {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// `SEEN|mask|path|source` of a log line, with the path below the world's folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) logname: String,
    pub(crate) mask: String,
    pub(crate) path: String,
    pub(crate) src: String,
}

impl<'a> Daemon<'a> {
    /// Starts it with this configuration, and waits until it is ready.
    pub(crate) fn start(world: &'a World, config: &str) -> Self {
        world.configure(config);
        Self::start_with(world, "config.toml")
    }

    /// The same with a config.py; `None`, said aloud, if there is no Python here.
    pub(crate) fn start_python(world: &'a World, config: &str) -> Option<Self> {
        let python = Command::new("python3").arg("-V").stdout(Stdio::null()).status();
        if !python.is_ok_and(|it| it.success()) {
            eprintln!("skipped: there is no python3 to run a config.py");
            return None;
        }
        world.configure_python(config);
        Some(Self::start_with(world, "config.py"))
    }

    fn start_with(world: &'a World, file: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
        command.arg("run").arg("-c").arg(world.path(file));
        command.env("RUNTIME_DIRECTORY", world.path("run")).stdout(Stdio::null());
        Self { world, program: Program::start(command, " - ready, "), syncs: 0 }
    }

    /// Asks it over its control socket: a command, such as `status`, and its arguments.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let _start = starts::one();
        // One that is never answered is a failure, not a test without an end.
        Command::new("timeout")
            .arg(DEADLINE.as_secs().to_string())
            .arg(env!("CARGO_BIN_EXE_pyinotifyd"))
            .args(arguments)
            .arg("--socket")
            .arg(self.world.path("run/control.sock"))
            .output()
            .unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Returns when everything that happened before has been handled: what is found in a new
    /// directory is told at a barrier, which the first file sees put, and the second passed.
    pub(crate) fn sync(&mut self) {
        // What this test has closed and a program that was being started still had.
        drop(starts::none());
        for _ in 0..2 {
            self.syncs += 1;
            let name = self.syncs.to_string();
            fs::write(self.world.path("sync").join(&name), "").unwrap();
            let end = format!("SYNC {name}");
            self.wait_for(&end, |line| line.ends_with(&end));
        }
    }

    /// Takes what it has said so far as read.
    pub(crate) fn forget(&mut self) {
        self.log.clear();
        self.looked = 0;
    }

    /// Waits until the log ends and the process with it.
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while self.hears(deadline) {}
        self.child.wait().unwrap()
    }

    /// Ends it with SIGTERM, and reads all that it says.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_end();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{self}");
    }

    /// All `SEEN` lines so far, in their order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let top = format!("{}/", self.world.dir.path().to_str().unwrap());
        let below = |path: &str| path.strip_prefix(&top).unwrap_or(path).to_owned();
        let one = |line: &String| {
            let mut parts = line.split(" - ");
            let logname = parts.nth(1)?.strip_prefix("pyinotifyd/")?.to_owned();
            let (_, values) = line.split_once("SEEN|")?;
            let mut values = values.split('|');
            Some(Seen {
                logname,
                mask: values.next()?.to_owned(),
                path: below(values.next()?),
                src: below(values.next()?),
            })
        };
        self.log.iter().filter_map(one).collect()
    }

    /// `mask path` or `mask source -> path` of all `SEEN` lines so far, in their order.
    pub(crate) fn told(&self) -> Vec<String> {
        let told = |it: Seen| match it.src.as_str() {
            "" => format!("{} {}", it.mask, it.path),
            src => format!("{} {src} -> {}", it.mask, it.path),
        };
        self.seen().into_iter().map(told).collect()
    }

    /// How often each path was seen.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.seen() {
            *counts.entry(seen.path).or_default() += 1;
        }
        counts
    }

    /// Fails unless exactly these paths, below the world's folder, were seen, each once.
    pub(crate) fn assert_each_once(&self, paths: impl IntoIterator<Item = String>) {
        let counts = self.counts();
        let mut wrong = Vec::new();
        let mut expected = 0;
        for path in paths {
            expected += 1;
            match counts.get(&path) {
                Some(1) => (),
                other => wrong.push((path, other.copied().unwrap_or(0))),
            }
        }
        assert!(
            wrong.is_empty() && expected == counts.len(),
            "{} of {expected} wrong, {} seen: {:?}; {self}",
            wrong.len(),
            counts.len(),
            &wrong[..wrong.len().min(20)],
        );
    }

    /// The inodes that it watches.
    pub(crate) fn watched(&self) -> Vec<u64> {
        let proc = format!("/proc/{}", self.child.id());
        let mut inodes = Vec::new();
        for fd in fs::read_dir(format!("{proc}/fdinfo")).unwrap() {
            let info = fs::read_to_string(fd.unwrap().path()).unwrap_or_default();
            for line in info.lines().filter(|line| line.starts_with("inotify ")) {
                let inode = line.split(' ').find_map(|word| word.strip_prefix("ino:")).unwrap();
                inodes.push(u64::from_str_radix(inode, 16).unwrap());
            }
        }
        inodes
    }
}

impl std::fmt::Display for Daemon<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.program.fmt(f)
    }
}

/// The inode of what is at a path.
pub(crate) fn inode(path: impl AsRef<Path>) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().ino()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Held exclusively by whoever changes `max_queued_events`, which is the whole machine's.
pub(crate) fn queue_lock(operation: FlockOperation) -> OwnedFd {
    let path = std::env::temp_dir().join("pyinotifyd-max-queued-events.lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::fs::flock(&lock, operation).unwrap();
    lock
}

/// Runs the test `name` of this program once more in a mount namespace of its own; gives whether
/// this is that second run. Both runs of a test begin with this, and the first ends with it.
pub(crate) fn is_inside(name: &str) -> bool {
    const INSIDE: &str = "PYINOTIFYD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !is_root() {
        eprintln!("skipped: {name}, because only root may mount");
        return false;
    }
    let unshare = || Command::new("unshare");
    let start = starts::one();
    if !unshare().args(["--mount", "true"]).output().is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: {name}, because `unshare --mount` is not permitted here");
        return false;
    }
    let mut child = unshare()
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The empty line that it begins with; all else is looked at below.
    let _ = child.stdout.as_mut().unwrap().read(&mut [0]);
    drop(start);
    let done = child.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && output.contains("1 passed"), "{done:?}");
    false
}
