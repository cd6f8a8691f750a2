//! The file manager's own changes inside a tree that is watched as a whole.

use std::fs;

use crate::support::{Daemon, World};

/// A scheduler for everything that happens in the tree, by these rules.
fn start(world: &World, keys: &str, action: &str, to: &str) -> Daemon {
    world.start(&format!(
        "
[log]
level = \"debug\"
[scheduler.job]
{keys}
[[scheduler.job.rules]]
action = \"{action}\"
src_re = '^$DIR/in/([^/]*)$'
dst_re = '$DIR/out/{to}\\1'
auto_create = true
[[watch]]
path = [\"$DIR/in\", \"$DIR/out\"]
[watch.event_map]
IN_CREATE = \"job\"
IN_CLOSE_WRITE = \"job\"
IN_MOVED_TO = \"job\"
IN_MOVED_FROM = \"job\"
IN_DELETE = \"job\"
IN_ATTRIB = \"job\"
"
    ))
}

/// Brings a file or directory in by one event.
fn bring(world: &World, name: &str) {
    fs::rename(world.path(name), world.path("in").join(name)).unwrap();
}

/// Fails if anything was started but for what was brought in.
fn verify_alone(world: &World, daemon: &Daemon) {
    // What happens after all that is told after all that.
    world.write("out/fence", "");
    daemon.wait_for("no rule matches for */out/fence ");
    let mut lines = daemon.lines_with("job *started for ");
    // A directory that is brought in is listed, too.
    let brought = [" for IN_MOVED_TO", " for IN_CREATE|IN_ISDIR"];
    lines.retain(|it| !(it.contains("/in/") && brought.iter().any(|kind| it.contains(kind))));
    lines.retain(|it| !it.contains("/out/fence"));
    let all = || daemon.lines().join("\n");
    assert!(lines.is_empty(), "{}\n\nof all that was logged:\n{}", lines.join("\n"), all());
}

#[test]
fn what_a_rule_does_itself_starts_nothing() {
    for (action, said) in [("move", "moved"), ("copy", "copied")] {
        for (keys, to) in
            [("", ""), ("dirs = true", ""), ("", "new/deep/"), ("dirs = true", "new/deep/")]
        {
            let world = World::new();
            let daemon = start(&world, keys, action, to);
            for name in ["a", "b", "c"] {
                world.write(name, name);
                bring(&world, name);
                daemon.wait_for(&format!("{said} */in/{name} to "));
                assert_eq!(world.read(&format!("out/{to}{name}")), name);
            }
            verify_alone(&world, &daemon);
        }
    }
}

#[test]
fn what_a_rule_does_to_a_directory_starts_nothing_for_what_is_in_it() {
    for (action, said) in [("move", "moved"), ("copy", "copied")] {
        let world = World::new();
        let daemon = start(&world, "dirs = true", action, "new/");
        for name in ["d", "e"] {
            fs::create_dir_all(world.path(format!("{name}/sub"))).unwrap();
            bring(&world, name);
            daemon.wait_for(&format!("{said} */in/{name} to "));
            assert!(world.exists(&format!("out/new/{name}/sub")));
        }
        verify_alone(&world, &daemon);
    }
}

#[test]
fn a_new_file_under_the_same_name_is_work() {
    let world = World::new();
    let daemon = start(&world, "", "move", "");
    world.write("a", "");
    bring(&world, "a");
    daemon.wait_for("moved */in/a to */out/a ");
    world.write("out/fence", "");
    daemon.wait_for("no rule matches for */out/fence ");
    world.write("out/a", "another");
    daemon.wait_for("no rule matches for */out/a ");
    world.write("a", "third");
    bring(&world, "a");
    daemon.wait_for("job - ERROR *failed for */in/a after *overwrite = true");
}

#[test]
fn where_a_rule_puts_a_file_another_rule_takes_it_up() {
    for (action, said) in [("move", "moved"), ("copy", "copied")] {
        let world = World::new();
        world.write("in/.keep", "");
        let daemon = world.start(&format!(
            "
[scheduler.job]
[[scheduler.job.rules]]
action = \"{action}\"
src_re = '^$DIR/in/([^/]*)\\.a$'
dst_re = '$DIR/in/\\1.b'
[[scheduler.job.rules]]
action = \"{action}\"
src_re = '^$DIR/in/([^/]*)\\.b$'
dst_re = '$DIR/in/\\1.c'
[[watch]]
path = \"$DIR/in\"
[watch.event_map]
IN_CLOSE_WRITE = \"job\"
IN_MOVED_TO = \"job\"
"
        ));
        world.write("x.a", "text");
        bring(&world, "x.a");
        daemon.wait_for(&format!("{said} */in/x.b to */in/x.c "));
        assert_eq!(world.read("in/x.c"), "text");
    }
}

#[test]
fn what_a_rule_has_copied_is_news_to_all_other_schedulers() {
    let world = World::new();
    let daemon = world.start(
        "
[scheduler.job]
dirs = true
[[scheduler.job.rules]]
action = \"copy\"
src_re = '^$DIR/in/([^/]*)$'
dst_re = '$DIR/out/\\1'
[scheduler.seen]
dirs = true
log = \"seen {maskname} of {pathname}\"
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = \"job\", IN_MOVED_TO = \"job\" }
[[watch]]
path = \"$DIR/out\"
rec = true
auto_add = true
[watch.event_map]
IN_CREATE = \"seen\"
IN_CLOSE_WRITE = \"seen\"
IN_MOVED_TO = \"seen\"
IN_MODIFY = \"seen\"
IN_ATTRIB = \"seen\"
",
    );
    world.write("a", "text");
    bring(&world, "a");
    daemon.wait_for("seen IN_CLOSE_WRITE of */out/a");
    fs::create_dir_all(world.path("d/sub")).unwrap();
    world.write("d/sub/b", "text");
    bring(&world, "d");
    daemon.wait_for("seen IN_CLOSE_WRITE of */out/d/sub/b");
    let seen = daemon.lines_with("seen IN_");
    let told = |kind: &str, at: &str| seen.iter().any(|it| it.contains(kind) && it.ends_with(at));
    for at in ["/out/a", "/out/d", "/out/d/sub", "/out/d/sub/b"] {
        assert!(told("IN_CREATE", at), "{at}: {seen:#?}");
    }
    let strange = seen.iter().find(|it| it.contains("/#") || it.contains("/.pyinotifyd-"));
    assert_eq!(strange, None, "what grows is nobody's business");
}
