//! The kernel's queue overflows while the daemon is held up.

use std::fs;

use rustix::{fs::FlockOperation, process::Signal};

use super::support::{Daemon, World, is_root, queue_lock};

const LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";

/// Puts the machine's limit back when it is dropped.
struct Shorter {
    before: String,
}

impl Shorter {
    fn new(limit: usize) -> Option<Self> {
        let before = fs::read_to_string(LIMIT).ok()?;
        fs::write(LIMIT, limit.to_string()).ok()?;
        Some(Self { before })
    }
}

impl Drop for Shorter {
    fn drop(&mut self) {
        fs::write(LIMIT, &self.before).unwrap();
    }
}

#[test]
fn an_overflow_is_told_and_everything_goes_on_from_there() {
    let config = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "quiet", IN_Q_OVERFLOW = "quiet" }
"#;
    if !is_root() {
        return eprintln!("skipped: an overflow, because only root may shorten the queue");
    }
    let world = World::new();
    for dir in 0..20 {
        world.mkdir(&format!("w/d{dir}/e"));
    }
    let lock = queue_lock(FlockOperation::LockExclusive);
    let Some(shorter) = Shorter::new(512) else {
        return eprintln!("skipped: an overflow, because {LIMIT} cannot be written");
    };
    let mut daemon = Daemon::start(&world, config);
    drop(shorter);
    drop(lock);
    daemon.signal(Signal::STOP);
    for number in 0..1000 {
        fs::write(world.path(&format!("w/flood{number}")), "").unwrap();
    }
    // None of this is told of.
    for dir in 0..20 {
        world.rename(&format!("w/d{dir}"), &format!("w/moved{dir}"));
    }
    fs::remove_dir_all(world.path("w/moved7")).unwrap();
    world.mkdir("w/moved7/e/new");
    daemon.signal(Signal::CONT);
    daemon.wait("events were lost: ");
    daemon.wait("in step again, ");
    daemon.sync();
    assert_eq!(daemon.seen().iter().filter(|it| it.mask == "IN_Q_OVERFLOW").count(), 1, "{daemon}");
    daemon.forget();
    let mut files: Vec<_> = (0..20).map(|dir| format!("w/moved{dir}/e/f")).collect();
    files.push("w/moved7/e/new/f".into());
    for file in &files {
        world.write(file);
    }
    daemon.sync();
    daemon.assert_each_once(files);
    daemon.stop();
}

const SMOKE: Flood = Flood { state: false, limit: 512, files: 3000 };

/// Waits until so many events have been told.
fn wait_for_seen(daemon: &mut Daemon<'_>, count: usize) {
    loop {
        // Counting takes longer than waiting: it is done once in a while.
        let seen = daemon.seen().len();
        if seen >= count {
            return;
        }
        for _ in seen..count {
            daemon.wait("SEEN|");
        }
    }
}

/// What is made, renamed and deleted while the daemon is held up.
#[derive(Clone, Copy)]
struct Flood {
    /// Whether it keeps what it knows.
    state: bool,
    /// How much the kernel's queue holds.
    limit: usize,
    /// How many files are made. Each twentieth is deleted, and 50 of 60 directories are renamed.
    files: usize,
}

fn everything_that_is_left_has_its_task(Flood { state, limit, files }: Flood) {
    if !is_root() {
        return eprintln!("skipped: an overflow, because only root may shorten the queue");
    }
    let world = World::new();
    let mut config = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
delay = "100ms"
[[watch]]
path = "@/w"
[watch.event_map]
IN_CLOSE_WRITE = "quiet"
IN_MOVED_TO = "quiet"
IN_DELETE = { cancel = "quiet" }
"#
    .to_owned();
    if state {
        use std::os::unix::fs::PermissionsExt;
        let dir = world.mkdir("state");
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        config.insert_str(0, "\nstate_dir = \"@/state\"");
    }
    for number in 0..600 {
        world.mkdir(&format!("w/d{}", number % 60));
        world.write(&format!("w/d{}/old{number}", number % 60));
    }
    let lock = queue_lock(FlockOperation::LockExclusive);
    let Some(shorter) = Shorter::new(limit) else {
        return eprintln!("skipped: an overflow, because {LIMIT} cannot be written");
    };
    let mut daemon = Daemon::start(&world, &config);
    drop(shorter);
    drop(lock);
    daemon.signal(Signal::STOP);
    let place = |number: usize| match number % 60 {
        dir if dir < 50 => format!("w/moved{dir}/f{number}"),
        dir => format!("w/d{dir}/f{number}"),
    };
    for number in 0..files {
        fs::write(world.path(&format!("w/d{}/f{number}", number % 60)), "").unwrap();
    }
    for number in (0..files).step_by(20) {
        fs::remove_file(world.path(&format!("w/d{}/f{number}", number % 60))).unwrap();
    }
    for dir in 0..50 {
        world.rename(&format!("w/d{dir}"), &format!("w/moved{dir}"));
    }
    daemon.signal(Signal::CONT);
    daemon.wait("events were lost: ");
    daemon.wait("in step again, ");
    let mut left: Vec<String> = (0..files).filter(|it| it % 20 != 0).map(place).collect();
    wait_for_seen(&mut daemon, left.len());
    // Those of later are where they are said to be, and nothing else comes.
    for dir in 0..60 {
        left.push(place(files + dir));
        world.write(left.last().unwrap());
    }
    wait_for_seen(&mut daemon, left.len());
    daemon.stop();
    daemon.assert_each_once(left);
}

#[test]
fn after_an_overflow_each_file_that_is_left_has_its_task_once() {
    everything_that_is_left_has_its_task(Flood { state: false, ..SMOKE });
}

#[test]
fn after_an_overflow_each_file_that_is_left_has_its_task_once_with_a_state_directory() {
    everything_that_is_left_has_its_task(Flood { state: true, ..SMOKE });
}

/// By `cargo xtask overflow`.
#[test]
fn after_overflows_by_ten_thousand_files_each_that_is_left_has_its_task_once() {
    let Some(runs) = std::env::var("RUNS").ok().and_then(|it| it.parse().ok()) else {
        return eprintln!("skipped: large overflows, because no RUNS says how often");
    };
    for run in 0..runs {
        // With a state directory and without, in turn.
        let flood = Flood { state: run % 2 == 0, limit: 4096, files: 10_000 };
        everything_that_is_left_has_its_task(flood);
        let kept = if flood.state { "with" } else { "without" };
        eprintln!("run {} of {runs}, {kept} a state directory: 0 missing, 0 doubled", run + 1);
    }
}
