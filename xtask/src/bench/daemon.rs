//! The daemon under the same loads as the limits.
//!
//! CPU is that of all its threads, in nanoseconds (`/proc/PID/task/*/schedstat`), and of the
//! commands that it has waited for. What has been handled is known from its log, in which a file
//! made last is named.

use std::{
    cell::Cell,
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};

use super::{Bench, Figure};

type Figures = Result<Vec<Figure>, String>;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    lines: mpsc::Receiver<String>,
    settled: Cell<u32>,
}

fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Daemon {
    /// Starts the daemon on a config, in which `ROOT` stands for its folder, which `fill` fills
    /// first, and `LIMITS` for the limit programs.
    fn start(
        bench: &Bench,
        config: &str,
        fill: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Self, String> {
        Self::start_in(&env::temp_dir(), bench, ("config.toml", config), fill)
    }

    /// The same with its folder in there, and a name for the config; `STATE` stands for a directory
    /// beside `ROOT`.
    fn start_in(
        place: &Path,
        bench: &Bench,
        (name, config): (&str, &str),
        fill: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Self, String> {
        let folder = said(tempfile::tempdir_in(place))?;
        let root = folder.path().join("root");
        said(fs::create_dir(&root))?;
        fill(&root)?;
        let config = config
            .replace("ROOT", &root.display().to_string())
            .replace("STATE", &folder.path().join("state").display().to_string())
            .replace("LIMITS", &bench.limits.display().to_string());
        let config_file = folder.path().join(name);
        said(fs::write(&config_file, config))?;
        let mut child = said(
            Command::new(&bench.program)
                .arg("run")
                .env("RUNTIME_DIRECTORY", folder.path().join("run"))
                .arg("--config")
                .arg(&config_file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn(),
        )?;
        let stderr = child.stderr.take().ok_or("no pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let daemon = Self { child, folder, lines, settled: Cell::new(0) };
        daemon.wait("ready", 1)?;
        Ok(daemon)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Waits until so many more lines have told of this.
    fn wait(&self, text: &str, mut count: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while count > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            last = line.map_err(|_| format!("the daemon never said {text}, but: {last}"))?;
            count -= u64::from(last.contains(text));
        }
        Ok(())
    }

    /// Makes a last file, and waits until the daemon tells of it: all before has been handled. Each
    /// has a name of its own, since more than one line tells of it.
    fn settle(&self) -> Result<(), String> {
        self.settled.set(self.settled.get() + 1);
        let name = format!("the-last-one-{}.", self.settled.get());
        said(File::create(self.root().join(&name)))?;
        self.wait(&name, 1)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        said(kill_process(self.pid(), signal))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// CPU of its threads by now.
    fn cpu(&self) -> Result<Duration, String> {
        cpu_of(self.child.id())
    }

    /// CPU of the commands that have ended, in ticks of 10 ms.
    fn children(&self) -> Result<Duration, String> {
        let stat = said(fs::read_to_string(self.proc("stat")))?;
        let fields = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace();
        let ticks: u64 = fields.skip(13).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// A figure of `/proc/PID/status`, in its unit.
    fn status(&self, name: &str) -> Result<f64, String> {
        let status = said(fs::read_to_string(self.proc("status")))?;
        let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
        let value = line.and_then(|it| it.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| format!("no {name} in /proc/PID/status"))
    }

    fn switches(&self) -> Result<u64, String> {
        let mut switches = 0;
        for task in said(fs::read_dir(self.proc("task")))? {
            let status = said(fs::read_to_string(said(task)?.path().join("status")))?;
            let lines = status.lines().filter(|it| it.contains("ctxt_switches"));
            let counts = lines.filter_map(|it| it.split_whitespace().nth(1)?.parse::<u64>().ok());
            switches += counts.sum::<u64>();
        }
        Ok(switches)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU of a process's threads by now.
pub(super) fn cpu_of(pid: u32) -> Result<Duration, String> {
    let mut nanos = 0;
    for task in said(fs::read_dir(format!("/proc/{pid}/task")))? {
        let stat = fs::read_to_string(said(task)?.path().join("schedstat")).unwrap_or_default();
        nanos += stat.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// One scheduler that takes nothing of what the load makes, one that tells of the last file.
const NOBODY: &str = r#"
[scheduler.nobody]
log = "{pathname}"
files = false
dirs = true
[scheduler.last]
log = "{pathname}"
breaker = false
include_filter = { glob = "the-last-one-*" }
[[watch]]
path = "ROOT"
[watch.event_map]
IN_ATTRIB = "nobody"
IN_CREATE = "last"
"#;

/// Changes the mode of two files in turn, so that no two events are merged.
fn change_modes(root: &Path, count: u64) -> Result<(), String> {
    let files = [root.join("one"), root.join("other")];
    for number in 0..count {
        let mode = fs::Permissions::from_mode(0o600 + u32::from(number % 4 > 1));
        let file = &files[usize::from(number % 2 == 1)];
        said(fs::set_permissions(file, mode))?;
    }
    Ok(())
}

fn two_files(root: &Path) -> Result<(), String> {
    said(fs::write(root.join("one"), ""))?;
    said(fs::write(root.join("other"), ""))
}

fn each(name: &str, time: Duration, count: u64) -> Figure {
    Figure::new(name, time.as_secs_f64() * 1e6 / count as f64, "µs-CPU/event")
}

pub(super) fn drain(bench: &Bench, count: u64) -> Figures {
    let daemon = Daemon::start(bench, NOBODY, two_files)?;
    daemon.settle()?;
    let before = daemon.cpu()?;
    daemon.signal(Signal::STOP)?;
    change_modes(&daemon.root(), count)?;
    daemon.signal(Signal::CONT)?;
    daemon.settle()?;
    Ok(vec![each("daemon", daemon.cpu()?.saturating_sub(before), count)])
}

pub(super) fn live(bench: &Bench, count: u64) -> Figures {
    let daemon = Daemon::start(bench, NOBODY, two_files)?;
    daemon.settle()?;
    let before = daemon.cpu()?;
    change_modes(&daemon.root(), count)?;
    daemon.settle()?;
    Ok(vec![each("daemon", daemon.cpu()?.saturating_sub(before), count)])
}

fn directories(root: &Path, count: u64) -> Result<(), String> {
    for number in 0..count.div_ceil(100) {
        let branch = root.join(number.to_string());
        said(fs::create_dir(&branch))?;
        for leaf in 1..100 {
            said(fs::create_dir(branch.join(leaf.to_string())))?;
        }
    }
    Ok(())
}

pub(super) fn walk(bench: &Bench, count: u64) -> Figures {
    let base = Daemon::start(bench, NOBODY, |_| Ok(()))?.status("VmRSS")?;
    let daemon = Daemon::start(bench, NOBODY, |root| directories(root, count))?;
    let cpu = daemon.cpu()?;
    daemon.settle()?;
    let grown = (daemon.status("VmRSS")? - base) * 1024.0 / count as f64;
    Ok(vec![
        Figure::new("daemon", cpu.as_secs_f64() * 1e6 / count as f64, "µs-CPU/directory"),
        Figure::new("base", base / 1024.0, "MiB"),
        Figure::new("memory", grown, "bytes/directory"),
    ])
}

pub(super) fn new_directories(bench: &Bench, count: u64) -> Figures {
    let config = r#"
[scheduler.last]
log = "{pathname}"
breaker = false
include_filter = [{ glob = "the-last-one-*" }, { glob = "file" }]
[[watch]]
path = "ROOT"
event_map = { IN_CLOSE_WRITE = "last" }
"#;
    let daemon = Daemon::start(bench, config, |_| Ok(()))?;
    daemon.settle()?;
    let before = daemon.cpu()?;
    for number in 0..count {
        let folder = daemon.root().join(number.to_string()).join("b/c/d");
        said(fs::create_dir_all(&folder))?;
        said(fs::write(folder.join("file"), "x"))?;
    }
    daemon.wait("/b/c/d/file", count)?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    let all = count * 4;
    Ok(vec![
        Figure::new("daemon", cpu.as_secs_f64(), "s-CPU"),
        Figure::new("each", cpu.as_secs_f64() * 1e6 / all as f64, "µs-CPU/directory"),
    ])
}

/// A program for each file that is written.
const PROGRAMS: &str = r#"
[scheduler.run]
exec = ["LIMITS", "WORD", "STAMPS"]
breaker = false
slots = 2
output = "inherit"
[[watch]]
path = "ROOT"
event_map = { IN_CLOSE_WRITE = "run" }
"#;

pub(super) fn spawn(bench: &Bench, count: u64) -> Figures {
    let daemon = Daemon::start(bench, &PROGRAMS.replace("WORD", "__nothing"), |_| Ok(()))?;
    let (before, start) = (daemon.cpu()?, Instant::now());
    for number in 0..count {
        said(File::create(daemon.root().join(number.to_string())))?;
    }
    daemon.wait("done for", count)?;
    let time = start.elapsed();
    let own = daemon.cpu()?.saturating_sub(before);
    let all = own + daemon.children()?;
    Ok(vec![
        Figure::new("daemon", time.as_secs_f64() * 1e3 / count as f64, "ms/program"),
        Figure::new("cpu", all.as_secs_f64() * 1e3 / count as f64, "ms-CPU/program"),
        Figure::new("own-cpu", own.as_secs_f64() * 1e3 / count as f64, "ms-CPU/program"),
    ])
}

pub(super) fn latency(bench: &Bench, count: u64) -> Figures {
    let [half, most] = latencies(bench, &env::temp_dir(), "", count)?;
    Ok(vec![Figure::new("daemon-p50", half, "ms"), Figure::new("daemon-p99", most, "ms")])
}

/// The median and the 99th in a hundred, in milliseconds; `keys` are the first of the config.
fn latencies(bench: &Bench, place: &Path, keys: &str, count: u64) -> Result<[f64; 2], String> {
    let stamps = said(tempfile::NamedTempFile::new())?;
    let config = format!("{keys}{}", PROGRAMS.replace("WORD", "__stamp"));
    let config = config.replace("STAMPS", &stamps.path().display().to_string());
    let daemon = Daemon::start_in(place, bench, ("config.toml", &config), |_| Ok(()))?;
    Ok(half_and_most(stamped(&daemon, stamps.path(), count, |_| Ok(()))?))
}

/// The median and the 99th in a hundred, in milliseconds.
pub(super) fn half_and_most(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [50, 99].map(|part| times[times.len() * part / 100].as_secs_f64() * 1e3)
}

/// The single ones, with a config.py which watches a directory `bad` for Python: that gets a file
/// now and then.
pub(super) fn latencies_beside(
    bench: &Bench,
    config: &str,
    count: u64,
) -> Result<Vec<Duration>, String> {
    let stamps = said(tempfile::NamedTempFile::new())?;
    let config = config.replace("STAMPS", &stamps.path().display().to_string());
    let bad = |root: &Path| said(fs::create_dir(root.join("bad")));
    let daemon = Daemon::start_in(&env::temp_dir(), bench, ("config.py", &config), bad)?;
    stamped(&daemon, stamps.path(), count, |number| match number % 10 {
        0 => said(File::create(daemon.root().join("bad").join(number.to_string())).map(drop)),
        _ => Ok(()),
    })
}

/// What programs stamp that are started one after another; something else happens before each.
fn stamped(
    daemon: &Daemon,
    stamps: &Path,
    count: u64,
    before: impl Fn(u64) -> Result<(), String>,
) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for number in 0..count {
        before(number)?;
        let file = said(File::create(daemon.root().join("file")))?;
        let closed = clock_gettime(ClockId::Monotonic);
        drop(file);
        daemon.wait("root/file after", 1)?;
        let bytes = said(fs::read(stamps))?;
        let last = bytes.last_chunk::<8>().ok_or("no program has run")?;
        let nanos = u32::try_from(closed.tv_nsec).expect("less than a second");
        let closed = Duration::new(closed.tv_sec.unsigned_abs(), nanos);
        times.push(Duration::from_nanos(u64::from_ne_bytes(*last)).saturating_sub(closed));
    }
    Ok(times)
}

/// The same with the state kept on a disk and without, where the watched files are on that disk,
/// too.
pub(super) fn durable(bench: &Bench, tasks: u64, programs: u64) -> Figures {
    let mut figures = Vec::new();
    for (place, name) in places()? {
        let mut one = |keys: &str, kind: &str, against: &str| {
            let [_, two] = tasks_of(bench, &place, keys, 2, tasks)?;
            let [cpu, many] = tasks_of(bench, &place, keys, 256, tasks)?;
            let [half, most] = latencies(bench, &place, keys, programs)?;
            for (what, value, unit) in [
                ("cpu", cpu, "µs-CPU/task"),
                ("2-slots", two, "tasks/s"),
                ("256-slots", many, "tasks/s"),
                ("p50", half, "ms"),
                ("p99", most, "ms"),
            ] {
                let mut figure = Figure::new(&format!("{name}-{what}{kind}"), value, unit);
                figure.limit = Some(format!("{name}-{what}{against}"));
                figures.push(figure);
            }
            Ok::<_, String>(())
        };
        one("", "", "-nothing")?;
        one("state_dir = \"STATE\"\n", "-durable", "")?;
    }
    Ok(figures)
}

/// The temporary directory and the memory's file system, if they are two.
fn places() -> Result<Vec<(PathBuf, &'static str)>, String> {
    let (here, memory) = (env::temp_dir(), PathBuf::from("/dev/shm"));
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
    let is_memory = said(rustix::fs::statfs(&here))?.f_type == TMPFS;
    let mut places = vec![(here.clone(), if is_memory { "tmpfs" } else { "disk" })];
    if !is_memory && device(&memory).is_some_and(|it| Some(it) != device(&here)) {
        places.push((memory, "tmpfs"));
    }
    Ok(places)
}

/// Where files are made the fastest, and always equally fast: a disk may take half a millisecond for
/// one, and then a burst is none.
pub(super) fn fastest_place() -> Result<PathBuf, String> {
    let fastest = places()?.into_iter().find(|it| it.1 == "tmpfs");
    Ok(fastest.map_or_else(env::temp_dir, |it| it.0))
}

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// What a task costs that deletes its file: CPU in microseconds, and how many there are in a second.
/// Making files costs more than that, so they are made while the daemon is stopped.
fn tasks_of(
    bench: &Bench,
    place: &Path,
    keys: &str,
    slots: u32,
    count: u64,
) -> Result<[f64; 2], String> {
    let config = r#"
[scheduler.job]
breaker = false
slots = SLOTS
rules = [{ action = "delete", src_re = "^ROOT/.*$" }]
[log]
levels = { job = "warning" }
[[watch]]
path = "ROOT"
event_map = { IN_CLOSE_WRITE = "job" }
"#;
    let config = format!("{keys}{}", config.replace("SLOTS", &slots.to_string()));
    let daemon = Daemon::start_in(place, bench, ("config.toml", &config), |_| Ok(()))?;
    let before = daemon.cpu()?;
    daemon.signal(Signal::STOP)?;
    for number in 0..count {
        said(File::create(daemon.root().join(number.to_string())))?;
    }
    let start = Instant::now();
    daemon.signal(Signal::CONT)?;
    while said(fs::read_dir(daemon.root()))?.next().is_some() {
        if start.elapsed() > PATIENCE {
            return Err("the daemon never deleted all files".into());
        }
        // Polls: a watch of the benchmark's own would cost as much as what is measured.
        thread::sleep(Duration::from_millis(1));
    }
    let (time, cpu) = (start.elapsed(), daemon.cpu()?.saturating_sub(before));
    Ok([cpu.as_secs_f64() * 1e6 / count as f64, count as f64 / time.as_secs_f64()])
}

pub(super) fn pending(bench: &Bench, count: u64) -> Figures {
    let config = r#"
[scheduler.late]
log = "{pathname}"
delay = "1h"
exclude_filter = { glob = "the-last-one-*" }
[scheduler.last]
log = "{pathname}"
breaker = false
include_filter = { glob = "the-last-one-*" }
[log]
levels = { late = "warning" }
[[watch]]
path = "ROOT"
event_map = { IN_CREATE = "last", IN_ATTRIB = "late" }
"#;
    let files = |root: &Path| {
        (0..count).try_for_each(|it| said(File::create(root.join(it.to_string())).map(drop)))
    };
    let daemon = Daemon::start(bench, config, files)?;
    let touch = |mode: u32| {
        (0..count).try_for_each(|it| {
            let file = daemon.root().join(it.to_string());
            said(fs::set_permissions(file, fs::Permissions::from_mode(mode)))
        })
    };
    let base = daemon.status("VmRSS")?;
    let mut figures = Vec::new();
    for (name, mode) in [("schedule", 0o600), ("put-off", 0o640)] {
        let before = daemon.cpu()?;
        touch(mode)?;
        daemon.settle()?;
        figures.push(each(name, daemon.cpu()?.saturating_sub(before), count));
    }
    let grown = (daemon.status("VmRSS")? - base) * 1024.0 / count as f64;
    figures.push(Figure::new("memory", grown, "bytes/task"));
    Ok(figures)
}

pub(super) fn idle(bench: &Bench, count: u64) -> Figures {
    let daemon = Daemon::start(bench, NOBODY, |root| directories(root, count))?;
    daemon.settle()?;
    let before = daemon.switches()?;
    // Nothing is waited for here: that nothing happens is what is measured.
    thread::sleep(Duration::from_secs(5));
    let switches = daemon.switches()? - before;
    Ok(vec![
        Figure::new("wake-ups", switches as f64, "in 5 s"),
        Figure::new("memory", daemon.status("VmRSS")? / 1024.0, "MiB"),
    ])
}

pub(super) fn moves(bench: &Bench, count: u64) -> Figures {
    let config = r#"
[scheduler.move]
[[scheduler.move.rules]]
action = "move"
src_re = '^ROOT/in/(.*)$'
dst_re = 'ROOT/out/\1'
[[watch]]
path = "ROOT/in"
event_map = { IN_CLOSE_WRITE = "move" }
"#;
    let daemon = Daemon::start(bench, config, |root| {
        said(fs::create_dir(root.join("in")))?;
        said(fs::create_dir(root.join("out")))
    })?;
    let before = daemon.cpu()?;
    for number in 0..count {
        said(File::create(daemon.root().join("in").join(number.to_string())))?;
    }
    daemon.wait("moved ", count)?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    Ok(vec![Figure::new("daemon", cpu.as_secs_f64() * 1e6 / count as f64, "µs-CPU/file")])
}
