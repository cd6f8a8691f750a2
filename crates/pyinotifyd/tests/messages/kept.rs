//! What is told of what a killed daemon has left.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use super::{World, known, timeless};

/// `long` runs until it is ended, but once only.
const CONFIG: &str = r#"
[scheduler.long]
shell = "[ -e @/ran ] || { : > @/ran; exec sleep 3600; }"
[scheduler.later]
log = "x"
delay = "1h"
[[watch]]
path = "@/w"
event_map = { IN_MOVED_TO = ["long", "later"] }
"#;

#[test]
fn what_a_killed_daemon_has_left_is_told() {
    let world = World::new();
    world.write("config.toml", CONFIG);
    let mut daemon = world.start("run -c config.toml --state-dir state");
    world.write("x", "x");
    fs::rename(world.path("x"), world.path("w/x")).unwrap();
    let started = daemon.wait(": started for ").pop().unwrap();
    let id = started.split(": started").next().unwrap().rsplit(" - ").next().unwrap().to_owned();
    // As which process it runs is to be written down, too.
    while !known::is_spawned(&world.path("state/state.sqlite")) {
        thread::yield_now();
    }
    drop(daemon);
    let mut daemon = world.start("run -c config.toml --state-dir state");
    let mut lines = std::mem::take(&mut daemon.said);
    if !lines.iter().any(|it| it.contains(": done for ")) {
        lines.extend(daemon.wait(": done for "));
    }
    drop(daemon);
    let shown = |it: &String| {
        let line = timeless(&world.shown(it)).replace(&id, "TASK");
        // The number of the process is the machine's affair, and how long it took.
        let line = line.split(" after ").next().unwrap().to_owned();
        match line.split_once("process ").and_then(|it| Some((it.0, it.1.split_once(' ')?.1))) {
            Some((before, rest)) => format!("{before}process PID {rest}"),
            None => line,
        }
    };
    // In which order they come is nobody's to say, nor what else does.
    let is_told =
        |it: &&String| [" cut off", "before the start"].iter().any(|part| it.contains(part));
    let mut told: Vec<_> = lines.iter().filter(is_told).map(shown).collect();
    told.sort();
    insta::assert_snapshot!("killed", told.join("\n"));
}

#[test]
fn a_store_that_is_put_aside_is_told_with_what_is_wrong_with_it() {
    let world = World::new();
    world.write("config.toml", CONFIG);
    fs::create_dir(world.path("state")).unwrap();
    fs::set_permissions(world.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
    world.write("state/state.sqlite", "this is none\n");
    let mut daemon = world.start("run -c config.toml --state-dir state");
    let aside = |it: &&String| it.contains("put aside");
    let told: Vec<_> =
        daemon.said.iter().filter(aside).map(|it| timeless(&world.shown(it))).collect();
    let told = told.join("\n");
    let seconds = told.split(".corrupt-").nth(1).unwrap().split(':').next().unwrap();
    insta::assert_snapshot!("put_aside", told.replace(seconds, "SECONDS"));
    daemon.said.clear();
    daemon.stop();
}
