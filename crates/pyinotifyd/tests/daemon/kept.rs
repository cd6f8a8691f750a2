//! What outlives the daemon: its tasks, and what it has seen.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::support::{Daemon, World};

/// Tells of each event after a moment, and of what is due late. What waits for nothing is written
/// at once, and nothing of it is kept.
const CONFIG: &str = r#"
state_dir = "@/state"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
delay = "10ms"
dirs = true
[scheduler.other]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
delay = "DELAY"
include_filter = { glob = "*.late" }
[[watch]]
path = "@/w"
exclude_filter = { glob = "*.hidden" }
[watch.event_map]
IN_CLOSE_WRITE = ["quiet", "other"]
IN_MOVED_TO = ["quiet", "other"]
IN_CREATE = "quiet"
IN_DELETE = ["quiet", { cancel = "other" }]
"#;

fn config(delay: &str) -> String {
    CONFIG.replace("DELAY", delay)
}

/// With a place for the state.
fn world() -> World {
    let world = World::new();
    let state = world.mkdir("state");
    fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
    world
}

impl Daemon<'_> {
    /// Ends it as nobody should.
    fn kill(mut self, world: &World) {
        self.signal(Signal::KILL);
        self.wait_end();
        clean(world);
    }
}

/// Waits until what was there at the first start counts as known.
fn know(world: &World) {
    let state = world.path("state/state.sqlite");
    while !crate::known::is_known(&state) {
        std::thread::yield_now();
    }
}

/// Waits until the index has everything that tasks which have ended were about.
fn index(world: &World) {
    let state = world.path("state/state.sqlite");
    while !crate::known::is_indexed(&state) {
        std::thread::yield_now();
    }
}

/// What the next daemon's `sync` makes must not be there.
fn clean(world: &World) {
    for number in 1..100 {
        let _ = fs::remove_file(world.path(&format!("sync/{number}")));
    }
}

#[test]
fn what_changes_while_it_does_not_run_is_told_and_nothing_else() {
    let world = world();
    for number in 0..3000 {
        world.mkdir(&format!("w/d{}", number % 30));
        world.write(&format!("w/d{}/f{number}", number % 30));
    }
    let mut daemon = Daemon::start(&world, &config("1h"));
    daemon.sync();
    know(&world);
    daemon.kill(&world);

    let mut expected = Vec::new();
    for number in (0..3000).step_by(100) {
        let path = format!("w/d{}/f{number}", number % 30);
        fs::write(world.path(&path), "and more").unwrap();
        expected.push(format!("IN_CLOSE_WRITE {path}"));
    }
    world.mkdir("w/new/below");
    world.write("w/new/below/f");
    fs::remove_file(world.path("w/d1/f1")).unwrap();
    world.rename("w/d2", "w/renamed");
    let open = fs::File::create(world.path("w/open")).unwrap();
    let others = [
        "IN_CREATE w/new",
        "IN_CREATE w/new/below",
        "IN_CREATE w/new/below/f",
        "IN_DELETE w/d1/f1",
        // Of a directory that was renamed, what is in it stays known.
        "IN_CREATE w/renamed",
        "IN_DELETE w/d2",
        "IN_CREATE w/open",
    ];
    expected.extend(others.map(str::to_owned));
    let mut daemon = Daemon::start(&world, &config("1h"));
    daemon.wait(" were found from while the daemon did not run");
    daemon.sync();
    // What is still open is told when it is closed.
    let came = "SEEN|IN_CREATE|".to_owned() + world.path("w/open").to_str().unwrap();
    if !daemon.log.iter().any(|it| it.contains(&came)) {
        daemon.wait(&came);
    }
    drop(open);
    daemon.wait(&came.replace("IN_CREATE", "IN_CLOSE_WRITE"));
    daemon.sync();
    // A line of the log has no state of its file that a memo could have: it is told once more unless
    // the index has what it was about.
    index(&world);
    daemon.stop();
    expected.push("IN_CLOSE_WRITE w/open".into());
    let told: std::collections::BTreeSet<String> = daemon.told().into_iter().collect();
    let expected: std::collections::BTreeSet<String> = expected.into_iter().collect();
    let wrong: Vec<_> = told.symmetric_difference(&expected).take(20).collect();
    assert!(wrong.is_empty() && daemon.told().len() == told.len(), "{wrong:?}");

    // And once told, it is told.
    clean(&world);
    let mut daemon = Daemon::start(&world, &config("1h"));
    let found = daemon.wait(" found from while the daemon did not run");
    daemon.sync();
    daemon.stop();
    assert_eq!(daemon.told(), [""; 0], "{found}");
}

#[test]
fn tasks_that_wait_survive_a_kill_and_keep_their_ids() {
    let world = world();
    let mut daemon = Daemon::start(&world, &config("3s"));
    let files: Vec<String> = (0..200).map(|it| format!("w/f{it}.late")).collect();
    for file in &files {
        world.write(file);
    }
    daemon.sync();
    // `quiet` has told of them: a run starts when all that was said before is on disk.
    let quiet = |daemon: &Daemon<'_>| {
        let paths = daemon.seen().into_iter().filter(|it| it.logname == "quiet").map(|it| it.path);
        paths.collect::<std::collections::BTreeSet<_>>().len()
    };
    while quiet(&daemon) < files.len() {
        daemon.wait("pyinotifyd/quiet - WARNING - ");
    }
    daemon.kill(&world);
    let mut daemon = Daemon::start(&world, &config("3s"));
    daemon.wait("tasks go on from before the start");
    let seen =
        |daemon: &Daemon<'_>| daemon.seen().iter().filter(|it| it.logname == "other").count();
    while seen(&daemon) < files.len() {
        daemon.wait("pyinotifyd/other - WARNING - ");
    }
    daemon.sync();
    daemon.stop();
    let late = daemon.seen().into_iter().filter(|it| it.logname == "other");
    let mut late: Vec<String> = late.map(|it| it.path).collect();
    late.sort();
    let mut files = files;
    files.sort();
    assert_eq!(late, files, "each runs once");
}

#[test]
fn a_stop_keeps_what_waits_and_a_start_gives_up_what_is_gone() {
    let world = world();
    let mut daemon = Daemon::start(&world, &config("1h"));
    for name in ["stays", "goes", "moves/f"] {
        world.mkdir("w/moves");
        world.write(&format!("w/{name}.late"));
    }
    // All that waits but a moment has been told.
    while daemon.seen().len() < 4 {
        daemon.wait("SEEN|");
    }
    daemon.sync();
    know(&world);
    daemon.signal(Signal::TERM);
    daemon.wait("3 tasks are kept for the next start");
    daemon.wait_end();
    clean(&world);
    fs::remove_file(world.path("w/goes.late")).unwrap();
    world.rename("w/moves", "w/moved");
    let mut daemon = Daemon::start(&world, &config("1h"));
    daemon.wait("3 tasks go on from before the start");
    // The renamed directory, and what has gone.
    while daemon.seen().len() < 3 {
        daemon.wait("SEEN|");
    }
    daemon.sync();
    daemon.signal(Signal::TERM);
    daemon.wait("2 tasks are kept for the next start");
    daemon.wait_end();
}

#[test]
fn a_run_that_was_cut_off_runs_again_or_is_reported() {
    for (on_crash, said) in [("rerun", "it runs again"), ("report", "it is not run again")] {
        let world = world();
        let config = format!(
            r#"
state_dir = "@/state"
[scheduler.slow]
exec = ["/bin/sh", "-c", 'echo "$PYINOTIFYD_ATTEMPT" >> @/runs; read -r line < @/fifo', "sh", "{{pathname}}"]
on_crash = "{on_crash}"
[[watch]]
path = "@/w"
event_map = {{ IN_CLOSE_WRITE = "slow" }}
"#
        );
        let fifo = world.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut daemon = Daemon::start(&world, &config);
        world.write("w/f");
        daemon.wait(": started for IN_CLOSE_WRITE of ");
        // Its first line says that it runs.
        let runs = || fs::read_to_string(world.path("runs")).unwrap_or_default();
        while runs().is_empty() {
            std::thread::yield_now();
        }
        daemon.kill(&world);
        // It is left alone, and ends with its pipe.
        fs::write(&fifo, "go\n").unwrap();
        let mut daemon = Daemon::start(&world, &config);
        if on_crash == "rerun" {
            daemon.wait(", attempt 2");
            fs::write(&fifo, "go\n").unwrap();
            daemon.wait(": done for ");
        }
        daemon.sync();
        daemon.stop();
        assert!(daemon.log.iter().any(|it| it.contains(said)), "{daemon}");
        assert_eq!(runs(), if on_crash == "rerun" { "1\n2\n" } else { "1\n" });
    }
}

/// A command that says by its process id that it runs, and goes on until it is ended; the second
/// run only says so.
fn stubborn(world: &World, trap: &str) -> String {
    world.script(
        "stubborn",
        &format!(
            "{trap}\n\
             echo \"$PYINOTIFYD_ATTEMPT $$\" >> \"${{0%/*}}/runs\"\n\
             [ \"$PYINOTIFYD_ATTEMPT\" = 1 ] || exit 0\n\
             while :; do sleep 1000; done"
        ),
    );
    r#"
state_dir = "@/state"
[scheduler.slow]
exec = ["@/stubborn", "{pathname}"]
kill_after = "100ms"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "slow" }
"#
    .into()
}

/// The runs that have begun: the attempt of each, and its process.
fn runs(world: &World) -> Vec<(u32, i32)> {
    let runs = fs::read_to_string(world.path("runs")).unwrap_or_default();
    let (runs, _) = runs.rsplit_once('\n').unwrap_or_default();
    let run = |line: &str| {
        let (attempt, pid) = line.split_once(' ').unwrap();
        (attempt.parse().unwrap(), pid.parse().unwrap())
    };
    runs.lines().map(run).collect()
}

fn first_run(world: &World) -> Pid {
    while runs(world).is_empty() {
        std::thread::yield_now();
    }
    Pid::from_raw(runs(world)[0].1).unwrap()
}

#[test]
fn what_a_run_that_was_cut_off_has_left_is_ended_before_it_runs_again() {
    for (trap, ended) in [("", "SIGTERM"), ("trap '' TERM", "SIGKILL")] {
        let world = world();
        let config = stubborn(&world, trap);
        let daemon = Daemon::start(&world, &config);
        world.write("w/f");
        let pid = first_run(&world);
        // Known for sure, whatever becomes of its number.
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        daemon.kill(&world);
        let mut daemon = Daemon::start(&world, &config);
        let told = daemon.wait(" that was cut off was still there, and was ended");
        assert!(told.contains(&format!("process {} ", pid.as_raw_nonzero())), "{told}");
        daemon.wait(", attempt 2");
        let has_ended =
            poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&Timespec::default()));
        assert_eq!(has_ended, Ok(1), "by {ended}, before the second run");
        daemon.wait(": done for ");
        daemon.stop();
        assert_eq!(runs(&world).iter().map(|it| it.0).collect::<Vec<_>>(), [1, 2]);
    }
}

#[test]
fn processes_of_others_are_not_taken_for_what_a_run_has_left() {
    let world = world();
    let config = stubborn(&world, "");
    let mut daemon = Daemon::start(&world, &config);
    world.write("w/f");
    let started = daemon.wait(": started for ");
    let id = started.split(" - ").last().unwrap().split(": ").next().unwrap();
    let pid = first_run(&world);
    daemon.kill(&world);
    // It ends by itself, and others come that are like it: with the id of another task, and with its
    // own, but started by somebody within a session of his.
    kill_process_group(pid, Signal::KILL).unwrap();
    let other = |id: &str, setsid: &str| {
        let mut command = Command::new(if setsid.is_empty() { "sleep" } else { setsid });
        command.args((!setsid.is_empty()).then_some("sleep")).arg("1000");
        command.env("PYINOTIFYD_TASK_ID", id).stdin(Stdio::null()).spawn().unwrap()
    };
    let mut others = [other(id, ""), other("00000000-0000-4000-8000-000000000000", "setsid")];
    let mut daemon = Daemon::start(&world, &config);
    daemon.wait(", attempt 2");
    daemon.wait(": done for ");
    daemon.stop();
    for other in &mut others {
        assert!(other.try_wait().unwrap().is_none(), "it goes on");
        other.kill().unwrap();
        other.wait().unwrap();
    }
    assert!(!daemon.log.iter().any(|it| it.contains("was still there")), "{daemon}");
}

/// Waits until it is written down as which process a task runs.
fn spawned(world: &World) {
    let state = world.path("state/state.sqlite");
    while !crate::known::is_spawned(&state) {
        std::thread::yield_now();
    }
}

/// Whether a process has ended.
fn has_ended(process: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
}

#[test]
fn a_batch_that_was_cut_off_is_ended_also_if_its_first_task_does_not_run_again() {
    let world = world();
    // What it is by then has neither its words nor its environment.
    world.script(
        "batch",
        "echo \"$PYINOTIFYD_ATTEMPT $$\" >> \"${0%/*}/runs\"
         [ \"$PYINOTIFYD_ATTEMPT\" = 1 ] || exit 0
         exec env -i sleep 1000",
    );
    let config = r#"
state_dir = "@/state"
[scheduler.slow]
exec = ["@/batch", "{pathname}"]
batch = true
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "slow" }
"#;
    let mut daemon = Daemon::start(&world, config);
    assert!(daemon.ask(&["pause", "slow"]).status.success());
    for name in ["w/first", "w/second"] {
        world.write(name);
    }
    daemon.sync();
    assert!(daemon.ask(&["resume", "slow"]).status.success());
    let pid = first_run(&world);
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    spawned(&world);
    daemon.kill(&world);
    fs::remove_file(world.path("w/first")).unwrap();
    clean(&world);
    let mut daemon = Daemon::start(&world, config);
    let told = daemon.wait(" that was cut off was still there, and was ended");
    assert!(told.contains(&format!("process {} of the run for ", pid.as_raw_nonzero())), "{told}");
    assert!(told.contains("w/second"), "{told}");
    daemon.wait(", attempt 2");
    assert!(has_ended(&process));
    daemon.wait(": done for ");
    daemon.stop();
}

#[test]
fn what_the_leader_of_a_run_has_left_is_ended_and_who_is_like_it_goes_on() {
    let world = world();
    world.script(
        "leads",
        "[ \"$PYINOTIFYD_ATTEMPT\" = 1 ] || exit 0
         (echo \"1 $(exec sh -c 'echo $PPID')\" >> \"${0%/*}/runs\"; sleep 1000; :) &
         echo $$ > \"${0%/*}/leader\"
         wait",
    );
    let config = r#"
state_dir = "@/state"
[scheduler.slow]
exec = ["@/leads", "{pathname}"]
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "slow" }
"#;
    let daemon = Daemon::start(&world, config);
    world.write("w/f");
    let worker = pidfd_open(first_run(&world), PidfdFlags::empty()).unwrap();
    let leader = || fs::read_to_string(world.path("leader")).unwrap_or_default();
    while !leader().ends_with('\n') {
        std::thread::yield_now();
    }
    spawned(&world);
    daemon.kill(&world);
    let leader = Pid::from_raw(leader().trim().parse().unwrap()).unwrap();
    let led = pidfd_open(leader, PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(leader, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&led, PollFlags::IN)], None).unwrap();
    // The same words, of somebody else, who leads a session as well.
    let (program, file) = (world.path("leads"), world.path("w/f"));
    let mut command = Command::new("setsid");
    command.arg(program).arg(file).env("PYINOTIFYD_ATTEMPT", "1").stdin(Stdio::null());
    let mut other = command.spawn().unwrap();
    while runs(&world).len() < 2 {
        std::thread::yield_now();
    }
    let others =
        pidfd_open(Pid::from_raw(runs(&world)[1].1).unwrap(), PidfdFlags::empty()).unwrap();
    let mut daemon = Daemon::start(&world, config);
    daemon.wait(" that was cut off was still there, and was ended");
    daemon.wait(", attempt 2");
    assert!(has_ended(&worker));
    daemon.wait(": done for ");
    daemon.stop();
    assert!(other.try_wait().unwrap().is_none() && !has_ended(&others), "they go on");
    kill_process_group(Pid::from_child(&other), Signal::KILL).unwrap();
    other.wait().unwrap();
}

#[test]
fn what_has_ended_is_remembered_over_a_stop_and_a_kill() {
    let world = world();
    let config = r#"
state_dir = "@/state"
[scheduler.job]
shell = "echo last words; test {basename} = good"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "job" }
"#;
    let mut daemon = Daemon::start(&world, config);
    for (name, end) in [("bad", ": exit status 1"), ("good", ": done for ")] {
        world.write(&format!("w/{name}"));
        daemon.wait(end);
    }
    let history = |daemon: &Daemon<'_>| {
        let mut tasks = daemon.json(&["history"])["tasks"].as_array().unwrap().clone();
        // By the loop's clock and the wall's; it is shown in milliseconds.
        let at = |it: &mut serde_json::Value| it.as_object_mut().unwrap().remove("at").unwrap();
        let at: Vec<f64> = tasks.iter_mut().map(|it| at(it).as_f64().unwrap()).collect();
        (tasks, at)
    };
    let (tasks, at) = history(&daemon);
    assert_eq!((tasks.len(), tasks[0]["attempt"].as_u64()), (2, Some(1)));
    index(&world);
    daemon.kill(&world);
    for _ in 0..2 {
        let mut daemon = Daemon::start(&world, config);
        let (again, ended) = history(&daemon);
        assert_eq!(again, tasks);
        for (was, is) in at.iter().zip(ended) {
            assert!((was - is).abs() < 0.5, "{was} {is}");
        }
        let failed = daemon.json(&["history", "--failed"])["tasks"].as_array().unwrap().len();
        assert_eq!(failed, 1);
        daemon.stop();
        clean(&world);
    }
    let mut daemon = Daemon::start(&world, config);
    let failed = daemon.json(&["history", "--failed"])["tasks"][0].clone();
    let again = daemon.json(&["retry", failed["task"].as_str().unwrap()]);
    daemon.wait(&format!("{}: failed for ", again["task"].as_str().unwrap()));
    assert_eq!(daemon.json(&["history"])["tasks"].as_array().unwrap().len(), 3);
}

/// Starts a daemon that does not come up; gives what it says.
fn refused(world: &World) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
        .args(["run", "-c"])
        .arg(world.path("config.toml"))
        .env("RUNTIME_DIRECTORY", world.path("run"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    String::from_utf8(done.stderr).unwrap()
}

#[test]
fn a_state_that_cannot_be_used_is_refused_or_put_aside() {
    let world = world();
    let mut daemon = Daemon::start(&world, &config("1h"));
    // Two daemons on one state would overwrite each other's.
    let said = refused(&world);
    assert!(said.contains(&daemon.pid().as_raw_nonzero().to_string()), "{said}");
    daemon.stop();
    clean(&world);

    fs::write(world.path("state/state.sqlite"), "this is no database").unwrap();
    let mut daemon = Daemon::start(&world, &config("1h"));
    let aside = "the store could not be read (it is no database) and was put aside";
    assert!(daemon.log.iter().any(|it| it.contains(aside)), "{daemon}");
    daemon.sync();
    daemon.stop();
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(names(&world.path("state")).iter().any(|it| it.contains(".corrupt-")));

    fs::set_permissions(world.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    let said = refused(&world);
    assert!(said.contains("state") && said.contains("hint: "), "{said}");
}
