//! What can be watched.

use std::{fs, process::Command};

use rustix::process::Signal;

use crate::{starts, support::World};

const COUNT: usize = 20;

#[test]
fn what_could_not_be_watched_is_once_the_limit_is_raised_and_the_configuration_read_anew() {
    let world = World::new();
    for number in 0..COUNT {
        fs::create_dir(world.path(format!("in/{number}"))).unwrap();
    }
    // The limit of a namespace is its own, and to be raised in it.
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "/bin/sh", "-c", script, "sh"]);
        command
    };
    let lower = "echo 10 >/proc/sys/user/max_inotify_watches";
    let start = starts::one();
    let tried = unshare(lower).output();
    drop(start);
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: a limit of watches, because nobody may set it here");
        return;
    }
    let mut command = unshare(&format!("{lower} && exec \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_pyinotifyd"));
    let config = r#"
[scheduler.job]
shell = "[ {basename} != raise ] || echo 1000 >/proc/sys/user/max_inotify_watches"
[[watch]]
path = "$DIR/in"
event_map = { IN_CLOSE_WRITE = "job" }
"#;
    let daemon = world.start_by(command, &[], config);
    daemon.wait_for("ERROR *the limit of inotify watches is reached; * directories stay unwatched");
    world.write("in/raise", "");
    daemon.wait_for("job - INFO *done for */in/raise ");
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded, 1 Watch");
    for number in 0..COUNT {
        world.write(format!("in/{number}/f"), "");
    }
    daemon.wait_for_count("job - INFO *done for */f after ", COUNT);
}
