//! The daemon is killed again and again while files come, change, move and go; a ledger says which
//! versions a task has seen.
//!
//! What must hold at the end: the last version of each file that is left has been seen whole, no
//! task has seen half of one, and nothing was seen twice but by a run that a kill cut off, or by that
//! of an event which was read after the first had seen what it is about. Files that a rule moves are there exactly once, at
//! their source or at their destination.
//!
//! `KILLS` is how often (200, and 100 for the rules), `SEED` repeats a run; `LEVEL` is how much is
//! logged (info, or more), and with `KEEP` the folder is left. `cargo xtask kill` runs it for long.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/chance.rs"]
mod chance;
#[path = "kill_loop/moves.rs"]
mod moves;

#[path = "support/known.rs"]
mod known;
#[path = "support/logged.rs"]
mod logged;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use chance::{Pace, Random, number, seed};

/// How long the last daemon may go on without seeing anything of what is left.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was seen so long ago is not looked at any more, also not by a run that a kill cut off: only
/// such a file is written to in its place. That a writer begins while a task reads is nobody's to
/// prevent.
const SETTLED: Duration = Duration::from_secs(3);

/// How much of the log is shown when something is wrong. All of it is kept with `KEEP`.
const LOG: usize = 20_000;

/// Makes, changes, moves and deletes files, each version with a number of its own.
struct Writer {
    root: PathBuf,
    random: Random,
    pace: Pace,
    dirs: Vec<PathBuf>,
    /// The last version of each file that is left.
    files: BTreeMap<PathBuf, u64>,
    versions: u64,
    renames: usize,
    ledger: PathBuf,
    read: usize,
    seen: BTreeMap<u64, Instant>,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Ordering::Relaxed) {
            self.step();
            let pause = self.random.millis(1, 6);
            self.pace.wait(pause);
        }
        self
    }

    fn step(&mut self) {
        let dir = self.dirs[self.random.below(self.dirs.len())].clone();
        self.versions += 1;
        let version = self.versions;
        let name = dir.join(format!("f{version}"));
        match self.random.below(100) {
            0..8 if self.dirs.len() < 60 => {
                let outer = dir.join(format!("d{version}"));
                let inner = outer.join("e");
                fs::create_dir_all(&inner).unwrap();
                self.write(&inner.join("f"), version);
                self.dirs.extend([outer, inner]);
            }
            8..12 if self.dirs.len() > 3 => self.rename(version),
            12..17 if !self.files.is_empty() => {
                let path = self.any();
                fs::remove_file(&path).unwrap();
                self.files.remove(&path);
            }
            17..30 => {
                // In its place.
                self.read_ledger();
                let settled = |it: &u64| self.seen.get(it).is_some_and(|it| it.elapsed() > SETTLED);
                let idle: Vec<PathBuf> =
                    self.files.iter().filter(|it| settled(it.1)).map(|it| it.0.clone()).collect();
                if !idle.is_empty() {
                    let path = idle[self.random.below(idle.len())].clone();
                    self.write(&path, version);
                }
            }
            30..45 if !self.files.is_empty() => {
                // Written beside it, and renamed over it.
                let path = self.any();
                self.publish(&path, version);
            }
            45..60 => self.publish(&name, version),
            60..70 => self.link(&dir, &name, version),
            _ => self.write(&name, version),
        }
    }

    fn any(&mut self) -> PathBuf {
        let at = self.random.below(self.files.len());
        self.files.keys().nth(at).unwrap().clone()
    }

    /// In two halves: who sees only the first has seen what he should not.
    fn fill(&mut self, mut file: &File, version: u64) {
        write!(file, "b{version} ").unwrap();
        if self.random.below(4) == 0 {
            let pause = self.random.millis(1, 4);
            self.pace.wait(pause);
        }
        writeln!(file, "e{version}").unwrap();
    }

    fn write(&mut self, path: &Path, version: u64) {
        let file = File::create(path).unwrap();
        self.fill(&file, version);
        drop(file);
        self.files.insert(path.to_owned(), version);
    }

    fn publish(&mut self, path: &Path, version: u64) {
        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary).unwrap();
        self.fill(&file, version);
        drop(file);
        fs::rename(&temporary, path).unwrap();
        self.files.insert(path.to_owned(), version);
    }

    /// Without a name until it is whole: nothing but `IN_CREATE` tells of it.
    fn link(&mut self, dir: &Path, path: &Path, version: u64) {
        let flags = i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap();
        let file = fs::OpenOptions::new().write(true).custom_flags(flags).open(dir);
        let Ok(file) = file else { return self.write(path, version) };
        self.fill(&file, version);
        let from = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let (cwd, follow) = (rustix::fs::CWD, rustix::fs::AtFlags::SYMLINK_FOLLOW);
        rustix::fs::linkat(cwd, from.as_str(), cwd, path, follow).unwrap();
        self.files.insert(path.to_owned(), version);
    }

    fn rename(&mut self, version: u64) {
        let from = self.dirs[1 + self.random.below(self.dirs.len() - 1)].clone();
        let into = self.dirs[self.random.below(self.dirs.len())].clone();
        if into.starts_with(&from) {
            return;
        }
        let to = into.join(format!("r{version}"));
        fs::rename(&from, &to).unwrap();
        self.renames += 1;
        let moved = |path: &PathBuf| match path.strip_prefix(&from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.clone(),
            Ok(rest) => to.join(rest),
            Err(_) => path.clone(),
        };
        self.dirs = self.dirs.iter().map(moved).collect();
        self.files = self.files.iter().map(|(path, version)| (moved(path), *version)).collect();
    }

    fn read_ledger(&mut self) {
        let text = fs::read(&self.ledger).unwrap_or_default();
        let end = text.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        for line in String::from_utf8_lossy(&text[self.read.min(end)..end]).lines() {
            if let Some(run) = Run::of(line) {
                self.seen.insert(run.version, Instant::now());
            }
        }
        self.read = end;
    }
}

/// A line of the ledger: which version a run has seen, and of which task it was.
struct Run<'a> {
    version: u64,
    task: &'a str,
}

impl<'a> Run<'a> {
    /// `None`: it has seen half of one.
    fn of(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let version = words.next()?.strip_prefix('b')?;
        let is_whole = words.next()?.strip_prefix('e')? == version;
        is_whole.then(|| Self { version: version.parse().unwrap(), task: words.next().unwrap() })
    }
}

/// Of which daemon, counted from the first, the tasks were, as its log says.
struct Lives<'a> {
    /// The first and the last in which a task was started.
    of: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> Lives<'a> {
    fn of(log: &'a str) -> Self {
        let (mut of, mut life) = (BTreeMap::new(), 0);
        for line in log.lines() {
            if line.contains(" - ready, ") {
                life += 1;
            } else if let Some((before, _)) = line.split_once(": started for ") {
                let task = before.rsplit(' ').next().unwrap();
                of.entry(task).or_insert((life, life)).1 = life;
            }
        }
        Self { of }
    }

    /// Whether the second was started by the daemon that had started the first last.
    fn met(&self, first: &str, second: &str) -> bool {
        let last = self.of.get(first).map(|it| it.1);
        last.is_some() && last == self.of.get(second).map(|it| it.0)
    }
}

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let mut dir = tempfile::tempdir().unwrap();
        dir.disable_cleanup(std::env::var_os("KEEP").is_some());
        let folder = Self { dir };
        for name in ["w", "state"] {
            fs::create_dir(folder.path(name)).unwrap();
        }
        fs::set_permissions(folder.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, config: &str) {
        let level = std::env::var("LEVEL").unwrap_or_else(|_| "info".into());
        let config = config.replace("LEVEL", &level);
        let config = config.replace('@', self.dir.path().to_str().unwrap());
        fs::write(self.path("config.toml"), config).unwrap();
        fs::set_permissions(self.path("config.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn start(&self) -> Child {
        logged::start(self.dir.path())
    }

    /// Starts the daemon for a moment: what is there before its first start is no news.
    fn begin(&self) {
        let mut first = self.start();
        let pace = Pace::new();
        while !known::is_known(&self.path("state/state.sqlite")) {
            pace.wait(Duration::from_millis(10));
        }
        first.kill().unwrap();
        first.wait().unwrap();
    }

    fn whole_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// The end of the log, for who has to find out what went wrong.
    fn log(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG)..]).into_owned()
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn end(mut child: Child) {
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

/// Starts the daemon and ends it, most often by `SIGKILL`, as often as that; `look` is called while
/// none is there. Gives back the number of kills.
fn torment(folder: &Folder, random: &mut Random, times: u64, mut look: impl FnMut()) -> u64 {
    let pace = Pace::new();
    let mut kills = 0;
    while kills < times {
        let mut child = folder.start();
        let life = random.millis(80, 400);
        pace.wait(life / 2);
        if random.below(5) == 0 {
            signal(&child, Signal::HUP);
        }
        pace.wait(life / 2);
        if random.below(10) == 0 {
            end(child);
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        look();
        if random.below(3) == 0 {
            let pause = random.millis(1, 200);
            pace.wait(pause);
        }
    }
    kills
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, and what it is held against")]
fn no_last_version_is_lost_and_none_is_seen_in_half() {
    let kills = number("KILLS", 200);
    let mut random = Random(seed());
    let folder = Folder::new();
    // A kill cuts off as many runs as there are slots, and each of those runs again.
    // What is still open when it is made is not whole: `ready` waits for the close. Who finds nothing
    // fails, and is tried again: a directory may have been renamed while the command was started.
    folder.configure(
        r#"
state_dir = "@/state"
shutdown_timeout = "2s"
[log]
level = "LEVEL"
[scheduler.see]
exec = ["/bin/sh", "-c", '[ -e "$1" ] || exit 1; IFS= read -r line < "$1" || line="half:$line"; printf "%s %s %s\n" "$line" "$PYINOTIFYD_TASK_ID" "$PYINOTIFYD_ATTEMPT" >> "$2"', "sh", "{pathname}", "@/ledger"]
delay = "30ms"
slots = 1
ready = "closed"
retry = { tries = 4, backoff = "50ms" }
exclude_filter = { glob = "*.tmp" }
[[watch]]
path = "@/w"
[watch.event_map]
IN_CREATE = "see"
IN_CLOSE_WRITE = "see"
IN_MOVED_TO = "see"
IN_DELETE = { cancel = "see" }
"#,
    );
    folder.begin();
    let pace = Pace::new();

    let writer = Writer {
        root: folder.path("w"),
        random: Random(random.next()),
        pace: Pace::new(),
        dirs: vec![folder.path("w")],
        files: BTreeMap::new(),
        versions: 0,
        renames: 0,
        ledger: folder.path("ledger"),
        read: 0,
        seen: BTreeMap::new(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let writing = thread::spawn({
        let stop = Arc::clone(&stop);
        move || writer.run(&stop)
    });
    let kills = torment(&folder, &mut random, kills, || ());
    stop.store(true, Ordering::Relaxed);
    let writer = writing.join().unwrap();

    let daemon = folder.start();
    let left: BTreeSet<u64> = writer.files.values().copied().collect();
    let (mut count, mut since) = (0, Instant::now());
    let ledger = loop {
        let ledger = fs::read_to_string(folder.path("ledger")).unwrap();
        let seen: BTreeSet<u64> = ledger.lines().filter_map(Run::of).map(|it| it.version).collect();
        if seen.len() > count {
            (count, since) = (seen.len(), Instant::now());
        }
        if left.is_subset(&seen) || since.elapsed() > PATIENCE {
            break ledger;
        }
        pace.wait(Duration::from_millis(50));
    };
    end(daemon);

    let mut runs: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for Run { version, task } in ledger.lines().filter_map(Run::of) {
        runs.entry(version).or_default().push(task);
    }
    let halves: Vec<&str> = ledger.lines().filter(|it| it.starts_with("half:b")).collect();
    let lost: Vec<_> = writer.files.iter().filter(|it| !runs.contains_key(it.1)).collect();
    // A task that has seen a version and runs again was cut off before its end was on the disk. What
    // another task of the same daemon has seen before came by an event of its own, however late that
    // was read: no record is read twice, and what differs is looked for only at the start. Such a
    // task may be started only by the next daemon; if it came during the run, the log says so.
    let log = folder.whole_log();
    let lives = Lives::of(&log);
    let again = log.lines().filter_map(|it| it.split_once(": runs again for "));
    let again: BTreeSet<&str> = again.filter_map(|it| it.0.rsplit(' ').next()).collect();
    let (mut cut_off, mut overtaken, mut repeats) = (0, 0, Vec::new());
    for (version, tasks) in &runs {
        let mut known = BTreeSet::from([tasks[0]]);
        for task in &tasks[1..] {
            let is_late = again.contains(task) || known.iter().any(|it| lives.met(it, task));
            match known.insert(task) {
                false => cut_off += 1,
                true if is_late => overtaken += 1,
                true => repeats.push((version, tasks)),
            }
        }
    }
    eprintln!(
        "{kills} kills, {} versions, {} files left, {} directories renamed: {} lost, {} seen in \
         half; seen again: {cut_off} by runs that were cut off, {overtaken} by later events of the \
         same daemon, {} others",
        writer.versions,
        left.len(),
        writer.renames,
        lost.len(),
        halves.len(),
        repeats.len(),
    );
    assert!(writer.root.is_dir());
    assert!(lost.is_empty(), "lost: {lost:?}\n{}", folder.log());
    assert!(halves.is_empty(), "seen in half: {halves:?}\n{}", folder.log());
    // As many as there are slots.
    assert!(cut_off <= kills, "{cut_off} were cut off\n{}", folder.log());
    // A directory whose records contradict each other is told anew, with all that is in it.
    let anew = log.matches("lost track of ").count();
    eprintln!("{anew} directories were told anew");
    let bound = if anew == 0 { 1 + kills / 50 } else { 10 * kills };
    let story = || {
        let of = |line: &&str| {
            repeats.iter().take(3).any(|(_, all)| all.iter().any(|it| line.contains(it)))
        };
        let told = log.lines().filter(|it| it.contains(" - ready, ") || of(it));
        told.collect::<Vec<_>>().join("\n")
    };
    assert!(repeats.len() as u64 <= bound, "seen again: {repeats:?}\n{}", story());
}
