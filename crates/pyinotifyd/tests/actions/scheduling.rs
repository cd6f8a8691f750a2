//! When tasks run, how many at once, and how often.

use std::{collections::BTreeMap, fs};

use crate::support::{WATCH, World, until};

/// What runs left in the file: the most at once, by name and over all, and how often each path.
struct Marks {
    most: BTreeMap<String, usize>,
    most_of_all: usize,
    runs: BTreeMap<String, usize>,
}

/// Reads lines `+ NAME PATH` and `- NAME PATH`, appended when a run begins and ends.
fn marks(text: &str) -> Marks {
    let mut now: BTreeMap<String, usize> = BTreeMap::new();
    let mut marks = Marks { most: BTreeMap::new(), most_of_all: 0, runs: BTreeMap::new() };
    for line in text.lines() {
        let [what, name, path] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let count = now.entry(name.into()).or_default();
        if what == "-" {
            *count -= 1;
            continue;
        }
        *count += 1;
        let most = marks.most.entry(name.into()).or_default();
        *most = (*most).max(*count);
        marks.most_of_all = marks.most_of_all.max(now.values().sum());
        *marks.runs.entry(path.into()).or_default() += 1;
    }
    assert!(now.values().all(|count| *count == 0), "what has begun has ended: {now:?}");
    marks
}

#[test]
fn five_thousand_files_are_five_thousand_runs_and_never_more_at_once_than_slots() {
    const FILES: usize = 5_000;
    let world = World::new();
    let daemon = world.start(
        "
slots = 4
[scheduler.even]
shell = \"echo + even {pathname} >>$DIR/marks; echo - even {pathname} >>$DIR/marks\"
slots = 3
include_filter = { glob = \"*.even\" }
[scheduler.odd]
shell = \"echo + odd {pathname} >>$DIR/marks; echo - odd {pathname} >>$DIR/marks\"
slots = 2
include_filter = { glob = \"*.odd\" }
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = [\"even\", \"odd\"] }
",
    );
    for number in 0..FILES {
        let end = if number % 2 == 0 { "even" } else { "odd" };
        world.write(format!("in/{number}.{end}"), "");
    }
    daemon.wait_for_count(" done for ", FILES);
    let marks = marks(&world.read("marks"));
    assert_eq!(marks.runs.len(), FILES);
    assert!(marks.runs.values().all(|runs| *runs == 1), "each file once");
    assert!(marks.most["even"] <= 3 && marks.most["odd"] <= 2, "{:?}", marks.most);
    assert!((2..=4).contains(&marks.most_of_all), "{} at once", marks.most_of_all);
    let (status, lines) = daemon.stop();
    assert!(status.success());
    assert_eq!(lines.iter().filter(|line| line.contains(" done for ")).count(), FILES);
}

/// A scheduler whose runs wait at the gate, another that says what it has seen, in this order.
fn gated(keys: &str) -> String {
    format!(
        "
[scheduler.job]
shell = \"echo + job {{pathname}} >>$DIR/marks; read x <$DIR/gate; \
         echo - job {{pathname}} >>$DIR/marks\"
{keys}
[scheduler.seen]
log = \"seen {{basename}}\"
busy = \"parallel\"
[[watch]]
path = \"$DIR/in\"
event_map = {{ IN_CLOSE_WRITE = [\"job\", \"seen\"] }}
"
    )
}

fn count(world: &World, what: &str) -> usize {
    world.read("marks").lines().filter(|line| line.starts_with(what)).count()
}

fn until_begun(world: &World, runs: usize) {
    until("runs begin", || count(world, "+") >= runs);
}

#[test]
fn events_during_a_run_are_one_more_run() {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&gated("busy = \"again\""));
    world.write("in/x", "");
    until_begun(&world, 1);
    for _ in 0..3 {
        world.write("in/x", "");
    }
    world.write("in/y", "");
    daemon.wait_for(": seen y");
    gate.open(3);
    daemon.wait_for_count("/job *done for */in/x", 2);
    daemon.wait_for("/job *done for */in/y");
    world.write("in/z", "");
    gate.open(9);
    daemon.wait_for("/job *done for */in/z");
    assert_eq!(daemon.lines_with("/job *started for */in/x").len(), 2);
}

#[test]
fn events_during_a_run_can_be_skipped() {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&gated("busy = \"skip\""));
    world.write("in/x", "");
    until_begun(&world, 1);
    world.write("in/x", "");
    daemon.wait_for("/job - WARNING *event skipped for */in/x: its task still runs");
    gate.open(9);
    daemon.wait_for("/job *done for */in/x");
    world.write("in/z", "");
    daemon.wait_for("/job *done for */in/z");
    assert_eq!(daemon.lines_with("/job *started for */in/x").len(), 1);
}

#[test]
fn runs_of_one_path_can_be_parallel() {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&gated("busy = \"parallel\"\nslots = 2"));
    for begun in 1..=2 {
        world.write("in/x", "");
        until_begun(&world, begun);
    }
    assert_eq!(count(&world, "-"), 0, "both wait at the gate");
    world.write("in/x", "");
    daemon.wait_for_count(": seen x", 3);
    gate.open(9);
    daemon.wait_for_count("/job *done for */in/x", 3);
    assert_eq!(marks(&world.read("marks")).most_of_all, 2);
}

#[test]
fn a_run_can_be_ended_for_the_next() {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&gated("busy = \"restart\""));
    world.write("in/x", "");
    until_begun(&world, 1);
    world.write("in/x", "");
    daemon.wait_for("/job - WARNING *stopped for */in/x");
    until_begun(&world, 2);
    gate.open(1);
    daemon.wait_for("/job *done for */in/x");
    assert_eq!((count(&world, "+"), count(&world, "-")), (2, 1));
}

#[test]
fn one_job_is_for_all_paths() {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&gated("singlejob = true"));
    world.write("in/a", "");
    until_begun(&world, 1);
    for number in 0..10 {
        world.write(format!("in/{number}"), "");
    }
    daemon.wait_for(": seen 9");
    gate.open(9);
    daemon.wait_for("/job *done for */in/9");
    assert_eq!(daemon.lines_with("/job *started for ").len(), 2);
}

#[test]
fn writing_all_the_time_does_not_put_a_task_off_for_ever() {
    let world = World::new();
    let daemon = world.start(&format!(
        "[scheduler.job]\nshell = \"echo >>$DIR/ran\"\ndelay = \"1s\"\nmax_wait = \"2s\"\n{WATCH}"
    ));
    // Far more often than the delay, for as long as it takes.
    until("it runs in spite of it", || {
        world.write("in/x", "");
        world.exists("ran")
    });
    daemon.wait_for("done for */in/x");
}

#[test]
fn a_waiting_task_can_be_cancelled() {
    let world = World::new();
    let daemon = world.start(
        "
[scheduler.job]
shell = \"echo {basename} >>$DIR/ran\"
delay = \"2s\"
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = \"job\", IN_DELETE = { cancel = \"job\" }, \
         IN_MOVED_FROM = { cancel = \"job\" } }
",
    );
    fs::remove_file(world.write("in/deleted", "")).unwrap();
    fs::rename(world.write("in/moved", ""), world.path("out/moved")).unwrap();
    world.write("in/kept", "");
    daemon.wait_for("scheduled for IN_CLOSE_WRITE of */in/deleted, starts in 2s");
    daemon.wait_for("cancelled for */in/deleted: IN_DELETE");
    daemon.wait_for("cancelled for */in/moved: IN_MOVED_FROM");
    // The last to come: the others would have run before.
    daemon.wait_for("done for */in/kept");
    assert_eq!(world.read("ran"), "kept\n");
}

#[test]
fn a_failed_run_is_tried_again_after_longer_and_longer_waits() {
    let world = World::new();
    let config = "[scheduler.job]\nshell = \"echo $PYINOTIFYD_ATTEMPT >>$DIR/tries; exit 7\"\n\
                  retry = { tries = 4, backoff = \"50ms\", max_backoff = \"100ms\" }\n";
    let daemon = world.start(&format!("{config}{WATCH}"));
    world.write("in/x", "");
    daemon.wait_for("job - ERROR *failed for */in/x after *: exit status 7");
    assert_eq!(world.read("tries"), "1\n2\n3\n4\n");
    for (attempt, delay) in [(1, "50ms"), (2, "100ms"), (3, "100ms")] {
        let text = format!(
            "attempt {attempt} of 4 failed for */in/x, the next starts in {delay}: exit status 7"
        );
        assert_eq!(daemon.lines_with(&text).len(), 1, "{text}");
    }
}

#[test]
fn a_command_that_triggers_itself_is_held_back_and_that_is_said() {
    let world = World::new();
    let daemon = world.start(
        "
[scheduler.job]
shell = \"echo >>{pathname}\"
breaker = { runs = 5, within = \"1m\", rest = \"1h\" }
[scheduler.seen]
log = \"seen {basename}\"
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = [\"job\", \"seen\"] }
",
    );
    world.write("in/x", "");
    daemon.wait_for("job - ERROR *in/x triggers its own task: 5 runs in a row");
    // Others are not held back.
    world.write("in/y", "");
    daemon.wait_for_count("job *triggers its own task", 2);
    world.write("in/z", "");
    daemon.wait_for("seen z");
    assert_eq!(world.read("in/x"), "\n".repeat(5));
}
