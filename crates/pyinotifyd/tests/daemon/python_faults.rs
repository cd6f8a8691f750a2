//! What a Python suffers, or makes suffer, under the daemon: it harms nothing but itself.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::{Daemon, World};

/// A plain function that is held up by the event of `first` until the gate is opened, and tells of all
/// others.
fn gated(event_map: &str) -> String {
    format!(
        r#"
os.mkfifo("@/gate")

def gated(event):
    if event.name == "first":
        open("@/gate").close()
    else:
        seen(event)

watches = [Watch("@/w", {event_map})]
"#
    )
}

/// Returns once Python has opened its end; by then it holds everything up.
fn open_gate(world: &World) {
    drop(fs::OpenOptions::new().write(true).open(world.path("gate")).unwrap());
}

#[test]
fn a_host_that_ends_takes_its_tasks_with_it_and_nothing_else() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    if event.name == "abort":
        os.abort()
    if event.name == "exit":
        os._exit(7)
    logging.getLogger("t").info(f"ran for {event.name}")

python = TaskScheduler(task)
shell = ShellScheduler("echo {basename} >> @/shell")
later = ShellScheduler("echo later >> @/shell", delay=0.5)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": [python, shell], "IN_CREATE": later})]
"#
    );
    for (name, how) in [("abort", "(signal 6)"), ("exit", "(exit status 7)")] {
        world.write(&format!("w/{name}"));
        daemon.wait(&format!("Python has ended {how}"));
        let after = format!("after_{name}");
        world.write(&format!("w/{after}"));
        daemon.wait(&format!("ran for {after}"));
    }
    daemon.stop();
    let failed = |line: &&String| line.contains(": failed for ");
    assert_eq!(daemon.log.iter().filter(failed).count(), 2, "{daemon}");
    let mut ran: Vec<_> =
        fs::read_to_string(world.path("shell")).unwrap().lines().map(str::to_owned).collect();
    ran.sort();
    let later = ["later"; 4];
    assert_eq!(ran, [&["abort", "after_abort", "after_exit", "exit"][..], &later].concat());
}

#[test]
fn a_task_that_blocks_is_named_and_the_rest_goes_on() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    while event.name == "spin" and not os.path.exists("@/enough"):
        pass
    logging.getLogger("t").info(f"ran for {event.name}")

python = TaskScheduler(task)
shell = ShellScheduler("echo {basename} >> @/shell")
watches = [Watch("@/w", {"IN_CLOSE_WRITE": [python, shell]})]
"#
    );
    world.write("w/spin");
    daemon.wait("has blocked");
    world.write("w/other");
    // The command for it ends, while its task in Python cannot begin.
    daemon.wait(&format!(": done for {}", world.path("w/other").display()));
    assert!(!daemon.log.iter().any(|line| line.contains("ran for ")), "{daemon}");
    fs::write(world.path("enough"), "").unwrap();
    daemon.wait("ran for spin");
    daemon.wait("ran for other");
    daemon.stop();
}

#[test]
fn rules_that_only_python_can_match_wait_for_it_and_nothing_else_does() {
    let world = World::new();
    world.mkdir("moved");
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    if event.name == "abort":
        os.abort()
    while event.name == "spin" and not os.path.exists("@/enough"):
        pass

python = TaskScheduler(task)
files = FileManagerScheduler([
    FileManagerRule("move", r"(?i)^@/w/(ä.*)$", r"@/moved/\1"),
], timeout=600, retry=5)
native = FileManagerScheduler(FileManagerRule("delete", r"(?i)^@/w/n.*$"))
watches = [Watch("@/w", {"IN_CLOSE_WRITE": [python, files], "IN_MOVED_TO": native})]
"#
    );
    world.write("w/spin");
    // Before Python really spins it still answers what is asked.
    daemon.wait("has blocked");
    let first = world.write("w/Ä1");
    daemon.wait(&format!(": started for IN_CLOSE_WRITE of {}", first.display()));
    fs::write(world.path("n"), "").unwrap();
    world.rename("n", "w/N");
    daemon.wait("deleted ");
    assert!(first.exists(), "{daemon}");
    fs::write(world.path("enough"), "").unwrap();
    daemon.wait("moved/Ä1");
    world.write("w/abort");
    daemon.wait("Python has ended (signal 6)");
    // Whether it was with the host that ended, or waits for the one to come.
    world.write("w/Ä2");
    daemon.wait("moved/Ä2");
    daemon.stop();
}

#[test]
fn a_task_that_does_not_end_in_time_is_cancelled_or_its_host_is_killed() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    if event.name == "sleep":
        await asyncio.sleep(3600)
    while event.name == "spin":
        pass
    logging.getLogger("t").info(f"ran for {event.name}")

python = TaskScheduler(task, timeout=0.2, kill_after=0.2)
patient = TaskScheduler(task)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": python, "IN_ATTRIB": patient})]
"#
    );
    world.write("w/sleep");
    daemon.wait("timed out after");
    world.write("w/spin");
    daemon.wait("Python has ended (signal 9)");
    let file = fs::File::open(world.write("w/sleep2")).unwrap();
    file.set_permissions(file.metadata().unwrap().permissions()).unwrap();
    daemon.wait("ran for sleep2");
    daemon.stop();
}

/// More than a thousand of them wait about one path, and more than that in all.
#[test]
fn plain_functions_get_each_event_however_many_wait() {
    let world = World::new();
    let mut daemon = start!(&world, &gated(r#"{"IN_ATTRIB": gated, "IN_CREATE": gated}"#));
    let mut expected = Vec::new();
    for name in ["w/a", "w/b", "w/first"] {
        fs::File::create(world.path(name)).unwrap();
    }
    expected.extend(["IN_CREATE w/a", "IN_CREATE w/b"]);
    for number in 0..3000 {
        // Two in turn, because the kernel merges what it has just told.
        let name = if number % 2 == 0 { "w/a" } else { "w/b" };
        let mode = fs::Permissions::from_mode(0o600 + number / 2 % 2);
        fs::set_permissions(world.path(name), mode).unwrap();
        expected.push(if number % 2 == 0 { "IN_ATTRIB w/a" } else { "IN_ATTRIB w/b" });
    }
    open_gate(&world);
    daemon.sync();
    assert_eq!(daemon.told(), expected);
    daemon.stop();
}

#[test]
fn a_task_that_raises_while_the_daemon_stops_does_not_hang_it() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    logging.getLogger("t").info("began")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ValueError("not now")

s = TaskScheduler(task)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": s})]

class Impatient(Pyinotifyd):
    def __init__(self, watches, shutdown_timeout):
        super().__init__(watches, shutdown_timeout=0)
Pyinotifyd = Impatient
"#
    );
    world.write("w/f");
    daemon.wait("began");
    daemon.stop();
    assert!(daemon.log.iter().any(|line| line.contains("ValueError: not now")), "{daemon}");
}

/// Three tasks do what a process can suffer; commands and timers see nothing of it.
#[test]
fn commands_and_timers_go_on_while_python_blocks_leaks_and_aborts() {
    let world = World::new();
    world.mkdir("other");
    let mut daemon = start!(
        &world,
        r#"
import resource

if not os.path.exists("@/gate"):
    os.mkfifo("@/gate")

async def worse(event, task_id):
    if event.name == "blocks":
        logging.getLogger("t").info("blocks")
        open("@/gate").close()
    elif event.name == "leaks":
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, hard))
        logging.getLogger("t").info("leaks")
        kept = []
        try:
            while True:
                kept.append(bytearray(64 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    else:
        os.abort()

bad = TaskScheduler(task=worse)
shell = ShellScheduler("true", logname="now")
later = ShellScheduler("true", delay=0.01, logname="timer")
watches = [Watch("@/w", {"IN_CREATE": bad}), Watch("@/other", {"IN_CREATE": [shell, later]})]
"#
    );
    let beside = |daemon: &mut Daemon<'_>, name: &str| {
        let names: Vec<_> = (0..50).map(|it| format!("{name}-{it}")).collect();
        for name in &names {
            fs::File::create(world.path("other").join(name)).unwrap();
        }
        for (logname, name) in
            ["now", "timer"].iter().flat_map(|it| names.iter().map(move |name| (it, name)))
        {
            let (logname, end) = (format!("pyinotifyd/{logname} "), format!("/{name} after"));
            let is = |line: &String| line.contains(&logname) && line.contains(&end);
            while !daemon.log.iter().any(is) {
                daemon.wait("done for ");
            }
        }
    };
    world.write("w/blocks");
    // Not the line about the file of that name.
    daemon.wait(" - blocks");
    beside(&mut daemon, "while-it-blocks");
    open_gate(&world);
    world.write("w/leaks");
    daemon.wait(" - leaks");
    beside(&mut daemon, "while-it-leaks");
    while !daemon.log.iter().any(|line| line.contains("MemoryError")) {
        daemon.wait("MemoryError");
    }
    world.write("w/aborts");
    beside(&mut daemon, "while-it-aborts");
    while !daemon.log.iter().any(|line| line.contains("Python has ended (")) {
        daemon.wait("Python has ended (");
    }
    daemon.sync();
    daemon.stop();
    let done =
        daemon.log.iter().filter(|line| line.contains("/other/") && line.contains(": done for "));
    assert_eq!(done.count(), 3 * 50 * 2, "each once: {daemon}");
}

#[test]
fn what_a_blocked_python_does_not_take_waits_for_it() {
    let world = World::new();
    let mut daemon = start!(&world, &gated(r#"{"IN_CREATE": gated}"#));
    fs::File::create(world.path("w/first")).unwrap();
    // More than a socket holds, by far.
    let names: Vec<_> = (0..8_000).map(|it| format!("w/{it:0>200}")).collect();
    for name in &names {
        fs::File::create(world.path(name)).unwrap();
    }
    open_gate(&world);
    daemon.sync();
    let expected: Vec<_> = names.iter().map(|it| format!("IN_CREATE {it}")).collect();
    assert_eq!(daemon.told(), expected);
    daemon.stop();
}
