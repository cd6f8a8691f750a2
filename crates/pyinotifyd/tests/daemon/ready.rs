//! Tasks that wait until their file is ready.

use std::{fs, process};

use super::{
    starts,
    support::{Daemon, World},
};

#[test]
fn a_task_starts_when_its_writer_has_closed_the_file() {
    let world = World::new();
    let mut daemon = Daemon::start(
        &world,
        r#"
        [scheduler.take]
        exec = ["/bin/echo", "GOT", "{pathname}"]
        ready = "closed"
        [[watch]]
        path = "@/w"
        event_map = { IN_CREATE = "take", IN_OPEN = "take" }
        "#,
    );
    let path = world.path("w/f");
    let mut writer = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut writer, b"first half").unwrap();
    let line = daemon.wait("f is not ready: open for writing");
    // Who writes is looked for for a short time only: on a busy machine it may not be found. A
    // program that another test is just starting may have it, too; but it came later.
    let by = format!(" by pid {} (", process::id());
    assert!(line.ends_with("open for writing") || line.contains(&by), "{line}");
    std::io::Write::write_all(&mut writer, b", second half").unwrap();
    assert!(!daemon.log.iter().any(|it| it.contains("GOT ")), "{daemon}");
    drop(writer);
    drop(starts::none());
    daemon.wait("GOT ");
    daemon.wait(": done for ");
    daemon.sync();
    let count = |part: &str| daemon.log.iter().filter(|it| it.contains(part)).count();
    assert_eq!(count(" is not ready"), 1, "once for a reason: {daemon}");
    assert_eq!(count(": started for"), 1, "{daemon}");
}

#[test]
fn a_file_that_comes_by_a_hard_link_is_taken_when_its_writer_has_closed_it() {
    let world = World::new();
    let mut daemon = Daemon::start(
        &world,
        r#"
        [scheduler.take]
        exec = ["/bin/echo", "GOT", "{pathname}"]
        ready = "closed"
        [[watch]]
        path = "@/w"
        event_map = { IN_CREATE = "take", IN_CLOSE_WRITE = "take" }
        "#,
    );
    // Whoever publishes a file so closes it under another name, or under none: that is told to nobody.
    let writer = fs::File::create(world.path("aside")).unwrap();
    fs::hard_link(world.path("aside"), world.path("w/f")).unwrap();
    daemon.wait("f is not ready: open for writing");
    drop(writer);
    drop(starts::none());
    daemon.wait("GOT ");
    daemon.wait(": done for ");
    daemon.sync();
    let starts = daemon.log.iter().filter(|it| it.contains(": started for IN_CREATE of ")).count();
    assert_eq!(starts, 1, "{daemon}");
}

#[test]
fn a_task_starts_when_another_file_says_that_its_own_is_done() {
    let world = World::new();
    let mut daemon = Daemon::start(
        &world,
        r#"
        [scheduler.take]
        rules = [{ action = "move", src_re = "^@/w/(.*)$", dst_re = '@/done-\1' }]
        ready = ["done-file:{pathname}.ok", "quiet:10ms"]
        exclude_filter = { glob = "*.ok" }
        [[watch]]
        path = "@/w"
        event_map = { IN_CLOSE_WRITE = "take" }
        "#,
    );
    world.write("w/f");
    daemon.wait("w/f is not ready: there is no ");
    assert!(world.path("w/f").exists());
    world.write("w/f.ok");
    daemon.wait(": moved ");
    assert_eq!(fs::read(world.path("done-f")).unwrap(), b"w/f");
    // What is gone is ready: the action tells.
    fs::remove_file(world.path("w/f.ok")).unwrap();
    world.write("w/g");
    daemon.wait("w/g is not ready: there is no ");
    fs::remove_file(world.path("w/g")).unwrap();
    daemon.wait("w/g ");
    daemon.stop();
}

#[test]
fn of_a_batch_those_run_that_are_ready() {
    let world = World::new();
    let mut daemon = Daemon::start(
        &world,
        r#"
        [scheduler.take]
        exec = ["/bin/echo", "GOT", "{pathname}"]
        delay = "200ms"
        batch = true
        slots = 1
        ready = "done-file:{dirname}/.ok"
        [[watch]]
        path = "@/w"
        event_map = { IN_CLOSE_WRITE = "take" }
        "#,
    );
    fs::create_dir(world.path("w/a")).unwrap();
    fs::create_dir(world.path("w/b")).unwrap();
    fs::write(world.path("w/a/.ok"), "").unwrap();
    daemon.sync();
    daemon.forget();
    for name in ["w/a/1", "w/b/2", "w/a/3", "w/b/4"] {
        world.write(name);
    }
    daemon.wait("b/2 is not ready: there is no ");
    let got = |daemon: &Daemon<'_>, path: &str| {
        daemon.log.iter().any(|it| it.contains("GOT ") && it.contains(path))
    };
    while !(got(&daemon, "a/1") && got(&daemon, "a/3")) {
        daemon.wait("GOT ");
    }
    assert!(!got(&daemon, "/b/"), "{daemon}");
    fs::write(world.path("w/b/.ok"), "").unwrap();
    while !(got(&daemon, "b/2") && got(&daemon, "b/4")) {
        daemon.wait("GOT ");
    }
    daemon.stop();
}
