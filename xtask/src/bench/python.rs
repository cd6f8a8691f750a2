//! Tasks in Python that do nothing, beside those of the original: the same config.py, the same
//! load, one after the other in one run.
//!
//! The original is a program like any other here: it is installed by pip, into an environment of its
//! own below `target`, and only run. CPU is that of all threads of a program and of the
//! processes below it, so that of the host counts.

use std::{
    cell::Cell,
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, Figure, daemon};
use crate::target;

type Figures = Result<Vec<Figure>, String>;

/// What the figures are held against, as pip names it.
const ORIGINAL: &str = "pyinotifyd==0.0.9";

/// How long a program may take to start, or to do all that it has to.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each load is put on each program, in turns.
const ROUNDS: u32 = 4;

/// The task does nothing, but for the files by which it is known how far it has come. Names and
/// arguments are those that both generations share.
const CONFIG: &str = r#"
import logging, socket

told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.connect("TOLD")
logging.getLogger().setLevel(logging.LEVEL)

async def task(event, task_id):
    if event.name.startswith("told"):
        told.send(event.name.encode())

FIRST = TaskScheduler(task=task, files=True, dirs=False, delay=0).schedule
SECOND = TaskScheduler(job=task, files=True, dirs=False, delay=0)
pyinotifyd = Pyinotifyd(watches=[Watch(path="ROOT", event_map={"IN_CREATE": asked})])
"#;

/// What no host of the same Python can go below: the text of an event is read, and a coroutine is
/// called and stepped to its end; and what a task of asyncio would cost in place of that.
const FLOOR: &str = r#"
import asyncio, json, time

COUNT = 20_000
text = json.dumps([it for number in range(COUNT) for it in
                   (number, "01234567-89ab-4def-8123-456789abcdef", 256, f"file-{number}")])

async def task(event, task_id):
    pass

def read():
    json.loads(text)

def step():
    for _ in range(COUNT):
        try:
            task(None, "").send(None)
        except StopIteration:
            pass

async def tasks():
    await asyncio.gather(*[asyncio.ensure_future(task(None, "")) for _ in range(COUNT)])

for name, run in (("json", read), ("coroutine", step), ("task", lambda: asyncio.run(tasks()))):
    least = 1e9
    for _ in range(5):
        start = time.process_time()
        run()
        least = min(least, time.process_time() - start)
    print(f"python-{name} {least / COUNT * 1e6:.3f} µs-CPU/event")
"#;

fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Which words of a config.py are used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    First,
    Second,
}

/// A program that runs a config.py. Killed when it is dropped.
struct Running {
    child: Child,
    folder: tempfile::TempDir,
    told: UnixDatagram,
    files: Cell<u64>,
}

impl Running {
    /// Starts a program, and waits until it sees events.
    fn start(mut command: Command, generation: Generation, level: &str) -> Result<Self, String> {
        let folder = said(tempfile::tempdir_in(daemon::fastest_place()?))?;
        let root = folder.path().join("root");
        said(fs::create_dir(&root))?;
        let socket = folder.path().join("told");
        let told = said(UnixDatagram::bind(&socket))?;
        let (used, other) = match generation {
            Generation::First => ("FIRST =", "SECOND ="),
            Generation::Second => ("SECOND =", "FIRST ="),
        };
        let lines = CONFIG.lines().filter(|line| !line.starts_with(other));
        let lines: Vec<String> = lines.map(|line| line.replace(used, "asked =")).collect();
        let config = lines
            .join("\n")
            .replace("ROOT", &root.display().to_string())
            .replace("TOLD", &socket.display().to_string())
            .replace("LEVEL", level);
        let file = folder.path().join("config.py");
        said(fs::write(&file, config))?;
        // A file takes lines at once: who reads them must cost nothing here.
        let log = said(File::create(folder.path().join("log")))?;
        let child = said(
            command
                .arg("-c")
                .arg(file)
                .env_remove("STATE_DIRECTORY")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn(),
        )?;
        let mut running = Self { child, folder, told, files: Cell::new(0) };
        let start = Instant::now();
        // Nothing else is said by both once they are ready.
        while running.tell(Duration::from_millis(100))?.is_none() {
            if start.elapsed() > PATIENCE || said(running.child.try_wait())?.is_some() {
                let log = said(fs::read_to_string(running.folder.path().join("log")))?;
                return Err(format!("{command:?} sees no events: {log}"));
            }
        }
        // Those that it saw after all, when nobody waited any more.
        while running.heard(Duration::from_millis(100))?.is_some() {}
        Ok(running)
    }

    /// Makes the next file.
    fn make(&self, kind: &str) -> Result<String, String> {
        self.files.set(self.files.get() + 1);
        let name = format!("{kind}-{}", self.files.get());
        // A link makes IN_CREATE, and nothing else for a program that asks for all types.
        said(symlink("nowhere", self.folder.path().join("root").join(&name)))?;
        Ok(name)
    }

    /// Makes a file that is told of, and waits: `None` if nobody told.
    fn tell(&self, patience: Duration) -> Result<Option<()>, String> {
        let name = self.make("told")?;
        while let Some(heard) = self.heard(patience)? {
            if heard == name {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    fn heard(&self, patience: Duration) -> Result<Option<String>, String> {
        said(self.told.set_read_timeout(Some(patience)))?;
        let mut name = [0; 64];
        let length = match self.told.recv(&mut name) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            length => said(length)?,
        };
        Ok(Some(String::from_utf8_lossy(&name[..length]).into_owned()))
    }

    /// The next file is told of once all before have been handled.
    fn settle(&self) -> Result<(), String> {
        self.tell(PATIENCE)?.ok_or_else(|| "a task never ran".to_owned())
    }

    /// CPU of the program and of what it has started, by now.
    fn cpu(&self) -> Result<Duration, String> {
        family(self.child.id()).into_iter().map(daemon::cpu_of).sum()
    }

    /// Many files at once: CPU of all of them.
    fn burst(&self, count: u64) -> Result<Duration, String> {
        let before = self.cpu()?;
        for _ in 0..count {
            self.make("file")?;
        }
        self.settle()?;
        Ok(self.cpu()?.saturating_sub(before))
    }

    /// Many files that are all there when the program looks: CPU of all of them.
    fn queue(&self, count: u64) -> Result<Duration, String> {
        let before = self.cpu()?;
        let pid = Pid::from_child(&self.child);
        said(kill_process(pid, Signal::STOP))?;
        for _ in 0..count {
            self.make("file")?;
        }
        said(kill_process(pid, Signal::CONT))?;
        self.settle()?;
        Ok(self.cpu()?.saturating_sub(before))
    }

    /// Each file when the task for the one before has told of it: CPU, and the time that it took.
    fn one_by_one(&self, count: u64) -> Result<[Duration; 2], String> {
        let (before, start) = (self.cpu()?, Instant::now());
        for _ in 0..count {
            self.settle()?;
        }
        let time = start.elapsed();
        Ok([self.cpu()?.saturating_sub(before), time])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already. A host ends when nobody speaks to it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process, and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|it| it.parse().ok()).flat_map(family));
    }
    all
}

/// The original, and the Python that it runs on; the text says why there is none.
struct Original {
    program: PathBuf,
    python: PathBuf,
}

impl Original {
    fn install() -> Result<Self, String> {
        let venv = target().join("original");
        let (program, python) = (venv.join("bin/pyinotifyd"), venv.join("bin/python3"));
        if program.exists() {
            return Ok(Self { program, python });
        }
        // What it is made of does not run on newer ones.
        let works = |python: &str| {
            let mut command = Command::new(python);
            command.args(["-c", "import asyncore, ensurepip, venv"]).stderr(Stdio::null());
            command.status().is_ok_and(|it| it.success())
        };
        let pythons = ["python3", "python3.11", "python3.10", "python3.9"];
        let found = pythons.into_iter().find(|it| works(it));
        let found = found.ok_or("there is no python3 of at most 3.11 with venv and pip")?;
        super::run_command(Command::new(found).args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ORIGINAL]);
        super::run_command(&mut pip)?;
        Ok(Self { program, python })
    }
}

pub(super) fn tasks(bench: &Bench, burst: u64, single: u64) -> Figures {
    let original = match Original::install() {
        Ok(original) => Some(original),
        Err(error) => {
            println!("  skipped: the original, because {error}");
            None
        }
    };
    if original.is_none() && !has_python() {
        println!("  skipped: all of it, because there is no python3");
        return Ok(Vec::new());
    }
    let python = original.as_ref().map_or(Path::new("python3"), |it| &it.python);
    let ours = || {
        let mut command = Command::new(&bench.program);
        command.arg("--python").arg(python);
        command
    };
    let mut floor = Command::new(python);
    let floor = super::output(floor.args(["-c", FLOOR]))?;
    let mut figures = floor.lines().map(Figure::parse).collect::<Result<Vec<_>, _>>()?;
    for (level, suffix) in [("INFO", ""), ("ERROR", "-error")] {
        let mut programs = Vec::new();
        if let Some(original) = &original {
            let command = Command::new(&original.program);
            programs.push(("original", Running::start(command, Generation::Second, level)?));
        }
        programs.push(("second", Running::start(ours(), Generation::Second, level)?));
        programs.push(("first", Running::start(ours(), Generation::First, level)?));
        let mut spent = vec![[Duration::ZERO; 4]; programs.len()];
        for _ in 0..ROUNDS {
            for ((_, program), spent) in programs.iter().zip(&mut spent) {
                spent[0] += program.queue(burst)?;
                spent[1] += program.burst(burst)?;
                let [cpu, time] = program.one_by_one(single)?;
                spent[2] += cpu;
                spent[3] += time;
            }
        }
        let kinds = [
            ("queue", "µs-CPU/event", burst),
            ("burst", "µs-CPU/event", burst),
            ("single", "µs-CPU/event", single),
            ("single-time", "µs/event", single),
        ];
        for (at, (kind, unit, count)) in kinds.into_iter().enumerate() {
            for ((whose, _), spent) in programs.iter().zip(&spent) {
                let micros = spent[at].as_secs_f64() * 1e6;
                let value = micros / f64::from(ROUNDS) / count as f64;
                let mut figure = Figure::new(&format!("{kind}{suffix}-{whose}"), value, unit);
                if *whose != "original" {
                    figure.limit = Some(format!("{kind}{suffix}-original"));
                }
                figures.push(figure);
            }
        }
    }
    Ok(figures)
}

fn has_python() -> bool {
    let python = Command::new("python3").arg("-V").stdout(Stdio::null()).status();
    python.is_ok_and(|it| it.success())
}

/// Commands beside a Python that suffers: `WORSE` is what its tasks do.
const FAULTS: &str = r#"
import os, resource

async def worse(event, task_id):
    WORSE

bad = TaskScheduler(job=worse)
shell = ShellScheduler("LIMITS __stamp STAMPS", slots=2, output="inherit",
                       breaker=False)
pyinotifyd = Pyinotifyd(watches=[
    Watch(path="ROOT/bad", event_map={"IN_CREATE": bad}),
    Watch(path="ROOT", event_map={"IN_CLOSE_WRITE": shell})])
"#;

/// What can happen to Python, and the code that does it.
const WORSE: [(&str, &str); 4] = [
    ("calm", "pass"),
    ("blocked", "while True: pass"),
    ("aborting", "os.abort()"),
    (
        "leaking",
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, -1)); kept = bytearray(b'x' * (1 << 30)); \
         globals().update(kept=kept)",
    ),
];

/// From the close of a file to the first instruction of a command for it, while Python suffers.
pub(super) fn faults(bench: &Bench, count: u64) -> Figures {
    if !has_python() {
        println!("  skipped: there is no python3");
        return Ok(Vec::new());
    }
    // In turns, as the machine's own slowest are seldom and come together.
    let mut times = WORSE.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, worse), times) in WORSE.iter().zip(&mut times) {
            let config = FAULTS.replace("WORSE", worse);
            times.extend(daemon::latencies_beside(bench, &config, count)?);
        }
    }
    let mut figures = Vec::new();
    for ((name, _), times) in WORSE.into_iter().zip(times) {
        let [half, most] = daemon::half_and_most(times);
        for (kind, value) in [("p50", half), ("p99", most)] {
            let mut figure = Figure::new(&format!("{kind}-{name}"), value, "ms");
            if name != "calm" {
                figure.limit = Some(format!("{kind}-calm"));
            }
            figures.push(figure);
        }
    }
    Ok(figures)
}
