//! What commands print, and how they end, in the log.

use crate::support::{WATCH, World};

fn job(keys: &str) -> String {
    format!("[scheduler.job]\n{keys}\n{WATCH}")
}

/// The task id of a line, between level and text.
fn id(line: &str) -> &str {
    line.split(" - ").nth(3).unwrap().split(": ").next().unwrap()
}

#[test]
fn what_a_command_prints_is_logged_line_by_line_with_its_task() {
    let world = World::new();
    let script = world.write(
        "script",
        b"printf 'one\\n\\033[2Jtwo\\n'\nprintf 'three\\377\\n2026-01-01 - forged - INFO - x' >&2\n\
          exit 3\n",
    );
    let script = script.to_str().unwrap();
    let keys = format!("exec = [\"/bin/sh\", \"{script}\"]\noutput_level = \"warning\"");
    let daemon = world.start(&job(&keys));
    world.write("in/x", "");
    let end = daemon.wait_for("job - ERROR *failed for ");
    let id = id(&end).to_owned();
    let (_, text) = end.split_once(" after ").unwrap();
    let (_, text) = text.split_once(": ").unwrap();
    assert_eq!(text, r"exit status 3: one\n\x1b[2Jtwo\nthree\xff\n2026-01-01 - forged - INFO - x");
    let lines = daemon.lines_with(&format!("job - WARNING - {id}: "));
    let lines: Vec<_> =
        lines.iter().map(|it| it.split_once(&format!("{id}: ")).unwrap().1).collect();
    assert_eq!(lines, ["one", r"\x1b[2Jtwo", r"three\xff", "2026-01-01 - forged - INFO - x"]);
}

#[test]
fn a_command_that_a_signal_ends_fails_with_its_number() {
    let world = World::new();
    let daemon = world.start(&job("shell = \"echo last words; kill -9 $$\""));
    world.write("in/x", "");
    daemon.wait_for("job - ERROR *failed for */in/x after *: ended by signal 9: last words");
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let world = World::new();
    let daemon = world.start(&job("exec = [\"$DIR/no\\nne\"]\nretry = 3"));
    world.write("in/x", "");
    let line = daemon.wait_for("job - ERROR *failed for */in/x after ");
    assert!(line.contains(r"/no\nne") && line.contains("no such file"), "{line}");
    assert_eq!(daemon.lines_with("attempt").len(), 0, "it would fail again");
}

#[test]
fn output_can_go_where_the_daemons_goes() {
    let world = World::new();
    let daemon =
        world.start(&job("shell = \"echo to stdout; echo to stderr >&2\"\noutput = \"inherit\""));
    world.write("in/x", "");
    daemon.wait_for("done for ");
    let raw = |daemon: &crate::support::Daemon| {
        daemon.lines().iter().filter(|line| *line == "to stderr").count()
    };
    crate::support::until("the line is there", || raw(&daemon) == 1);
    assert_eq!(world.read("stdout"), "to stdout\n");
}

#[test]
fn output_can_be_discarded() {
    let world = World::new();
    let keys = "shell = \"echo one; echo two >&2; exit 1\"\noutput = \"discard\"";
    let daemon = world.start(&job(keys));
    world.write("in/x", "");
    let line = daemon.wait_for("job - ERROR *failed for ");
    assert!(line.ends_with(": exit status 1"), "{line}");
    assert_eq!(daemon.lines_with(": one").len() + daemon.lines_with(": two").len(), 0);
    assert_eq!(world.read("stdout"), "");
}

#[test]
fn a_flood_of_output_costs_no_memory_and_holds_nobody_up() {
    let world = World::new();
    let mut gate = world.gate();
    let line = "x".repeat(999);
    let daemon = world.start(&format!(
        "
[scheduler.flood]
shell = \"yes {line} | head -c 50000000; read x <$DIR/gate; yes {line} | head -c 1000000\"
include_filter = {{ glob = \"flood\" }}
[scheduler.job]
exec = [\"/bin/echo\", \"in time\"]
exclude_filter = {{ glob = \"flood\" }}
[[watch]]
path = \"$DIR/in\"
event_map = {{ IN_CLOSE_WRITE = [\"flood\", \"job\"] }}
"
    ));
    let before = daemon.peak_memory();
    world.write("in/flood", "");
    daemon.wait_for("flood *: xxx");
    world.write("in/x", "");
    daemon.wait_for("job *: in time");
    daemon.wait_for("job *done for ");
    assert_eq!(daemon.lines_with("flood *done for ").len(), 0, "the flood goes on");
    gate.open(1);
    daemon.wait_for("flood *done for ");
    // The log's backlog is 8 MiB.
    let grown = daemon.peak_memory() - before;
    assert!(grown < 32 * 1024, "{grown} KiB more than before");
}
