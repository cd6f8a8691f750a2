//! The power goes off: the disk that has the state and the watched files forgets what it was not
//! asked to keep, at any moment.
//!
//! The disk is a file in a loop device, mounted for this test alone, and shut down by its own ioctl.
//! What must hold when the daemon is started again: the store is whole; what had been started, and is
//! still there, is done or runs again; tasks that waited still run; and each file that a rule moves
//! is there once, at its source or at its destination. What was not synced by who wrote it may be
//! gone, as it may without us.
//!
//! `ROUNDS` is how often the power goes off (4), `SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/chance.rs"]
mod chance;

#[path = "support/known.rs"]
mod known;
#[path = "support/logged.rs"]
mod logged;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chance::{Pace, Random, number, seed};
use pyinotifyd_sys::disk;
use rustix::process::{Pid, Signal, kill_process};

/// How long the daemon may take to do what is left.
const PATIENCE: Duration = Duration::from_secs(60);

/// By what the second run of a test knows that it is the one in a mount namespace of its own.
const INSIDE: &str = "PYINOTIFYD_TEST_INSIDE";

/// What is done with the files of a folder, by its name: a command soon, a command later, and moves
/// on the disk, from it and to it.
const KINDS: [&str; 5] = ["run", "late", "near", "away", "into"];

const CONFIG: &str = r#"
state_dir = "@/disk/state"
[scheduler.run]
exec = ["/bin/sh", "-c", 'printf "%s\n" "$1" >> "$2"', "sh", "{pathname}", "@/ledger"]
breaker = false
exclude_filter = { glob = ".*" }
[scheduler.late]
exec = ["/bin/sh", "-c", 'printf "%s\n" "$1" >> "$2"', "sh", "{pathname}", "@/ledger"]
delay = "700ms"
breaker = false
exclude_filter = { glob = ".*" }
[scheduler.move]
breaker = false
exclude_filter = { glob = ".*" }
[[scheduler.move.rules]]
action = "move"
src_re = '^@/disk/near/(.*)$'
dst_re = '@/disk/moved/\1'
[[scheduler.move.rules]]
action = "move"
src_re = '^@/disk/away/(.*)$'
dst_re = '@/moved/\1'
[[scheduler.move.rules]]
action = "move"
src_re = '^@/into/(.*)$'
dst_re = '@/disk/moved/\1'
[[watch]]
path = "@/disk/run"
event_map = { IN_MOVED_TO = "run" }
[[watch]]
path = "@/disk/late"
event_map = { IN_MOVED_TO = "late" }
[[watch]]
path = ["@/disk/near", "@/disk/away", "@/into"]
event_map = { IN_MOVED_TO = "move" }
"#;

/// A disk in a file, mounted at `disk`, and the daemon's folder around it.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// `None`, said aloud, if there can be no such disk.
    fn new(kind: &str, size: &str) -> Option<Self> {
        let mut dir = tempfile::tempdir().unwrap();
        dir.disable_cleanup(std::env::var_os("KEEP").is_some());
        let world = Self { dir };
        for name in ["disk", "into", "moved"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        let force = if kind == "xfs" { "-f" } else { "-F" };
        let make = format!("truncate -s {size} image && mkfs.{kind} -q {force} image");
        if let Err(why) = world.shell(&make).and_then(|()| world.mount()) {
            eprintln!("skipped: power loss on {kind}, because {why}");
            return None;
        }
        for name in ["state", "moved", "run", "late", "near", "away"] {
            fs::create_dir(world.path("disk").join(name)).unwrap();
        }
        let owner = fs::Permissions::from_mode(0o700);
        fs::set_permissions(world.path("disk/state"), owner).unwrap();
        rustix::fs::syncfs(File::open(world.path("disk")).unwrap()).unwrap();
        let config = CONFIG.replace('@', world.dir.path().to_str().unwrap());
        fs::write(world.path("config.toml"), config).unwrap();
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shell(&self, script: &str) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        let done = command.args(["-c", script]).current_dir(self.dir.path()).output().unwrap();
        if done.status.success() {
            return Ok(());
        }
        Err(format!("`{script}` says: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }

    fn mount(&self) -> Result<(), String> {
        self.shell("mount -o loop image disk")
    }

    /// Commands may still be ending.
    fn unmount(&self, pace: &Pace) {
        let begun = Instant::now();
        while let Err(error) = self.shell("umount disk") {
            assert!(begun.elapsed() < PATIENCE, "{error}");
            pace.wait(Duration::from_millis(10));
        }
    }

    fn start(&self) -> Child {
        logged::start(self.dir.path())
    }

    /// What is there before the first start is no news.
    fn begin(&self, pace: &Pace) {
        let first = self.start();
        let begun = Instant::now();
        while !known::is_known(&self.path("disk/state/state.sqlite")) {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log());
            pace.wait(Duration::from_millis(10));
        }
        end(first);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn ledger(&self) -> BTreeSet<PathBuf> {
        let ledger = fs::read_to_string(self.path("ledger")).unwrap_or_default();
        ledger.lines().map(PathBuf::from).collect()
    }

    fn folder(&self, kind: &str) -> PathBuf {
        if kind == "into" { self.path("into") } else { self.path("disk").join(kind) }
    }

    /// Where a file is that was put there, of those places where it may be.
    fn places(&self, kind: &str, name: &str) -> Vec<PathBuf> {
        let destination = if kind == "away" { "moved" } else { "disk/moved" };
        let places = [self.folder(kind).join(name), self.path(destination).join(name)];
        places.into_iter().filter(|it| it.exists()).collect()
    }

    /// Looks into a copy of the store, since looking changes it: whether it is whole, and what waits.
    fn look_into_store(&self) -> BTreeSet<PathBuf> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["state.sqlite", "state.sqlite-wal"] {
            let from = self.path("disk/state").join(name);
            if from.exists() {
                fs::copy(from, copy.path().join(name)).unwrap();
            }
        }
        let store = rusqlite::Connection::open(copy.path().join("state.sqlite")).unwrap();
        let check = store.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(check.unwrap(), "ok");
        let tables = store.prepare("SELECT pathname FROM task WHERE state = 'pending'");
        // Before the first commit there are none.
        let Ok(mut waiting) = tables else { return BTreeSet::new() };
        let path = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(0);
        let paths = waiting.query_map([], path).unwrap();
        paths.map(|it| String::from_utf8(it.unwrap()).unwrap().into()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may not be mounted. Otherwise the namespace ends with the test.
        let _ = self.shell("umount disk");
    }
}

fn content(name: &str) -> Vec<u8> {
    let repeats = name.bytes().map(usize::from).product::<usize>() % 10_000;
    name.repeat(repeats + 1).into_bytes()
}

/// Puts a file there so that it stays: it and its name are synced.
fn put(folder: &Path, name: &str) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}"));
    let mut file = File::create(&temporary)?;
    file.write_all(&content(name))?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    // XFS may call it synced when it has been shut down meanwhile; a power loss calls it nothing.
    File::open(folder).map(drop)
}

/// Puts files into the folders of all kinds until the power is off; gives those that have to be there.
fn write(
    folders: &[PathBuf],
    round: u64,
    mut random: Random,
    stop: &AtomicBool,
) -> Vec<(usize, String)> {
    let pace = Pace::new();
    let mut kept = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let kind = random.below(folders.len());
        let name = format!("r{round}-{}", kept.len());
        if put(&folders[kind], &name).is_err() {
            break;
        }
        kept.push((kind, name));
        let pause = random.millis(1, 8);
        pace.wait(pause);
    }
    kept
}

/// The paths that the log says were started.
fn started(log: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let (_, rest) = line.split_once(": started for ")?;
        let path = rest.split_once(" of ")?.1;
        Some(path.split(", attempt ").next()?.into())
    };
    log.lines().filter_map(path).collect()
}

/// Runs the test `name` of this program once more in a mount namespace of its own; gives whether
/// this is that second run.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {name}, because only root may mount");
        return false;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    if !unshare().arg("true").output().is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: {name}, because `unshare --mount` is not permitted here");
        return false;
    }
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let done = command.env(INSIDE, "1").output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    false
}

fn end(mut daemon: Child) {
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

fn lose_power(kind: &str, size: &str) {
    let Some(world) = World::new(kind, size) else { return };
    let mut random = Random(seed());
    let pace = Pace::new();
    world.begin(&pace);
    let (mut files, mut waited, mut found_started, mut again) = (0, 0, 0, 0);
    let rounds = number("ROUNDS", 4);
    for round in 0..rounds {
        let told = world.log().len();
        let mut daemon = world.start();
        let stop = Arc::new(AtomicBool::new(false));
        let writing = thread::spawn({
            let folders: Vec<PathBuf> = KINDS.iter().map(|it| world.folder(it)).collect();
            let (random, stop) = (Random(random.next()), Arc::clone(&stop));
            move || write(&folders, round, random, &stop)
        });
        let life = random.millis(200, 1500);
        pace.wait(life);
        let root = File::open(world.path("disk")).unwrap();
        if let Err(error) = disk::shut_down(&root) {
            eprintln!("skipped: power loss on {kind}, because it cannot be shut down: {error}");
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            stop.store(true, Ordering::Relaxed);
            writing.join().unwrap();
            return;
        }
        drop(root);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        let kept = writing.join().unwrap();
        world.unmount(&pace);
        world.mount().unwrap();

        let pending = world.look_into_store();
        let started = started(&world.log()[told..]);
        let before = world.ledger();
        let path = |(kind, name): &(usize, String)| world.folder(KINDS[*kind]).join(name);
        let is_command = |it: &&(usize, String)| KINDS[it.0] == "run" || KINDS[it.0] == "late";
        // What was not synced may be gone again.
        let mut to_run: BTreeSet<PathBuf> = kept.iter().filter(is_command).map(path).collect();
        let (run, late) = (world.folder("run"), world.folder("late"));
        let runs = started.iter().chain(&pending);
        to_run.extend(
            runs.filter(|it| it.starts_with(&run) || it.starts_with(&late))
                .filter(|it| it.exists())
                .cloned(),
        );
        let moves = || kept.iter().filter(|it| !is_command(it));
        for (kind, name) in moves() {
            let places = world.places(KINDS[*kind], name);
            let kind = KINDS[*kind];
            let list = || {
                fs::read_dir(world.folder(kind))
                    .unwrap()
                    .map(|it| it.unwrap().file_name())
                    .collect::<Vec<_>>()
            };
            assert!(
                !places.is_empty(),
                "{name} is lost: {kind}, there is {:?}\n{}",
                list(),
                world.log()
            );
        }
        let daemon = world.start();
        let begun = Instant::now();
        let sources = || moves().any(|it| path(it).exists());
        while (sources() || !to_run.is_subset(&world.ledger())) && begun.elapsed() < PATIENCE {
            pace.wait(Duration::from_millis(20));
        }
        end(daemon);

        let ledger = world.ledger();
        let lost: Vec<_> = to_run.difference(&ledger).collect();
        assert!(lost.is_empty(), "no run of {lost:?}\n{}", world.log());
        for (kind, name) in moves() {
            let places = world.places(KINDS[*kind], name);
            assert_eq!(places.len(), 1, "{name}: {places:?}\n{}", world.log());
            assert_ne!(places[0], world.folder(KINDS[*kind]).join(name), "{}", world.log());
            assert!(fs::read(&places[0]).unwrap() == content(name), "{name} is partial");
        }
        let left = [world.path("moved"), world.path("disk/moved")];
        let names = left.iter().flat_map(|it| fs::read_dir(it).unwrap());
        let temporary: Vec<_> = names
            .map(|it| it.unwrap().file_name())
            .filter(|it| it.to_string_lossy().starts_with('.'))
            .collect();
        assert!(temporary.is_empty(), "{temporary:?}\n{}", world.log());
        files += kept.len();
        waited += pending.len();
        found_started += started.len();
        again += to_run.difference(&before).count();
    }
    eprintln!(
        "{kind}: the power went off {rounds} times, {files} files: {waited} tasks waited, \
         {found_started} were started, {again} commands ran afterwards; none is lost"
    );
}

#[test]
fn nothing_that_was_kept_is_lost_with_the_power_of_an_ext4() {
    if is_inside("nothing_that_was_kept_is_lost_with_the_power_of_an_ext4") {
        lose_power("ext4", "64M");
    }
}

#[test]
fn nothing_that_was_kept_is_lost_with_the_power_of_an_xfs() {
    if is_inside("nothing_that_was_kept_is_lost_with_the_power_of_an_xfs") {
        lose_power("xfs", "320M");
    }
}
