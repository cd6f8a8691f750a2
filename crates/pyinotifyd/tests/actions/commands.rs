//! How commands are ended.

use std::fs;

use crate::support::{WATCH, World, until};

/// The processes of a group that have not ended. A zombie has: whoever started it may never look.
fn group(id: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
    let is_in_group = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: state, parent, group.
        let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
        let fields: Vec<_> = rest.split(' ').collect();
        fields[0] != "Z" && fields[0] != "X" && fields[2] == id.to_string()
    };
    ids.filter(is_in_group).collect()
}

#[test]
fn a_command_that_does_not_end_is_killed_with_its_children() {
    let world = World::new();
    let daemon = world.start(&format!(
        "
[scheduler.job]
shell = \"trap '' TERM; sleep 1000 & echo $$ >$DIR/pid; sleep 1000\"
timeout = \"1s\"
kill_after = \"200ms\"
{WATCH}"
    ));
    world.write("in/x", "");
    until("it tells its id", || world.read("pid").ends_with('\n'));
    let id = world.read("pid").trim().parse().unwrap();
    daemon.wait_for("job - WARNING *timed out for */in/x: still runs after 1s, is asked to end");
    daemon.wait_for("job - WARNING *killed for */in/x: still runs 200ms after it was asked to end");
    daemon.wait_for("job - ERROR *failed for */in/x after *: timed out after 1s");
    until("none of its group is left", || group(id).is_empty());
}

#[test]
fn a_command_may_say_goodbye_and_takes_its_children_along() {
    let world = World::new();
    let daemon = world.start(&format!(
        "
[scheduler.job]
shell = \"(trap '' TERM; exec sleep 1000) & trap 'echo goodbye; exit 0' TERM; \
         echo $$ >$DIR/pid; wait\"
timeout = \"1s\"
kill_after = \"10m\"
retry = {{ tries = 2, backoff = \"10ms\" }}
{WATCH}"
    ));
    world.write("in/x", "");
    until("it tells its id", || world.read("pid").ends_with('\n'));
    let id = world.read("pid").trim().parse().unwrap();
    daemon.wait_for("attempt 1 of 2 failed for */in/x*: timed out after 1s");
    until("none of its group is left", || group(id).is_empty());
    daemon.wait_for("failed for */in/x after *: timed out after 1s");
    assert_eq!(daemon.lines_with(": goodbye").len(), 2);
    assert_eq!(daemon.lines_with("killed for ").len(), 0);
}

#[test]
fn a_stop_waits_for_commands_and_then_ends_them() {
    let world = World::new();
    let daemon = world.start(&format!(
        "
shutdown_timeout = \"1s\"
[scheduler.job]
shell = \"sleep 1000 & echo $$ >$DIR/pid; sleep 1000\"
{WATCH}"
    ));
    world.write("in/x", "");
    until("it tells its id", || world.read("pid").ends_with('\n'));
    let id = world.read("pid").trim().parse().unwrap();
    let (status, lines) = daemon.stop();
    assert!(status.success());
    assert!(lines.iter().any(|it| it.contains("gave up 1 running and 0 waiting tasks")));
    until("none of its group is left", || group(id).is_empty());
}
